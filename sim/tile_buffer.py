"""Colours of a tile, added up sample by sample and put out pixel by pixel. RTL: `rtl.tile_buffer`.

Colours change no cycle and are not computed.
"""

import numpy as np

from sim.activity import BUSY, IDLE, NEVER, OUTPUT
from sim.compiled import compiled

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
    """Take a sample a cycle; at the marker scan the tile, two register steps from a pixel's read to its output.

    Parameters
    ----------
    tile : TILE
    done : STROBE
    """
    if not i.valid:
        state.activity = IDLE
        return NEVER
    state.activity = BUSY
    if state.scanning:
        return _scan(now, state, tile, i, o, done)
    if i.last:
        state.scanning = 1
    else:
        state.shaded += 1
        i.valid = 0
    return now + 1


@compiled
def _scan(now: int, state, tile, i, o, done) -> int:
    if o.valid:
        state.activity = OUTPUT
        return NEVER
    if state.all_read and not state.has_data:
        state.scanning = 0
        state.all_read = 0
        i.valid = 0
        done.set = 1
        return now + 1
    if state.has_data:
        o.x = tile.x + state.data_column
        o.y = tile.y + state.data_row
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
    return now + 1
