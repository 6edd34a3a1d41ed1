"""Interpolate factors at a sample: bilinear in the plane, linear in the line, and their product."""

import numpy as np

from nerf.contract.formats import FRACTION_BITS, INTERPOLATED, POSITION
from rtnerf.base.compiled import compiled

_ONE = 1 << FRACTION_BITS
_PLANE_SHIFT = 2 * FRACTION_BITS - INTERPOLATED.fraction
_LINE_SHIFT = FRACTION_BITS - INTERPOLATED.fraction
_CELL_SHIFT = POSITION.fraction
_WEIGHT_SHIFT = POSITION.fraction - FRACTION_BITS


@compiled
def interpolate_plane(p00: int, p10: int, p01: int, p11: int, wx: int, wy: int) -> int:
    """Return the plane value between four factors, format INTERPOLATED; weights have ``FRACTION_BITS``."""
    low = p00 * _ONE + (p10 - p00) * wx
    high = p01 * _ONE + (p11 - p01) * wx
    return (low * _ONE + (high - low) * wy + (1 << _PLANE_SHIFT >> 1)) >> _PLANE_SHIFT


@compiled
def interpolate_line(l0: int, l1: int, w: int) -> int:
    """Return the line value between two factors, format INTERPOLATED."""
    return (l0 * _ONE + (l1 - l0) * w + (1 << _LINE_SHIFT >> 1)) >> _LINE_SHIFT


@compiled
def product(plane: np.ndarray, line: np.ndarray, first: int, second: int, along: int, component: int) -> int:
    """Return one component's plane times line, format PRODUCT.

    Parameters: the dense plane (second, first, components) and line (positions, components), and the sample's
    coordinates along the pair's axes, format POSITION.
    """
    i, j, k = first >> _CELL_SHIFT, second >> _CELL_SHIFT, along >> _CELL_SHIFT
    wx, wy, w = _weight(first), _weight(second), _weight(along)
    p = interpolate_plane(
        int(plane[j, i, component]),
        int(plane[j, i + 1, component]),
        int(plane[j + 1, i, component]),
        int(plane[j + 1, i + 1, component]),
        wx,
        wy,
    )
    return p * interpolate_line(int(line[k, component]), int(line[k + 1, component]), w)


@compiled
def products(plane: np.ndarray, line: np.ndarray, first: int, second: int, along: int, out: np.ndarray) -> None:
    """Write the `product` of every component of a pair."""
    i, j, k = first >> _CELL_SHIFT, second >> _CELL_SHIFT, along >> _CELL_SHIFT
    wx, wy, w = _weight(first), _weight(second), _weight(along)
    p00, p10, p01, p11 = plane[j, i], plane[j, i + 1], plane[j + 1, i], plane[j + 1, i + 1]
    l0, l1 = line[k], line[k + 1]
    for c in range(len(out)):
        p = interpolate_plane(int(p00[c]), int(p10[c]), int(p01[c]), int(p11[c]), wx, wy)
        out[c] = p * interpolate_line(int(l0[c]), int(l1[c]), w)


@compiled
def _weight(position: int) -> int:
    """Return the fraction of a position in its cell, ``FRACTION_BITS``."""
    return position >> _WEIGHT_SHIFT & _ONE - 1
