"""Tile scheduler: ray set-up, walk and putting out of tile after tile, two at a time.

RTL: `rtl.control.tile_scheduler`.
"""

import numpy as np

from rtnerf.base.compiled import compiled
from sim.parts.activity import BUSY, IDLE, NEVER

TILES = 2
"""Tiles that are on chip at a time."""

STATE = np.dtype(
    [(name, np.int64) for name in ("activity", "tile_size", "more", "on_chip", "setting_up", "rays_wait", "walking")]
)
"""``more``: there are tiles whose set-up has not begun; ``on_chip``: tiles whose set-up has begun and that have not
been put out; ``rays_wait``: there are rays of a tile whose walk has not begun."""


def new(tile_size: int) -> np.void:
    """Return a scheduler for tiles of some pixels a side, before a frame."""
    state = np.zeros(1, STATE)[0]
    state["tile_size"] = tile_size
    return state


@compiled
def step(
    now: int, state, start, view, set_up_tile, walk_tile, put_out_tile, set_up, walk, rays_ready, walked, tile_done,
    done,
) -> int:  # fmt: skip
    """Take note of what has ended; ``set_up``, ``walk`` and ``done`` are set for the next cycle, its tiles too."""
    ends = start.set or rays_ready.set or walked.set or tile_done.set
    if start.set:
        for tile in (set_up_tile, walk_tile, put_out_tile):
            tile.x, tile.y, tile.parity = 0, 0, 0
            _set_size(state, view, tile)
        state.more = 1
    if rays_ready.set:
        state.setting_up, state.rays_wait = 0, 1
        state.more = _next_tile(state, view, set_up_tile)
    if walked.set:
        state.walking = 0
        _next_tile(state, view, walk_tile)
    if tile_done.set:
        state.on_chip -= 1
        done.set = not _next_tile(state, view, put_out_tile)
    start.set, rays_ready.set, walked.set, tile_done.set = 0, 0, 0, 0

    if state.more and not state.setting_up and state.on_chip != TILES:
        set_up.set = 1
        state.setting_up = 1
        state.on_chip += 1
    if state.rays_wait and not state.walking:
        walk.set = 1
        state.rays_wait, state.walking = 0, 1
    state.activity = BUSY if state.on_chip else IDLE
    return now + 1 if ends else NEVER


@compiled
def _next_tile(state, view, tile) -> bool:
    """Go on to the next tile, row by row; return whether there is one."""
    tile.parity ^= 1
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
