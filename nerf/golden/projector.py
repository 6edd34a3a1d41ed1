"""Project a cube's bounding ball to a conservative rectangle of window pixels.

The box around the ball, in camera space, is divided by its nearest or farthest depth, whichever widens the
rectangle; one pixel of margin covers all rounding. A ball that touches the camera's plane covers everything.

All values fit int64 for whatever the registers hold: the largest, an image edge times an inverse depth, is below
``2**37 * 2**24``.
"""

import numpy as np

from nerf.contract.config import CUBE
from nerf.contract.formats import (
    DEPTH_FRACTION,
    INVERSE_DEPTH_FRACTION,
    ORIGIN,
    PIXEL,
    PROJECTION_DEPTH,
    PROJECTION_IMAGE,
    RELATIVE_FRACTION,
)
from nerf.contract.registers import AXES, View
from rtnerf.base.compiled import compiled

IMAGE_FRACTION = PIXEL.fraction
NEAREST = 1 << DEPTH_FRACTION
"""Depth below which the rectangle is everything: one mean cell."""

_HALF = CUBE // 2
_ORIGIN_FRACTION = ORIGIN.fraction
_TO_RELATIVE = ORIGIN.fraction - RELATIVE_FRACTION
_TO_IMAGE = PROJECTION_IMAGE.fraction + RELATIVE_FRACTION - IMAGE_FRACTION
_TO_DEPTH = PROJECTION_DEPTH.fraction + RELATIVE_FRACTION - DEPTH_FRACTION


@compiled
def centre(
    x: int,
    y: int,
    z: int,
    origin: np.ndarray,
    projection_x: np.ndarray,
    projection_y: np.ndarray,
    projection_z: np.ndarray,
) -> tuple[int, int, int]:
    """Return a cube's centre in camera space: image x and y times depth (`IMAGE_FRACTION`), depth (`DEPTH_FRACTION`).

    ``origin`` and the rows of the projection are camera registers, three integers each.
    """
    along_x = ((CUBE * x + _HALF << _ORIGIN_FRACTION) - origin[0]) >> _TO_RELATIVE
    along_y = ((CUBE * y + _HALF << _ORIGIN_FRACTION) - origin[1]) >> _TO_RELATIVE
    along_z = ((CUBE * z + _HALF << _ORIGIN_FRACTION) - origin[2]) >> _TO_RELATIVE
    return (
        (along_x * projection_x[0] + along_y * projection_x[1] + along_z * projection_x[2]) >> _TO_IMAGE,
        (along_x * projection_y[0] + along_y * projection_y[1] + along_z * projection_y[2]) >> _TO_IMAGE,
        (along_x * projection_z[0] + along_y * projection_z[1] + along_z * projection_z[2]) >> _TO_DEPTH,
    )


@compiled
def inverse_depth(depth: int) -> int:
    """Return ``1 / depth`` with `INVERSE_DEPTH_FRACTION` fraction bits, of a positive depth."""
    return (1 << INVERSE_DEPTH_FRACTION + DEPTH_FRACTION) // depth


@compiled
def covered(low: int, high: int, inverse_near: int, inverse_far: int, offset: int) -> tuple[int, int]:
    """Return the first and the last pixel along one image axis between two edges times depth, not clipped.

    ``offset``: of the optical axis, format `PIXEL`.
    """
    first = low * (inverse_near if low < 0 else inverse_far) >> INVERSE_DEPTH_FRACTION
    last = high * (inverse_far if high < 0 else inverse_near) >> INVERSE_DEPTH_FRACTION
    return (first + offset >> IMAGE_FRACTION) - 1, (last + offset >> IMAGE_FRACTION) + 1


def project(cube: tuple[int, int, int], view: View) -> tuple[int, int, int, int] | None:
    """Return (first x, first y, last x, last y) in window pixels, clipped; None when nothing is covered."""
    rows = (view.vector(f"projection_{row}") for row in AXES)
    *image, depth = centre(*cube, view.vector("origin"), *rows)
    if depth + view.radius <= 0:
        return None
    limits = (view.window_width - 1, view.window_height - 1)
    if depth - view.radius < NEAREST:
        return 0, 0, *limits
    near, far = inverse_depth(depth - view.radius), inverse_depth(depth + view.radius)
    first, last = [], []
    offsets, radii = (view.centre_x, view.centre_y), (view.image_radius_x, view.image_radius_y)
    for middle, limit, offset, radius in zip(image, limits, offsets, radii, strict=True):
        edges = covered(middle - radius, middle + radius, near, far, offset)
        first.append(max(edges[0], 0))
        last.append(min(edges[1], limit))
    if first[0] > last[0] or first[1] > last[1]:
        return None
    return first[0], first[1], last[0], last[1]
