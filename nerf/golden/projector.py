"""Project a cube's bounding ball to a conservative rectangle of window pixels.

The box around the ball, in camera space, is divided by its nearest or farthest depth, whichever widens the
rectangle; one pixel of margin covers all rounding. A ball that touches the camera's plane covers everything.
"""

from nerf.contract.config import CUBE
from nerf.contract.formats import ORIGIN
from nerf.contract.registers import AXES, PIXEL, View

RELATIVE_FRACTION = 8
"""Fraction bits of the cube centre relative to the camera, in cells."""
DEPTH_FRACTION = 12
IMAGE_FRACTION = PIXEL.fraction
INVERSE_FRACTION = 24
NEAREST = 1 << DEPTH_FRACTION
"""Depth below which the rectangle is everything: one mean cell."""


def project(cube: tuple[int, int, int], view: View) -> tuple[int, int, int, int] | None:
    """Return (first x, first y, last x, last y) in window pixels, clipped; None when nothing is covered."""
    relative = [
        (((CUBE * c + CUBE // 2) << ORIGIN.fraction) - view.values[f"origin_{axis}"])
        >> ORIGIN.fraction - RELATIVE_FRACTION
        for c, axis in zip(cube, AXES, strict=True)
    ]
    sums = {
        row: sum(r * view.values[f"projection_{row}_{axis}"] for r, axis in zip(relative, AXES, strict=True))
        for row in AXES
    }
    depth = sums["z"] >> 16 + RELATIVE_FRACTION - DEPTH_FRACTION
    if depth + view.radius <= 0:
        return None
    limits = (view.window_width - 1, view.window_height - 1)
    if depth - view.radius < NEAREST:
        return 0, 0, *limits
    inverse_near = (1 << INVERSE_FRACTION + DEPTH_FRACTION) // (depth - view.radius)
    inverse_far = (1 << INVERSE_FRACTION + DEPTH_FRACTION) // (depth + view.radius)
    first, last = [], []
    for row, limit in zip("xy", limits, strict=True):
        centre = sums[row] >> 8 + RELATIVE_FRACTION - IMAGE_FRACTION
        low, high = centre - view.image_radius, centre + view.image_radius
        low = low * (inverse_near if low < 0 else inverse_far) >> INVERSE_FRACTION
        high = high * (inverse_far if high < 0 else inverse_near) >> INVERSE_FRACTION
        offset = view.values[f"centre_{row}"]
        first.append(max((low + offset >> PIXEL.fraction) - 1, 0))
        last.append(min((high + offset >> PIXEL.fraction) + 1, limit))
    if first[0] > last[0] or first[1] > last[1]:
        return None
    return first[0], first[1], last[0], last[1]
