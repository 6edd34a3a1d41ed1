"""Frame controller: load the scene, then render tile after tile. RTL: `rtl.frame_controller`."""

import numpy as np

from sim.activity import BUSY, IDLE, MEMORY, NEVER
from sim.compiled import compiled

IDLES, RESETS, LOADING, SETTING_UP, RENDERING, FINISHES = range(6)
"""The cycle in which another block is started counts with the phase in which it works."""

STATE = np.dtype([(name, np.int64) for name in ("activity", "tile_size", "phase")])


def new(tile_size: int) -> np.void:
    """Return an idle controller for tiles of some pixels a side."""
    state = np.zeros(1, STATE)[0]
    state["tile_size"] = tile_size
    return state


@compiled
def step(
    now: int, state, start, view, tile, load, set_up, walk, loaded, rays_ready, tile_done, bus_idle: int, finished
) -> int:  # fmt: skip
    """Sequence a frame: ``RESET`` in the cycle after ``start``, the strobe ``finished`` in the frame's last cycle.

    ``tile`` changes at the end of a tile's last cycle; ``load``, ``set_up`` and ``walk`` are set for the next cycle;
    ``bus_idle``: whether nothing was on the buses or outstanding when the cycle began.
    """
    phase = state.phase
    state.activity = BUSY
    if phase == IDLES:
        if not start.set:
            state.activity = IDLE
            return NEVER
        start.set = 0
        tile.x, tile.y = 0, 0
        _set_size(state, view, tile)
        state.phase = RESETS
    elif phase == RESETS:
        load.set = 1
        state.phase = LOADING
    elif phase == LOADING:
        if not loaded.set:
            return NEVER
        loaded.set = 0
        set_up.set = 1
        state.phase = SETTING_UP
    elif phase == SETTING_UP:
        if not rays_ready.set:
            return NEVER
        rays_ready.set = 0
        walk.set = 1
        state.phase = RENDERING
    elif phase == RENDERING:
        if not tile_done.set:
            return NEVER
        tile_done.set = 0
        if _next_tile(state, view, tile):
            set_up.set = 1
            state.phase = SETTING_UP
        else:
            state.phase = FINISHES
    else:
        if not bus_idle:
            state.activity = MEMORY
            return now + 1
        finished.set = 1
        state.phase = IDLES
    return now + 1


@compiled
def _next_tile(state, view, tile) -> bool:
    """Go on to the next tile, row by row; return whether there is one."""
    tile.x += state.tile_size
    if tile.x >= view.window_width:
        tile.x = 0
        tile.y += state.tile_size
        if tile.y >= view.window_height:
            return False
    _set_size(state, view, tile)
    return True


@compiled
def _set_size(state, view, tile) -> None:
    """Cut the tile to the window."""
    tile.last_x = min(view.window_width - tile.x, state.tile_size) - 1
    tile.last_y = min(view.window_height - tile.y, state.tile_size) - 1
