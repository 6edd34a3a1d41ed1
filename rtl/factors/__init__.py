"""From factor blocks in memory to the interpolated vectors of a sample."""
