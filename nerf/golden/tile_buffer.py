"""Pixel accumulation and the output format."""

import numpy as np

from nerf.contract.formats import BACKGROUND_UNIT, CHANNEL, COLOUR_BITS, UNIT, round_shift, saturate


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
        Value of its register, 8 bits a channel.
    """
    through = transmittance[..., None]
    behind = np.array([background >> 8 * channel & 0xFF for channel in range(3)], np.int64)
    # 0xFF times BACKGROUND_UNIT is CHANNEL.high.
    colours = colour * CHANNEL.high + through * behind * BACKGROUND_UNIT
    channels = np.concatenate([colours, ((1 << UNIT) - through) * CHANNEL.high], axis=-1)
    return saturate(round_shift(channels, UNIT), CHANNEL)
