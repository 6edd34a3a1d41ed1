"""Enumerate the lattice samples of a ray and tell which cube and mask cell each falls in."""

import numpy as np

from nerf.contract.config import CUBE
from nerf.contract.formats import FINE_BITS, MASK_OFFSET, MASK_SCALE, POSITION
from nerf.contract.scene_image import MASK_WINDOW
from rtnerf.base.compiled import compiled

CUBE_SHIFT = POSITION.fraction + CUBE.bit_length() - 1
_SCALE_FRACTION = MASK_SCALE.fraction
_OFFSET_FRACTION = MASK_OFFSET.fraction


@compiled
def sample_position(start: int, step: int, index: int) -> int:
    """Return one coordinate of sample ``index``, format POSITION."""
    return ((start << FINE_BITS) + index * step) >> FINE_BITS


@compiled
def mask_cell(position: int, scale: int, offset: int) -> int:
    """Return the mask cell of a position along one axis; the mask's zero border counts as cell 0."""
    return ((position * scale >> _SCALE_FRACTION) + offset) >> _OFFSET_FRACTION


@compiled
def occupied(window: np.ndarray, base: np.ndarray, cell_x: int, cell_y: int, cell_z: int) -> bool:
    """Return whether a cube's mask window (6, 6, 6; z, y, x) with its base (x, y, z) has the mask cell set."""
    x, y, z = cell_x - base[0], cell_y - base[1], cell_z - base[2]
    if min(x, y, z) < 0 or max(x, y, z) >= MASK_WINDOW:
        return False
    return window[z, y, x]
