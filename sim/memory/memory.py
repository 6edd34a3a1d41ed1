"""The memory: of fixed latency and bandwidth with random pauses, or LPDDR4 with banks.

The first is `cosim.wrapper.MEMORY_TIMING`, cycle for cycle. The second (`sim.memory.dram`) decides when each beat is
there as soon as its burst is taken; it has no counterpart in the RTL benches.
"""

import numpy as np

from nerf.contract.memory import MemoryTiming
from nerf.contract.scene_image import BEAT
from rtnerf.base.compiled import compiled, merged
from sim.memory import dram
from sim.parts.activity import BUSY, IDLE, NEVER
from sim.parts.clients import Reader
from sim.parts.streams import BURST

CLIENTS = len(Reader)
QUEUE = 16
"""Read bursts taken ahead."""
BURST_LIMIT = 32
"""Beats of a burst."""
POSTED_CYCLES = 256
"""With banks: a write burst is answered at once, a beat may be done so much later; then the next one waits."""

# What a write burst waits for: one is served at a time.
ADDRESS, DATA, ANSWER = range(3)

STATE = np.dtype(
    [(name, np.int64) for name in ("activity", "banked", "latency", "beat_interval", "pause", "random")]
    + [("banks", dram.STATE), ("bursts", BURST, (QUEUE,)), ("due", np.int64, (QUEUE, BURST_LIMIT))]
    + [
        (name, np.int64)
        for name in ("first", "waiting", "beat", "offered", "read_from", "write", "write_from", "address")
    ]
    + [("read_bytes", np.int64, (CLIENTS,)), ("written_bytes", np.int64)]
)
"""``due``: cycle from which each beat of a burst may be offered; ``beat``: of the first burst; ``offered``: it is on
the bus; ``read_from``, ``write_from``: cycle from which the next beat may be offered, or taken; ``address``: of the
beat to be written."""


def new(timing: MemoryTiming | dram.Dram, elapsed: int = 0, clock_hz: float = 1e9) -> np.void:
    """Return a memory at rest that has been running for some cycles of the accelerator's clock."""
    state = np.zeros(1, STATE)[0]
    if isinstance(timing, dram.Dram):
        state["banked"], state["beat_interval"] = 1, 1
        state["banks"] = dram.new(timing, clock_hz)
        return state
    state["latency"], state["beat_interval"], state["pause"] = timing.latency, timing.beat_interval, timing.pause_of_256
    random = timing.seed
    for _ in range(elapsed if state["pause"] else 0):
        random = _next_random(random)
    state["random"] = random
    return state


@compiled
def _next_random(random: int) -> int:
    """Return the next state of the 32-bit xorshift generator."""
    random ^= random << 13 & 0xFFFFFFFF
    random ^= random >> 17
    return random ^ (random << 5 & 0xFFFFFFFF)


@merged
def _holds_back(state, channel: int) -> bool:
    """Return whether the memory pauses in this cycle: 0 read bursts, 1 read data, 2 write addresses, 3 the others."""
    return (state.random >> 8 * channel & 255) < state.pause


@merged
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
            first = (first + 1) & QUEUE - 1
            state.first = first
    due = state.waiting and not state.offered and now >= max(state.due[first, state.beat], state.read_from)
    if due and not _holds_back(state, 1):
        burst = state.bursts[first]
        state.offered = 1
        beat.client = burst.client
        beat.address = burst.address + BEAT * state.beat
        beat.last = state.beat == burst.last_beat
        beat.valid = 1
    if state.write == ANSWER and not _holds_back(state, 3):
        answer.valid = 1


@merged
def step(now: int, state, burst, address, data, answer) -> int:
    """Take a read burst, the address of a write burst or a beat of it; an answer that is up is always taken."""
    if not (state.waiting or state.write or burst.valid or address.valid or state.pause):
        state.activity = IDLE
        return NEVER
    state.activity = BUSY if state.waiting or state.write else IDLE
    wake = NEVER
    if burst.valid and state.waiting < QUEUE and not _holds_back(state, 0):
        place = (state.first + state.waiting) & QUEUE - 1
        taken = state.bursts[place]
        taken.client, taken.address, taken.last_beat = burst.client, burst.address, burst.last_beat
        for beat in range(burst.last_beat + 1):
            if not state.banked:
                state.due[place, beat] = now + state.latency
            elif beat == 0 or (burst.address + BEAT * beat) % dram.BURST_BYTES == 0:
                state.due[place, beat] = dram.access(state.banks, now, burst.address + BEAT * beat, False)
            else:
                state.due[place, beat] = state.due[place, beat - 1]
        state.waiting += 1
        burst.valid = 0
        wake = now + 1
    if state.write == ADDRESS:
        if address.valid and not _holds_back(state, 2):
            address.valid = 0
            state.address = address.address
            state.write = DATA
            wake = now + 1
    elif state.write == DATA:
        if data.valid and now < state.write_from:
            wake = min(wake, state.write_from)
        elif data.valid and not _holds_back(state, 3):
            data.valid = 0
            state.written_bytes += data.bytes
            state.write_from = now + state.beat_interval
            if state.banked and (data.last or (state.address + BEAT) % dram.BURST_BYTES == 0):
                done = dram.access(state.banks, now, state.address, True)
                state.write_from = max(state.write_from, done - POSTED_CYCLES)
            state.address += BEAT
            state.write = ANSWER if data.last else DATA
            wake = now + 1
    else:
        if answer.valid:
            state.write = ADDRESS
        wake = now + 1
    if state.pause:
        state.random = _next_random(state.random)
        return now + 1
    if state.waiting:
        wake = min(wake, max(state.due[state.first, state.beat], state.read_from, now + 1))
    return wake
