"""Frame controller: load the scene, then have the tiles rendered. RTL: `rtl.control.frame_controller`."""

import numpy as np

from rtnerf.base.compiled import merged
from sim.parts.activity import BUSY, IDLE, MEMORY, NEVER

IDLES, RESETS, LOADING, RENDERING, FINISHES = range(5)
"""The cycle in which the scene loader is started counts with the phase in which it works."""

STATE = np.dtype([(name, np.int64) for name in ("activity", "phase")])


def new() -> np.void:
    """Return an idle controller."""
    return np.zeros(1, STATE)[0]


@merged
def step(now: int, state, start, load, render, loaded, rendered, bus_idle: int, finished) -> int:
    """Sequence a frame: ``RESET`` in the cycle after ``start``, the strobe ``finished`` in the frame's last cycle.

    ``load`` is set for the next cycle, ``render`` for this one; ``bus_idle``: whether nothing was on the buses or
    outstanding when the cycle began.
    """
    phase = state.phase
    state.activity = BUSY
    if phase == IDLES:
        if not start.set:
            state.activity = IDLE
            return NEVER
        start.set = 0
        state.phase = RESETS
    elif phase == RESETS:
        load.set = 1
        state.phase = LOADING
    elif phase == LOADING:
        if not loaded.set:
            return NEVER
        loaded.set = 0
        render.set = 1
        state.phase = RENDERING
    elif phase == RENDERING:
        if not rendered.set:
            return NEVER
        rendered.set = 0
        state.phase = FINISHES
    else:
        if not bus_idle:
            state.activity = MEMORY
            return now + 1
        finished.set = 1
        state.phase = IDLES
    return now + 1
