"""From the sum of density products to alpha, by table and linear interpolation."""

from numba import njit

from nerf.contract.formats import ALPHA_ENTRIES, FRACTION_BITS, UNIT


@njit(cache=True)
def table_position(total: int, multiplier: int, offset: int) -> int:
    """Return the alpha table position (8 fraction bits) of a density sum, limited to the table."""
    position = (total * multiplier >> 24) + offset
    return min(max(position, 0), (ALPHA_ENTRIES << FRACTION_BITS) - 1)


@njit(cache=True)
def alpha(position: int, base: int, difference: int) -> int:
    """Return alpha (``UNIT`` fraction bits) from a table entry and the position's fraction."""
    return min(base + ((difference * (position & 255) + 128) >> 8), 1 << UNIT)
