"""Built-in procedural scenes, the ground truth of training without a data set."""
