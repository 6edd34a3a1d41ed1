"""Probability: distributions, exact chance, acceptance."""
