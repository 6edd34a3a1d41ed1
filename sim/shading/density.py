"""From a total of the tree to the alpha of a sample. RTL: `rtl.shading.density`.

A vector's products are added by threes, and it is a request of the tree in the next cycle. The tree's responses,
one for each component group of a sample, count, but what they say is not read: a sample's value is its alpha from the
beginning (`sim.samples.marches`).
"""

import numpy as np

from nerf.contract.config import AcceleratorConfig
from rtnerf.base.compiled import merged
from sim.parts.activity import BUSY, IDLE, NEVER, OUTPUT, TREE
from sim.parts.streams import SAMPLE, copy_sample

PLACES = 16
"""Samples that wait for their totals."""
LAST_STAGE = 64
"""Stage bit: the register before the output. Sum, product, scaled sum, position, table row, entry, product, output: 8
cycles."""
RING = 32
"""Room for the samples that wait and those in the stages."""

STATE = np.dtype(
    [(name, np.int64) for name in ("activity", "groups", "group", "waiting", "taken", "begun", "ended", "stages")]
    + [("samples", SAMPLE, (RING,))]
)
"""``groups``: of components; ``group``: totals of the sample at the head that are there;
``waiting``: samples in the queue; ``taken``, ``begun``, ``ended``: samples so far into the queue, into the stages, out
of them; ``stages``: a bit for each stage that holds a sample."""


def new(config: AcceleratorConfig) -> np.void:
    """Return an empty density block."""
    state = np.zeros(1, STATE)[0]
    state["groups"] = config.groups["density"]
    return state


@merged
def step(now: int, state, i_sample, i_vector, request, response, o) -> int:
    """Take a sample, a vector and a total, begin and end a sample, all in one cycle.

    Parameters
    ----------
    i_vector, request : TREE_REQUEST
    response : TREE_RESPONSE
    """
    waiting = state.waiting
    stages = state.stages
    if not (i_sample.valid or i_vector.valid or waiting or stages):
        state.activity = IDLE
        return NEVER
    advance = not o.valid
    moved = False

    if i_vector.valid and not request.valid:
        i_vector.valid = 0
        request.valid = 1
        moved = True

    if i_sample.valid and waiting != PLACES:
        copy_sample(i_sample, state.samples[state.taken & RING - 1])
        i_sample.valid = 0
        state.taken += 1
        state.waiting += 1
        moved = True

    complete = False
    begins = 0
    if waiting:
        sample = state.samples[state.begun & RING - 1]
        is_part = response.valid and not sample.last and state.group != state.groups - 1
        complete = not is_part and (sample.last or response.valid)
        if is_part and advance:
            response.valid = 0
            state.group += 1
            moved = True
        if complete and advance:
            begins = 1
            state.begun += 1
            state.waiting -= 1
            if not sample.last:
                response.valid = 0
                state.group = 0

    if advance and (stages or begins):
        if stages & LAST_STAGE:
            copy_sample(state.samples[state.ended & RING - 1], o)
            o.valid = 1
            state.ended += 1
        state.stages = (stages << 1 | begins) & (2 * LAST_STAGE - 1)
        moved = True

    if moved:
        state.activity = BUSY
        return now + 1
    state.activity = OUTPUT if not advance and (stages or complete) else TREE
    return NEVER
