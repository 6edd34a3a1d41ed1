"""Sample generator: the samples of a cube's pixels in occupied mask cells. RTL: `rtl.samples.sample_generator`.

The lanes work on four cubes at a time; what they find becomes one stream.
"""

import numpy as np

from nerf.contract.config import AcceleratorConfig
from nerf.golden.sample_generator import CUBE_SHIFT
from rtnerf.base.compiled import compiled
from sim.parts.activity import BUSY, IDLE, MEMORY, OUTPUT
from sim.parts.streams import RECTANGLE
from sim.samples import record_reader, sample_lane
from sim.samples.sample_lane import ENDS, LAST, SAMPLE, SLOTS

LANES_LIMIT = 8

STATE = np.dtype(
    [(name, np.int64) for name in ("activity", "tile_size", "count", "slot", "turn", "announced")]
    + [("reader", record_reader.STATE), ("cubes", RECTANGLE, (SLOTS,)), ("lanes", sample_lane.STATE, (LANES_LIMIT,))]
)
"""``count``: of lanes; ``slot``: the one of ``cubes`` that is loaded next; ``turn``: the lane whose sample was
the last to be taken; ``announced``: the cube of the samples being taken has had one."""


def new(config: AcceleratorConfig) -> np.void:
    """Return an idle generator."""
    state = np.zeros(1, STATE)[0]
    state["tile_size"] = config.tile
    state["count"] = config.sample_lanes
    state["turn"] = config.sample_lanes - 1
    state["reader"] = record_reader.new(config)
    state["lanes"]["lane_queue"], state["lanes"]["ray_queue"] = config.lane_queue, config.ray_queue
    return state


@compiled
def step(
    now: int, state, scene, view, scene_base: int, i, request, beat, o_cube, o,
    rays_from, position, direction, inverse, terminated_from, windows, bases,
) -> int:  # fmt: skip
    """Enumerate the samples of rectangles.

    Parameters
    ----------
    rays_from : int64 array
        By place of a tile: the cycle from which its rays are there.
    position, direction, inverse : int64 arrays (pixels, 3)
        First sample, step and inverse step of the tile's rays by pixel, as `nerf.golden.ray_setup.Rays`.
    terminated_from : int64 array (pixels,)
        Cycle from which a pixel's flag reads 1: it takes no more samples.
    windows, bases : arrays (cubes, 6, 6, 6) and (cubes, 3)
        Mask windows by rank, as `nerf.golden.frame.DecodedScene`.
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
                now, lane, state.count, number, state.tile_size, state.cubes, scene, view, position, direction,
                inverse, terminated_from, windows, bases,
            )  # fmt: skip
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


@compiled
def _load(state) -> None:
    """Give all lanes the cube that the reader offers."""
    record_reader.copy(state.reader.o, state.cubes[state.slot])
    record_reader.use_up(state.reader)
    for number in range(state.count):
        sample_lane.load(state.lanes[number], state.slot)
    state.slot = (state.slot + 1) % SLOTS


@compiled
def _merge(state, o_cube, o) -> bool:
    """Take a sample of one of the lanes in turn, or the end of a cube of all; return whether anything has changed."""
    ended = 0
    for distance in range(1, state.count + 1):
        number = (state.turn + distance) % state.count
        entry = state.lanes[number].o
        if entry.kind == SAMPLE:
            # The first sample of a cube waits for the place of its announcement.
            if o.valid or not (state.announced or not o_cube.valid):
                return False
            _put_out(state, entry, o_cube, o)
            state.turn = number
            entry.kind = 0
            return True
        ended += entry.kind >= ENDS
    last = state.lanes[0].o.kind == LAST
    if ended != state.count or (last and o.valid):
        return False
    if last:
        o.valid, o.last = 1, 1
    for number in range(state.count):
        state.lanes[number].o.kind = 0
    state.announced = 0
    return True


@compiled
def _put_out(state, entry, o_cube, o) -> None:
    """Put a sample into the output register; announce its cube if it is the first."""
    o.pixel, o.x, o.y, o.z, o.value, o.last = entry.pixel, entry.x, entry.y, entry.z, 0, 0
    o.valid = 1
    if not state.announced:
        state.announced = 1
        o_cube.x, o_cube.y, o_cube.z = entry.x >> CUBE_SHIFT, entry.y >> CUBE_SHIFT, entry.z >> CUBE_SHIFT
        o_cube.valid = 1
