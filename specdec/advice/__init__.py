"""What to deploy: the best method, length or tree by batch and context, what it gains, why, and whether it fits."""
