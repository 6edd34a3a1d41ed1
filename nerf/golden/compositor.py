"""Composite one sample: its weight, and the transmittance behind it."""

from nerf.contract.formats import UNIT
from rtnerf.base.compiled import compiled


@compiled
def composite(transmittance: int, alpha: int) -> tuple[int, int]:
    """Return (weight, transmittance behind the sample), ``UNIT`` fraction bits; their sum is exactly the input."""
    weight = (transmittance * alpha + (1 << UNIT >> 1)) >> UNIT
    return weight, transmittance - weight
