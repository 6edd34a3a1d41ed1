"""What is visible of pairs of samples, one by one. RTL: `rtl.shading.serialiser`."""

import numpy as np

from rtnerf.base.compiled import merged
from sim.parts.activity import BUSY, IDLE, NEVER, OUTPUT
from sim.parts.streams import copy_sample, second_alone

STATE = np.dtype([("activity", np.int64)])


def new() -> np.void:
    """Return a serialiser that waits for samples."""
    return np.zeros(1, STATE)[0]


@merged
def step(now: int, state, i, o) -> int:
    """Hand on a sample a cycle, the first of a pair first."""
    if not i.valid:
        state.activity = IDLE
        return NEVER
    if o.valid:
        state.activity = OUTPUT
        return NEVER
    copy_sample(i, o)
    o.valid, o.paired = 1, 0
    if i.paired:
        second_alone(i)
    else:
        i.valid = 0
    state.activity = BUSY
    return now + 1
