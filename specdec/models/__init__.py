"""Real models in PyTorch: networks that verify a token tree in one pass and keep only the accepted path."""
