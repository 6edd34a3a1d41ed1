"""Transmittance of the pixels of two tiles, composited sample by sample. RTL: `rtl.shading.compositor`.

Two arrays by pixel are shared: ``transmittance``, and ``terminated_from``: a look-up of the flag
in this cycle or a later one (its answer comes a cycle after) finds the pixel terminated. The ray set-up initialises a
pixel in both: 1.0, and `NEVER` if its ray is live, else 0.
"""

import numpy as np

from nerf.contract.formats import UNIT
from nerf.golden.compositor import composite
from rtnerf.base.compiled import compiled
from sim.parts.activity import BUSY, IDLE, NEVER, OUTPUT
from sim.parts.streams import SAMPLE, copy_sample

STATE = np.dtype([(name, np.int64) for name in ("activity", "holds", "composited")] + [("sample", SAMPLE)])
"""``sample``: taken, and its pixel read, if it ``holds`` one; ``composited``: samples so far."""


def new() -> np.void:
    """Return a compositor that waits for a sample."""
    return np.zeros(1, STATE)[0]


@compiled
def initialise(transmittance, terminated_from, pixel: int, live: int) -> None:
    """Start a pixel at full transmittance; terminated from the start if its ray does not meet the grid."""
    transmittance[pixel] = 1 << UNIT
    terminated_from[pixel] = NEVER if live else 0


@compiled
def step(now: int, state, view, i, o, transmittance, terminated_from) -> int:
    """Composite the sample taken before, and take one: both, or neither while the output is full."""
    if not (i.valid or state.holds):
        state.activity = IDLE
        return NEVER
    if o.valid:
        state.activity = OUTPUT
        return NEVER
    state.activity = BUSY
    if state.holds:
        _composite(now, state, view, o, transmittance, terminated_from)
    state.holds = i.valid
    if i.valid:
        copy_sample(i, state.sample)
        i.valid = 0
    return now + 1


@compiled
def _composite(now: int, state, view, o, transmittance, terminated_from) -> None:
    sample = state.sample
    visible = sample.last
    if not sample.last and terminated_from[sample.pixel] > now:
        sample.value, behind = composite(transmittance[sample.pixel], sample.value)
        visible = sample.value > view.shading_threshold
        transmittance[sample.pixel] = behind
        if behind < view.termination:
            terminated_from[sample.pixel] = now + 1
        state.composited += 1
    if visible:
        copy_sample(sample, o)
        o.valid = 1
