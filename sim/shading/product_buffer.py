"""Deferred shading: visible samples of a tile in, rays of the tile before out. RTL: `rtl.shading.product_buffer`.

What the products are is not read: only the weights, which tell the rays that have had a sample.
"""

import numpy as np

from nerf.contract.config import POWERS, AcceleratorConfig
from rtnerf.base.compiled import compiled, merged
from sim.parts import queue
from sim.parts.activity import BUSY, IDLE, NEVER, OUTPUT
from sim.parts.streams import SAMPLE

QUEUE = 4
PIXELS_LIMIT = 128**2
STAGES = 16
"""Stage bit: the register before the output. Read, taken, product, its sum, shifted."""

CLEAR, WAIT, SCAN, LAST = range(4)

STATE = np.dtype(
    [(name, np.int64) for name in ("activity", "pixels", "tiles", "transfers", "phase", "clear_until", "tile")]
    + [
        (name, np.int64)
        for name in ("any_sample", "transfer", "adding", "next", "all_looked", "looked", "pixel", "issued", "stages")
    ]
    + [("added_transfers", np.int64), ("samples", queue.STATE), ("head", SAMPLE)]
    + [("weights", np.int64, (POWERS["tiles"][1] * PIXELS_LIMIT,))]
)
"""``transfers``: of a ray; ``phase``: of the scan; ``tile``: place of the tile that is added to, the one before is
put out; ``any_sample``: it has one; ``transfer``: of the sample at the head; ``adding``: a bit for each of the three
stages behind the product; ``next``: the pixel to be looked at; ``looked``: ``pixel`` has been; ``issued``: its
transfers that have been read; ``stages``: a bit for each stage before the output; ``added_transfers``: of a sample;
``weights``: of the pixels of all ``tiles``."""


def new(cfg: AcceleratorConfig) -> np.void:
    """Return a buffer that is about to clear its pixels."""
    state = np.zeros(1, STATE)[0]
    state["pixels"], state["transfers"] = cfg.tile**2, cfg.groups["appearance"]
    state["tiles"] = cfg.tiles
    state["added_transfers"] = cfg.appearance_transfers
    state["samples"] = queue.new(QUEUE)
    return state


@merged
def step(now: int, state, i_sample, i_vector, o_sample, o_vector) -> int:
    """Take a transfer of one tile; look at a pixel of the other or put one of its transfers out."""
    if state.phase == CLEAR:
        wake = _clear(now, state)
    else:
        moved = _begin(state) if state.phase == WAIT else _scan(state, o_sample, o_vector)
        moved |= _add(state, i_vector)
        wake = now + 1 if moved else NEVER
        state.activity = BUSY if moved else OUTPUT if state.phase != WAIT else IDLE
    return min(wake, queue.step(now, state.samples, i_sample, state.head))


@compiled
def _clear(now: int, state) -> int:
    """Empty a pixel of each tile a cycle, from the first one on."""
    if state.clear_until == 0:
        state.clear_until = now + state.pixels
    if now + 1 == state.clear_until:
        state.phase = WAIT
    state.activity = BUSY
    return max(now + 1, state.clear_until - 1)


@compiled
def _begin(state) -> bool:
    """Behind the last sample of a tile, begin its scan; the next one is added to."""
    if not state.head.valid or not state.head.last or state.adding:
        return False
    state.head.valid = 0
    state.tile = (state.tile + 1) % state.tiles
    state.phase = SCAN if state.any_sample else LAST
    state.any_sample = 0
    return True


@compiled
def _add(state, i_vector) -> bool:
    """Take a transfer of the sample at the head."""
    head = state.head
    rests = state.adding == 0
    takes = head.valid and not head.last and i_vector.valid
    if takes:
        i_vector.valid = 0
        if state.transfer == 0:
            state.weights[head.pixel] += head.value
            state.any_sample = 1
        state.transfer += 1
        if state.transfer == state.added_transfers:
            state.transfer = 0
            head.valid = 0
    state.adding = (state.adding << 1 | takes) & 7
    return takes or not rests


@compiled
def _scan(state, o_sample, o_vector) -> bool:
    """Look at pixel after pixel, and put out what it has; then the marker."""
    if state.phase == LAST:
        if o_sample.valid:
            return False
        o_sample.pixel, o_sample.value, o_sample.last, o_sample.valid = 0, 0, 1, 1
        state.phase = WAIT
        return True
    if state.all_looked and not state.looked and not state.stages:
        state.all_looked = 0
        state.phase = LAST
        return True
    advance = not o_vector.valid
    pixel = (state.tile + state.tiles - 1) % state.tiles * state.pixels + state.pixel
    weight = state.weights[pixel] if state.looked else 0
    issues = weight != 0 and advance and (state.issued != 0 or not o_sample.valid)
    leaves = issues and state.issued == state.transfers - 1
    moved = issues
    if issues:
        if state.issued == 0:
            o_sample.pixel, o_sample.value = pixel, weight
            o_sample.last, o_sample.valid = 0, 1
            o_sample.x, o_sample.y, o_sample.z = 0, 0, 0
        state.issued = 0 if leaves else state.issued + 1
    if leaves:
        state.weights[pixel] = 0
    if weight == 0 or leaves:
        moved |= state.looked
        state.looked = 0
        if not state.all_looked:
            state.looked, state.pixel = 1, state.next
            state.next += 1
            if state.next == state.pixels:
                state.next, state.all_looked = 0, 1
            moved = True
    if advance and (state.stages or issues):
        if state.stages & STAGES:
            o_vector.valid = 1
        state.stages = (state.stages << 1 | issues) & (2 * STAGES - 1)
        moved = True
    return moved
