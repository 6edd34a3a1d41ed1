"""From density and appearance to the pixels of a tile."""
