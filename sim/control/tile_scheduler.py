"""Tile scheduler: ray set-up, walk and putting out of tile after tile, some at a time; and the tiles without a cube.

RTL: `rtl.control.tile_scheduler`.
"""

import numpy as np

from nerf.contract.config import POWERS, AcceleratorConfig
from rtnerf.base.compiled import compiled, merged
from sim.parts.activity import BUSY, IDLE, NEVER
from sim.parts.streams import TILE

TILES_LIMIT = POWERS["tiles"][1]

RESTS, LOOKS, FOUND, OFFERS, ENDED = range(5)
"""Phases of a sequence: not started, a row is looked up, it is there, a tile is there, there are no more."""
SEQUENCE = np.dtype([(name, np.int64) for name in ("blank", "phase", "row", "column", "entries", "first", "last")])
"""Tiles in rows: of those that a cube may meet, or of the ``blank`` others; ``entries``, ``first``, ``last``: of the
row, as in `sim.samples.cube_list.Lists`."""

STATE = np.dtype(
    [("met", SEQUENCE), ("blanks", SEQUENCE), ("on_chip", TILE, (TILES_LIMIT,))]
    + [
        (name, np.int64)
        for name in (
            "activity", "tile_size", "tiles", "running", "held", "setting_up", "to_walk", "walking", "set_up_place",
            "walk_place", "put_out_place", "set_up_tiles",
        )
    ]
)  # fmt: skip
"""``on_chip``: tiles by place, of ``tiles`` places; ``held``: tiles whose set-up has begun and that have not been put
out; ``to_walk``: those of them whose walk has not begun; ``set_up_tiles``: begun so far."""


def new(config: AcceleratorConfig) -> np.void:
    """Return a scheduler before a frame."""
    state = np.zeros(1, STATE)[0]
    state["tile_size"], state["tiles"] = config.tile, config.tiles
    state["blanks"]["blank"] = 1
    return state


@merged
def step(
    now: int, state, start, view, lists, set_up_tile, walk_tile, put_out_tile, blank, set_up, walk, rays_ready, walked,
    tile_done, done, rays_from,
) -> int:  # fmt: skip
    """Take note of what has ended; ``set_up``, ``walk`` and ``done`` are set for the next cycle, its tiles too.

    ``blank``: the next tile without a cube; ``lists``: `sim.samples.cube_list.Lists`, whole from ``start`` on;
    ``rays_from``: by place, the cycle from which the rays of its tile are there, since the last set-up began.
    """
    met_looks = state.met.phase == LOOKS
    moved = start.set or rays_ready.set or walked.set or tile_done.set
    if start.set:
        state.running, state.met.phase, state.blanks.phase = 1, LOOKS, LOOKS
    else:
        moved |= _step(state.met, view, lists, state.tile_size, rays_ready.set, True)
        moved |= _step(
            state.blanks, view, lists, state.tile_size, state.blanks.phase == OFFERS and not blank.valid, not met_looks
        )
    if state.blanks.phase == OFFERS and not blank.valid:
        _tile_of(state.blanks, view, state.tile_size, 0, blank)
        blank.valid = 1
    if rays_ready.set:
        state.setting_up = 0
        rays_from[state.set_up_place] = now + 1
        state.set_up_place = (state.set_up_place + 1) % state.tiles
    if walked.set:
        state.walking = 0
        state.walk_place = (state.walk_place + 1) % state.tiles
    if tile_done.set:
        state.held -= 1
        state.put_out_place = (state.put_out_place + 1) % state.tiles
    start.set, rays_ready.set, walked.set, tile_done.set = 0, 0, 0, 0

    if state.to_walk and not state.walking:
        walk.set = 1
        state.to_walk -= 1
        state.walking = 1
    if state.met.phase == OFFERS and not state.setting_up and state.held != state.tiles:
        set_up.set = 1
        state.setting_up = 1
        state.held += 1
        state.to_walk += 1
        state.set_up_tiles += 1
        _tile_of(state.met, view, state.tile_size, state.set_up_place, set_up_tile)
        _copy(set_up_tile, state.on_chip[state.set_up_place])
        moved = True
    _copy(state.on_chip[state.walk_place], walk_tile)
    _copy(state.on_chip[state.put_out_place], put_out_tile)
    if state.running and state.met.phase == ENDED and state.blanks.phase == ENDED and not state.held:
        state.running = 0
        done.set = 1
    state.activity = BUSY if state.running else IDLE
    return now + 1 if moved else NEVER


@compiled
def _step(sequence, view, lists, size: int, taken: bool, granted: bool) -> bool:
    """Look a row up, or go on to the next tile when one is ``taken``; return whether anything has changed."""
    if sequence.phase == LOOKS:
        if granted:
            sequence.phase = FOUND
        return True
    if sequence.phase == FOUND:
        sequence.entries = lists.counts[sequence.row]
        sequence.first, sequence.last = lists.first[sequence.row], lists.last[sequence.row]
        _go_to(sequence, view, size, 0 if sequence.blank else sequence.first)
        return True
    if sequence.phase == OFFERS and taken:
        _go_to(sequence, view, size, sequence.column + 1)
        return True
    return False


@compiled
def _go_to(sequence, view, size: int, column: int) -> None:
    """Go to the sequence's tile in a column, or the next behind it: in this row, or in one to be looked up."""
    across = (view.window_width - 1) // size
    if sequence.blank:
        if sequence.entries and column == sequence.first:
            column = sequence.last + 1
        ends = column > across
    else:
        ends = not sequence.entries or column > sequence.last
    sequence.column = column
    if not ends:
        sequence.phase = OFFERS
    elif (sequence.row + 1) * size < view.window_height:
        sequence.row += 1
        sequence.phase = LOOKS
    else:
        sequence.phase = ENDED


@compiled
def _tile_of(sequence, view, size: int, place: int, tile) -> None:
    """Write the sequence's tile, cut to the window."""
    tile.x, tile.y, tile.place, tile.entries = sequence.column * size, sequence.row * size, place, sequence.entries
    tile.last_x = min(view.window_width - tile.x, size) - 1
    tile.last_y = min(view.window_height - tile.y, size) - 1


@compiled
def _copy(source, target) -> None:
    """Copy a tile."""
    target.x, target.y, target.last_x, target.last_y = source.x, source.y, source.last_x, source.last_y
    target.place, target.entries = source.place, source.entries
