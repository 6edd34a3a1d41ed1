"""Cube list: the cubes that meet a row of tiles, in memory, read for each of its tiles. RTL: `rtl.samples.cube_list`.

What is written is kept beside, so that it can be looked up when its address is read.
"""

from typing import NamedTuple

import numpy as np

from nerf.contract.config import POWERS, AcceleratorConfig
from nerf.contract.registers import LIST_ENTRY_BYTES, list_stride
from rtnerf.base.compiled import merged
from sim.parts.activity import BUSY, IDLE, MEMORY, NEVER, OUTPUT
from sim.parts.clients import Reader
from sim.parts.streams import FOOTPRINT, RECTANGLE
from sim.samples.record_reader import copy

CLIENT = Reader.CUBE_LIST
BURST = 16
COUNTED = 1
"""Cycles until the entries of a tile's row are counted."""
AHEAD_LIMIT = POWERS["list_queue"][1]
NOTHING = -1
WINDOW_LIMIT = 1 << 14
"""Pixels of the highest window: a counter for each row of its tiles is cleared at first, one a cycle."""

_PLACE = ("list_base", "tile_size", "list_queue", "cleared_from", "whole_from", "begun", "row", "passed")
_COUNTS = ("taken", "counted", "running", "requested", "room", "asking", "ahead", "arrived", "cut", "offers")
_QUEUE = ("held", "first")
STATE = np.dtype(
    [(name, np.int64) for name in ("activity", *_PLACE, *_COUNTS, *_QUEUE)] + [("queue", RECTANGLE, (AHEAD_LIMIT,))]
)
"""``list_queue``: entries that may have been requested and be neither dropped nor handed on; ``cleared_from``: cycle
from which footprints are accepted; ``whole_from``: from which the lists are whole; ``begun``: in which the tile was;
``row``: of the tile; ``passed``: rows to whose lists the footprint has been written; ``taken``, ``counted``: addresses
of entries on their way to the write, or `NOTHING`; ``room``: there was room for a burst in the cycle before;
``asking``: a burst is being asked for; ``arrived``, ``cut``: numbers of the entries that came in the cycle before and
in the one before that, or `NOTHING`; ``offers``: something is up; ``held``, ``first``: of the ``queue`` behind it."""


class Lists(NamedTuple):
    """The lists of a frame, one for each row of tiles."""

    stride: int
    """Bytes from one to the next."""
    counts: np.ndarray
    """Their entries so far."""
    first: np.ndarray
    last: np.ndarray
    """First and last tile of the row that an entry meets, where there is one."""
    entries: np.ndarray
    """`FOOTPRINT` by row and number."""


def new(config: AcceleratorConfig, list_base: int, now: int = 0) -> np.void:
    """Return a block that is reset before a cycle."""
    state = np.zeros(1, STATE)[0]
    state["list_base"], state["tile_size"] = list_base, config.tile
    state["list_queue"] = config.list_queue
    state["whole_from"] = NEVER
    for name in ("taken", "counted", "arrived", "cut"):
        state[name] = NOTHING
    state["cleared_from"] = now + WINDOW_LIMIT // config.tile
    return state


def new_lists(live_cubes: int, rows: int) -> Lists:
    """Return empty lists for the rows of a window's tiles, with room for all cubes of a scene."""
    counts, first, last = np.zeros((3, rows), np.int64)
    return Lists(list_stride(live_cubes), counts, first, last, np.zeros((rows, live_cubes), FOOTPRINT))


@merged
def step(now: int, state, i, write, written: bool, listed, start, tile, request, beat, o, done, lists) -> int:
    """Write a footprint to a list, or read the list of a tile's row.

    ``written``: nothing was to be written or to be answered when the cycle began; ``listed``: all lists are whole;
    ``done``: the end of a tile has been accepted; ``lists``: `Lists`.
    """
    clears = now < state.cleared_from
    moved = not clears and _write(now, state, i, write, written, lists)
    if now == state.whole_from:
        listed.set = 1
    known = state.begun + COUNTED
    ahead, asked = state.ahead, state.asking
    if state.offers and not o.valid:
        moved = True
        state.offers = 0
        if o.last:
            done.set = 1
            state.running = 0
        else:
            state.ahead -= 1
    if state.held and not state.offers:
        copy(state.queue[state.first], o)
        o.valid, state.offers = 1, 1
        state.first = (state.first + 1) & AHEAD_LIMIT - 1
        state.held -= 1
        moved = True
    if state.cut != NOTHING:
        if _cut(lists.entries[state.row, state.cut], tile, state.queue[(state.first + state.held) & AHEAD_LIMIT - 1]):
            state.held += 1
        else:
            state.ahead -= 1
    moved = moved or state.cut != NOTHING or state.arrived != NOTHING
    state.cut, state.arrived = state.arrived, NOTHING
    if beat.valid and beat.client == CLIENT:
        beat.valid = 0
        state.arrived = (beat.address - _base(state, lists, state.row)) // LIST_ENTRY_BYTES
        moved = True
    if asked and not request.valid:
        state.asking = 0
        moved = True
    if state.running and now >= known:
        left = tile.entries - state.requested
        if not left and not ahead and not state.offers:
            o.tile, o.valid, o.last, state.offers = tile.place, 1, 1, 1
        if left and not asked and state.room and now > known:
            burst = min(left, BURST)
            request.address = _base(state, lists, state.row) + LIST_ENTRY_BYTES * state.requested
            request.last_beat = burst - 1
            request.valid, state.asking = 1, 1
            state.requested += burst
            state.ahead += burst
            moved = True
    had_room = state.room
    state.room = ahead <= state.list_queue - BURST
    moved = moved or state.room != had_room
    if start.set:
        start.set = 0
        state.running, state.begun, state.requested = 1, now, 0
        state.row = tile.y // state.tile_size
        moved = True
    counts = state.running and now <= known
    if moved or counts or clears:
        state.activity = BUSY
    elif state.offers:
        state.activity = OUTPUT
    else:
        state.activity = MEMORY if write.valid or i.valid or (state.running and now > known) else IDLE
    return now + 1 if moved or counts else state.cleared_from if clears else NEVER


@merged
def _write(now: int, state, i, write, written: bool, lists) -> bool:
    """Count a footprint in the next row that it meets, and write its entry; return whether anything was done.

    The end of the footprints is taken when all of them are written.
    """
    empty = state.taken == NOTHING and state.counted == NOTHING
    goes_on = not write.valid
    if goes_on and state.counted != NOTHING:
        write.address = state.counted
        write.valid = 1
    if goes_on:
        state.counted, state.taken = state.taken, NOTHING
    if not i.valid or not (empty and written if i.last else goes_on):
        return goes_on and not empty
    if i.last:
        i.valid = 0
        state.whole_from = now + 1
        return True
    row = i.first_y // state.tile_size + state.passed
    count = lists.counts[row]
    entry = lists.entries[row, count]
    entry.x, entry.y, entry.z, entry.rank = i.x, i.y, i.z, i.rank
    entry.first_x, entry.first_y, entry.last_x, entry.last_y = i.first_x, i.first_y, i.last_x, i.last_y
    state.taken = _base(state, lists, row) + LIST_ENTRY_BYTES * count
    lists.counts[row] = count + 1
    first, last = i.first_x // state.tile_size, i.last_x // state.tile_size
    lists.first[row] = min(first, lists.first[row]) if count else first
    lists.last[row] = max(last, lists.last[row]) if count else last
    state.passed += 1
    if row == i.last_y // state.tile_size:
        i.valid, state.passed = 0, 0
    return True


@merged
def _base(state, lists, row: int) -> int:
    """Return the address of a row's list."""
    return state.list_base + lists.stride * row


@merged
def _cut(entry, tile, rectangle) -> bool:
    """Write the pixels of an entry that lie in the tile; return whether there are any."""
    rectangle.first_x, rectangle.last_x = max(entry.first_x - tile.x, 0), min(entry.last_x - tile.x, tile.last_x)
    rectangle.first_y, rectangle.last_y = max(entry.first_y - tile.y, 0), min(entry.last_y - tile.y, tile.last_y)
    rectangle.x, rectangle.y, rectangle.z, rectangle.rank = entry.x, entry.y, entry.z, entry.rank
    rectangle.tile, rectangle.last = tile.place, 0
    return rectangle.first_x <= rectangle.last_x and rectangle.first_y <= rectangle.last_y
