"""Sample generator: the samples of a cube's pixels in occupied mask cells. RTL: `rtl.samples.sample_generator`.

The lanes work on four cubes at a time; what they find becomes one stream.
"""

import numpy as np

from nerf.contract.config import POWERS, AcceleratorConfig
from nerf.golden.sample_generator import CUBE_SHIFT
from rtnerf.base.compiled import merged
from sim.parts.activity import BUSY, IDLE, MEMORY, OUTPUT
from sim.parts.streams import RECTANGLE
from sim.samples import record_reader, sample_lane
from sim.samples.sample_lane import ENDS, LAST, QUEUE_LIMIT, SAMPLE, SLOTS

LANES_LIMIT, DENSITY_LANES_LIMIT = (POWERS[name][1] for name in ("sample_lanes", "density_lanes"))

STATE = np.dtype(
    [(name, np.int64) for name in ("activity", "tile_size", "count", "groups", "slot", "announced", "samples")]
    + [("turn", np.int64, (DENSITY_LANES_LIMIT,))]
    + [("reader", record_reader.STATE), ("cubes", RECTANGLE, (SLOTS,)), ("lanes", sample_lane.STATE, (LANES_LIMIT,))]
)
"""``count``: of lanes; ``groups``: of lanes, by their numbers modulo it, of each of which a sample is taken at a time;
``slot``: the one of ``cubes`` that is loaded next; ``announced``: the cube of the samples being taken has had one;
``samples``: put out so far; ``turn``: by group, the lane whose sample was the last to be taken."""


def new(config: AcceleratorConfig) -> np.void:
    """Return an idle generator."""
    state = np.zeros(1, STATE)[0]
    state["tile_size"] = config.tile
    state["count"] = config.sample_lanes
    state["groups"] = config.density_lanes
    state["turn"][: config.density_lanes] = config.sample_lanes - config.density_lanes + np.arange(config.density_lanes)
    state["reader"] = record_reader.new(config)
    state["lanes"]["lane_queue"], state["lanes"]["ray_queue"] = config.lane_queue, config.ray_queue
    return state


@merged
def step(
    now: int, state, scene, scene_base: int, i, request, beat, o_cube, o, rays_from, terminated_from, tiles, its
) -> int:
    """Enumerate the samples of rectangles.

    Parameters
    ----------
    rays_from : int64 array
        By place of a tile: the cycle from which its rays are there.
    terminated_from : int64 array
        By pixel of the tiles on chip: the cycle from which its flag reads 1: it takes no more samples.
    tiles : int64 array (tiles, 2)
        By place of a tile: its first window pixel, x and y.
    its : sim.samples.marches.Marches
        Of the view.
    """
    reader = state.reader
    moved = _merge(state, o_cube, o)
    loads = record_reader.offers(reader) and rays_from[reader.o.tile] <= now
    for number in range(state.count):
        lane = state.lanes[number]
        loads &= not lane.busy[state.slot]
        lane_moved = sample_lane.hand_on(lane)
        if lane_moved or not lane.sleeps:
            lane_moved |= sample_lane.step(
                now, lane, state.count, number, state.tile_size, state.cubes, terminated_from, tiles, its
            )
            lane.sleeps = not lane_moved
            moved |= lane_moved
    if loads:
        _load(state)
        moved = True
    wake = record_reader.step(now, reader, scene, scene_base, i, request, beat)
    if moved:
        state.activity = BUSY
        return now + 1
    state.activity = OUTPUT if o.valid or o_cube.valid else MEMORY if record_reader.waits(reader) else IDLE
    return wake


@merged
def _load(state) -> None:
    """Give all lanes the cube that the reader offers."""
    record_reader.copy(state.reader.o, state.cubes[state.slot])
    record_reader.use_up(state.reader)
    for number in range(state.count):
        sample_lane.load(state.lanes[number], state.slot)
    state.slot = state.slot + 1 & SLOTS - 1


@merged
def _merge(state, o_cube, o) -> bool:
    """Take a sample of each group of lanes, or the end of a cube of all; return whether anything has changed."""
    first = _next(state, 0)
    second = _next(state, 1) if state.groups == 2 else -1
    if first >= 0 or second >= 0:
        # The first sample of a cube waits for the place of its announcement.
        if o.valid or not (state.announced or not o_cube.valid):
            return False
        o.last, o.paired = 0, 0
        if second >= 0:
            _take(state, second, o)
            if first >= 0:
                o.paired = 1
                o.second_pixel, o.second_x, o.second_y, o.second_z = o.pixel, o.x, o.y, o.z
                o.second_value = o.value
        if first >= 0:
            _take(state, first, o)
        o.valid = 1
        if not state.announced:
            state.announced = 1
            o_cube.x, o_cube.y, o_cube.z = o.x >> CUBE_SHIFT, o.y >> CUBE_SHIFT, o.z >> CUBE_SHIFT
            o_cube.valid = 1
        return True
    last = state.lanes[0].o == LAST
    if last and o.valid:
        return False
    for number in range(state.count):
        if state.lanes[number].o < ENDS:
            return False
    if last:
        o.valid, o.last, o.paired = 1, 1, 0
    for number in range(state.count):
        state.lanes[number].o = 0
    state.announced = 0
    return True


@merged
def _next(state, group: int) -> int:
    """Return the lane of a group whose turn it is to give a sample, or -1."""
    number = state.turn[group]
    for _ in range(group, state.count, state.groups):
        number = number + state.groups & state.count - 1
        if state.lanes[number].o == SAMPLE:
            return number
    return -1


@merged
def _take(state, number: int, o) -> None:
    """Put a lane's sample where the first one stands."""
    lane = state.lanes[number]
    entry = lane.queue[lane.first - 1 & QUEUE_LIMIT - 1]
    o.pixel, o.x, o.y, o.z, o.value = entry.pixel, entry.x, entry.y, entry.z, entry.value
    lane.o = 0
    state.turn[number & state.groups - 1] = number
    state.samples += 1
