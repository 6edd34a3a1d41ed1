"""Colours of two tiles, added up sample by sample and put out pixel by pixel. RTL: `rtl.shading.tile_buffer`.

Colours change no cycle and are not computed.
"""

import numpy as np

from rtnerf.base.compiled import compiled, merged
from sim.parts.activity import BUSY, IDLE, NEVER, OUTPUT

ADDING = 5
"""Cycles from a sample to its sum, and so from a marker to the first read."""
LAST_STAGE = 4
"""Stage bit: the register before a pixel's output. Colour and transmittance read, weighted, output: 3, and the read."""
ALL = -1
"""Pixels to be read before the first is: those of the tile."""

STATE = np.dtype(
    [
        (name, np.int64)
        for name in (
            "activity",
            "shaded",
            "waits",
            "fills",
            "reads_from",
            "to_read",
            "stages",
            "column",
            "row",
        )
    ]
)
"""``shaded``: samples so far; ``waits``: for the tile to be put out; ``fills``: a blank one is put out;
``reads_from``: the cycle of a tile's first read;
``to_read``: pixels; ``stages``: a bit for each stage that holds one; ``column``, ``row``: the next to be put out."""


def new() -> np.void:
    """Return a tile buffer that waits for a sample."""
    state = np.zeros(1, STATE)[0]
    state["to_read"] = ALL
    return state


@merged
def step(now: int, state, tile, blank, i, o, done) -> int:
    """Take a sample a cycle; behind a marker scan the tile, four steps from a pixel's read to its output.

    While none waits for that, put out blank ones.

    Parameters
    ----------
    tile : TILE
    blank : BLANK
    done : STROBE
    """
    scans = state.fills or (state.waits and now >= state.reads_from)
    moves = scans and not o.valid
    takes = i.valid and not (i.last and state.waits)
    begins = blank.valid and not state.waits and not state.fills
    state.activity = BUSY if moves or takes or begins else OUTPUT if scans else BUSY if state.waits else IDLE
    if moves:
        if state.fills:
            if _scan(state, blank, o):
                state.fills, blank.valid = 0, 0
        elif _scan(state, tile, o):
            state.waits, done.set = 0, 1
    if begins:
        state.fills = 1
    if takes:
        i.valid = 0
        if i.last:
            state.waits = 1
            state.reads_from = now + ADDING
        else:
            state.shaded += 1
    if moves or takes or begins:
        return now + 1
    return state.reads_from if state.waits and not scans else NEVER


@compiled
def _scan(state, tile, o) -> bool:
    """Read a pixel, and put out the one read four cycles before; return whether the last has been accepted."""
    if state.to_read == ALL:
        state.to_read = (tile.last_x + 1) * (tile.last_y + 1)
    if not (state.to_read or state.stages):
        state.to_read = ALL
        return True
    if state.stages & LAST_STAGE:
        o.x = tile.x + state.column
        o.y = tile.y + state.row
        o.ends_row = state.column == tile.last_x
        o.valid = 1
        state.column += 1
        if o.ends_row:
            state.column = 0
            state.row = state.row + 1 if state.row != tile.last_y else 0
    reads = 1 if state.to_read else 0
    state.to_read -= reads
    state.stages = (state.stages << 1 | reads) & (2 * LAST_STAGE - 1)
    return False
