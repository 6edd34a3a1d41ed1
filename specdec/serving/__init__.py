"""Serving under load: continuous batching, simulated step by step, and the controllers that choose the speculation."""
