"""Host side: registers, the course of a frame, loading of the scene."""
