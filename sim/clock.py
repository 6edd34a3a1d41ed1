"""Which blocks are stepped in which cycle, what each of them has done, and what is recorded of the wires.

What looks at the flags of a block is compiled anew for each: its number, and where its flags lie, are constants.
"""

import numpy as np

from rtnerf.base.compiled import compiled, merged
from sim.parts.activity import NAMES, NEVER
from sim.wiring import FLAGS, NUMBER_AT, PROBE, PROBES, WHEN_CLEARED, WHEN_SET, WIRES, Block

TRACE_LENGTH = 1 << 16
TRACE = np.dtype(
    [
        ("recording", np.int64),
        ("moved", np.int64, (len(PROBES),)),
        ("count", np.int64),
        ("entries", np.int64, (TRACE_LENGTH + len(PROBES), 2)),
    ]
)
"""``moved``: transfers by probe; ``entries``: if ``recording``, cycle and probe of each, in order of time."""
MOST_WINDOWS = 512
FIRST_WINDOW = 256
"""Cycles of a window to begin with; where there are too many, two and two become one."""
WINDOWS = np.dtype(
    [("length", np.int64), ("count", np.int64), ("spent", np.int64, (MOST_WINDOWS + 1, len(Block), len(NAMES)))]
)
"""``length``: of a window, in cycles; ``count``: of windows that have ended; ``spent``: what `CLOCK` says at the
beginning of the first and at the end of each."""

CLOCK = np.dtype(
    [(name, np.int64) for name in ("now", "todo", "following", "earliest", "steps")]
    + [(name, np.int64, (len(Block),)) for name in ("wake", "doing", "since")]
    + [("spent", np.int64, (len(Block), len(NAMES))), ("seen", np.int64, (WIRES.itemsize // 8,)), ("trace", TRACE)]
)
"""``todo``, ``following``: blocks to be stepped in this cycle and in the next, as bits; ``wake``: cycle that each
block has named, and ``earliest`` of them; ``doing``: what each block does, ``since`` which cycle; ``spent``: cycles
that it has spent on each activity before; ``seen``: the flags of the wires, as they were looked at last; ``steps``:
cycles that were simulated."""


def new_clock(recording: bool) -> np.void:
    """Return a clock at cycle 0: every block is to be stepped."""
    clock = np.zeros(1, CLOCK)[0]
    clock["following"] = (1 << len(Block)) - 1
    clock["wake"] = NEVER
    clock["earliest"] = NEVER
    clock["trace"]["recording"] = recording
    return clock


@merged
def begin(clock, now: int) -> None:
    """Find the blocks to be stepped in a cycle."""
    clock.now = now
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


@merged
def look(clock, words, block: int) -> int:
    """Look at a block's flags, and record transfers; return the blocks that changes concern, as bits."""
    concerned = 0
    for flag in FLAGS[block]:
        if flag < 0:
            break
        if words[flag] == clock.seen[flag]:
            continue
        clock.seen[flag] = words[flag]
        if words[flag]:
            concerned |= WHEN_SET[flag, words[flag + NUMBER_AT[flag]]]
            continue
        concerned |= WHEN_CLEARED[flag]
        if PROBE[flag] >= 0:
            clock.trace.moved[PROBE[flag]] += 1
            if clock.trace.recording:
                record(clock.trace, clock.now, PROBE[flag])
    return concerned


@compiled
def record(trace, now: int, probe: int) -> None:
    """Record a transfer."""
    trace.entries[trace.count, 0] = now
    trace.entries[trace.count, 1] = probe
    trace.count += 1


@merged
def tell(clock, words, block: int) -> None:
    """Have those stepped whom a block's changes before its step concern: their turns are still to come."""
    clock.todo |= look(clock, words, block)


@merged
def settle(clock, words, block: int, wake: int, activity: int) -> None:
    """Note the outcome of a block's step; have those stepped whom it concerns, this cycle or next: in their turn."""
    concerned = look(clock, words, block)
    clock.todo |= concerned
    clock.following |= concerned & (1 << block) - 1
    if wake == clock.now + 1:
        clock.following |= 1 << block
        clock.wake[block] = NEVER
    else:
        clock.wake[block] = wake
        clock.earliest = min(clock.earliest, wake)
    if activity != clock.doing[block]:
        clock.spent[block, clock.doing[block]] += clock.now - clock.since[block]
        clock.doing[block] = activity
        clock.since[block] = clock.now


@compiled
def settle_all(clock, now: int) -> None:
    """Add up what every block has done before a cycle."""
    for block in range(len(clock.wake)):
        clock.spent[block, clock.doing[block]] += now - clock.since[block]
        clock.since[block] = now


def new_windows() -> np.void:
    """Return the windows of a frame that begins."""
    windows = np.zeros(1, WINDOWS)[0]
    windows["length"] = FIRST_WINDOW
    return windows


@compiled
def end_window(windows, clock, now: int) -> None:
    """Note what the blocks have done up to a cycle, in which a window ends, or the frame."""
    settle_all(clock, now)
    windows.count += 1
    _copy_spent(clock.spent, windows.spent[windows.count])
    if windows.count == MOST_WINDOWS:
        for window in range(1, MOST_WINDOWS // 2 + 1):
            _copy_spent(windows.spent[2 * window], windows.spent[window])
        windows.count = MOST_WINDOWS // 2
        windows.length *= 2


@compiled
def _copy_spent(source, target) -> None:
    for block in range(source.shape[0]):
        for activity in range(source.shape[1]):
            target[block, activity] = source[block, activity]
