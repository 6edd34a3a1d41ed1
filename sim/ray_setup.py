"""Ray set-up: every pixel of a tile becomes a ray, one after the other. RTL: `rtl.ray_setup`.

The rays are those of `nerf.golden.ray_setup.set_up`; here they are only initialised at their time.
"""

import numpy as np

from sim.activity import BUSY, IDLE, NEVER, OUTPUT
from sim.compiled import compiled

CYCLES = 106
"""From the start, or from the ray before, to a ray: a square root, four divisions and 25 products on one multiplier."""

IDLES, WORKS, OFFERS, DONE = range(4)

STATE = np.dtype([(name, np.int64) for name in ("activity", "tile_size", "phase", "until", "column", "row")])
"""``until``: cycle in which the ray of the pixel (``column``, ``row``) is valid."""


def new(tile_size: int) -> np.void:
    """Return an idle ray set-up for tiles of some pixels a side."""
    state = np.zeros(1, STATE)[0]
    state["tile_size"] = tile_size
    return state


@compiled
def step(now: int, state, start, tile, o, done, live) -> int:
    """Set up the rays of a tile; ``live``: whether each ray meets the box, by pixel (row * tile size + column)."""
    state.activity = BUSY
    if state.phase == IDLES:
        if not start.set:
            state.activity = IDLE
            return NEVER
        start.set = 0
        state.column, state.row = 0, 0
        state.until = now + CYCLES
        state.phase = WORKS
    elif state.phase == OFFERS:
        if o.valid:
            state.activity = OUTPUT
            return NEVER
        if state.column != tile.last_x:
            state.column += 1
        elif state.row != tile.last_y:
            state.column = 0
            state.row += 1
        else:
            state.phase = DONE
            return now + 1
        state.until = now + CYCLES
        state.phase = WORKS
    elif state.phase == DONE:
        done.set = 1
        state.phase = IDLES
        return now + 1
    # The output's register changes at the end of the cycle before.
    if now + 1 < state.until:
        return state.until - 1
    o.pixel = state.row * state.tile_size + state.column
    o.live = live[o.pixel]
    o.valid = 1
    state.phase = OFFERS
    return now + 1
