"""Cube list: the cubes of a frame, listed in memory once and read for every tile. RTL: `rtl.cube_list`.

What is written is kept beside, so that it can be looked up when its address is read.
"""

import numpy as np

from nerf.contract.registers import LIST_ENTRY_BYTES
from sim.activity import BUSY, IDLE, MEMORY, NEVER, OUTPUT
from sim.compiled import compiled
from sim.record_reader import copy
from sim.streams import FOOTPRINT, RECTANGLE

CLIENT = 5
"""Number at the read master."""
BURST = 16
ENTRIES_AHEAD = 128
"""Entries that have been requested and are neither dropped nor handed on."""
NOTHING = -1

_COUNTS = ("list_base", "count", "whole", "running", "requested", "asking", "ahead", "arrived", "offers")
_QUEUE = ("held", "first")
STATE = np.dtype(
    [(name, np.int64) for name in ("activity", *_COUNTS, *_QUEUE)] + [("queue", RECTANGLE, (ENTRIES_AHEAD,))]
)
"""``count``: entries that are listed; ``asking``: those of the burst that is being asked for; ``arrived``: number of
the entry that came in the cycle before, or `NOTHING`; ``offers``: something is up; ``held``, ``first``: of the
``queue`` behind it."""


def new(list_base: int) -> np.void:
    """Return a list that is empty, for a frame."""
    state = np.zeros(1, STATE)[0]
    state["list_base"], state["arrived"] = list_base, NOTHING
    return state


def new_entries(live_cubes: int) -> np.ndarray:
    """Return room for the list of a scene."""
    return np.zeros(live_cubes, FOOTPRINT)


@compiled
def step(now: int, state, i, write, written: bool, start, tile, request, beat, o, done, entries) -> int:
    """Write a footprint, or read those of a tile.

    ``written``: nothing was to be written or to be answered when the cycle began; ``done``: the end of a tile has been
    accepted; ``entries``: the list.
    """
    moved = _write(state, i, write, written, entries)
    if state.offers and not o.valid:
        moved = True
        state.offers = 0
        if o.last:
            done.set = 1
            state.running, state.requested = 0, 0
        else:
            state.ahead -= 1
    if state.held and not state.offers:
        copy(state.queue[state.first], o)
        o.valid, state.offers = 1, 1
        state.first = (state.first + 1) % ENTRIES_AHEAD
        state.held -= 1
        moved = True
    if state.arrived != NOTHING:
        if _cut(entries[state.arrived], tile, state.queue[(state.first + state.held) % ENTRIES_AHEAD]):
            state.held += 1
        else:
            state.ahead -= 1
        state.arrived = NOTHING
        moved = True
    if beat.valid and beat.client == CLIENT:
        beat.valid = 0
        state.arrived = (beat.address - state.list_base) // LIST_ENTRY_BYTES
        moved = True
    if state.asking and not request.valid:
        state.requested += state.asking
        state.ahead += state.asking
        state.asking = 0
        moved = True
    if start.set:
        start.set = 0
        state.running = 1
        moved = True

    if state.running and state.whole:
        left = state.count - state.requested
        if not left and not state.ahead and not state.offers:
            o.valid, o.last, state.offers = 1, 1, 1
        if left and not state.asking and state.ahead <= ENTRIES_AHEAD - BURST:
            state.asking = min(left, BURST)
            request.address = state.list_base + LIST_ENTRY_BYTES * state.requested
            request.last_beat = state.asking - 1
            request.valid = 1
    if moved:
        state.activity = BUSY
    elif state.offers:
        state.activity = OUTPUT
    else:
        state.activity = MEMORY if write.valid or i.valid or (state.running and state.whole) else IDLE
    return now + 1 if moved else NEVER


@compiled
def _write(state, i, write, written: bool, entries) -> bool:
    """Take a footprint and write it, or the end of them when all have been written; return whether one was taken."""
    if not i.valid or (not written if i.last else write.valid):
        return False
    i.valid = 0
    if i.last:
        state.whole = 1
        return True
    entry = entries[state.count]
    entry.x, entry.y, entry.z, entry.rank = i.x, i.y, i.z, i.rank
    entry.first_x, entry.first_y, entry.last_x, entry.last_y = i.first_x, i.first_y, i.last_x, i.last_y
    write.address = state.list_base + LIST_ENTRY_BYTES * state.count
    write.valid = 1
    state.count += 1
    return True


@compiled
def _cut(entry, tile, rectangle) -> bool:
    """Write the pixels of an entry that lie in the tile; return whether there are any."""
    rectangle.first_x, rectangle.last_x = max(entry.first_x - tile.x, 0), min(entry.last_x - tile.x, tile.last_x)
    rectangle.first_y, rectangle.last_y = max(entry.first_y - tile.y, 0), min(entry.last_y - tile.y, tile.last_y)
    rectangle.x, rectangle.y, rectangle.z, rectangle.rank = entry.x, entry.y, entry.z, entry.rank
    rectangle.tile, rectangle.last = tile.parity, 0
    return rectangle.first_x <= rectangle.last_x and rectangle.first_y <= rectangle.last_y
