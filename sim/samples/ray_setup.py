"""Ray set-up: every pixel of a tile becomes a ray, in units that work side by side. RTL: `rtl.samples.ray_setup`.

The rays are those of `nerf.golden.ray_setup.set_up`; here they are only initialised at their time.
"""

import numpy as np

from nerf.contract.config import AcceleratorConfig
from rtnerf.base.compiled import merged
from sim.parts.activity import BUSY, IDLE, NEVER, OUTPUT

CYCLES = 119
"""From a pixel to its ray: a square root of 14, four divisions of 17 each, 25 products on one multiplier of 4."""
MOST_UNITS = 128

IDLES, WORKS, DONE = range(3)

STATE = np.dtype(
    [(name, np.int64) for name in ("activity", "tile_size", "units", "phase", "begun", "accepted", "offered")]
    + [("valid_from", np.int64, (MOST_UNITS,))]
)
"""``begun``, ``accepted``: pixels of the tile that units have taken, and rays that have been accepted; ``offered``:
whether a ray has been put out and not been seen to be accepted; ``valid_from``: cycle from which on each unit has the
ray of its pixel. Pixel n is in unit n modulo ``units``."""


def new(cfg: AcceleratorConfig) -> np.void:
    """Return an idle ray set-up."""
    state = np.zeros(1, STATE)[0]
    state["tile_size"], state["units"] = cfg.tile, cfg.ray_units
    return state


@merged
def step(now: int, state, start, tile, o, done, live) -> int:
    """Set up the rays of a tile; ``live``: whether each ray meets the box, by pixel."""
    state.activity = BUSY
    if state.phase == IDLES:
        if not start.set:
            state.activity = IDLE
            return NEVER
        start.set = 0
        state.begun, state.accepted, state.offered = 0, 0, 0
        state.phase = WORKS
    elif state.phase == DONE:
        done.set = 1
        state.phase = IDLES
        return now + 1
    columns = tile.last_x + 1
    pixels = columns * (tile.last_y + 1)
    if state.offered and not o.valid:
        state.offered = 0
        state.accepted += 1
        if state.accepted == pixels:
            state.phase = DONE
            return now + 1
    # The unit that has just given its ray away takes the next pixel in the same cycle.
    if state.begun < min(pixels, state.accepted + state.units):
        state.valid_from[state.begun % state.units] = now + CYCLES
        state.begun += 1
    next_begins = state.begun < min(pixels, state.accepted + state.units)
    if o.valid:
        state.activity = OUTPUT
        return now + 1 if next_begins else NEVER
    # The output changes at the end of the cycle before.
    if now + 1 >= state.valid_from[state.accepted % state.units]:
        row = tile.place * state.tile_size + state.accepted // columns
        o.pixel = row * state.tile_size + state.accepted % columns
        o.live = live[o.pixel]
        o.valid = 1
        state.offered = 1
        return now + 1
    return now + 1 if next_begins else state.valid_from[state.accepted % state.units] - 1
