"""Transmittance of the pixels of two tiles, composited sample by sample. RTL: `rtl.shading.compositor`.

Two arrays by pixel are shared: ``transmittance``, and ``terminated_from``: a look-up of the flag
in this cycle or a later one (its answer comes a cycle after) finds the pixel terminated. The ray set-up initialises a
pixel in both: 1.0, and `NEVER` if its ray is live, else 0.
"""

import numpy as np

from nerf.contract.formats import UNIT
from nerf.golden.compositor import composite
from rtnerf.base.compiled import merged
from sim.parts.activity import BUSY, IDLE, NEVER, OUTPUT
from sim.parts.streams import SAMPLE, copy_sample, second_alone

LAST_STAGE = 8
"""Stage bit: the register before the output. Transmittance read, product, sum, output: 4 steps, and the memory's."""
RING = 4
"""Room for the samples in the stages."""

STATE = np.dtype(
    [(name, np.int64) for name in ("activity", "stages", "begun", "ended", "composited")]
    + [("samples", SAMPLE, (RING,))]
)
"""``stages``: a bit for each stage that holds a sample; ``begun``, ``ended``: samples so far into the stages, out of
them; ``composited``: those that were not dropped."""


def new() -> np.void:
    """Return a compositor that waits for a sample."""
    return np.zeros(1, STATE)[0]


@merged
def initialise(transmittance, terminated_from, pixel: int, live: int) -> None:
    """Start a pixel at full transmittance; terminated from the start if its ray does not meet the grid."""
    transmittance[pixel] = 1 << UNIT
    terminated_from[pixel] = NEVER if live else 0


@merged
def step(now: int, state, view, i, o, transmittance, terminated_from) -> int:
    """Composite the oldest sample and take one, unless its pixel is that of the one taken before; all, or nothing."""
    stages = state.stages
    if not (i.valid or stages):
        state.activity = IDLE
        return NEVER
    if o.valid:
        state.activity = OUTPUT
        return NEVER
    state.activity = BUSY
    if stages & LAST_STAGE:
        _composite(now, state, view, state.samples[state.ended & RING - 1], o, transmittance, terminated_from)
        state.ended += 1
    before = state.samples[(state.begun - 1) & RING - 1]
    waits = stages & 1 and not before.last and not i.last and _shares_pixel(before, i)
    takes = 1 if i.valid and not waits else 0
    if takes:
        copy_sample(i, state.samples[state.begun & RING - 1])
        i.valid = 0
        state.begun += 1
    state.stages = (stages << 1 | takes) & (2 * LAST_STAGE - 1)
    return now + 1


@merged
def _shares_pixel(before, sample) -> bool:
    """Return whether a sample, or one of a pair, is of the same pixel as one of those before."""
    if before.pixel == sample.pixel or (before.paired and before.second_pixel == sample.pixel):
        return True
    if not sample.paired:
        return False
    return before.pixel == sample.second_pixel or (before.paired and before.second_pixel == sample.second_pixel)


@merged
def _composite(now: int, state, view, sample, o, transmittance, terminated_from) -> None:
    """Composite a sample or a pair of two pixels; pass on what is visible."""
    if sample.last:
        copy_sample(sample, o)
        o.valid = 1
        return
    sample.value = _weight(now, state, view, sample.pixel, sample.value, transmittance, terminated_from)
    visible = sample.value > view.shading_threshold
    if sample.paired:
        sample.second_value = _weight(
            now, state, view, sample.second_pixel, sample.second_value, transmittance, terminated_from
        )
        if sample.second_value <= view.shading_threshold:
            sample.paired = 0
        elif not visible:
            second_alone(sample)
            visible = True
    if visible:
        copy_sample(sample, o)
        o.valid = 1


@merged
def _weight(now: int, state, view, pixel: int, alpha: int, transmittance, terminated_from) -> int:
    """Return the weight of a sample, which its pixel's transmittance falls by; 0 if it is dropped."""
    if terminated_from[pixel] <= now:
        return 0
    weight, behind = composite(transmittance[pixel], alpha)
    transmittance[pixel] = behind
    if behind < view.termination:
        terminated_from[pixel] = now + 1
    state.composited += 1
    return weight
