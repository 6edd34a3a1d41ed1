"""Sample generator: the samples of a cube's pixels in occupied mask cells. RTL: `rtl.sample_generator`.

Three parts work at the same time: one finds the first lattice point of the next pixel, one marches along the ray of
the pixel before, and two stages behind it test the mask.
"""

import numpy as np

from nerf.contract.formats import INVERSE, POSITION, STEP
from nerf.contract.scene_image import MASK_WINDOW
from nerf.golden.sample_generator import CUBE_SHIFT, mask_cell
from sim import record_reader
from sim.activity import BUSY, OUTPUT
from sim.compiled import compiled

FINE = STEP.fraction - POSITION.fraction
"""Fraction bits that a step has more than a position."""
STEPS_FRACTION = POSITION.fraction + INVERSE.fraction
POSITION_FRACTION = POSITION.fraction

IDLES, LOOKS_FIRST, LOOKED, STEPS, INDEX, POINT, LAST = range(7)
"""Phases of the set-up of a ray: a pixel's ray and flag are looked up in the cycle before `LOOKED`."""
HIT, IN_WINDOW, OCCUPIED = 1, 2, 4
"""What is known of a point: it lies in the cube, its mask cell in the cube's window, and that is occupied."""

PLACE = np.dtype([(name, np.int64) for name in ("found", "pixel", "x", "y", "z")])
"""A point in the mask test; ``found``: sum of `HIT`, `IN_WINDOW`, `OCCUPIED`."""
RECTANGLE_FIELDS = ("x", "y", "z", "rank", "first_x", "last_x", "last_y", "tile")

STATE = np.dtype(
    [(name, np.int64) for name in ("activity", "tile_size", "phase", "announced", *RECTANGLE_FIELDS)]
    + [(name, np.int64) for name in ("column", "row", "terminated", "first_index")]
    + [(name, np.int64) for name in ("marching", "pixel", "index", "at_x", "at_y", "at_z", "by_x", "by_y", "by_z")]
    + [("scaled", PLACE), ("cell", PLACE), ("reader", record_reader.STATE)]
)
"""``x`` to ``tile``: the cube and its pixels; ``column`` to ``first_index``: the pixel being set up; ``marching`` to
``by_z``: the ray being marched along, the point where it is and its step, both in the format STEP; ``scaled``,
``cell``: the two stages of the mask test."""


def new(tile_size: int) -> np.void:
    """Return an idle generator for tiles of some pixels a side."""
    state = np.zeros(1, STATE)[0]
    state["tile_size"] = tile_size
    return state


@compiled
def step(
    now: int, state, scene, view, scene_base: int, i, request, beat, o_cube, o,
    position, direction, inverse, terminated_from, windows, bases,
) -> int:  # fmt: skip
    """Enumerate the samples of rectangles.

    Parameters
    ----------
    position, direction, inverse : int64 arrays (pixels, 3)
        First sample, step and inverse step of the tile's rays by pixel, as `nerf.golden.ray_setup.Rays`.
    terminated_from : int64 array (pixels,)
        Cycle from which a pixel's flag reads 1: it takes no more samples.
    windows, bases : arrays (cubes, 6, 6, 6) and (cubes, 3)
        Mask windows by rank, as `nerf.golden.frame.DecodedScene`.
    """
    reader = state.reader
    rests = not (state.marching or state.scaled.found or state.cell.found)
    free = not state.marching
    moved = False
    if not rests and not o.valid:
        found = state.cell.found == HIT | IN_WINDOW | OCCUPIED
        # The first sample of a cube waits for the place of its announcement.
        if not found or state.announced or not o_cube.valid:
            moved = True
            if found:
                _put_out(state, o_cube, o)
            free = _test_and_march(state, scene, view, windows, bases)
    if state.phase != IDLES or (reader.o.valid and rests):
        moved |= _set_up(now, state, view, free, o, position, direction, inverse, terminated_from)
    wake = record_reader.step(now, reader, scene, scene_base, i, request, beat)
    if moved:
        state.activity = BUSY
        return now + 1
    state.activity = OUTPUT if o.valid or o_cube.valid else reader.activity
    return wake


@compiled
def _put_out(state, o_cube, o) -> None:
    """Put the sample at the end of the mask test into the output register; announce its cube if it is the first."""
    place = state.cell
    o.pixel, o.x, o.y, o.z, o.value, o.last = place.pixel, place.x, place.y, place.z, 0, 0
    o.valid = 1
    if not state.announced:
        state.announced = 1
        o_cube.x, o_cube.y, o_cube.z = state.x, state.y, state.z
        o_cube.valid = 1


@compiled
def _test_and_march(state, scene, view, windows, bases) -> bool:
    """Move a point on in both stages of the mask test and march a step; return whether a new ray may begin."""
    scaled, cell = state.scaled, state.cell
    cell.found = scaled.found if scaled.found & IN_WINDOW else 0
    cell.pixel, cell.x, cell.y, cell.z = scaled.pixel, scaled.x, scaled.y, scaled.z
    scaled.found = 0
    if not state.marching:
        return True
    x, y, z = state.at_x >> FINE, state.at_y >> FINE, state.at_z >> FINE
    hits_x, leaves_x = _compare(x, state.by_x, state.x, scene.grid[0])
    hits_y, leaves_y = _compare(y, state.by_y, state.y, scene.grid[1])
    hits_z, leaves_z = _compare(z, state.by_z, state.z, scene.grid[2])
    if hits_x and hits_y and hits_z:
        scaled.pixel, scaled.x, scaled.y, scaled.z = state.pixel, x, y, z
        scaled.found = HIT | _test_mask(scaled, state.rank, scene, windows, bases)
    state.index += 1
    state.at_x += state.by_x
    state.at_y += state.by_y
    state.at_z += state.by_z
    if leaves_x or leaves_y or leaves_z or state.index == view.sample_limit:
        state.marching = 0
        return True
    return False


@compiled
def _compare(place: int, along: int, cube: int, grid: int) -> tuple[bool, bool]:
    """Return whether a place on an axis lies in the cube, and whether a ray has left cube or box for good there."""
    at = place >> CUBE_SHIFT
    beyond = place > grid - 1 << POSITION_FRACTION
    hits = at == cube and not beyond
    if along > 0:
        return hits, at > cube or beyond
    if along < 0:
        return hits, at < cube
    return hits, not hits


@compiled
def _test_mask(place, rank: int, scene, windows, bases) -> int:
    """Return whether a position's mask cell lies in the cube's window, and whether that is occupied."""
    x = mask_cell(place.x, scene.mask_scale[0], scene.mask_offset[0]) - bases[rank, 0]
    y = mask_cell(place.y, scene.mask_scale[1], scene.mask_offset[1]) - bases[rank, 1]
    z = mask_cell(place.z, scene.mask_scale[2], scene.mask_offset[2]) - bases[rank, 2]
    if min(x, y, z) < 0 or max(x, y, z) >= MASK_WINDOW:
        return 0
    return IN_WINDOW | OCCUPIED if windows[rank, z, y, x] else IN_WINDOW


@compiled
def _set_up(now: int, state, view, free: bool, o, position, direction, inverse, terminated_from) -> bool:
    """Do a cycle of the set-up of the next pixel's ray; return whether anything has changed."""
    phase = state.phase
    if phase == LOOKED:
        state.phase = STEPS
        if state.terminated:
            _look_at_next_pixel(now, state, terminated_from)
    elif phase == STEPS:
        pixel = _pixel(state)
        index_x = _first_index(state.x, position[pixel, 0], direction[pixel, 0], inverse[pixel, 0])
        index_y = _first_index(state.y, position[pixel, 1], direction[pixel, 1], inverse[pixel, 1])
        index_z = _first_index(state.z, position[pixel, 2], direction[pixel, 2], inverse[pixel, 2])
        state.first_index = max(index_x, index_y, index_z)
        state.phase = INDEX
    elif phase == INDEX:
        state.phase = POINT
    elif phase == POINT:
        index = state.first_index
        reachable = index < view.sample_limit
        if reachable:
            if not free:
                return False
            pixel = _pixel(state)
            state.marching, state.pixel, state.index = 1, pixel, index
            state.by_x, state.by_y, state.by_z = direction[pixel, 0], direction[pixel, 1], direction[pixel, 2]
            state.at_x = (position[pixel, 0] << FINE) + index * state.by_x
            state.at_y = (position[pixel, 1] << FINE) + index * state.by_y
            state.at_z = (position[pixel, 2] << FINE) + index * state.by_z
        _look_at_next_pixel(now, state, terminated_from)
    elif phase == IDLES:
        # The step has seen that the mask of the cube before is no longer in use.
        record = state.reader.o
        record.valid = 0
        state.announced = 0
        state.x, state.y, state.z, state.rank = record.x, record.y, record.z, record.rank
        state.first_x, state.last_x, state.last_y, state.tile = (
            record.first_x,
            record.last_x,
            record.last_y,
            record.tile,
        )
        state.column, state.row = record.first_x, record.first_y
        state.phase = LAST if record.last else LOOKS_FIRST
    elif phase == LOOKS_FIRST:
        _look(now, state, terminated_from)
    else:
        if o.valid:
            return False
        o.valid, o.last = 1, 1
        state.phase = IDLES
    return True


@compiled
def _first_index(cube: int, position: int, direction: int, inverse: int) -> int:
    """Return the index of a ray's lattice point at the cube's face on an axis, or of one before it."""
    low = cube << CUBE_SHIFT
    if direction > 0:
        to_face = low - position
    elif direction < 0:
        to_face = position - low - (1 << CUBE_SHIFT)
    else:
        return 0
    return max(to_face, 0) * inverse >> STEPS_FRACTION


@compiled
def _pixel(state) -> int:
    """Return the index of the pixel being set up."""
    return (state.tile * state.tile_size + state.row) * state.tile_size + state.column


@compiled
def _look(now: int, state, terminated_from) -> None:
    """Look up the flag of the pixel; a write in the same cycle is not seen."""
    state.terminated = terminated_from[_pixel(state)] <= now
    state.phase = LOOKED


@compiled
def _look_at_next_pixel(now: int, state, terminated_from) -> None:
    """Go on to the next pixel of the rectangle, row by row, and look it up; behind the last one, rest."""
    if state.column != state.last_x:
        state.column += 1
    elif state.row != state.last_y:
        state.column = state.first_x
        state.row += 1
    else:
        state.phase = IDLES
        return
    _look(now, state, terminated_from)
