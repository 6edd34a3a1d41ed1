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

VECTOR = 16
"""Numbers at a time: a loop, or a product of matrices, over a multiple of it leaves nothing to do one by one."""


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
def split(position, vertices):
    """Cell and fraction for linear interpolation, clamped to the grid."""
    cell = min(max(np.floor(position), _ZERO), np.float32(vertices - 2))
    return np.int32(cell), min(max(position - cell, _ZERO), _ONE)


@compiled(fastmath={"reassoc", "contract"}, forceinline=True)
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


@compiled(fastmath={"contract"}, forceinline=True)
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


@inlined
def corners(plane, row, column, first):
    """The components from ``first`` of the four vertices around a point of a plane, as many as `VECTOR`."""
    end = first + VECTOR
    return (
        plane[row, column, first:end],
        plane[row, column + 1, first:end],
        plane[row + 1, column, first:end],
        plane[row + 1, column + 1, first:end],
    )


@inlined
def shares(down, across):
    """Weights of the four vertices around a point of a plane."""
    return (_ONE - down) * (_ONE - across), (_ONE - down) * across, down * (_ONE - across), down * across


@compiled(fastmath={"reassoc", "contract"}, forceinline=True)
def feature_sum(planes, lines, i, fx, j, fy, k, fz):
    """Sum over the components of the three pairs of bilinear plane times linear line, at cell (i, j, k) and fractions.

    Every pair has equally many components, a multiple of `VECTOR`.
    """
    a0, b0, c0, d0 = shares(fy, fx)
    a1, b1, c1, d1 = shares(fz, fx)
    a2, b2, c2, d2 = shares(fz, fy)
    total = _ZERO
    for first in range(0, planes[0].shape[2], VECTOR):
        end = first + VECTOR
        e0, f0, g0, h0 = corners(planes[0], j, i, first)
        e1, f1, g1, h1 = corners(planes[1], k, i, first)
        e2, f2, g2, h2 = corners(planes[2], k, j, first)
        l0, m0 = lines[0][k, first:end], lines[0][k + 1, first:end]
        l1, m1 = lines[1][j, first:end], lines[1][j + 1, first:end]
        l2, m2 = lines[2][i, first:end], lines[2][i + 1, first:end]
        for n in range(VECTOR):
            total += (a0 * e0[n] + b0 * f0[n] + c0 * g0[n] + d0 * h0[n]) * ((_ONE - fz) * l0[n] + fz * m0[n])
            total += (a1 * e1[n] + b1 * f1[n] + c1 * g1[n] + d1 * h1[n]) * ((_ONE - fy) * l1[n] + fy * m1[n])
            total += (a2 * e2[n] + b2 * f2[n] + c2 * g2[n] + d2 * h2[n]) * ((_ONE - fx) * l2[n] + fx * m2[n])
    return total
