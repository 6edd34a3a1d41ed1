"""Published rows, and how the model meets them."""
