"""Transmittance of a tile's pixels, composited sample by sample. RTL: `rtl.compositor`.

Two arrays by pixel (row * tile + column) are shared: ``transmittance``, and ``terminated_from``: a look-up of the flag
in this cycle or a later one (its answer comes a cycle after) finds the pixel terminated. The ray set-up initialises a
pixel in both: 1.0, and `NEVER` if its ray is live, else 0.
"""

import numpy as np

from nerf.contract.formats import UNIT
from nerf.golden.compositor import composite
from sim.activity import BUSY, IDLE, NEVER, OUTPUT
from sim.compiled import compiled
from sim.streams import copy_sample

READ, DROP, WRITE = range(3)
"""Look at the sample, and at its pixel's state; drop it a cycle later, or write two cycles later."""
DROP_CYCLES = 1
WRITE_CYCLES = 2

STATE = np.dtype(
    [(name, np.int64) for name in ("activity", "phase", "since", "weight", "behind", "visible", "composited")]
)
"""``since``: first cycle in ``phase``; ``behind``: transmittance behind the sample; ``composited``: samples so far."""


def new() -> np.void:
    """Return a compositor that waits for a sample."""
    return np.zeros(1, STATE)[0]


@compiled
def initialise(transmittance, terminated_from, pixel: int, live: int) -> None:
    """Start a pixel at full transmittance; terminated from the start if its ray does not meet the grid."""
    transmittance[pixel] = 1 << UNIT
    terminated_from[pixel] = NEVER if live else 0


@compiled
def offer(now: int, state, i, o) -> None:
    """Offer a marker as it comes, a visible sample when it is to be written."""
    if not i.valid:
        return
    if (state.phase == READ and i.last) or (state.phase == WRITE and state.visible and now >= state.since):
        copy_sample(i, o)
        o.value = 0 if i.last else state.weight
        o.valid = 1


@compiled
def step(now: int, state, view, i, o, transmittance, terminated_from) -> int:
    """Composite a sample in 3 cycles; drop one of a terminated pixel in 2; pass a marker in 1."""
    if not i.valid:
        state.activity = IDLE
        return NEVER
    state.activity = BUSY
    if now < state.since:
        return state.since
    if state.phase == READ:
        if not i.last:
            if terminated_from[i.pixel] <= now:
                state.phase = DROP
                state.since = now + DROP_CYCLES
            else:
                state.phase = WRITE
                state.since = now + WRITE_CYCLES
                state.weight, state.behind = composite(transmittance[i.pixel], i.value)
                state.visible = state.weight > view.visibility
            return state.since
        if o.valid:
            state.activity = OUTPUT
            return NEVER
    elif state.phase == WRITE:
        if state.visible and o.valid:
            state.activity = OUTPUT
            return NEVER
        transmittance[i.pixel] = state.behind
        if state.behind < view.termination:
            terminated_from[i.pixel] = now + 1
        state.composited += 1
    i.valid = 0
    state.phase = READ
    return now + 1
