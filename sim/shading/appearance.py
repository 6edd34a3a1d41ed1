"""Pair each visible sample with its view direction. RTL: `rtl.shading.appearance`.

The vectors do not pass through here: their rounding takes no cycle, so the interpolator's record of vectors is the
network's.
"""

import numpy as np

from rtnerf.base.compiled import merged
from sim.parts.activity import BUSY, IDLE, NEVER, OUTPUT

STATE = np.dtype([("activity", np.int64)])


def new() -> np.void:
    """Return an appearance block that waits for a sample."""
    return np.zeros(1, STATE)[0]


@merged
def step(now: int, state, i_sample, o_job) -> int:
    """Accept a sample and look its direction up; its job is offered from the next cycle on."""
    if not i_sample.valid:
        state.activity = IDLE
        return NEVER
    if o_job.valid:
        state.activity = OUTPUT
        return NEVER
    o_job.pixel = i_sample.pixel
    o_job.weight = i_sample.value
    o_job.last = i_sample.last
    o_job.valid = 1
    i_sample.valid = 0
    state.activity = BUSY
    return now + 1
