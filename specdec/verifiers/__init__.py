"""Verifiers: which of the candidates the target keeps, one file a rule."""
