"""The hybrid decoder: a block's 16 vectors from its payload, a part a cycle. RTL: `rtl.factors.hybrid_decoder`.

A right scene image is taken for granted: a payload has what its header says. Of a vector's parts only the last is
modelled.
"""

import numpy as np

from nerf.contract.blocks import POSITIONS, Form
from nerf.contract.config import COMPONENTS
from nerf.contract.scene_image import BEAT
from rtnerf.base.compiled import merged
from sim.factors.tree_server import count_of
from sim.parts.activity import BUSY, IDLE, MEMORY, NEVER, TREE
from sim.parts.streams import DECODE_JOB, PREFIX

LOAD_ENTRIES = 8
"""Maps, or coordinate entries, that are loaded in a cycle."""
ENTRY_BYTES = 2
"""Bytes of a map, and of a coordinate entry."""
WINDOW_BEATS = 2

REST, LOAD, WRITE = range(3)

STATE = np.dtype(
    [(name, np.int64) for name in ("activity", "phase", "position", "load_left", "asked", "asking", "present")]
    + [(name, np.int64) for name in ("parts", "whole_at", "vector_at", "vector_appearance", "vector_last")]
    + [(name, np.int64) for name in ("beats", "offset", "ended", "starting", "payload_address")]
    + [("job", DECODE_JOB)]
)
"""``asked``: maps that the tree has taken, of those ``present``; ``asking``: one is offered to it; ``parts``: cycles
that a vector takes to be made; ``whole_at``: cycle in which the latest one's last part is made; ``vector_at``: in which
it is taken; ``beats``, ``offset``: beats in the byte window, and bytes of the first of them that are used up;
``ended``: the payload's last beat is among them, or was; ``starting``: the next beat is a payload's first."""


def new(parts: int) -> np.void:
    """Return a decoder that has nothing to do; a vector is made in ``parts``."""
    state = np.zeros(1, STATE)[0]
    state["parts"] = parts
    state["whole_at"] = state["vector_at"] = -1
    state["starting"] = 1
    return state


@merged
def offer(now: int, state, vector) -> None:
    """Put up the last part of the vector that was made, for the cycle after."""
    vector.valid = state.vector_at == now
    vector.appearance = state.vector_appearance
    vector.block_last = state.vector_last


@merged
def _take_job(state, i_job) -> bool:
    """Take the next job, if there is one; return whether."""
    state.phase = REST
    if not i_job.valid:
        return False
    i_job.valid = 0
    job = state.job
    job.appearance, job.form, job.mask, job.count = i_job.appearance, i_job.form, i_job.mask, i_job.count
    job.skip = i_job.skip
    state.position = 0
    state.asked = 0
    state.present = count_of(job.mask)
    state.load_left = state.present if job.form == Form.BITMAP else job.count
    state.phase = WRITE if job.form == Form.DENSE or job.mask == 0 else LOAD
    return True


@merged
def _next(now: int, state) -> int:
    """Return the next cycle in which a vector becomes whole, is taken, or is no longer there."""
    if state.vector_at >= now:
        return now + 1
    return state.whole_at if state.whole_at > now else NEVER


@merged
def step(now: int, state, i_job, i_payload, request, response, image) -> int:
    """Load maps or entries, or make a vector; take a beat into the byte window, which holds two.

    ``request``, ``response``: to and from the shared tree, which turns maps into the places of the packed values.

    One function for all of it: its parts decide on what stood in the registers when the cycle began.
    """
    phase = state.phase
    if phase == REST and not (i_job.valid or i_payload.valid):
        state.activity = IDLE
        return _next(now, state)
    available = BEAT * state.beats - state.offset if state.beats else 0
    take = 0
    started = False
    finished = False
    changed = False
    bitmap = state.job.form == Form.BITMAP
    if state.asking and not request.valid:
        state.asking = 0
        state.asked += 1
        changed = True

    if phase == REST:
        state.activity = IDLE
        started = _take_job(state, i_job)
    elif phase == LOAD:
        entries = min(state.load_left, LOAD_ENTRIES)
        if available >= ENTRY_BYTES * entries:
            state.activity = BUSY
            take = ENTRY_BYTES * entries
            state.load_left -= entries
            changed = True
            if state.load_left == 0:
                state.phase = WRITE
        else:
            state.activity = MEMORY
    else:
        here = state.job.mask >> state.position & 1
        need = 0
        if here and bitmap:
            need = response.total
        elif here and state.job.form == Form.DENSE:
            need = COMPONENTS
        if state.whole_at >= now:
            state.activity = BUSY
        elif here and bitmap and not response.valid:
            state.activity = TREE
        elif available < need:
            state.activity = MEMORY
        else:
            state.activity = BUSY
            state.whole_at = now + state.parts - 1
        if state.whole_at == now:
            take = need
            if here and bitmap:
                response.valid = 0
            state.vector_at = now + 1
            state.vector_appearance = state.job.appearance
            state.vector_last = state.position == POSITIONS - 1
            state.position += 1
            changed = True
            if state.vector_last:
                finished = state.job.mask != 0
                started = _take_job(state, i_job)

    # ---- The byte window ----
    position = state.offset + take
    stay = 0 if finished else state.beats - position // BEAT
    state.offset = position % BEAT
    if finished:
        state.ended = 0
    if i_payload.valid and not state.ended and stay != WINDOW_BEATS:
        if state.starting:
            state.payload_address = i_payload.address
        state.starting = state.ended = i_payload.last
        i_payload.valid = 0
        stay += 1
        changed = True
    state.beats = stay
    if started:
        state.offset = 8 * state.job.skip
        changed = True

    if state.phase == WRITE and not state.asking and state.asked != state.present and state.job.form == Form.BITMAP:
        place = state.payload_address + 8 * state.job.skip + ENTRY_BYTES * state.asked
        request.mode = PREFIX
        request.bits = np.int64(image[place]) | np.int64(image[place + 1]) << 8
        request.valid = 1
        state.asking = 1
        changed = True
    return now + 1 if changed else _next(now, state)
