"""Readers of captures, one a kind: where each picture was taken from, and with what optics."""
