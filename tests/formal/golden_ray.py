"""The golden ray set-up of one pixel, in integers of any size, so that a proof can take it over.

`nerf.golden.ray_setup` computes many pixels at once, in arrays; `tests/formal/test_ray_unit.py` compares the two.
"""

import numpy as np

from nerf.contract.formats import (
    DIRECTION,
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
from nerf.golden.ray_setup import ONE_STEP

TO_SLOPE = DIRECTION.fraction - SLOPE.fraction
TO_SINE = STEP.fraction + VIEW_SCALE.fraction - SINE_FRACTION


def slope(first, place, each):
    return first + place * each >> TO_SLOPE


def squared_length(slope_x, slope_y):
    return (1 << 2 * SLOPE.fraction) + slope_x * slope_x + slope_y * slope_y


def raw_direction(x, y, first, column, row):
    return first + x * column + y * row


def scaled(raw, inverse_norm):
    return raw * inverse_norm >> DIRECTION.fraction


def inverse_of(step, quotient):
    return INVERSE.high if step == 0 else min(quotient, INVERSE.high)


def met(step, inverse, origin, top):
    return (-origin if step >= 0 else origin - top) * inverse >> INVERSE.fraction


def left(step, inverse, origin, top):
    return (top - origin if step >= 0 else origin) * inverse >> INVERSE.fraction


def first_distance(entry, near, far):
    return min(max(entry, near), far)


def place(origin, distance, step):
    return origin + (distance * step >> STEP.fraction)


def sine_of(step, view_scale):
    return step * view_scale >> TO_SINE


def restated(x: int, y: int, view: dict, grid: list[int]) -> tuple:
    slopes = [slope(view[f"slope_{a}"], at, view[f"slope_{of}"]) for a, at, of in (("x", x, "column"), ("y", y, "row"))]
    norm = min(int(np.floor(np.sqrt(np.float64(squared_length(*slopes))))), NORM.high)
    steps, inverses, entries, leaves = [], [], [], []
    for axis in range(3):
        raw = raw_direction(x, y, *(view[name][axis] for name in ("direction", "direction_column", "direction_row")))
        step = scaled(raw, RECIPROCAL_DIVIDEND // norm)
        inverse = inverse_of(step, RECIPROCAL_DIVIDEND // max(abs(step), 1))
        box = (step, inverse, view["origin"][axis], grid[axis] - 1 << ORIGIN.fraction)
        steps.append(step)
        inverses.append(inverse)
        entries.append(met(*box))
        leaves.append(left(*box))
    distance = first_distance(max(entries), view["near"], view["far"])
    positions = [place(view["origin"][axis], distance, steps[axis]) for axis in range(3)]
    live = min(leaves) + ONE_STEP >= distance and all(POSITION.low <= p <= POSITION.high for p in positions)
    return positions, steps, inverses, [sine_of(steps[axis], view["view_scale"][axis]) for axis in range(3)], live
