"""Block fetch: for each wanted block its header, then its payload. RTL: `rtl.factors.block_fetch`.

A right scene image is taken for granted: its headers are read, not checked.
"""

import numpy as np

from nerf.contract.blocks import HEADER_BYTES, Form
from nerf.contract.config import POWERS, AcceleratorConfig
from nerf.contract.scene_image import BEAT
from rtnerf.base.compiled import merged
from sim.factors.tree_server import count_of
from sim.parts.activity import BUSY, IDLE, MEMORY, NEVER, OUTPUT
from sim.parts.clients import Reader
from sim.parts.streams import DECODE_JOB

HEADERS_CLIENT, PAYLOAD_CLIENT = Reader.BLOCK_HEADERS, Reader.BLOCK_PAYLOADS
HEADER_DELAY = 3
"""Cycles from a header's beat until it can be taken for checking."""
HEADERS_LIMIT, JOBS_LIMIT, PAYLOAD_LIMIT = (POWERS[name][1] for name in ("header_queue", "job_queue", "payload_queue"))
"""The longest queues of any configuration."""

WANTED = np.dtype([("job", DECODE_JOB), ("address", np.int64), ("due", np.int64)])
"""A header on its way: what it is for, where it is, and from which cycle on it is here."""

STEPS = 2
"""Between the queue of headers and that of jobs: a header's size is found in the first, its place in the second."""
BLOCK = np.dtype([("job", DECODE_JOB), ("address", np.int64), ("last_beat", np.int64)])
"""A block whose header is here: its job, and its payload, ``last_beat`` + 1 beats or none (-1) at an ``address``."""

STATE = np.dtype(
    [
        (name, np.int64)
        for name in (
            "activity",
            "header_queue",
            "job_queue",
            "payload_queue",
            "last",
            "first_wanted",
            "wanted",
            "arrived",
        )
    ]
    + [(name, np.int64) for name in ("here", "checking", "first_job", "jobs")]
    + [(name, np.int64) for name in ("first_beat", "beats", "reserved", "payload_offered")]
    + [("waiting", WANTED, (HEADERS_LIMIT,)), ("taken", BLOCK, (STEPS,)), ("queue", DECODE_JOB, (JOBS_LIMIT,))]
    + [("beat_address", np.int64, (PAYLOAD_LIMIT,)), ("beat_last", np.int64, (PAYLOAD_LIMIT,))]
)
"""``last``: the requester served last; ``arrived``: headers that are here, of those ``wanted``; ``here``: whether there
is a block in the first step, ``taken[0]``; ``checking``: in the second, whose payload is to be asked for; ``jobs``,
``beats``: in the queues, without what their outputs offer; ``reserved``: places of the payload queue that are spoken
for."""


def new(config: AcceleratorConfig) -> np.void:
    """Return a block fetch that has nothing to do."""
    state = np.zeros(1, STATE)[0]
    for name in ("header_queue", "job_queue", "payload_queue"):
        state[name] = getattr(config, name)
    state["last"] = 1
    return state


@merged
def _copy_job(source, target) -> None:
    target.appearance, target.line, target.pair = source.appearance, source.line, source.pair
    target.group, target.slot = source.group, source.slot
    target.form, target.mask, target.count, target.skip = source.form, source.mask, source.count, source.skip


@merged
def _take_header(state, scene, image) -> None:
    """Read the header that has arrived first (see `nerf.contract.blocks`), and find its payload."""
    wanted = state.waiting[state.first_wanted]
    word = np.int64(0)
    for byte in range(HEADER_BYTES - 1):
        word |= np.int64(image[wanted.address + byte]) << 8 * byte
    block = state.taken[0]
    job = block.job
    _copy_job(wanted.job, job)
    job.mask, job.count, job.form = word >> 28 & 0xFFFF, word >> 44 & 0x1FF, word >> 53 & 3
    address = scene.payload_offset + 8 * (word & 0xFFFFFFF)
    job.skip = address >> 3 & 1
    size = job.count
    if job.form == Form.BITMAP:
        size += 2 * count_of(job.mask)
    elif job.form == Form.COORDINATE:
        size *= 2
    block.address = address
    block.last_beat = (size + 8 * job.skip - 1) // BEAT if job.mask else -1
    state.here = 1
    state.first_wanted = (state.first_wanted + 1) & HEADERS_LIMIT - 1
    state.wanted -= 1
    state.arrived -= 1


@merged
def _request_header(state, i, appearance: int, scene, headers) -> None:
    """Take the request of a density or an appearance block, and ask for its header."""
    section = i.pair + 3 * i.line
    offset = scene.appearance_headers[section] if appearance else scene.density_headers[section]
    wanted = state.waiting[(state.first_wanted + state.wanted) & HEADERS_LIMIT - 1]
    wanted.address = offset + HEADER_BYTES * i.index
    job = wanted.job
    job.appearance, job.line, job.pair, job.group, job.slot = appearance, i.line, i.pair, i.group, i.slot
    i.valid = 0
    state.wanted += 1
    state.last = appearance
    headers.address = wanted.address
    headers.last_beat = 0
    headers.valid = 1


@merged
def step(now: int, state, i_density, i_appearance, scene, headers, payload, beat, o_job, o_payload, image) -> int:
    """Work on a request, a header and a payload a cycle; ``beat``: what the memory offers in this cycle.

    One function for all of it: its parts decide on what stood in the registers when the cycle began.
    """
    requested = i_density.valid or i_appearance.valid
    arriving = beat.valid != 0 and (beat.client == HEADERS_CLIENT or beat.client == PAYLOAD_CLIENT)
    if not (requested or arriving or state.wanted or state.here or state.checking or state.jobs or state.reserved):
        state.activity = OUTPUT if o_job.valid else IDLE
        return NEVER
    changed = False
    jobs_room = state.jobs != state.job_queue - 1
    wanted_room = state.wanted != state.header_queue
    reserved = state.reserved

    # ---- The outputs ----
    if state.payload_offered and not o_payload.valid:
        state.payload_offered = 0
        state.reserved -= 1
        changed = True
    if state.beats and not o_payload.valid:
        o_payload.client = PAYLOAD_CLIENT
        o_payload.address = state.beat_address[state.first_beat]
        o_payload.last = state.beat_last[state.first_beat]
        o_payload.valid = 1
        state.payload_offered = 1
        state.first_beat = (state.first_beat + 1) & PAYLOAD_LIMIT - 1
        state.beats -= 1
        changed = True
    if state.jobs and not o_job.valid:
        _copy_job(state.queue[state.first_job], o_job)
        o_job.valid = 1
        state.first_job = (state.first_job + 1) & JOBS_LIMIT - 1
        state.jobs -= 1
        changed = True

    # ---- A checked header: its job, and the request of its payload ----
    blocked = False
    if state.checking:
        block = state.taken[1]
        reading = block.last_beat >= 0
        if jobs_room and (not reading or (reserved + block.last_beat < state.payload_queue and not payload.valid)):
            _copy_job(block.job, state.queue[(state.first_job + state.jobs) & JOBS_LIMIT - 1])
            state.jobs += 1
            state.checking = 0
            changed = True
            if reading:
                payload.address = block.address
                payload.last_beat = block.last_beat
                payload.valid = 1
                state.reserved += block.last_beat + 1
        else:
            blocked = True

    if state.here and not state.checking:
        _copy_job(state.taken[0].job, state.taken[1].job)
        state.taken[1].address, state.taken[1].last_beat = state.taken[0].address, state.taken[0].last_beat
        state.here = 0
        state.checking = 1
        changed = True

    # ---- A header to look at, and the next to ask for ----
    wake = NEVER
    if state.arrived and not state.here:
        due = state.waiting[state.first_wanted].due
        if now >= due:
            _take_header(state, scene, image)
            changed = True
        else:
            wake = due
    if requested and wanted_room and not headers.valid:
        if i_appearance.valid and (state.last == 0 or not i_density.valid):
            _request_header(state, i_appearance, 1, scene, headers)
        else:
            _request_header(state, i_density, 0, scene, headers)
        changed = True

    # ---- Beats from memory ----
    if arriving:
        beat.valid = 0
        changed = True
        if beat.client == HEADERS_CLIENT:
            state.waiting[(state.first_wanted + state.arrived) & HEADERS_LIMIT - 1].due = now + HEADER_DELAY
            state.arrived += 1
        else:
            place = (state.first_beat + state.beats) & PAYLOAD_LIMIT - 1
            state.beat_address[place] = beat.address
            state.beat_last[place] = beat.last
            state.beats += 1

    if changed:
        state.activity = BUSY
        return now + 1
    if wake != NEVER:
        state.activity = BUSY
    else:
        missing = state.wanted != state.arrived or state.reserved != state.beats + state.payload_offered
        state.activity = OUTPUT if blocked and not payload.valid else MEMORY if missing or payload.valid else OUTPUT
    return wake
