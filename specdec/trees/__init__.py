"""Draft trees: their shape, layout and best choice."""
