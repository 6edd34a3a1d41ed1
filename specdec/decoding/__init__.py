"""Decoding with real models: the loop, its methods, what is measured of it."""
