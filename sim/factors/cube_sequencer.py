"""Samples pass in the same cycle; a change of cube is announced first. RTL: `rtl.factors.cube_sequencer`."""

import numpy as np

from nerf.golden.sample_generator import CUBE_SHIFT
from rtnerf.base.compiled import merged
from sim.parts.activity import BUSY, IDLE, NEVER, OUTPUT
from sim.parts.streams import copy_sample

STATE = np.dtype([(name, np.int64) for name in ("activity", "announced", "announcing", "x", "y", "z")])
"""``x``, ``y``, ``z``: the cube announced last, if ``announced``; ``announcing``: the head's is offered."""


def new() -> np.void:
    """Return a sequencer that has announced nothing."""
    return np.zeros(1, STATE)[0]


@merged
def offer(now: int, state, i, o, o_cube) -> None:
    """Offer the sample, or the announcement of its cube; an announcement taken in the cycle before counts now."""
    if not i.valid:
        return
    x, y, z = i.x >> CUBE_SHIFT, i.y >> CUBE_SHIFT, i.z >> CUBE_SHIFT
    if state.announcing and not o_cube.valid:
        state.announcing = 0
        state.announced = 1
        state.x, state.y, state.z = x, y, z
    if i.last or (state.announced and x == state.x and y == state.y and z == state.z):
        copy_sample(i, o)
        o.valid = 1
    else:
        o_cube.x, o_cube.y, o_cube.z = x, y, z
        o_cube.valid = 1
        state.announcing = 1


@merged
def step(now: int, state, i, o, o_cube) -> int:
    """Accept the sample if it has been accepted behind. Who takes the announcement may step before or after."""
    if not i.valid:
        state.activity = IDLE
        return NEVER
    blocked = o_cube.valid if state.announcing else o.valid
    if blocked:
        state.activity = OUTPUT
        return NEVER
    if not state.announcing:
        i.valid = 0
    state.activity = BUSY
    return now + 1
