"""Sample lane: the samples of every n-th column of a cube's pixels in occupied mask cells.

RTL: `rtl.samples.sample_lane`.

What becomes of a pixel is known when it is looked up (`sim.samples.marches`); it then passes the stages up to the march
in its time. Stages are bits; what is in them stands in circles, in its order.
"""

import numpy as np

from nerf.contract.config import POWERS
from rtnerf.base.compiled import merged
from sim.samples.marches import EMPTY, MISSES, OUTSIDE, look_up, position_of

QUEUE_LIMIT, RAYS_LIMIT = (POWERS[name][1] for name in ("lane_queue", "ray_queue"))

LOOKED, FETCHED, FIRST_OF_SEVEN = 1, 2, 2
"""Bits of ``stages``: something is in the stage. A pixel is looked up into the first, and leaves the second if its ray
is terminated; seven more, from that bit's number on, the last of them `PLACED`, are before a queue of rays; `RAY`: the
queue's output; then the march and the mask test."""
PLACED, RAY, DRAWN, AHEAD, MARCH, SCALED, SUMMED, CELL, FOUND = (1 << 8 + n for n in range(9))
RAY_AT, SCALED_AT = 9, 13
STAGES_AHEAD, STAGES_OF_TEST = RAY | DRAWN | AHEAD, 4
CUBE_ENDS = -2
"""In the place of a march: behind a cube's pixels."""
SLOTS = 4
"""Cubes that are worked on at a time."""
SAMPLE, ENDS, LAST = 1, 2, 3
"""Kinds of an entry: a sample, or the lane has no more of the cube, or of the tile. 0: none, or no sample."""
RAYS, LOOKS, TESTS = 2 * RAYS_LIMIT, 16, STAGES_OF_TEST
"""Room in the circles: all are powers of two."""


def _advanced(stages: int) -> int:
    """Return seven stages after a cycle: what has room before it moves, and so does all behind that."""
    free = max((n for n in range(7) if not stages >> n & 1), default=0)
    behind = stages & (1 << free) - 1
    return stages - behind + 2 * behind


ADVANCED = np.array([_advanced(stages) for stages in range(1 << 7)])
"""By stages as bits; of fewer stages the lower ones are 0."""

PLACE = np.dtype([(name, np.int64) for name in ("kind", "slot", "pixel", "x", "y", "z", "value")])
"""A point in the mask test or an entry of the queue; ``value``: its alpha."""
LOOK = np.dtype([(name, np.int64) for name in ("pixel", "window_pixel", "march", "slot")])
"""A pixel of a cube's slot, and the place of its march, or `MISSES` or `CUBE_ENDS`."""
_WALK = ("slot", "walks", "left", "first_column", "column", "row", "terminated")
_MARCH = ("pixel", "window_pixel", "index", "point", "end", "marched", "ends")
_QUEUES = ("rays_held", "rays_first", "rays_end", "looks_first", "looks_end", "tests_first", "tests_end")
_OUTPUT = ("held", "first", "has_room", "o")
STATE = np.dtype(
    [(name, np.int64) for name in ("sleeps", "stages", "lane_queue", "ray_queue", *_WALK, *_MARCH, *_QUEUES, *_OUTPUT)]
    + [(name, np.int64, (SLOTS,)) for name in ("pending", "busy")]
    + [("looks", LOOK, (LOOKS,)), ("rays", LOOK, (RAYS,)), ("tests", PLACE, (TESTS,)), ("queue", PLACE, (QUEUE_LIMIT,))]
)
"""``lane_queue``, ``ray_queue``: depths, the place at the output included; ``sleeps``: nothing will change before the
queue moves or a cube is loaded; ``slot`` to ``row``: the cube whose pixels are looked up, whether there are any
``left``, and the next; ``terminated``: the pixels in the first two stages that are, as bits; ``pixel`` to ``end``: the
ray marched along, the next point and the places of it and of its march's end; ``marched``, ``ends``: its cube's slot,
or the end of that cube's pixels; ``rays_held``: in the queue before the march; ``held``: behind the output, of kind
``o``, which stands in the ``queue`` before the ``first`` of them; ``has_room``: in this cycle; ``pending``, ``busy``:
by slot, the lane has not begun with its cube, or not ended it."""


@merged
def load(lane, slot: int) -> None:
    """Begin with a cube, from the next cycle on."""
    lane.sleeps = 0
    lane.pending[slot] = 1
    lane.busy[slot] = 1


@merged
def hand_on(lane) -> bool:
    """Move the queue to its output; return whether anything has changed."""
    lane.has_room = lane.held != lane.lane_queue - 1
    if not lane.held or lane.o:
        return False
    lane.o = lane.queue[lane.first].kind
    lane.first = lane.first + 1 & QUEUE_LIMIT - 1
    lane.held -= 1
    return True


@merged
def step(now: int, lane, lanes: int, number: int, tile_size: int, cubes, terminated_from, tiles, its) -> bool:
    """Do a cycle of a lane, from its end to its beginning; return whether anything has changed.

    ``cubes``: `RECTANGLE` by slot; the others as for `sim.samples.sample_generator.step`.
    """
    before = lane.stages
    stages, moved = _test_and_march(lane, before, cubes, its)
    rays_have_room = lane.rays_held != lane.ray_queue - 1
    if stages & AHEAD and not stages & MARCH:
        _begin_march(lane, its)
        stages ^= AHEAD | MARCH
    ahead = stages & STAGES_AHEAD
    stages ^= ahead ^ (ADVANCED[ahead >> RAY_AT << 4] >> 4 << RAY_AT)
    if lane.rays_held and not stages & RAY:
        lane.rays_held -= 1
        stages |= RAY
        moved = True
    if stages & PLACED:
        look = lane.looks[lane.looks_first & LOOKS - 1]
        if look.march == MISSES or rays_have_room:
            if look.march != MISSES:
                _copy_look(look, lane.rays[lane.rays_end & RAYS - 1])
                lane.rays_end += 1
                lane.rays_held += 1
            lane.looks_first += 1
            stages ^= PLACED
    seven = stages & 2 * PLACED - (1 << FIRST_OF_SEVEN)
    stages ^= seven ^ (ADVANCED[seven >> FIRST_OF_SEVEN] << FIRST_OF_SEVEN)
    if stages & FETCHED:
        if lane.terminated & FETCHED:
            stages ^= FETCHED
            lane.terminated ^= FETCHED
        elif not stages & 1 << FIRST_OF_SEVEN:
            stages ^= FETCHED | 1 << FIRST_OF_SEVEN
    if stages & LOOKED and not stages & FETCHED:
        stages ^= LOOKED | FETCHED
        lane.terminated <<= 1
    if not lane.walks:
        if lane.pending[lane.slot]:
            _begin(lane, lanes, number, cubes[lane.slot])
            moved = True
    elif not stages & LOOKED:
        _look_up(now, lane, lanes, tile_size, cubes[lane.slot], terminated_from, tiles, its)
        stages |= LOOKED
        moved = True
    lane.stages = stages
    return moved or stages != before


@merged
def _look_up(now: int, lane, lanes: int, tile_size: int, cube, terminated_from, tiles, its) -> None:
    """Look up the next pixel of a cube, or find its end."""
    look = lane.looks[lane.looks_end & LOOKS - 1]
    look.slot = lane.slot
    if not lane.left:
        look.march = CUBE_ENDS
        lane.looks_end += 1
        lane.walks = 0
        lane.slot = lane.slot + 1 & SLOTS - 1
        return
    pixel = (cube.tile * tile_size + lane.row) * tile_size + lane.column
    # A write in the same cycle is not seen.
    if terminated_from[pixel] <= now:
        lane.terminated |= LOOKED
    else:
        x, y = tiles[cube.tile, 0] + lane.column, tiles[cube.tile, 1] + lane.row
        look.pixel, look.window_pixel = pixel, y * its.width + x
        look.march = look_up(its, cube, x, y)
        lane.looks_end += 1
    # Row by row.
    lane.column += lanes
    if lane.column > cube.last_x:
        lane.column = lane.first_column
        lane.row += 1
        lane.left = lane.row <= cube.last_y


@merged
def _begin_march(lane, its) -> None:
    """Begin to march along the next ray."""
    ray = lane.rays[lane.rays_first & RAYS - 1]
    lane.rays_first += 1
    lane.marched = ray.slot
    lane.ends = ray.march == CUBE_ENDS
    if not lane.ends:
        march = its.marches[ray.march]
        lane.pixel, lane.window_pixel = ray.pixel, ray.window_pixel
        lane.index, lane.point, lane.end = march.index, march.first, march.first + march.points


@merged
def _copy_look(source, target) -> None:
    target.pixel, target.window_pixel, target.march = source.pixel, source.window_pixel, source.march
    target.slot = source.slot


@merged
def _begin(lane, lanes: int, number: int, cube) -> None:
    """Begin to look up a cube's pixels."""
    lane.pending[lane.slot] = 0
    lane.walks = 1
    lane.first_column = lane.column = cube.first_x + (number - cube.first_x & lanes - 1)
    lane.row = cube.first_y
    lane.left = not cube.last and lane.column <= cube.last_x


@merged
def _test_and_march(lane, stages: int, cubes, its) -> tuple[int, bool]:
    """Do a cycle of the mask test and the march; return the stages behind it, and whether the march has moved."""
    if stages & FOUND:
        found = lane.tests[lane.tests_first & TESTS - 1]
        if not found.kind or lane.has_room:
            if found.kind:
                _put_in(lane, found, cubes)
            lane.tests_first += 1
            stages ^= FOUND
    tested = stages >> SCALED_AT
    stages ^= (tested ^ ADVANCED[tested << 3] >> 3) << SCALED_AT
    if not stages & MARCH or stages & SCALED:
        return stages, False
    if lane.ends:
        point = lane.tests[lane.tests_end & TESTS - 1]
        lane.tests_end += 1
        point.kind, point.slot = ENDS, lane.marched
        return stages ^ (MARCH | SCALED), True
    value = its.points[lane.point]
    if value != OUTSIDE:
        point = lane.tests[lane.tests_end & TESTS - 1]
        lane.tests_end += 1
        point.kind = 0
        if value != EMPTY:
            point.kind, point.slot, point.pixel, point.value = SAMPLE, lane.marched, lane.pixel, value
            point.x = position_of(its, lane.window_pixel, lane.index, 0)
            point.y = position_of(its, lane.window_pixel, lane.index, 1)
            point.z = position_of(its, lane.window_pixel, lane.index, 2)
        stages |= SCALED
    lane.index += 1
    lane.point += 1
    if lane.point == lane.end:
        stages ^= MARCH
    return stages, True


@merged
def _put_in(lane, found, cubes) -> None:
    """Put what stands at the end of the mask test, a sample or the end of a cube, into the queue."""
    entry = lane.queue[lane.first + lane.held & QUEUE_LIMIT - 1]
    lane.held += 1
    entry.kind = found.kind
    if found.kind == SAMPLE:
        entry.pixel, entry.x, entry.y, entry.z, entry.value = found.pixel, found.x, found.y, found.z, found.value
        return
    lane.busy[found.slot] = 0
    if cubes[found.slot].last:
        entry.kind = LAST
