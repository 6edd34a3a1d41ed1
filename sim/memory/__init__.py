"""The bus, and the memories behind it."""
