"""Pixel accumulation and the output format."""

import numpy as np

from nerf.contract.formats import CHANNEL, COLOUR_BITS, UNIT, round_shift


def weighted_colour(weight: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Return weight times colour, ``UNIT`` fraction bits; what a sample adds to its pixel."""
    return round_shift(weight * colour, COLOUR_BITS)


def output_pixel(colour: np.ndarray, transmittance: np.ndarray, background: int) -> np.ndarray:
    """Return the pixel words' four channels, format CHANNEL: red, green, blue, opacity.

    Parameters
    ----------
    colour : int64 array (..., 3)
        Accumulated weighted colour, ``UNIT`` fraction bits.
    transmittance : int64 array (...)
    background : int
        1 for white, 0 for black.
    """
    channels = np.concatenate(
        [colour + transmittance[..., None] * background, (1 << UNIT) - transmittance[..., None]], axis=-1
    )
    return np.minimum(round_shift(channels * CHANNEL.high, UNIT), CHANNEL.high)
