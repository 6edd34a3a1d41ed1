"""Training: a scene's pictures become a TensoRF."""
