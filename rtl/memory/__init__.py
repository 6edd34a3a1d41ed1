"""The bus: what the blocks read and write."""
