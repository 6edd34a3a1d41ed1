"""Turn a pixel into a ray in the factor grid: first sample, step, inverse step, view direction.

Source: facts of TensoRF's sampling (first sample where the ray enters the box, clamped to near and far), with
distances counted in steps and positions in factor cells.
"""

from dataclasses import dataclass, fields

import numpy as np

from nerf.contract.formats import (
    DIRECTION,
    DISTANCE,
    INVERSE,
    NORM,
    ORIGIN,
    POSITION,
    RECIPROCAL_DIVIDEND,
    SINE_FRACTION,
    SLOPE,
    STEP,
    VIEW_SCALE,
)
from nerf.contract.registers import View

ONE_STEP = 1 << DISTANCE.fraction


@dataclass(frozen=True)
class Rays:
    """Rays of n pixels, integers.

    Parameters
    ----------
    position : int64 array (n, 3)
        First sample, format POSITION.
    step : int64 array (n, 3)
        Format STEP.
    inverse : int64 array (n, 3)
        Steps per cell, format INVERSE.
    direction : int64 array (n, 3)
        View direction, ``SINE_FRACTION`` fraction bits.
    live : bool array (n,)
        Whether the ray meets the box between near and far; its first sample then fits POSITION.
    """

    position: np.ndarray
    step: np.ndarray
    inverse: np.ndarray
    direction: np.ndarray
    live: np.ndarray

    def part(self, which: slice) -> "Rays":
        """Some of them."""
        return Rays(*(getattr(self, field.name)[which] for field in fields(self)))


def set_up(x: np.ndarray, y: np.ndarray, view: View, grid: tuple[int, int, int]) -> Rays:
    """Return the rays of window pixels (x, y), int64 arrays of length n."""
    to_slope = DIRECTION.fraction - SLOPE.fraction
    slope_x = (view.slope_x + x * view.slope_column) >> to_slope
    slope_y = (view.slope_y + y * view.slope_row) >> to_slope
    square = (1 << 2 * SLOPE.fraction) + slope_x * slope_x + slope_y * slope_y
    norm = np.minimum(np.floor(np.sqrt(square.astype(np.float64))).astype(np.int64), NORM.high)
    inverse_norm = RECIPROCAL_DIVIDEND // norm

    raw = (
        view.vector("direction")
        + x[:, None] * view.vector("direction_column")
        + y[:, None] * view.vector("direction_row")
    )
    step = raw * inverse_norm[:, None] >> DIRECTION.fraction
    inverse = np.minimum(RECIPROCAL_DIVIDEND // np.maximum(np.abs(step), 1), INVERSE.high)
    inverse[step == 0] = INVERSE.high

    origin = view.vector("origin")
    top = (np.array(grid, np.int64) - 1) << ORIGIN.fraction
    forward = step >= 0
    entry = np.where(forward, -origin, origin - top) * inverse >> INVERSE.fraction
    leave = np.where(forward, top - origin, origin) * inverse >> INVERSE.fraction
    distance = np.clip(entry.max(axis=1), view.near, view.far)
    live = leave.min(axis=1) + ONE_STEP >= distance
    position = origin + (distance[:, None] * step >> STEP.fraction)
    live &= np.all((position >= POSITION.low) & (position <= POSITION.high), axis=1)
    direction = step * view.vector("view_scale") >> STEP.fraction + VIEW_SCALE.fraction - SINE_FRACTION
    return Rays(position, step, inverse, direction, live)
