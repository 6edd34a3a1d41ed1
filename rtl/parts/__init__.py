"""Small components that several stages are built of."""
