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
    colours, opacity = output_channel(colour, through, behind), output_channel((1 << UNIT) - through, through, 0)
    return np.concatenate([colours, opacity], axis=-1)


def output_channel(value: np.ndarray, through: np.ndarray, behind: np.ndarray | int) -> np.ndarray:
    """Return a channel of a pixel: its value, and what is seen through it of an 8-bit background; format CHANNEL."""
    # 0xFF times BACKGROUND_UNIT is CHANNEL.high.
    return saturate(round_shift(value * CHANNEL.high + through * behind * BACKGROUND_UNIT, UNIT), CHANNEL)
