"""Interpolate factors at a sample: bilinear in the plane, linear in the line, and their product."""

from numba import njit


@njit(cache=True)
def interpolate_plane(p00: int, p10: int, p01: int, p11: int, wx: int, wy: int) -> int:
    """Return the plane value between four factors, format INTERPOLATED; weights have 8 fraction bits."""
    low = p00 * 256 + (p10 - p00) * wx
    high = p01 * 256 + (p11 - p01) * wx
    return (low * 256 + (high - low) * wy + 2048) >> 12


@njit(cache=True)
def interpolate_line(l0: int, l1: int, w: int) -> int:
    """Return the line value between two factors, format INTERPOLATED."""
    return (l0 * 256 + (l1 - l0) * w + 8) >> 4


@njit(cache=True)
def product(plane, line, first: int, second: int, along: int, component: int) -> int:
    """Return one component's plane times line, format PRODUCT.

    Parameters: the dense plane (second, first, components) and line (positions, components), and the sample's
    coordinates along the pair's axes, format POSITION.
    """
    i, j, k = first >> 16, second >> 16, along >> 16
    wx, wy, w = first >> 8 & 255, second >> 8 & 255, along >> 8 & 255
    p = interpolate_plane(
        int(plane[j, i, component]),
        int(plane[j, i + 1, component]),
        int(plane[j + 1, i, component]),
        int(plane[j + 1, i + 1, component]),
        wx,
        wy,
    )
    return p * interpolate_line(int(line[k, component]), int(line[k + 1, component]), w)
