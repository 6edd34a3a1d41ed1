"""The simulator's sample generator and record reader against the RTL's, cycle for cycle."""

import random
from dataclasses import replace

import numpy as np
import pytest
from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory, MemoryData
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, run, shared
from nerf.contract.formats import ALPHA_ENTRIES
from nerf.contract.registers import AXES
from nerf.golden.occupancy_walker import axis_order
from nerf.golden.projector import project
from rtl.payloads import Cube, Ray, SceneRegisters, TileLayouts, ViewRegisters
from rtl.samples.sample_generator import SampleGenerator
from sim.parts.activity import NEVER
from sim.parts.streams import CUBE as CUBE_STREAM
from sim.parts.streams import READ_BEAT, READ_REQUEST, RECTANGLE, SAMPLE, new
from sim.parts.streams import stream as record_of
from sim.samples import marches, record_reader, sample_generator
from tests.rtl.memory.helpers_memory import ReadMemory as HardwareMemory
from tests.rtl.samples.test_sample_generator import (
    BASE,
    BEATS,
    CONFIG,
    INSIDE,
    LAYOUTS,
    PIXELS,
    contents,
    enumerate_samples,
    extreme_rays,
    make_case,
    straight_case,
    usual_case,
)
from tests.sim.replay import replay
from tests.sim.samples.helpers_front_end import ReadMemory, scene_record, sleeper
from tests.sim.shading.helpers_shading import modelled, sample_fields
from tests.sizes import LARGE, SMALL

NO_PIXEL = PIXELS
"""As a pixel to terminate: none in this cycle."""
BOUNDS = ("first_x", "first_y", "last_x", "last_y")


class Bench(wiring.Component):
    """The generator with memories of records, rays and flags; ``i_terminate`` sets a pixel's flag.

    The rays are there when it has brought ``rays_after`` payloads.
    """

    def __init__(self, lanes: int, sizes=CONFIG):
        self.config = replace(sizes, tile=CONFIG.tile, tiles=CONFIG.tiles, sample_lanes=lanes)
        self.records = HardwareMemory(CONFIG, BEATS, BASE)
        self.rays = MemoryData(shape=Ray.size, depth=2 * PIXELS, init=[])
        self.terminated = MemoryData(shape=1, depth=2 * PIXELS, init=[])
        super().__init__(
            {
                "i": In(stream.Signature(LAYOUTS.Rectangle)),
                "i_terminate": In(stream.Signature(range(PIXELS + 1))),
                "rays_after": In(8),
                "scene": In(SceneRegisters),
                "view": In(ViewRegisters),
                "o": Out(stream.Signature(TileLayouts(self.config).Samples)),
                "o_cube": Out(stream.Signature(Cube)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.generator = generator = SampleGenerator(self.config)
        m.submodules.records = records = self.records
        wiring.connect(m, generator.records, records.port)
        for name in ("i", "o", "o_cube"):
            wiring.connect(m, getattr(generator, name), wiring.flipped(getattr(self, name)))
        m.submodules.rays, m.submodules.flags = rays, flags = Memory(self.rays), Memory(self.terminated)
        write = flags.write_port()
        for store, ports in ((rays, generator.ray), (flags, generator.terminated)):
            for port in ports:
                read = store.read_port()
                m.d.comb += [read.addr.eq(port.address), read.en.eq(port.enable)]
                m.d.comb += Value.cast(port.data).eq(read.data)
        pixel = self.i_terminate.payload
        brought = Signal(16)
        m.d.sync += brought.eq(brought + self.i_terminate.valid)
        m.d.comb += [
            generator.rays.eq(Mux(brought >= self.rays_after, 3, 0)),
            self.i_terminate.ready.eq(1),
            write.addr.eq(PIXELS + pixel),
            write.data.eq(1),
            write.en.eq(self.i_terminate.valid & (pixel != NO_PIXEL)),
            generator.scene.eq(self.scene),
            generator.view.eq(self.view),
            generator.scene_base.eq(BASE),
        ]
        return m


def marches_of(case, scene, windows, bases):
    """Return marches for the rays of a window that is a tile, which all cubes may cover; all alphas are 0."""
    ranks = np.arange(len(bases))
    nothing = np.zeros((0, 1, 0), np.int8)
    return marches.Marches(
        scene=scene,
        limit=case.limit,
        width=CONFIG.tile,
        rays=np.stack([case.rays.position, case.rays.step, case.rays.inverse], axis=1),
        live=np.ones(PIXELS, np.int64),
        rank=np.zeros((1, 1, 1), np.int64),
        windows=windows,
        bases=bases,
        planes=(nothing,) * 3,
        lines=(np.zeros((0, 0), np.int8),) * 3,
        alpha_table=np.zeros((ALPHA_ENTRIES, 2), np.int64),
        footprints=np.stack([0 * ranks, 0 * ranks, 0 * ranks + CONFIG.tile, PIXELS * ranks], axis=1),
        marches=np.zeros(PIXELS * len(ranks), marches.MARCH),
        points=np.zeros(1 << 14, np.int32),
        used=np.zeros(1, np.int64),
    )


def simulate(case, rectangles, terminations, rays_after, stalls, seed, latency, lanes, skip, sizes):
    """Return the cycles and payloads of the simulator, run until the last sample and a while beyond."""
    state = sample_generator.new(replace(sizes, tile=CONFIG.tile, tiles=CONFIG.tiles, sample_lanes=lanes))
    i, o, o_cube, request, beat = (new(kind) for kind in (RECTANGLE, SAMPLE, CUBE_STREAM, READ_REQUEST, READ_BEAT))
    terminate, all_out = new(record_of("pixel")), new(record_of("nothing"))
    scene = scene_record(
        grid=case.grid, records_offset=case.records_offset, mask_scale=case.scale, mask_offset=case.offset
    )
    store = ReadMemory(request, beat, record_reader.CLIENT, seed, latency)
    terminated_from = np.array([0] * PIXELS + [0 if flag else NEVER for flag in case.terminated])
    ranks = max(case.rank.values()) + 1
    windows, bases = np.zeros((ranks, 6, 6, 6), bool), np.zeros((ranks, 3), np.int64)
    for cube, rank in case.rank.items():
        windows[rank], bases[rank] = case.windows[cube], case.bases[cube]
    rays_from = np.full(2, NEVER if rays_after else 0)
    its = marches_of(case, scene, windows, bases)

    def step_generator(now):
        nonlocal its
        its = marches.with_room(its)
        return sample_generator.step(
            now, state, scene, BASE, i, request, beat, o_cube, o, rays_from, terminated_from, np.zeros((2, 2), int), its
        )

    told = np.zeros(1, bool)
    maybe = sleeper(step_generator, [i, o, o_cube, request, beat, told]) if skip else step_generator
    seen_last, brought = False, 0

    def step(now):
        nonlocal seen_last, brought
        told[0] = now >= rays_from[0]
        if terminate["valid"]:
            terminate["valid"] = 0
            brought += 1
            if brought == rays_after:
                rays_from[:] = now + 1
            pixel = PIXELS + terminate["pixel"]
            if terminate["pixel"] != NO_PIXEL and terminated_from[pixel] == NEVER:
                terminated_from[pixel] = now + 1
        if seen_last and not o["valid"]:
            all_out["valid"], seen_last = 1, False
        store.take()
        maybe(now)
        store.finish()
        seen_last |= bool(o["valid"] and o["last"])
        return now + 1

    return replay(
        step,
        {"i": (i, rectangles), "i_terminate": (terminate, terminations)},
        {"o": (o, None), "o_cube": (o_cube, None), "all_out": (all_out, 1)},
        stalls=stalls,
        seed=seed,
        offer=store.offer,
        settle=400,
    )


def compare(
    case, rectangles, stalls=STALLS[0], seed=0, latency=3, terminations=(), lanes=1, sizes=CONFIG, rays_after=0
):
    """Run both over (cube, bounds) and compare; return the payloads."""
    named = [
        {"cube": dict(zip(AXES, cube, strict=True)), "rank": case.rank[cube], "tile": 1, "last": 0} | bounds
        for cube, bounds in rectangles
    ]
    plain = [(*cube, case.rank[cube], *(bounds[name] for name in BOUNDS), 1, 0) for cube, bounds in rectangles]
    simulated = [
        simulate(case, [*plain, (0,) * 9 + (1,)], terminations, rays_after, stalls, seed, latency, lanes, skip, sizes)
        for skip in (False, True)
    ]
    assert simulated[0] == simulated[1]
    cycles, payloads = simulated[0]
    constants = {
        "scene": {
            "grid": dict(zip(AXES, case.grid, strict=True)),
            "records_offset": case.records_offset,
            "mask_scale": dict(zip(AXES, case.scale, strict=True)),
            "mask_offset": dict(zip(AXES, case.offset, strict=True)),
        },
        "view": {"sample_limit": case.limit},
        "rays_after": rays_after,
    }
    hardware = run(
        shared(Bench, lanes, sizes),
        {"i": [*named, {"last": 1}], "i_terminate": terminations},
        {name: len(payloads[name]) for name in ("o", "o_cube")},
        constants,
        stalls,
        seed,
        memories=contents(case, seed, latency),
    )
    for name in ("i", "o", "o_cube"):
        assert cycles[name] == hardware.cycles[name]
    for found, transfer in zip(payloads["o"], hardware.outputs["o"], strict=True):
        assert found[5] == transfer.last
        assert modelled(_as_carried(found)) == sample_fields(transfer)
    assert payloads["o_cube"] == [tuple(cube[axis] for axis in AXES) for cube in hardware.outputs["o_cube"]]
    return payloads


def _as_carried(payload: tuple[int, ...]) -> tuple[int, ...]:
    """Return a `SAMPLE` payload with positions cut to the bits that a sample has."""
    names = SAMPLE.names[1 : 1 + len(payload)]
    return tuple(at >> 8 << 8 if name[-1] in AXES else at for name, at in zip(names, payload, strict=True))


def rectangles_of(case, view) -> list[tuple[tuple[int, int, int], dict[str, int]]]:
    """Return all cubes in the walker's order with the projector's rectangles in the tile at (4, 4)."""
    found = []
    orders = [axis_order(view.values[f"start_cube_{axis}"], case.cubes[k]) for k, axis in enumerate(AXES)]
    for cube in ((x, y, z) for z in orders[2] for y in orders[1] for x in orders[0]):
        bounds = project(cube, view)
        if bounds is None:
            continue
        first = [max(bounds[k] - 4, 0) for k in range(2)]
        last = [min(bounds[k + 2] - 4, 3) for k in range(2)]
        if first[0] <= last[0] and first[1] <= last[1]:
            found.append((cube, dict(zip(BOUNDS, (*first, *last), strict=True))))
    return found


@pytest.mark.parametrize("kind", ["outside", "inside", "parallel"])
@pytest.mark.parametrize("stalls", [*STALLS, (0.9, 0.1)])
@pytest.mark.parametrize(("lanes", "of_density"), [(1, 1), (2, 1), (4, 1), (2, 2), (4, 2)])
def test_all_cubes_of_a_scene_while_pixels_terminate(kind, stalls, lanes, of_density):
    seed = [*STALLS, (0.9, 0.1)].index(stalls)
    # Some cameras see next to nothing in the tile.
    cases = (usual_case(n, kind, filled=(0.6, 0.2)[seed % 2]) for n in range(seed, 100, len(STALLS)))
    case, view = next((case, view) for case, view in cases if sum(map(len, enumerate_samples(case).values())) > 40)
    chance = random.Random(f"terminate {seed} {kind}")
    terminations = [chance.randrange(PIXELS) if chance.random() < 0.01 else NO_PIXEL for _ in range(1000)]
    latency, sizes = chance.choice((0, 6, 30)), replace(CONFIG, sample_lanes=lanes, density_lanes=of_density)
    payloads = compare(
        case, rectangles_of(case, view), stalls, seed, latency, terminations, lanes, sizes, rays_after=99
    )
    assert len(payloads["o"]) > 20


@pytest.mark.parametrize("latency", [0, 30])
@pytest.mark.parametrize("stalls", [STALLS[0], (0.9, 0.1)])
@pytest.mark.parametrize("sizes", [SMALL, LARGE])
def test_other_queues(sizes, stalls, latency):
    case, view = usual_case(1, "outside", filled=0.6)
    compare(case, rectangles_of(case, view), stalls, 1, latency, lanes=2, sizes=sizes)


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("seed", range(4))
def test_extreme_rays(seed, lanes):
    chance = random.Random(seed)
    grid = tuple(chance.choice((8, 16, 35, 640)) for _ in AXES)
    rays, cube = extreme_rays(seed, grid)
    case = make_case(seed, rays, (1, 1, 1), 1000, 1.0)
    case.windows[cube], case.bases[cube] = case.windows[0, 0, 0], case.bases[0, 0, 0]
    # The scale is 0, so every point of the cube is in one occupied cell.
    case.scale, case.offset = [0, 0, 0], [base << 16 for base in case.bases[cube]]
    case.grid, case.rank = grid, {cube: 0}
    assert len(compare(case, [(cube, INSIDE)], STALLS[seed], seed, lanes=lanes)["o"]) > 1


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_marches_of_all_lengths_and_empty_cubes(limit):
    """Straight rays through a row of cubes: one long march after the other, cubes that end at the sample limit."""
    case = straight_case(0.3)
    case.limit = limit
    cubes = [(x, 0, 0) for x in range(4)]
    for stalls in (STALLS[0], (0.9, 0.2)):
        compare(case, [(cube, INSIDE) for cube in cubes], stalls, limit)


@pytest.mark.parametrize("seed", range(3))
def test_the_first_sample_of_a_cube_waits_for_the_announcement_before(seed):
    """One or two samples a cube, so that a cube's announcement is often still there when the next one's is due."""
    payloads = compare(
        straight_case(2.5), [((x, 0, 0), dict.fromkeys(BOUNDS, 0)) for x in range(8)], (1.0, 0.08), seed, latency=0
    )
    assert len(payloads["o_cube"]) == 8


def test_a_look_up_does_not_see_the_write_of_its_cycle():
    """A pixel's flag is set in every cycle around that of its look-up."""
    case = straight_case(0.3)
    case.terminated = [pixel not in (5, 6) for pixel in range(PIXELS)]
    samples = [
        len(compare(case, [((0, 0, 0), INSIDE)], latency=0, terminations=[NO_PIXEL] * cycle + [5])["o"])
        for cycle in range(10, 22)
    ]
    assert len(set(samples)) == 2


def test_only_last():
    case, _ = usual_case(0, "outside")
    assert compare(case, [])["o"][0][5] == 1
