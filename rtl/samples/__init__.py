"""From cameras and occupied cubes to the samples of a tile's rays."""
