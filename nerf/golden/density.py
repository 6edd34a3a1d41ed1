"""From the sum of density products to alpha, by table and linear interpolation."""

from nerf.contract.formats import ALPHA_ENTRIES, DENSITY_MULTIPLIER, FRACTION_BITS, UNIT
from rtnerf.base.compiled import compiled

_MULTIPLIER_FRACTION = DENSITY_MULTIPLIER.fraction


@compiled
def table_position(total: int, multiplier: int, offset: int) -> int:
    """Return the alpha table position (``FRACTION_BITS``) of a density sum, limited to the table."""
    position = (total * multiplier >> _MULTIPLIER_FRACTION) + offset
    return min(max(position, 0), (ALPHA_ENTRIES << FRACTION_BITS) - 1)


@compiled
def alpha(position: int, base: int, difference: int) -> int:
    """Return alpha (``UNIT`` fraction bits) from a table entry and the position's fraction."""
    fraction = position & (1 << FRACTION_BITS) - 1
    return min(base + ((difference * fraction + (1 << FRACTION_BITS >> 1)) >> FRACTION_BITS), 1 << UNIT)
