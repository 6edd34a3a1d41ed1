"""Sample lane: the samples of every n-th column of a cube's pixels in occupied mask cells.

RTL: `rtl.samples.sample_lane`.

What becomes of a pixel is known when it is looked up; it then passes the stages up to the march in its time.
"""

import numpy as np

from nerf.contract.config import POWERS
from nerf.contract.formats import FINE_BITS, INVERSE, POSITION
from nerf.contract.scene_image import MASK_WINDOW
from nerf.golden.sample_generator import CUBE_SHIFT, mask_cell
from rtnerf.base.compiled import compiled

STEPS_FRACTION = POSITION.fraction + INVERSE.fraction
POSITION_FRACTION = POSITION.fraction
QUEUE_LIMIT, RAYS_LIMIT = (POWERS[name][1] for name in ("lane_queue", "ray_queue"))

SET_UP_STAGES = 9
"""Stages before that queue: a pixel is looked up into the first and leaves the last."""
LOOKED, FETCHED = 0, 1
PLACED, RAY, DRAWN, AHEAD, MARCH, SCALED, SUMMED, CELL, FOUND = (1 << SET_UP_STAGES - 1 + n for n in range(9))
"""Bits of ``stages``: something is in the stage. Those of the stages by number, up to `PLACED`, are below; `RAY`: the
queue's output."""
TERMINATED, MISSES, CUBE_ENDS = -1, -2, -3
"""Instead of a first index: the pixel leaves the second stage, or the last before the march; behind a cube's pixels."""
SLOTS = 4
"""Cubes that are worked on at a time."""
SAMPLE, ENDS, LAST = 1, 2, 3
"""Kinds of an entry: a sample, or the lane has no more of the cube, or of the tile. 0: no entry."""

PLACE = np.dtype([(name, np.int64) for name in ("kind", "slot", "occupied", "pixel", "x", "y", "z")])
"""A point in the mask test or an entry of the queue; ``occupied``: its mask cell is."""
_WALK = ("slot", "walks", "left", "column", "row")
_MARCH = ("pixel", "index", "marched", "at_x", "at_y", "at_z", "by_x", "by_y", "by_z")
_QUEUES = ("rays_held", "rays_first", "held", "first", "has_room")
STATE = np.dtype(
    [(name, np.int64) for name in ("sleeps", "stages", "lane_queue", "ray_queue", *_WALK, *_MARCH, *_QUEUES)]
    + [(name, np.int64, (SLOTS,)) for name in ("pending", "busy")]
    + [("looked", np.int64, (SET_UP_STAGES, 3)), ("rays", np.int64, (RAYS_LIMIT + 3, 3))]
    + [("scaled", PLACE), ("summed", PLACE), ("cell", PLACE), ("found", PLACE)]
    + [("o", PLACE), ("queue", PLACE, (QUEUE_LIMIT,))]
)
"""``lane_queue``, ``ray_queue``: depths, the place at the output included; ``sleeps``: nothing will change before the
queue moves or a cube is loaded; ``slot`` to ``row``: the cube whose pixels are looked up, whether there are any
``left``, and the next; ``pixel`` to ``by_z``: the ray marched along, its cube's slot (``marched``), the point where it
is and its step, both in the format STEP; ``rays_held``, ``rays_first``: of the queue before the march; ``held``,
``first``: of the ``queue`` behind ``o``, which ``has_room`` in this cycle; ``pending``, ``busy``: by slot, the lane has
not begun with its cube, or not ended it; ``looked``: pixel, first index and slot by stage; ``rays``: likewise by place
in the queue before the march, at its output, and in the two stages behind."""


@compiled
def load(lane, slot: int) -> None:
    """Begin with a cube, from the next cycle on."""
    lane.sleeps = 0
    lane.pending[slot] = 1
    lane.busy[slot] = 1


@compiled
def hand_on(lane) -> bool:
    """Move the queue to its output; return whether anything has changed."""
    lane.has_room = lane.held != lane.lane_queue - 1
    if not lane.held or lane.o.kind:
        return False
    _copy(lane.queue[lane.first], lane.o)
    lane.first = (lane.first + 1) % QUEUE_LIMIT
    lane.held -= 1
    return True


@compiled
def step(
    now: int, lane, lanes: int, number: int, tile_size: int, cubes, scene, view, position, direction, inverse,
    terminated_from, windows, bases,
) -> bool:  # fmt: skip
    """Do a cycle of a lane, from its end to its beginning; return whether anything has changed.

    ``cubes``: `RECTANGLE` by slot; the arrays as for `sim.samples.sample_generator.step`.
    """
    before = lane.stages
    moved = _test_and_march(lane, cubes, scene, view, windows, bases)
    rays_have_room = lane.rays_held != lane.ray_queue - 1
    if lane.stages & AHEAD and not lane.stages & MARCH:
        _begin_march(lane, position, direction)
    if lane.stages & DRAWN and not lane.stages & AHEAD:
        _copy_ray(lane.rays, RAYS_LIMIT + 1, lane.rays, RAYS_LIMIT + 2)
        lane.stages ^= DRAWN | AHEAD
    if lane.stages & RAY and not lane.stages & DRAWN:
        _copy_ray(lane.rays, RAYS_LIMIT, lane.rays, RAYS_LIMIT + 1)
        lane.stages ^= RAY | DRAWN
    if lane.rays_held and not lane.stages & RAY:
        _copy_ray(lane.rays, lane.rays_first, lane.rays, RAYS_LIMIT)
        lane.rays_first = (lane.rays_first + 1) % RAYS_LIMIT
        lane.rays_held -= 1
        lane.stages ^= RAY
        moved = True
    if lane.stages & PLACED:
        if lane.looked[SET_UP_STAGES - 1, 1] == MISSES:
            lane.stages ^= PLACED
        elif rays_have_room:
            _copy_ray(lane.looked, SET_UP_STAGES - 1, lane.rays, (lane.rays_first + lane.rays_held) % RAYS_LIMIT)
            lane.rays_held += 1
            lane.stages ^= PLACED
    for stage in range(SET_UP_STAGES - 2, -1, -1):
        if lane.stages >> stage & 1:
            if stage == FETCHED and lane.looked[stage, 1] == TERMINATED:
                lane.stages ^= 1 << stage
            elif not lane.stages >> stage + 1 & 1:
                _copy_ray(lane.looked, stage, lane.looked, stage + 1)
                lane.stages ^= 3 << stage
    if not lane.walks:
        if lane.pending[lane.slot]:
            _begin(lane, lanes, number, cubes[lane.slot])
            moved = True
    elif not lane.stages >> LOOKED & 1:
        cube = cubes[lane.slot]
        lane.looked[0, 2] = lane.slot
        if lane.left:
            pixel = (cube.tile * tile_size + lane.row) * tile_size + lane.column
            lane.looked[0, 0] = pixel
            # A write in the same cycle is not seen.
            if terminated_from[pixel] <= now:
                lane.looked[0, 1] = TERMINATED
            else:
                lane.looked[0, 1] = _first_index(cube, position[pixel], direction[pixel], inverse[pixel], scene, view)
            _go_on(lane, lanes, cube)
        else:
            lane.looked[0, 1] = CUBE_ENDS
            lane.walks = 0
            lane.slot = (lane.slot + 1) % SLOTS
        lane.stages |= 1 << LOOKED
        moved = True
    return moved or lane.stages != before


@compiled
def _begin_march(lane, position, direction) -> None:
    """Begin to march along the next ray."""
    lane.stages ^= AHEAD | MARCH
    pixel, index = lane.rays[RAYS_LIMIT + 2, 0], lane.rays[RAYS_LIMIT + 2, 1]
    lane.pixel, lane.index, lane.marched = pixel, index, lane.rays[RAYS_LIMIT + 2, 2]
    if index != CUBE_ENDS:
        lane.by_x, lane.by_y, lane.by_z = direction[pixel, 0], direction[pixel, 1], direction[pixel, 2]
        lane.at_x = (position[pixel, 0] << FINE_BITS) + index * lane.by_x
        lane.at_y = (position[pixel, 1] << FINE_BITS) + index * lane.by_y
        lane.at_z = (position[pixel, 2] << FINE_BITS) + index * lane.by_z


@compiled
def _copy_ray(source, from_row: int, target, to_row: int) -> None:
    """Copy pixel, first index and slot."""
    target[to_row, 0] = source[from_row, 0]
    target[to_row, 1] = source[from_row, 1]
    target[to_row, 2] = source[from_row, 2]


@compiled
def _begin(lane, lanes: int, number: int, cube) -> None:
    """Begin to look up a cube's pixels."""
    lane.pending[lane.slot] = 0
    lane.walks = 1
    lane.column = cube.first_x + (number - cube.first_x) % lanes
    lane.row = cube.first_y
    lane.left = not cube.last and lane.column <= cube.last_x


@compiled
def _test_and_march(lane, cubes, scene, view, windows, bases) -> bool:
    """Do a cycle of the mask test and the march; return whether the march has moved."""
    if lane.stages & FOUND:
        if lane.found.kind == SAMPLE and not lane.found.occupied:
            lane.stages ^= FOUND
        elif lane.has_room:
            _put_in(lane, cubes)
            lane.stages ^= FOUND
    if lane.stages & CELL and not lane.stages & FOUND:
        _copy(lane.cell, lane.found)
        lane.stages ^= CELL | FOUND
    if lane.stages & SUMMED and not lane.stages & CELL:
        _copy(lane.summed, lane.cell)
        lane.stages ^= SUMMED | CELL
    if lane.stages & SCALED and not lane.stages & SUMMED:
        _copy(lane.scaled, lane.summed)
        lane.stages ^= SCALED | SUMMED
    if not lane.stages & MARCH or lane.stages & SCALED:
        return False
    cube = cubes[lane.marched]
    lane.scaled.slot = lane.marched
    if lane.index == CUBE_ENDS:
        lane.scaled.kind = ENDS
        lane.stages ^= MARCH | SCALED
        return True
    x, y, z = lane.at_x >> FINE_BITS, lane.at_y >> FINE_BITS, lane.at_z >> FINE_BITS
    if _inside(x, cube.x, scene.grid[0]) and _inside(y, cube.y, scene.grid[1]) and _inside(z, cube.z, scene.grid[2]):
        lane.scaled.kind = SAMPLE
        lane.scaled.pixel, lane.scaled.x, lane.scaled.y, lane.scaled.z = lane.pixel, x, y, z
        lane.scaled.occupied = _test_mask(x, y, z, cube.rank, scene, windows, bases)
        lane.stages |= SCALED
    lane.index += 1
    lane.at_x += lane.by_x
    lane.at_y += lane.by_y
    lane.at_z += lane.by_z
    if (
        lane.index == view.sample_limit
        or _left(lane.at_x >> FINE_BITS, lane.by_x, cube.x, scene.grid[0])
        or _left(lane.at_y >> FINE_BITS, lane.by_y, cube.y, scene.grid[1])
        or _left(lane.at_z >> FINE_BITS, lane.by_z, cube.z, scene.grid[2])
    ):
        lane.stages ^= MARCH
    return True


@compiled
def _go_on(lane, lanes: int, cube) -> None:
    """Go on to the next pixel of the lane, row by row, if there is one."""
    lane.column += lanes
    if lane.column > cube.last_x:
        lane.column = cube.first_x + (lane.column - cube.first_x) % lanes
        lane.row += 1
        lane.left = lane.row <= cube.last_y


@compiled
def _first_index(cube, position, direction, inverse, scene, view) -> int:
    """Return the index of the first point to be marched from, in the cube or one before it, or `MISSES`."""
    index = max(
        _steps_to(cube.x, position[0], direction[0], inverse[0]),
        _steps_to(cube.y, position[1], direction[1], inverse[1]),
        _steps_to(cube.z, position[2], direction[2], inverse[2]),
    )
    if index >= view.sample_limit:
        return MISSES
    x = (position[0] << FINE_BITS) + index * direction[0] >> FINE_BITS
    y = (position[1] << FINE_BITS) + index * direction[1] >> FINE_BITS
    z = (position[2] << FINE_BITS) + index * direction[2] >> FINE_BITS
    if (
        _left(x, direction[0], cube.x, scene.grid[0])
        or _left(y, direction[1], cube.y, scene.grid[1])
        or _left(z, direction[2], cube.z, scene.grid[2])
    ):
        return MISSES
    if _inside(x, cube.x, scene.grid[0]) and _inside(y, cube.y, scene.grid[1]) and _inside(z, cube.z, scene.grid[2]):
        return index
    return index + 1 if index + 1 < view.sample_limit else MISSES


@compiled
def _steps_to(cube: int, position: int, direction: int, inverse: int) -> int:
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
def _inside(place: int, cube: int, grid: int) -> bool:
    """Return whether a place on an axis lies in the cube and in the box."""
    return place >> CUBE_SHIFT == cube and place <= grid - 1 << POSITION_FRACTION


@compiled
def _left(place: int, along: int, cube: int, grid: int) -> bool:
    """Return whether a ray at a place on an axis has left cube or box for good."""
    if along > 0:
        return place >> CUBE_SHIFT > cube or place > grid - 1 << POSITION_FRACTION
    if along < 0:
        return place >> CUBE_SHIFT < cube
    return not _inside(place, cube, grid)


@compiled
def _test_mask(x: int, y: int, z: int, rank: int, scene, windows, bases) -> int:
    """Return whether a position's mask cell lies in the cube's window and is occupied."""
    x = mask_cell(x, scene.mask_scale[0], scene.mask_offset[0]) - bases[rank, 0]
    y = mask_cell(y, scene.mask_scale[1], scene.mask_offset[1]) - bases[rank, 1]
    z = mask_cell(z, scene.mask_scale[2], scene.mask_offset[2]) - bases[rank, 2]
    if min(x, y, z) < 0 or max(x, y, z) >= MASK_WINDOW:
        return False
    return windows[rank, z, y, x] != 0


@compiled
def _put_in(lane, cubes) -> None:
    """Put what stands at the end of the mask test, a sample or the end of a cube, into the queue."""
    entry = lane.queue[(lane.first + lane.held) % QUEUE_LIMIT]
    _copy(lane.found, entry)
    lane.held += 1
    if entry.kind == ENDS:
        lane.busy[entry.slot] = 0
        if cubes[entry.slot].last:
            entry.kind = LAST


@compiled
def _copy(source, target) -> None:
    """Copy a place."""
    target.kind, target.slot, target.occupied, target.pixel = source.kind, source.slot, source.occupied, source.pixel
    target.x, target.y, target.z = source.x, source.y, source.z
