"""Colours of two tiles, added up sample by sample and put out pixel by pixel. RTL: `rtl.shading.tile_buffer`.

Colours change no cycle and are not computed.
"""

import numpy as np

from rtnerf.base.compiled import compiled
from sim.parts.activity import BUSY, IDLE, NEVER, OUTPUT

STATE = np.dtype(
    [
        (name, np.int64)
        for name in (
            "activity",
            "shaded",
            "scanning",
            "column",
            "row",
            "all_read",
            "has_data",
            "data_column",
            "data_row",
        )
    ]
)
"""``shaded``: samples so far; ``scanning``: putting the tile out; ``column``, ``row``: the pixel to be read next,
unless ``all_read``; ``data_column``, ``data_row``: the pixel read before it, if ``has_data``."""


def new() -> np.void:
    """Return a tile buffer that waits for a sample."""
    return np.zeros(1, STATE)[0]


@compiled
def step(now: int, state, tile, i, o, done) -> int:
    """Take a sample a cycle; behind a marker scan the tile, two register steps from a pixel's read to its output.

    Parameters
    ----------
    tile : TILE
    done : STROBE
    """
    moves = False
    state.activity = IDLE
    if state.scanning:
        state.activity = OUTPUT
        moves = not o.valid
    takes = i.valid and not (i.last and state.scanning)
    if moves:
        _scan(state, tile, o, done)
    if takes:
        i.valid = 0
        state.scanning |= i.last
        state.shaded += not i.last
    if not (moves or takes):
        return NEVER
    state.activity = BUSY
    return now + 1


@compiled
def _scan(state, tile, o, done) -> None:
    """Put out the pixel that has been read before, and read the next; or end, when the last has been accepted."""
    if state.all_read and not state.has_data:
        state.scanning = 0
        state.all_read = 0
        done.set = 1
        return
    if state.has_data:
        o.x = tile.x + state.data_column
        o.y = tile.y + state.data_row
        o.ends_row = state.data_column == tile.last_x
        o.valid = 1
    state.has_data = not state.all_read
    if state.has_data:
        state.data_column, state.data_row = state.column, state.row
        state.column += 1
        if state.column > tile.last_x:
            state.column = 0
            state.row += 1
            if state.row > tile.last_y:
                state.row = 0
                state.all_read = 1
