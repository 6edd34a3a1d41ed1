"""A memory of fixed latency and bandwidth with random pauses: `cosim.wrapper.MEMORY_TIMING`, cycle for cycle.

Another memory may take its place: all that the masters and their clients know of it is `offer`, which puts up a beat of
the read data and the answer to a write, `step`, which takes read bursts, write addresses and write data, and
``waiting``, the bursts that it has taken and not yet served.
"""

import numpy as np

from nerf.contract.memory import MemoryTiming
from nerf.contract.scene_image import BEAT
from sim.activity import BUSY, IDLE, NEVER
from sim.compiled import compiled
from sim.streams import BURST

CLIENTS = 5
"""Clients of the read master, numbered: scene loader, walker's rows, records, block headers, block payload."""
QUEUE = 16
"""Read bursts taken ahead."""
PIXEL_BYTES = 8

# What a write waits for: one is served at a time.
ADDRESS, DATA, ANSWER = range(3)

STATE = np.dtype(
    [(name, np.int64) for name in ("activity", "latency", "beat_interval", "pause", "random")]
    + [("bursts", BURST, (QUEUE,)), ("due", np.int64, (QUEUE,))]
    + [(name, np.int64) for name in ("first", "waiting", "beat", "offered", "read_from", "write", "write_from")]
    + [("read_bytes", np.int64, (CLIENTS,)), ("written_bytes", np.int64)]
)
"""``due``: cycle from which a burst may be served; ``beat``: of the first burst; ``offered``: it is on the bus;
``read_from``, ``write_from``: cycle from which the next beat may be offered, or taken."""


def new(timing: MemoryTiming, elapsed: int = 0) -> np.void:
    """Return a memory at rest that has been running for some cycles."""
    state = np.zeros(1, STATE)[0]
    state["latency"], state["beat_interval"], state["pause"] = timing.latency, timing.beat_interval, timing.pause
    random = timing.seed
    for _ in range(elapsed if timing.pause else 0):
        random = _next_random(random)
    state["random"] = random
    return state


@compiled
def _next_random(random: int) -> int:
    """Return the next state of the 32-bit xorshift generator."""
    random ^= random << 13 & 0xFFFFFFFF
    random ^= random >> 17
    return random ^ (random << 5 & 0xFFFFFFFF)


@compiled
def _holds_back(state, channel: int) -> bool:
    """Return whether the memory pauses in this cycle: 0 read bursts, 1 read data, 2 write addresses, 3 the others."""
    return (state.random >> 8 * channel & 255) < state.pause


@compiled
def offer(now: int, state, beat, answer) -> None:
    """Put up read data, the beat after the one that was taken in the cycle before, and the answer to a write."""
    first = state.first
    if state.offered and not beat.valid:
        state.offered = 0
        state.read_from = now - 1 + state.beat_interval
        state.read_bytes[state.bursts[first].client] += BEAT
        state.beat += 1
        if state.beat > state.bursts[first].last_beat:
            state.beat = 0
            state.waiting -= 1
            first = (first + 1) % QUEUE
            state.first = first
    due = state.waiting and not state.offered and now >= max(state.due[first], state.read_from)
    if due and not _holds_back(state, 1):
        burst = state.bursts[first]
        state.offered = 1
        beat.client = burst.client
        beat.address = burst.address + BEAT * state.beat
        beat.last = state.beat == burst.last_beat
        beat.valid = 1
    if state.write == ANSWER and not _holds_back(state, 3):
        answer.valid = 1


@compiled
def step(now: int, state, burst, address, data, answer) -> int:
    """Take a read burst, the address of a write or its data; an answer that is up is always taken."""
    if not (state.waiting or state.write or burst.valid or address.valid or state.pause):
        state.activity = IDLE
        return NEVER
    state.activity = BUSY if state.waiting or state.write else IDLE
    wake = NEVER
    if burst.valid and state.waiting < QUEUE and not _holds_back(state, 0):
        place = (state.first + state.waiting) % QUEUE
        taken = state.bursts[place]
        taken.client, taken.address, taken.last_beat = burst.client, burst.address, burst.last_beat
        state.due[place] = now + state.latency
        state.waiting += 1
        burst.valid = 0
        wake = now + 1
    if state.write == ADDRESS:
        if address.valid and not _holds_back(state, 2):
            address.valid = 0
            state.write = DATA
            wake = now + 1
    elif state.write == DATA:
        if data.valid and now < state.write_from:
            wake = min(wake, state.write_from)
        elif data.valid and not _holds_back(state, 3):
            data.valid = 0
            state.written_bytes += PIXEL_BYTES
            state.write_from = now + state.beat_interval
            state.write = ANSWER
            wake = now + 1
    else:
        if answer.valid:
            state.write = ADDRESS
        wake = now + 1
    if state.pause:
        state.random = _next_random(state.random)
        return now + 1
    if state.waiting:
        wake = min(wake, max(state.due[state.first], state.read_from, now + 1))
    return wake
