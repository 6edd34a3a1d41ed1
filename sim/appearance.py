"""Pair each visible sample with its view direction. RTL: `rtl.appearance`.

The vectors do not pass through here: their rounding takes no cycle, so the interpolator's record of vectors is the
network's.
"""

import numpy as np

from sim.activity import BUSY, IDLE, NEVER, OUTPUT
from sim.compiled import compiled

STATE = np.dtype([("activity", np.int64), ("looked_up", np.int64)])
"""``looked_up``: the direction of the sample at the head is there, and its job offered."""


def new() -> np.void:
    """Return an appearance block that waits for a sample."""
    return np.zeros(1, STATE)[0]


@compiled
def step(now: int, state, i_sample, o_job) -> int:
    """Look up in one cycle, offer the job from the next; the sample is accepted with it."""
    if not i_sample.valid:
        state.activity = IDLE
        return NEVER
    if not state.looked_up:
        o_job.pixel = i_sample.pixel
        o_job.weight = i_sample.value
        o_job.last = i_sample.last
        o_job.valid = 1
        state.looked_up = 1
    elif o_job.valid:
        state.activity = OUTPUT
        return NEVER
    else:
        i_sample.valid = 0
        state.looked_up = 0
    state.activity = BUSY
    return now + 1
