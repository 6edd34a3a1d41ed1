"""Uniform sampling with an occupancy test, in place of cubes: modelled only, the RTL has no such block.

Every ray of a tile is marched along from its first lattice point to where it leaves the box, a point a cycle, pixel by
pixel. The occupancy is taken to be on chip. What comes behind is the same: a sample of another cube than the one before
it announces that cube first.
"""

import numpy as np

from nerf.contract.formats import POSITION, STEP
from nerf.golden.sample_generator import CUBE_SHIFT
from rtnerf.base.compiled import compiled, merged
from sim.parts.activity import BUSY, IDLE, NEVER, OUTPUT
from sim.samples.marches import alpha_at, is_occupied

FINE = STEP.fraction - POSITION.fraction
POSITION_FRACTION = POSITION.fraction

IDLES, LOOKS, MARCHES, LAST = range(4)

STATE = np.dtype(
    [(name, np.int64) for name in ("activity", "tile_size", "phase", "column", "row", "index", "entered", "samples")]
    + [("point", np.int64, (3,)), ("cube", np.int64, (3,))]
)
"""``samples``: put out so far; ``point``: of the lattice, in the format STEP; ``cube``: announced last."""


def new(tile_size: int) -> np.void:
    """Return an idle sampler for tiles of some pixels a side."""
    state = np.zeros(1, STATE)[0]
    state["tile_size"] = tile_size
    state["cube"] = -1
    return state


@merged
def step(now: int, state, start, tile, o_cube, o, done, frame) -> int:
    """Look at a pixel, or at one point of its ray; ``frame``: `sim.frame.Frame`; ``done``: with the tile."""
    if state.phase == IDLES:
        if not start.set:
            state.activity = IDLE
            return NEVER
        if frame.rays_from[tile.place] > now:
            state.activity = BUSY
            return now + 1
        start.set = 0
        state.column, state.row = 0, 0
        state.phase = LOOKS
    state.activity = BUSY
    pixel = (tile.place * state.tile_size + state.row) * state.tile_size + state.column
    if state.phase == LOOKS:
        if frame.terminated_from[pixel] <= now:
            _next_pixel(state, tile)
        else:
            state.index, state.entered = 0, 0
            for axis in range(3):
                state.point[axis] = frame.marches.rays[_in_window(state, tile, frame), 0, axis] << FINE
            state.phase = MARCHES
        return now + 1
    if o.valid or o_cube.valid:
        state.activity = OUTPUT
        return NEVER
    if state.phase == LAST:
        o.valid, o.last = 1, 1
        done.set = 1
        state.phase = IDLES
        return now + 1
    x, y, z = state.point[0] >> FINE, state.point[1] >> FINE, state.point[2] >> FINE
    inside = _in_box(frame.scene, x, 0) and _in_box(frame.scene, y, 1) and _in_box(frame.scene, z, 2)
    if inside:
        state.entered = 1
        cube = frame.marches.rank[z >> CUBE_SHIFT, y >> CUBE_SHIFT, x >> CUBE_SHIFT]
        if cube >= 0 and is_occupied(frame.marches, x, y, z, cube):
            o.pixel, o.x, o.y, o.z, o.last = pixel, x, y, z, 0
            o.value = alpha_at(frame.marches, x, y, z)
            state.samples += 1
            o.valid = 1
            _announce(state, o, o_cube)
    state.index += 1
    for axis in range(3):
        state.point[axis] += frame.marches.rays[_in_window(state, tile, frame), 1, axis]
    left = state.entered and not inside
    if left or state.index == frame.camera.sample_limit or frame.terminated_from[pixel] <= now:
        state.phase = LOOKS
        _next_pixel(state, tile)
    return now + 1


@compiled
def _in_box(scene, place: int, axis: int) -> bool:
    return 0 <= place <= (scene.grid[axis] - 1) << POSITION_FRACTION


@compiled
def _in_window(state, tile, frame) -> int:
    """Return the window pixel that is looked at."""
    return (tile.y + state.row) * frame.camera.window_width + tile.x + state.column


@compiled
def _announce(state, o, o_cube) -> None:
    """Announce the cube of a sample if it is another one than before."""
    x, y, z = o.x >> CUBE_SHIFT, o.y >> CUBE_SHIFT, o.z >> CUBE_SHIFT
    if x != state.cube[0] or y != state.cube[1] or z != state.cube[2]:
        state.cube[0], state.cube[1], state.cube[2] = x, y, z
        o_cube.x, o_cube.y, o_cube.z = x, y, z
        o_cube.valid = 1


@compiled
def _next_pixel(state, tile) -> None:
    """Go on to the next pixel, row by row, or to the end of the tile."""
    if state.column != tile.last_x:
        state.column += 1
    elif state.row != tile.last_y:
        state.column = 0
        state.row += 1
    else:
        state.phase = LAST
