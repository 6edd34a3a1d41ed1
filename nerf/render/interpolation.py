"""Compiled interpolation of factors on a grid, as the renderers of L0 and L1 do it, in float32.

Positions are computed with the operations, in the order, of the uniform renderer. Factors are stored channel last,
planes (N[second], N[first], C) and lines (N, C), so that a corner is one run of memory.
"""

import math

import numpy as np

from rtnerf.base.compiled import compiled, inlined

_ZERO = np.float32(0)
_ONE = np.float32(1)
_HALF = np.float32(0.5)


@inlined
def grid_position(point, lower, scale, vertices):
    """Position in vertices, 0..vertices - 1, of one coordinate; non-decreasing in ``point``."""
    normalised = (point - lower) * scale - _ONE
    return (normalised + _ONE) * _HALF * np.float32(vertices - 1)


@inlined
def cube_index(position, vertices, edge):
    """Cube along one axis that holds a position in vertices; the outermost ones are unbounded."""
    cell = min(max(math.floor(position), 0), vertices - 2)
    return cell // edge


@inlined
def lies_in(position, vertices, first, edge):
    """Whether the cube that begins with cell ``first`` is the one that holds a position, see `cube_index`."""
    cell = min(max(math.floor(position), 0), vertices - 2)
    return first <= cell < first + edge


@inlined
def split(position, vertices):
    """Cell and fraction for linear interpolation, clamped to the grid."""
    cell = min(max(math.floor(position), 0), vertices - 2)
    fraction = min(max(position - np.float32(cell), _ZERO), _ONE)
    return cell, fraction


@compiled(fastmath={"reassoc", "contract"})
def pair_sum(plane, line, row, down, column, across, index, along):
    """Sum over components of bilinear plane times linear line."""
    upper, lower = plane[row], plane[row + 1]
    w00 = (_ONE - down) * (_ONE - across)
    w01 = (_ONE - down) * across
    w10 = down * (_ONE - across)
    w11 = down * across
    total = _ZERO
    for c in range(plane.shape[2]):
        on_plane = (
            w00 * upper[column, c] + w01 * upper[column + 1, c] + w10 * lower[column, c] + w11 * lower[column + 1, c]
        )
        total += on_plane * ((_ONE - along) * line[index, c] + along * line[index + 1, c])
    return total


@compiled(fastmath={"contract"})
def pair_products(plane, line, row, down, column, across, index, along, out):
    """Products over components of bilinear plane and linear line, written to ``out`` (C,)."""
    upper, lower = plane[row], plane[row + 1]
    w00 = (_ONE - down) * (_ONE - across)
    w01 = (_ONE - down) * across
    w10 = down * (_ONE - across)
    w11 = down * across
    for c in range(plane.shape[2]):
        on_plane = (
            w00 * upper[column, c] + w01 * upper[column + 1, c] + w10 * lower[column, c] + w11 * lower[column + 1, c]
        )
        out[c] = on_plane * ((_ONE - along) * line[index, c] + along * line[index + 1, c])
