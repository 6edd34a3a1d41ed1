"""Fixed-point formats of every value that crosses a block boundary, and the two ways to make a value fit.

A format is a sign, a count of integer bits and a count of fraction bits; the integer ``n`` stands for
``n * 2**-fraction``. Rounding is explicit everywhere: ``>>`` is floor, `round_shift` is round half up.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Format:
    """A fixed-point format.

    Parameters
    ----------
    integer : int
        Bits before the binary point, the sign not counted.
    fraction : int
        Bits after the binary point.
    signed : bool
        Whether there is a sign bit (two's complement).
    """

    integer: int
    fraction: int
    signed: bool = True

    @property
    def width(self) -> int:
        """Total bits."""
        return self.integer + self.fraction + self.signed

    @property
    def low(self) -> int:
        """Smallest integer that fits."""
        return -(1 << (self.integer + self.fraction)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest integer that fits."""
        return (1 << (self.integer + self.fraction)) - 1

    def quantise(self, value: np.ndarray | float) -> np.ndarray:
        """Return the nearest representable integers (int64) of real values, saturated."""
        return saturate(np.floor(np.asarray(value, np.float64) * 2.0**self.fraction + 0.5), self).astype(np.int64)


def saturate(value: Any, fmt: Format) -> Any:
    """Limit integers to the range of a format."""
    return np.clip(value, fmt.low, fmt.high)


def round_shift(value: Any, bits: Any) -> Any:
    """Divide integers by ``2**bits``, rounding half up."""
    return (value + (1 << bits >> 1)) >> bits


FACTOR = Format(7, 0)
"""A stored factor: plane or line value over the scale of its tensor."""
FRACTION_BITS = 8
"""Bits of the interpolation weights."""
INTERPOLATED = Format(7, 4)
"""A factor after bilinear or linear interpolation."""
PRODUCT = Format(14, 8)
"""Interpolated plane value times interpolated line value."""
PRODUCT_SUM = Format(15, -2)
"""Sum of a ray's products times their weights, each term rounded, to a multiple of 4: finer ones show in no picture.

The weights add up to at most 1.0, so 14 integer bits would do but for rounding. A term that does not round to 0 is at
least a half, so rounding at most doubles it: 15 do.
"""
DROPPED_BITS = PRODUCT.fraction - PRODUCT_SUM.fraction
"""Fraction bits that a product has and a sum of products has not."""
FEATURE_SUM = Format(20, 8)
"""Density products summed over 16 components and 3 pairs; over more components it has more integer bits."""

ORIGIN = Format(13, 16)
"""Camera position, in factor cells."""
DIRECTION = Format(4, 27)
"""Ray direction before normalisation, in factor cells per step, and its change per pixel."""
STEP = Format(4, 24)
"""Normalised ray direction, in factor cells per step."""
POSITION = Format(10, 16)
"""A position in the factor grid, in cells."""
DISTANCE = Format(13, 16, signed=False)
"""Distance along a ray, in steps."""
SLOPE = Format(4, 20)
"""Camera-space slope of a pixel, and view direction."""
NORM = Format(4, 20, signed=False)
"""Length of the camera-space ray (slope, slope, 1)."""
INVERSE = Format(12, 20, signed=False)
"""Steps per factor cell, saturated."""
RECIPROCAL_DIVIDEND = 1 << NORM.fraction + STEP.fraction
"""Over a NORM it is the inverse with the fraction bits of STEP, over a STEP an INVERSE."""
FINE_BITS = STEP.fraction - POSITION.fraction
"""Fraction bits that a STEP has and a POSITION has not: the lattice is exact in those of a step."""
VIEW_SCALE = Format(6, 20, signed=False)
"""World length of a cell, in steps: turns a grid direction into the view direction."""

PROJECTION_DEPTH = Format(3, 16)
"""Row of the projection that gives depth, in mean cells per cell."""
PROJECTION_IMAGE = Format(18, 8)
"""Rows of the projection that give image coordinates times depth, in pixels times mean cells per cell."""
PIXEL = Format(14, 4)
"""An image coordinate, in pixels."""
RADIUS = Format(6, 12, signed=False)
"""Bounding ball of a cube, in mean cells."""
IMAGE_RADIUS = Format(22, PIXEL.fraction, signed=False)
"""Bounding ball times focal length, in pixels times mean cells."""
RELATIVE_FRACTION = 8
"""Fraction bits of a cube's centre relative to the camera, in cells."""
DEPTH_FRACTION = RADIUS.fraction
"""Fraction bits of a cube's depth, in mean cells."""
INVERSE_DEPTH_FRACTION = 24
"""Fraction bits of one over a depth."""

MASK_SCALE = Format(2, 24, signed=False)
"""Mask cells per factor cell."""
MASK_OFFSET = Format(15, 16)
"""Mask cell of grid point 0."""

UNIT = 20
"""Fraction bits of alpha, transmittance and weight; 1.0 is ``1 << UNIT``."""
CHANNEL = Format(0, 16, signed=False)
"""A channel of a finished pixel; its largest value is 1.0."""
BACKGROUND_UNIT = CHANNEL.high // 0xFF
"""A step of the background's 8 bits, in a channel; 0xFF steps are its largest value, exactly."""
COLOUR_BITS = 12
"""Fraction bits of a sample's colour."""
PLAIN_COLOUR = Format(3, COLOUR_BITS)
"""A sample's colour that no sigmoid limits."""
PLAIN_SUM = Format(4, UNIT)
"""Such colours times weights that add up to at most 1.0, but for roundings."""

DENSITY_MULTIPLIER = Format(0, 24, signed=False)
"""Alpha table positions per unit of FEATURE_SUM."""
ALPHA_ENTRIES = 1024
"""Entries of the alpha table."""
ALPHA_STEP_BITS = 3
"""Table entries per unit of density feature, as a power of two."""
ALPHA_BELOW = 16
"""How far below ``-density_shift`` the alpha table starts, in units of density feature."""

ACTIVATION = Format(15, 0)
"""An MLP activation; its scale is the scene's."""
WEIGHT = Format(7, 0)
"""An MLP or basis weight, over the scale of its output."""
ACCUMULATOR = Format(31, 0)
"""Sum of activation times weight, and bias."""
MULTIPLIER = Format(16, 0, signed=False)
"""Mantissa of the requantisation that follows a layer."""

RECIPROCAL_BITS = 10
"""Bits of the reciprocal table's index: those of a normalised weight behind its leading one."""
RECIPROCAL_FRACTION = 22
"""The table holds ``2**RECIPROCAL_FRACTION`` over a normalised weight."""
MEAN_SHIFT = DROPPED_BITS + UNIT + RECIPROCAL_BITS - RECIPROCAL_FRACTION
"""A sum of weighted products times the table's value, shifted up by this and down by the length of the weight less one,
is their mean."""

SINE_ENTRIES = 1024
"""Entries of the sine table over one turn."""
SINE_FRACTION = 14
"""Fraction bits of the sine table and of the view direction given to the MLP."""
PHASE_SHIFT = 17
"""An activation times the scene's phase multiplier, shifted by this, is a sine table index."""
SIGMOID_ENTRIES = 1024
"""Entries of the sigmoid table, over [-8, 8)."""
SIGMOID_STEP = 1 / 64
"""From one to the next."""


def sine_table() -> np.ndarray:
    """Return the sine over one turn, ``SINE_ENTRIES`` values with ``SINE_FRACTION`` fraction bits."""
    turns = np.arange(SINE_ENTRIES) / SINE_ENTRIES
    return np.floor(np.sin(2 * np.pi * turns) * (1 << SINE_FRACTION) + 0.5).astype(np.int64)


def reciprocal_table() -> np.ndarray:
    """Return ``2**RECIPROCAL_FRACTION`` over the middle of [1024 + index, 1025 + index), rounded: 12 bits."""
    mantissa = (1 << RECIPROCAL_BITS) + np.arange(1 << RECIPROCAL_BITS)
    return np.floor(2.0**RECIPROCAL_FRACTION / (mantissa + 0.5) + 0.5).astype(np.int64)


def sigmoid_table() -> np.ndarray:
    """Return the sigmoid over its entries, at `SIGMOID_STEP` each: ``COLOUR_BITS`` fraction bits, below 1."""
    z = (np.arange(SIGMOID_ENTRIES) - SIGMOID_ENTRIES // 2) * SIGMOID_STEP
    return np.minimum(np.floor((1 << COLOUR_BITS) / (1 + np.exp(-z)) + 0.5), (1 << COLOUR_BITS) - 1).astype(np.int64)
