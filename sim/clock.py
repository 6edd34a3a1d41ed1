"""Which blocks are stepped in which cycle, what each of them has done, and what is recorded of the streams."""

import numpy as np

from rtnerf.base.compiled import compiled
from sim.parts.activity import NAMES, NEVER
from sim.wiring import MEMORY, NEIGHBOURS, READ_MASTER, Blocks

PROBES = (
    "rays", "visits", "footprints", "rectangles", "density_cubes", "appearance_cubes", "jobs", "density_requests",
    "appearance_requests", "samples", "opaque", "visible", "shade_jobs", "coloured", "pixels",
)  # fmt: skip
"""Streams whose transfers are recorded, as `rtl.accelerator.probes`."""
TRACE_LENGTH = 1 << 16
TRACE = np.dtype(
    [
        ("recording", np.int64),
        ("count", np.int64),
        ("entries", np.int64, (TRACE_LENGTH + len(PROBES), 2)),
    ]
)
"""``entries``: cycle and stream of each transfer, in order of time."""

CLOCK = np.dtype(
    [(name, np.int64) for name in ("todo", "following", "earliest", "steps")]
    + [(name, np.int64, (len(Blocks._fields),)) for name in ("wake", "doing", "since")]
    + [("spent", np.int64, (len(Blocks._fields), len(NAMES)))]
)
"""``todo``, ``following``: blocks to be stepped in this cycle and in the next, as bits; ``wake``: cycle that each
block has named, and ``earliest`` of them; ``doing``: what each block does, ``since`` which cycle; ``spent``: cycles
that it has spent on each activity before; ``steps``: cycles that were simulated."""


def new_clock() -> np.void:
    """Return a clock at cycle 0: every block is to be stepped."""
    clock = np.zeros(1, CLOCK)[0]
    clock["following"] = (1 << len(Blocks._fields)) - 1
    clock["wake"] = NEVER
    clock["earliest"] = NEVER
    return clock


@compiled
def begin(clock, now: int) -> None:
    """Find the blocks to be stepped in a cycle."""
    clock.todo = clock.following
    clock.following = 0
    clock.steps += 1
    if clock.earliest <= now:
        clock.earliest = NEVER
        for block in range(len(clock.wake)):
            if clock.wake[block] <= now:
                clock.todo |= 1 << block
            else:
                clock.earliest = min(clock.earliest, clock.wake[block])


@compiled
def rouse(clock, block: int) -> None:
    """Have a block stepped in this cycle, if its turn is still to come, and in the next."""
    clock.todo |= 1 << block
    clock.following |= 1 << block


@compiled
def settle(clock, now: int, block: int, wake: int, activity: int) -> None:
    """Note the outcome of a block's step: a change concerns its neighbours, in this cycle and the next."""
    clock.wake[block] = wake
    if wake == now + 1:
        clock.todo |= NEIGHBOURS[block]
        clock.following |= NEIGHBOURS[block] | 1 << block
        clock.wake[block] = NEVER
    else:
        clock.earliest = min(clock.earliest, wake)
    if activity != clock.doing[block]:
        clock.spent[block, clock.doing[block]] += now - clock.since[block]
        clock.doing[block] = activity
        clock.since[block] = now


def settle_all(clock: np.void, now: int) -> None:
    """Add up what every block has done before a cycle."""
    for block, activity in enumerate(clock["doing"]):
        clock["spent"][block, activity] += now - clock["since"][block]
        clock["since"][block] = now


@compiled
def record(trace, now: int, probe: int, before: int, stream) -> None:
    """Record a transfer: the stream was valid before its consumer's step, and is not any more."""
    if trace.recording and before and not stream.valid:
        trace.entries[trace.count, 0] = now
        trace.entries[trace.count, 1] = probe
        trace.count += 1


@compiled
def settle_client(clock, now: int, block: int, wake: int, activity: int, request, beat_before: int, beat) -> None:
    """Settle a client of the read master: a request or an accepted beat concerns the bus."""
    settle(clock, now, block, wake, activity)
    if request.valid:
        clock.following |= 1 << READ_MASTER
    if beat_before and not beat.valid:
        clock.following |= 1 << MEMORY
