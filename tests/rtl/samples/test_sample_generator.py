"""`rtl.samples.sample_generator` against the golden enumeration: the same samples of the same cubes, in order."""

import random
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.hdl import Module, Value
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory, MemoryData
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, run, shared
from nerf.contract.config import CUBE, AcceleratorConfig
from nerf.contract.formats import INVERSE, POSITION, STEP
from nerf.contract.registers import AXES
from nerf.contract.scene_image import MASK_WINDOW, PAGE, RECORD_BYTES, cubes_of, pack_record
from nerf.golden.occupancy_walker import axis_order
from nerf.golden.projector import project
from nerf.golden.ray_setup import Rays, set_up
from nerf.golden.sample_generator import CUBE_SHIFT, mask_cell, occupied, sample_position
from rtl.payloads import Cube, Ray, SceneRegisters, TileLayouts, ViewRegisters
from rtl.samples.sample_generator import SampleGenerator
from rtl.samples.sample_lane import SLOTS
from tests.rtl.memory.helpers_memory import ReadMemory
from tests.rtl.samples.helpers_rays import camera, scene_stub
from tests.rtl.shading.helpers_shading import fields, samples_in

CONFIG = AcceleratorConfig(tile=4)
PIXELS = CONFIG.tile**2
LAYOUTS = TileLayouts(CONFIG)
BASE = 0x40000
BEATS = 1024
"""Of the largest scene."""
INSIDE = {"first_x": 0, "first_y": 0, "last_x": CONFIG.tile - 1, "last_y": CONFIG.tile - 1}


class Bench(wiring.Component):
    """The generator with memories of records, rays and terminated pixels."""

    def __init__(self, lanes: int, of_density: int = 1):
        self.config = replace(CONFIG, sample_lanes=lanes, density_lanes=of_density)
        self.records = ReadMemory(CONFIG, BEATS, BASE)
        self.rays = MemoryData(shape=Ray.size, depth=2 * PIXELS, init=[])
        self.terminated = MemoryData(shape=1, depth=2 * PIXELS, init=[])
        super().__init__(
            {
                "i": In(stream.Signature(LAYOUTS.Rectangle)),
                "scene": In(SceneRegisters),
                "view": In(ViewRegisters),
                "o": Out(stream.Signature(TileLayouts(self.config).Samples)),
                "o_cube": Out(stream.Signature(Cube)),
                "o_error": Out(stream.Signature(1)),
                "o_memory_error": Out(stream.Signature(1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.generator = generator = SampleGenerator(self.config)
        m.submodules.records = records = self.records
        wiring.connect(m, generator.records, records.port)
        wiring.connect(m, wiring.flipped(self.i), generator.i)
        wiring.connect(m, generator.o, wiring.flipped(self.o))
        wiring.connect(m, generator.o_cube, wiring.flipped(self.o_cube))
        m.submodules.rays, m.submodules.terminated = stores = Memory(self.rays), Memory(self.terminated)
        for store, ports in zip(stores, (generator.ray, generator.terminated), strict=True):
            for port in ports:
                read = store.read_port()
                m.d.comb += [read.addr.eq(port.address), read.en.eq(port.enable)]
                m.d.comb += Value.cast(port.data).eq(read.data)
        m.d.comb += [
            generator.scene.eq(self.scene),
            generator.view.eq(self.view),
            generator.scene_base.eq(BASE),
            generator.rays.eq(3),
            self.o_error.valid.eq(generator.error_record),
            self.o_memory_error.valid.eq(records.error),
        ]
        return m


def contents(case: SimpleNamespace, seed: int, latency: int) -> dict[str, list[int]]:
    """Return the contents of the memories of a bench; the rays are those of an odd tile."""
    rays = [
        {
            name: {axis: int(getattr(case.rays, name)[n, k]) for k, axis in enumerate(AXES)}
            for name in ("position", "step", "inverse")
        }
        for n in range(PIXELS)
    ]
    return ReadMemory.contents("records", case.image, seed, latency) | {
        "rays": [0] * PIXELS + [Ray.const(ray).as_value().value for ray in rays],
        "terminated": [1] * PIXELS + [int(flag) for flag in case.terminated],
    }


def make_case(seed: int, rays: Rays, grid: tuple[int, int, int], limit: int, filled: float) -> SimpleNamespace:
    """Return a scene with random mask windows for rays of a whole tile."""
    chance = random.Random(f"case {seed}")
    cubes = cubes_of(grid)
    scale = [chance.randint(1 << 22, 5 << 22) for _ in AXES]
    offset = [chance.randint(-(1 << 15), 3 << 16) for _ in AXES]
    places = [(x, y, z) for z in range(cubes[2]) for y in range(cubes[1]) for x in range(cubes[0])]
    windows, bases, image = {}, {}, bytearray()
    # The section starts on a beat, so that records can cross a page.
    records_offset = PAGE - RECORD_BYTES * chance.randint(1, 3) - 16 * chance.randint(0, 1)
    for cube in places:
        windows[cube] = np.array([chance.random() < filled for _ in range(MASK_WINDOW**3)]).reshape((MASK_WINDOW,) * 3)
        corner = (mask_cell.py_func((CUBE * c) << 16, scale[k], offset[k]) for k, c in enumerate(cube))
        bases[cube] = tuple(min(max(cell + chance.choice((0, 0, 0, 0, 0, 0, -1, 1)), 0), 1023) for cell in corner)
        image += pack_record(windows[cube], bases[cube]).to_bytes(RECORD_BYTES, "little")
    terminated = [not live or chance.random() < 0.15 for live in rays.live]
    return SimpleNamespace(
        rays=rays,
        grid=grid,
        cubes=cubes,
        limit=limit,
        scale=scale,
        offset=offset,
        records_offset=records_offset,
        image=bytes(records_offset) + bytes(image),
        rank={cube: rank for rank, cube in enumerate(places)},
        windows=windows,
        bases=bases,
        terminated=terminated,
    )


def enumerate_samples(case: SimpleNamespace) -> dict[tuple[int, int, int], list[tuple[int, int, tuple[int, ...]]]]:
    """Return (pixel, index, local) of all samples by cube, as `nerf.golden.frame` enumerates them ray by ray."""
    found: dict = {}
    top = (np.array(case.grid) - 1) << 16
    index = np.arange(case.limit)
    for pixel in range(PIXELS):
        if case.terminated[pixel]:
            continue
        position, step = case.rays.position[pixel], case.rays.step[pixel]
        points = np.stack([sample_position.py_func(position[k], step[k], index) for k in range(3)], axis=1)
        inside = np.all((points >= 0) & (points <= top), axis=1)
        for i in np.flatnonzero(inside):
            point = [int(value) for value in points[i]]
            cube = tuple(value >> CUBE_SHIFT for value in point)
            cells = (mask_cell.py_func(point[k], case.scale[k], case.offset[k]) for k in range(3))
            if occupied.py_func(case.windows[cube], case.bases[cube], *cells):
                local = tuple(value >> 8 & 0x3FF for value in point)
                found.setdefault(cube, []).append((pixel, int(i), local))
    return found


def compare(case, rectangles, stalls=STALLS[0], seed=0, latency=3, samples=None, lanes=1):
    """Run the generator over (cube, bounds) and compare; each cube is followed by what its pixels contain.

    Within a cube, one lane gives pixel by pixel; of several, the samples of each lane are compared.
    """
    by_cube = enumerate_samples(case) if samples is None else samples
    wanted, announced, inputs = [], [], []
    for cube, bounds in rectangles:
        named = dict(zip(AXES, cube, strict=True))
        inputs.append({"cube": named, "rank": case.rank[cube], "tile": 1, "last": 0} | bounds)
        of_cube = [
            (pixel, cube, local)
            for pixel, _, local in by_cube.get(cube, [])
            if bounds["first_x"] <= pixel % CONFIG.tile <= bounds["last_x"]
            and bounds["first_y"] <= pixel // CONFIG.tile <= bounds["last_y"]
        ]
        wanted += of_cube
        announced += [cube] * bool(of_cube)
    inputs.append({"last": 1})
    constants = {
        "scene": {
            "grid": dict(zip(AXES, case.grid, strict=True)),
            "records_offset": case.records_offset,
            "mask_scale": dict(zip(AXES, case.scale, strict=True)),
            "mask_offset": dict(zip(AXES, case.offset, strict=True)),
        },
        "view": {"sample_limit": case.limit},
    }
    result = run(
        shared(Bench, lanes),
        {"i": inputs},
        {"o": len(wanted) + 1, "o_cube": len(announced), "o_error": 0, "o_memory_error": 0},
        constants,
        stalls,
        seed,
        memories=contents(case, seed, latency),
    )
    *found, last = result.outputs["o"]
    as_tuple = [
        (sample.pixel - PIXELS, tuple(sample.cube[a] for a in AXES), tuple(sample.local[a] for a in AXES))
        for sample in found
    ]
    for lane in range(lanes):
        of_lane = ([sample for sample in side if sample[0] % lanes == lane] for side in (as_tuple, wanted))
        assert next(of_lane) == next(of_lane)
    assert [sample[1] for sample in as_tuple] == [sample[1] for sample in wanted], "cube by cube"
    assert not any(sample.last for sample in found)
    assert last.last
    assert [tuple(cube[axis] for axis in AXES) for cube in result.outputs["o_cube"]] == announced
    return result, wanted


def usual_case(seed: int, kind: str, filled: float = 0.6):
    """Return a small scene, its camera's registers and the rays of a tile in the picture's middle."""
    chance = random.Random(seed)
    scene = scene_stub(tuple(chance.randint(5, 15) for _ in AXES), seed)
    scene.host["near"] = 0.0
    # An odd size: the middle pixels of a parallel camera look straight along an axis.
    view = camera(scene, seed, 9, 9, kind)
    row, column = np.divmod(np.arange(PIXELS), CONFIG.tile)
    rays = set_up(column + 4, row + 4, view, scene.grid)
    return make_case(seed, rays, scene.grid, view.sample_limit, filled), view


@pytest.mark.parametrize("lanes", [1, 2, 4])
@pytest.mark.parametrize("kind", ["outside", "inside", "parallel"])
@pytest.mark.parametrize("seed", range(4))
def test_every_sample_once_over_all_cubes(seed, kind, lanes):
    """All cubes in the walker's order, each with the projector's rectangle: together, exactly the golden samples."""
    case, view = usual_case(seed, kind)
    samples = enumerate_samples(case)
    rectangles, covered = [], 0
    start = [view.values[f"start_cube_{axis}"] for axis in AXES]
    for z in axis_order(start[2], case.cubes[2]):
        for y in axis_order(start[1], case.cubes[1]):
            for x in axis_order(start[0], case.cubes[0]):
                bounds = project((x, y, z), view)
                if bounds is None:
                    continue
                first = [max(bounds[k] - 4, 0) for k in range(2)]
                last = [min(bounds[k + 2] - 4, 3) for k in range(2)]
                if first[0] <= last[0] and first[1] <= last[1]:
                    inside = {"first_x": first[0], "first_y": first[1], "last_x": last[0], "last_y": last[1]}
                    rectangles.append(((x, y, z), inside))
                    covered += len(samples.get((x, y, z), []))
    assert covered == sum(map(len, samples.values())) > 0
    result, wanted = compare(case, rectangles, STALLS[seed], seed, latency=6, samples=samples, lanes=lanes)
    assert len(wanted) == covered, "no rectangle misses a sample"
    indices = {(pixel, cube, local): index for cube, many in samples.items() for pixel, index, local in many}
    order: dict = {}
    for sample in wanted:
        assert order.get(sample[0], -1) < indices[sample], "samples of a pixel ascend over all cubes"
        order[sample[0]] = indices[sample]
    first = {}
    for sample, cycle in zip(result.outputs["o"][:-1], result.cycles["o"], strict=False):
        first.setdefault(tuple(sample.cube[axis] for axis in AXES), cycle)
    if STALLS[seed] == (1.0, 1.0):
        for cube, cycle in zip(result.outputs["o_cube"], result.cycles["o_cube"], strict=True):
            assert cycle <= first[tuple(cube[axis] for axis in AXES)], "a cube is announced in time"


def extreme_rays(seed: int, grid) -> tuple[Rays, tuple[int, int, int]]:
    """Rays of any step that meet one cube soon or late, or miss it, and the cube."""
    chance = random.Random(f"extreme {seed}")
    cube = tuple(chance.randrange(n) for n in cubes_of(grid))
    position, step = np.zeros((PIXELS, 3), np.int64), np.zeros((PIXELS, 3), np.int64)
    sizes = (0, 1, 1 << 20, 1 << 23, 1 << 26, STEP.high)
    for n in range(PIXELS):
        for k in range(3):
            size = chance.choice((*sizes, 1 << chance.randint(1, 20)))
            step[n, k] = chance.choice((-1, 1)) * max(size - chance.randint(0, 3), 0)
        # No further away than a position can be.
        index = min(chance.choice((0, 1, 10, 300, 999)), (1 << 33) // max(abs(step[n]).max(), 1))
        for k in range(3):
            target = chance.choice((0, (1 << CUBE_SHIFT) - 1, chance.getrandbits(CUBE_SHIFT))) + (cube[k] << CUBE_SHIFT)
            begin = ((target << 8) - index * step[n, k] >> 8) + chance.choice((0, 0, 0, 0, 1, -1, 5000))
            position[n, k] = min(max(begin, POSITION.low), POSITION.high)
    inverse = np.minimum((1 << 44) // np.maximum(abs(step), 1), INVERSE.high)
    return Rays(position, step, inverse, step, np.ones(PIXELS, bool)), cube


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("seed", range(8))
def test_extreme_rays(seed, lanes):
    chance = random.Random(seed)
    grid = tuple(chance.choice((8, 16, 35, 640)) for _ in AXES)
    rays, cube = extreme_rays(seed, grid)
    case = make_case(seed, rays, (1, 1, 1), 1000, 1.0)
    case.grid, case.rank = grid, {cube: 0}
    case.windows = {}
    samples: dict = {}
    top = (np.array(grid) - 1) << 16
    index = np.arange(1000)
    # The window is full and the scale tiny, so every point of the cube is in an occupied cell.
    case.scale, case.offset = [0, 0, 0], [case_base << 16 for case_base in case.bases[0, 0, 0]]
    for pixel in range(PIXELS):
        begin, step = rays.position[pixel], rays.step[pixel]
        points = np.stack([sample_position.py_func(begin[k], step[k], index) for k in range(3)], axis=1)
        inside = np.all((points >= 0) & (points <= top), axis=1)
        hits = inside & np.all(points >> CUBE_SHIFT == np.array(cube), axis=1)
        for i in np.flatnonzero(hits & (not case.terminated[pixel])):
            samples.setdefault(cube, []).append((pixel, int(i), tuple(int(v) >> 8 & 0x3FF for v in points[i])))
    assert samples
    compare(case, [(cube, INSIDE)], seed=seed, samples=samples, lanes=lanes)


def test_start_index_is_never_too_late():
    """floor(distance * inverse) against the first index in the cube, over all magnitudes."""
    chance = random.Random(7)
    for _ in range(20000):
        step = max(chance.getrandbits(chance.randint(1, 27)), 1)
        inverse = min((1 << 44) // step, INVERSE.high)
        distance = chance.getrandbits(chance.randint(0, 28))
        first = -(-(distance << 8) // step)
        assert distance * inverse >> 36 <= first


def straight_case(step_cells: float, axis: int = 0):
    """Rays straight along an axis through a row of cubes with full windows."""
    rays = Rays(
        np.full((PIXELS, 3), 2 << 16, np.int64),
        np.zeros((PIXELS, 3), np.int64),
        np.full((PIXELS, 3), INVERSE.high, np.int64),
        np.zeros((PIXELS, 3), np.int64),
        np.ones(PIXELS, bool),
    )
    rays.step[:, axis] = int(step_cells * (1 << 24))
    rays.position[:, axis] = 0
    rays.inverse[:, axis] = min((1 << 44) // int(step_cells * (1 << 24)), INVERSE.high)
    grid = [5, 5, 5]
    grid[axis] = 33
    case = make_case(1, rays, tuple(grid), 1000, 1.0)
    case.scale, case.offset = [0, 0, 0], [0, 0, 0]
    one = pack_record(np.ones((6, 6, 6), bool), (0, 0, 0)).to_bytes(RECORD_BYTES, "little")
    case.image = bytes(case.records_offset) + one * len(case.rank)
    case.windows = {cube: np.ones((6, 6, 6), bool) for cube in case.windows}
    case.bases = dict.fromkeys(case.bases, (0, 0, 0))
    case.terminated = [False] * PIXELS
    return case


@pytest.mark.parametrize("limit", [1, 63, 64, 65, 127, 128, 200])
def test_the_sample_limit_cuts_a_cube(limit):
    case = straight_case(1 / 16)
    case.limit = limit
    _, wanted = compare(case, [((1, 0, 0), {"first_x": 1, "first_y": 2, "last_x": 1, "last_y": 2})])
    assert len(wanted) == min(max(limit - 64, 0), 64)


def test_a_point_far_outside_does_not_wrap_into_the_cube():
    """On y the ray needs 8192 steps to the cube; by then it is 32768 cells off on x."""
    case = straight_case(4)
    case.rays.position[:, 1] = 0
    case.rays.step[:, 1] = 1 << 13
    case.rays.inverse[:, 1] = 1 << 31
    case.limit = 65535
    case.rank = {(0, 1, 0): 0}
    compare(case, [((0, 1, 0), INSIDE)], samples={})


@pytest.mark.parametrize("seed", range(3))
def test_a_cube_that_is_announced_slowly_holds_the_next_one_back(seed):
    case = straight_case(4)
    bounds = {"first_x": 0, "first_y": 0, "last_x": 0, "last_y": 0}
    _, wanted = compare(case, [((x, 0, 0), bounds) for x in range(8)] * 2, stalls=(1.0, 0.05), seed=seed)
    assert len(wanted) == 16


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_throughput_in_a_cube_is_a_sample_a_cycle(lanes):
    case = straight_case(1 / 4)
    result, wanted = compare(case, [((0, 0, 0), INSIDE)], latency=0, lanes=lanes)
    assert len(wanted) == 16 * PIXELS
    # The stub memory gives the second beat 3 cycles after the request, which is made in the cycle after the rectangle.
    assert result.cycles["o"][0] - result.cycles["i"][0] == 1 + 3 + SampleGenerator.LATENCY
    assert {b - a for a, b in pairwise(result.cycles["o"][:-1])} == {1}


def test_the_lanes_take_turns():
    result, _ = compare(straight_case(1 / 4), [((0, 0, 0), INSIDE)], lanes=4)
    lanes = [sample.pixel % 4 for sample in result.outputs["o"][:-1]]
    assert lanes == [0, 1, 2, 3] * (len(lanes) // 4)


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_a_pixel_without_a_sample_takes_its_lane_a_cycle(lanes):
    """Pixels that miss the cube, and terminated ones; a cube takes `CUBE_CYCLES` more."""
    case = straight_case(1 / 16)
    for case.terminated in ([False] * PIXELS, [True] * PIXELS):
        small, large = (
            compare(case, [((0, 1, 1), INSIDE | {"last_y": last_y})], lanes=lanes)[0].total for last_y in (1, 3)
        )
        assert large - small == PIXELS // 2 // lanes
    few, many = (compare(case, [((0, 1, 1), INSIDE)] * cubes, latency=0)[0].total for cubes in (4, 14))
    assert many - few == 10 * (PIXELS + SampleGenerator.CUBE_CYCLES)


def test_a_cube_begins_while_the_one_before_is_marched():
    """One cycle between the samples of two cubes: the end of the first."""
    case = straight_case(1 / 4)
    result, _ = compare(case, [((x, 0, 0), INSIDE) for x in range(3)], lanes=4)
    gaps = [b - a for a, b in pairwise(result.cycles["o"][:-1])]
    assert (set(gaps), gaps.count(2)) == ({1, 2}, 2)


def test_last_alone():
    result, _ = compare(straight_case(1), [])
    assert result.cycles["o"][0] - result.cycles["i"][0] == SampleGenerator.LATENCY_LAST


def test_records_are_read_ahead():
    """Two cubes are worked on, and as many as are held wait while one is marched."""
    case = straight_case(1 / 4)
    result, _ = compare(case, [((0, 0, 0), INSIDE)] * (SLOTS + CONFIG.record_queue + 4))
    march = 16 * PIXELS
    assert sum(cycle < march / 2 for cycle in result.cycles["i"]) == SLOTS + CONFIG.record_queue + 1
    cubes = [((x, 0, 0), INSIDE) for x in range(6)]
    quick, slow = (compare(case, cubes, latency=latency)[0].total for latency in (0, 100))
    assert slow - quick < 2 * 100


@pytest.mark.parametrize("bit", [0, 215, 216, 245, 247, 248, 255])
def test_a_wrong_bit_in_a_record_is_reported(bit):
    case = straight_case(1)
    wrong = bytearray(case.image)
    wrong[case.records_offset + RECORD_BYTES + bit // 8] ^= 1 << bit % 8
    case.image = bytes(wrong)
    rectangles = [
        {"cube": dict.fromkeys(AXES, 1), "rank": rank, "last": 0, "first_x": 0, "last_x": 0, "first_y": 0, "last_y": 0}
        for rank in (0, 1, 2)
    ]
    constants = {
        "scene": {"grid": dict(zip(AXES, case.grid, strict=True)), "records_offset": case.records_offset},
        "view": {"sample_limit": 10},
    }
    outputs = {"o": 1, "o_cube": 0, "o_error": 1, "o_memory_error": 0}
    run(shared(Bench, 1), {"i": [*rectangles, {"last": 1}]}, outputs, constants, memories=contents(case, 0, 3))


@pytest.mark.parametrize("lanes", [2, 4])
def test_two_density_lanes_get_a_sample_each_a_cycle(lanes):
    """Of even and of odd columns, of one cube."""
    case = straight_case(1 / 4)
    rectangles = [((0, 0, 0), INSIDE), ((1, 0, 0), INSIDE | {"last_x": 0}), ((0, 0, 0), INSIDE | {"first_x": 3})]
    wanted = [
        (cube, pixel, local)
        for cube, bounds in rectangles
        for pixel, _, local in enumerate_samples(case)[cube]
        if bounds["first_x"] <= pixel % CONFIG.tile <= bounds["last_x"]
    ]
    inputs = [
        {"cube": dict(zip(AXES, cube, strict=True)), "rank": case.rank[cube], "tile": 1, "last": 0} | bounds
        for cube, bounds in rectangles
    ]
    constants = {
        "scene": {"grid": dict(zip(AXES, case.grid, strict=True)), "records_offset": case.records_offset},
        "view": {"sample_limit": case.limit},
    }
    # Of the first cube all are pairs, of the other two none.
    count = 16 * (PIXELS // 2 + PIXELS // 4 + PIXELS // 4)
    outputs = {"o": count + 1, "o_cube": 3, "o_error": 0, "o_memory_error": 0}
    result = run(
        shared(Bench, lanes, 2), {"i": [*inputs, {"last": 1}]}, outputs, constants, memories=contents(case, 0, 3)
    )
    *transfers, last = map(fields, result.outputs["o"])
    assert last["last"]
    assert [lane["present"] for lane in last["lanes"]] == [0, 0]
    found = [
        (tuple(one["cube"].values()), one["pixel"] - PIXELS, tuple(one["local"].values()))
        for transfer in transfers
        for one in samples_in(transfer)
    ]
    assert all(lane["pixel"] % 2 == n for one in transfers for n, lane in enumerate(one["lanes"]) if lane["present"])
    for pixel in range(PIXELS):
        of_pixel = ([one for one in side if one[1] == pixel] for side in (found, wanted))
        assert next(of_pixel) == next(of_pixel)
    assert {b - a for a, b in pairwise(result.cycles["o"][: 16 * PIXELS // 2])} == {1}
