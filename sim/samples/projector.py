"""Projector: a cube becomes the rectangle of window pixels that it may cover. RTL: `rtl.samples.projector`."""

import numpy as np

from nerf.contract.formats import DEPTH_FRACTION, INVERSE_DEPTH_FRACTION
from nerf.golden.projector import IMAGE_FRACTION, NEAREST, centre, covered, inverse_depth
from rtnerf.base.compiled import compiled, merged
from sim.parts.activity import BUSY, IDLE, NEVER, OUTPUT
from sim.parts.streams import FOOTPRINT

BALL = 8
"""Cycles from a visit until it is a ball: three products a row, their sum."""
DEPTH_KNOWN = 1
"""Cycles of a ball until its depth has been looked at."""
TESTS = (5, 6, 7, 8)
"""Cycles until it is known that it ends left of or above the window, or begins right of or below it."""
WHOLE = 1
"""Cycles in the division, and in the cut, of what covers the whole window."""
DIVIDED = 15
"""Cycles until the depths are divided."""
CUT = 9
"""Cycles until the exact rectangle is known: four products, their comparison."""

_CYCLES = ("holds", "since", "test", "division", "cut", "keeps")
PLACE = np.dtype([(name, np.int64) for name in _CYCLES] + [("footprint", FOOTPRINT)])
"""A cube in a part: its first cycle there, its cycles in the test, in the division (0: it does not come there) and in
the cut, and whether it has a rectangle, which is known from the beginning."""
STATE = np.dtype([("activity", np.int64), ("visit", PLACE), ("ball", PLACE), ("depths", PLACE), ("cut", PLACE)])


def new() -> np.void:
    """Return an idle projector."""
    return np.zeros(1, STATE)[0]


@merged
def step(now: int, state, view, i, o) -> int:
    """Project cubes, one in each part."""
    visit, ball, depths, cut = state.visit, state.ball, state.depths, state.cut
    moved = False
    if cut.holds:
        if now >= cut.since + cut.cut and not (cut.keeps and o.valid):
            cut.holds = 0
            moved = True
    elif depths.holds and now >= depths.since + depths.division:
        _hand_on(depths, cut, now)
        depths.holds = 0
        moved = True
    if ball.holds and now >= ball.since + ball.test and not (ball.division and depths.holds):
        if ball.division:
            _hand_on(ball, depths, now)
        ball.holds = 0
        moved = True
    if visit.holds and now >= visit.since + BALL and not ball.holds:
        _hand_on(visit, ball, now + 1)
        visit.holds = 0
        moved = True
    if i.valid and not visit.holds:
        i.valid = 0
        visit.holds, visit.since = 1, now
        visit.test, visit.division, visit.cut, visit.keeps = fate(view, i, visit.footprint)
        moved = True
    # The registers change at the end of the cycle before.
    if cut.holds and cut.keeps and now + 1 == cut.since + cut.cut:
        _copy(cut.footprint, o)
        o.valid = 1
        moved = True

    wake = now + 1 if moved else NEVER
    if visit.holds and now < visit.since + BALL:
        wake = min(wake, visit.since + BALL)
    if ball.holds and now < ball.since + ball.test:
        wake = min(wake, ball.since + ball.test)
    if depths.holds and now < depths.since + depths.division:
        wake = min(wake, depths.since + depths.division)
    if cut.holds and now < cut.since + cut.cut:
        wake = min(wake, cut.since + cut.cut - (now + 1 < cut.since + cut.cut))
    state.activity = BUSY if wake != NEVER else OUTPUT if cut.holds else IDLE
    return wake


@compiled
def _hand_on(source, target, since: int) -> None:
    """Give a cube to the next part."""
    target.holds, target.since = 1, since
    target.test, target.division, target.cut = source.test, source.division, source.cut
    target.keeps = source.keeps
    _copy(source.footprint, target.footprint)


@compiled
def _copy(source, target) -> None:
    """Copy a footprint."""
    target.x, target.y, target.z, target.rank, target.last = source.x, source.y, source.z, source.rank, source.last
    target.first_x, target.first_y = source.first_x, source.first_y
    target.last_x, target.last_y = source.last_x, source.last_y


@compiled
def fate(view, i, o) -> tuple[int, int, int, int]:
    """Write a visit's footprint; return its cycles in test, division and cut, and whether there is one."""
    end_x, end_y = view.window_width - 1, view.window_height - 1
    o.x, o.y, o.z, o.rank, o.last = i.x, i.y, i.z, i.rank, i.last
    o.first_x, o.first_y, o.last_x, o.last_y = 0, 0, end_x, end_y
    if i.last:
        return DEPTH_KNOWN, WHOLE, WHOLE, 1
    x, y, depth = centre(i.x, i.y, i.z, view.origin, view.projection_x, view.projection_y, view.projection_z)
    near, far = depth - view.radius, depth + view.radius
    if far <= 0:
        return DEPTH_KNOWN, 0, 0, 0
    if near < NEAREST:
        return DEPTH_KNOWN, WHOLE, WHOLE, 1
    low_x, high_x = x - view.image_radius_x, x + view.image_radius_x
    low_y, high_y = y - view.image_radius_y, y + view.image_radius_y
    if _ends_before(high_x, near, far, view.centre_x):
        return TESTS[0], 0, 0, 0
    if _ends_before(high_y, near, far, view.centre_y):
        return TESTS[1], 0, 0, 0
    if _begins_behind(low_x, near, far, end_x, view.centre_x):
        return TESTS[2], 0, 0, 0
    if _begins_behind(low_y, near, far, end_y, view.centre_y):
        return TESTS[3], 0, 0, 0
    inverse_near, inverse_far = inverse_depth(near), inverse_depth(far)
    first_x, last_x = covered(low_x, high_x, inverse_near, inverse_far, view.centre_x)
    first_y, last_y = covered(low_y, high_y, inverse_near, inverse_far, view.centre_y)
    o.first_x, o.last_x = max(first_x, 0), min(last_x, end_x)
    o.first_y, o.last_y = max(first_y, 0), min(last_y, end_y)
    return TESTS[3], DIVIDED, CUT, o.first_x <= o.last_x and o.first_y <= o.last_y


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
