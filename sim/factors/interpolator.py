"""The cube gate and the pipeline of an interpolator, without its arithmetic. RTL: `rtl.factors.interpolator`.

What the vectors hold is in the golden values of who needs them. Their record may be any: the density interpolator's is
the tree's `TREE_REQUEST` (each vector becomes a request, all zeros but ``valid``: a sum), the appearance interpolator's
is the network's `PRODUCTS`, which what lies between passes in the same cycle.
"""

import numpy as np

from nerf.golden.sample_generator import CUBE_SHIFT
from rtnerf.base.compiled import merged
from sim.parts.activity import BUSY, FACTORS, IDLE, NEVER, OUTPUT
from sim.parts.streams import copy_sample

LAST_STAGE = 64
"""Stage bit: the register before the output. A part is put out 8 cycles after its read: 7 stages, and the output."""

STATE = np.dtype(
    [
        (name, np.int64)
        for name in ("activity", "steps", "parts", "number", "made", "has_current", "x", "y", "z", "stages")
    ]
)
"""``steps``: of a sample, ``parts`` a vector; ``number``: the next one; ``made``: parts of the next vector; ``x``,
``y``, ``z``: the current cube; ``stages``: a bit for each stage that holds a part."""


def new(groups: int, parts: int = 1) -> np.void:
    """Return an interpolator without a cube, of so many component groups, a vector of each in so many steps."""
    state = np.zeros(1, STATE)[0]
    state["steps"], state["parts"] = groups * parts, parts
    return state


@merged
def step(now: int, state, i, loaded, finished, o_sample, o_vector) -> int:
    """Begin a part of a vector a cycle for the sample at the head, if its cube is the current one; else change it."""
    stages = state.stages
    has_current = state.has_current
    if not (i.valid or stages or (loaded.valid and not has_current)):
        state.activity = IDLE
        return NEVER
    advance = not o_vector.valid
    room = not o_sample.valid
    asks = i.valid and not i.last
    moved = False

    if not has_current and loaded.valid:
        state.x, state.y, state.z = loaded.x, loaded.y, loaded.z
        state.has_current = 1
        loaded.valid = 0
        moved = True
    here = (
        asks
        and state.has_current
        and i.x >> CUBE_SHIFT == state.x
        and i.y >> CUBE_SHIFT == state.y
        and i.z >> CUBE_SHIFT == state.z
    )
    if asks and has_current and not here:
        state.has_current = 0
        finished.set = 1
        moved = True

    read = 0
    if here and advance and (state.number or room):
        read = 1
        if state.number == 0:
            copy_sample(i, o_sample)
            o_sample.valid = 1
        state.number += 1
        if state.number == state.steps:
            state.number = 0
            i.valid = 0
    elif i.valid and i.last and room:
        copy_sample(i, o_sample)
        o_sample.valid = 1
        i.valid = 0
        moved = True

    if advance and (stages or read):
        if stages & LAST_STAGE:
            state.made += 1
            if state.made == state.parts:
                state.made = 0
                o_vector.valid = 1
        state.stages = (stages << 1 | read) & (2 * LAST_STAGE - 1)
        moved = True

    if moved:
        state.activity = BUSY
        return now + 1
    state.activity = FACTORS if asks and not has_current and not stages else OUTPUT
    return NEVER
