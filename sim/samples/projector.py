"""Projector: a cube becomes the rectangle of window pixels that it may cover. RTL: `rtl.samples.projector`."""

import numpy as np

from nerf.contract.formats import DEPTH_FRACTION, INVERSE_DEPTH_FRACTION
from nerf.golden.projector import IMAGE_FRACTION, NEAREST, centre, covered, inverse_depth
from rtnerf.base.compiled import compiled
from sim.parts.activity import BUSY, IDLE, NEVER, OUTPUT

IDLES, WORKS, OFFERS = range(3)

AFTER_LAST = 1
"""Cycles from the end of the walk at the input to the output."""
AFTER_DEPTH = 6
"""Cycles from a visit until its depth has been looked at: three sums, the edges, the comparison."""
AFTER_TEST_BEFORE = 7
"""Cycles until a cube is dropped that ends left of or above the window."""
AFTER_TEST_BEHIND = 8
"""Cycles until a cube is dropped that begins right of or below the window."""
AFTER_DIVISION = 32
"""Cycles until the exact rectangle is known: the tests, 20 of a division, two products, their comparison."""

STATE = np.dtype([(name, np.int64) for name in ("activity", "phase", "until", "keeps")])
"""``until``: cycle in which the cube's fate is known; ``keeps``: it has a rectangle."""


def new() -> np.void:
    """Return an idle projector."""
    return np.zeros(1, STATE)[0]


@compiled
def step(now: int, state, view, i, o) -> int:
    """Project one cube after the other."""
    if state.phase == OFFERS:
        if o.valid:
            state.activity = OUTPUT
            return NEVER
        state.phase = IDLES
        state.activity = BUSY
        return now + 1
    if state.phase == IDLES:
        if not i.valid:
            state.activity = IDLE
            return NEVER
        i.valid = 0
        cycles, state.keeps = fate(view, i, o)
        state.until = now + cycles
        state.phase = WORKS
    state.activity = BUSY
    # The registers change at the end of the cycle before.
    if now + 1 < state.until:
        return state.until - 1
    state.phase = IDLES
    if state.keeps:
        o.valid = 1
        state.phase = OFFERS
    return now + 1


@compiled
def fate(view, i, o) -> tuple[int, int]:
    """Write a visit's footprint to the output register; return the cycles it takes, and whether there is one."""
    end_x, end_y = view.window_width - 1, view.window_height - 1
    o.x, o.y, o.z, o.rank, o.last = i.x, i.y, i.z, i.rank, i.last
    o.first_x, o.first_y, o.last_x, o.last_y = 0, 0, end_x, end_y
    if i.last:
        return AFTER_LAST, 1
    x, y, depth = centre(i.x, i.y, i.z, view.origin, view.projection_x, view.projection_y, view.projection_z)
    near, far = depth - view.radius, depth + view.radius
    if far <= 0:
        return AFTER_DEPTH, 0
    if near < NEAREST:
        return AFTER_DEPTH, 1
    low_x, high_x = x - view.image_radius_x, x + view.image_radius_x
    low_y, high_y = y - view.image_radius_y, y + view.image_radius_y
    if _ends_before(high_x, near, far, view.centre_x) or _ends_before(high_y, near, far, view.centre_y):
        return AFTER_TEST_BEFORE, 0
    if _begins_behind(low_x, near, far, end_x, view.centre_x) or _begins_behind(low_y, near, far, end_y, view.centre_y):
        return AFTER_TEST_BEHIND, 0
    inverse_near, inverse_far = inverse_depth(near), inverse_depth(far)
    first_x, last_x = covered(low_x, high_x, inverse_near, inverse_far, view.centre_x)
    first_y, last_y = covered(low_y, high_y, inverse_near, inverse_far, view.centre_y)
    o.first_x, o.last_x = max(first_x, 0), min(last_x, end_x)
    o.first_y, o.last_y = max(first_y, 0), min(last_y, end_y)
    if o.first_x <= o.last_x and o.first_y <= o.last_y:
        return AFTER_DIVISION, 1
    # The place of the output is passed in any case.
    return AFTER_DIVISION + 1, 0


@compiled
def _ends_before(high: int, near: int, far: int, offset: int) -> bool:
    """Tell, without division, that a ball ends before the window's first column (or row); rounding counts for it."""
    if high < 0:
        bound, depth = (high >> INVERSE_DEPTH_FRACTION) - (1 << IMAGE_FRACTION) - offset, far
    else:
        bound, depth = -(1 << IMAGE_FRACTION) - offset, near
    return high << DEPTH_FRACTION < bound * depth


@compiled
def _begins_behind(low: int, near: int, far: int, end: int, offset: int) -> bool:
    """Tell, without division, that a ball begins behind the window's last column (or row); rounding counts for it."""
    if low < 0:
        bound, depth = (end + 2 << IMAGE_FRACTION) - offset, near
    else:
        bound, depth = (end + 2 << IMAGE_FRACTION) - offset + (low >> INVERSE_DEPTH_FRACTION) + 1, far
    return low << DEPTH_FRACTION >= bound * depth
