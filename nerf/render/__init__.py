"""The renderers of the rungs L0, L1 and L2: a camera and a model become a picture."""
