"""`rtl.samples.ray_setup`, `ray_unit` and `ray_buffer` against `nerf.golden.ray_setup`, bit for bit."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, play, run, shared
from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import DIRECTION, DISTANCE, ORIGIN, POSITION
from nerf.contract.registers import AXES, VIEW_SCALE, View
from nerf.golden.ray_setup import set_up
from rtl.payloads import TileLayouts
from rtl.samples.ray_buffer import RayBuffer
from rtl.samples.ray_setup import RaySetup
from tests.rtl.samples.helpers_rays import camera, scene_stub, view_constants

CONFIG = AcceleratorConfig(tile=4)


def config(units: int) -> AcceleratorConfig:
    return AcceleratorConfig(tile=4, ray_units=units)


class Tiles(wiring.Component):
    """Starts the ray set-up for every 0 that comes in, one after the other, and turns ``done`` into a payload.

    Any other number resets the ray set-up, whatever it is doing, after so many cycles.
    """

    def __init__(self, cfg: AcceleratorConfig = CONFIG):
        layouts = TileLayouts(cfg)
        self.ray_setup = RaySetup(cfg)
        members = {name: self.ray_setup.signature.members[name] for name in ("tile", "scene", "view", "o")}
        super().__init__(members | {"i": In(stream.Signature(7)), "o_done": Out(stream.Signature(layouts.pixel))})

    def elaborate(self, platform):
        m = Module()
        busy, reset, waited = Signal(), Signal(), Signal.like(self.i.payload)
        ray_setup = self.ray_setup
        m.submodules.ray_setup = ResetInserter(reset)(ray_setup)
        for name in ("tile", "scene", "view"):
            m.d.comb += getattr(ray_setup, name).eq(getattr(self, name))
        wiring.connect(m, ray_setup.o, wiring.flipped(self.o))
        with m.If(self.o_done.valid & self.o_done.ready):
            m.d.sync += [self.o_done.valid.eq(0), busy.eq(0)]
        with m.If(ray_setup.done):
            m.d.sync += self.o_done.valid.eq(1)
        with m.If(self.i.payload == 0):
            m.d.comb += [self.i.ready.eq(~busy), ray_setup.start.eq(self.i.valid & ~busy)]
            with m.If(ray_setup.start):
                m.d.sync += busy.eq(1)
        with m.Elif(self.i.valid):
            m.d.comb += [reset.eq(waited == self.i.payload - 1), self.i.ready.eq(waited == self.i.payload)]
            m.d.sync += waited.eq(waited + 1)
            with m.If(self.i.ready):
                m.d.sync += [waited.eq(0), busy.eq(0)]
        return m


def extreme_view(seed: int) -> SimpleNamespace:
    """Registers at and near their limits, as far as the golden model's 64 bits carry them."""
    chance = random.Random(seed)

    def pick(low: int, high: int) -> int:
        return chance.choice((low, high, 0, chance.randint(low, high), chance.randint(low, high)))

    values = {}
    for axis in AXES:
        values[f"origin_{axis}"] = pick(ORIGIN.low, ORIGIN.high)
        values[f"direction_{axis}"] = pick(-(1 << 28), 1 << 28)
        values[f"direction_column_{axis}"] = pick(-(1 << 15), 1 << 15)
        values[f"direction_row_{axis}"] = pick(-(1 << 15), 1 << 15)
        values[f"view_scale_{axis}"] = chance.randint(0, VIEW_SCALE.high >> 6)
    values["slope_x"], values["slope_y"] = (pick(DIRECTION.low, DIRECTION.high) for _ in "xy")
    values["slope_column"], values["slope_row"] = (pick(0, 1 << 20) for _ in "xy")
    values["near"], values["far"] = (pick(0, DISTANCE.high) for _ in "nf")
    grid = tuple(chance.choice((1, 2, 384, 640, chance.randint(1, 640))) for _ in AXES)
    tile = {"x": pick(0, 8191), "y": pick(0, 8191), "last_x": chance.randint(0, 2), "last_y": chance.randint(0, 1)}
    tile["place"] = seed & 1
    return SimpleNamespace(view=View(values), grid=grid, tile=tile)


def usual_view(seed: int) -> SimpleNamespace:
    chance = random.Random(seed)
    scene = scene_stub(tuple(chance.randint(5, 160) for _ in AXES), seed)
    tile = {"x": 4 * chance.randint(0, 20), "y": 4 * chance.randint(0, 20), "last_x": 3, "last_y": chance.randint(0, 3)}
    tile["place"] = seed & 1
    return SimpleNamespace(view=camera(scene, seed, 84, 84), grid=scene.grid, tile=tile)


def compare(case: SimpleNamespace, stalls=(1.0, 1.0), seed: int = 0, units: int = 1, inputs: tuple[int, ...] = (0,)):
    """Run tiles and compare every ray; those of an input that is followed by a reset must not come."""
    count_x, count_y = case.tile["last_x"] + 1, case.tile["last_y"] + 1
    row, column = np.divmod(np.arange(count_x * count_y), count_x)
    rays = set_up(column + case.tile["x"], row + case.tile["y"], case.view, case.grid)
    constants = {
        "tile": case.tile,
        "view": view_constants(case.view),
        "scene": {"grid": dict(zip(AXES, case.grid, strict=True))},
    }
    tiles = sum(now == 0 and after == 0 for now, after in zip(inputs, (*inputs[1:], 0), strict=True))
    outputs = {"o": tiles * len(row), "o_done": tiles}
    result = run(shared(Tiles, config(units)), {"i": inputs}, outputs, constants=constants, stalls=stalls, seed=seed)
    for number, write in enumerate(result.outputs["o"]):
        n = number % len(row)
        assert write.pixel == (case.tile["place"] * CONFIG.tile + row[n]) * CONFIG.tile + column[n]
        fits = np.all((rays.position[n] >= POSITION.low) & (rays.position[n] <= POSITION.high))
        assert write.live == (rays.live[n] & fits)
        for k, axis in enumerate(AXES):
            assert write.ray.step[axis] == rays.step[n, k]
            assert write.ray.inverse[axis] == rays.inverse[n, k]
            assert write.direction[axis] == rays.direction[n, k]
            if write.live:
                assert write.ray.position[axis] == rays.position[n, k]
    for last_ray, done in zip(result.cycles["o"][len(row) - 1 :: len(row)], result.cycles["o_done"], strict=True):
        assert done > last_ray
    return result, rays


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("stalls", [STALLS[0], STALLS[2]])
def test_usual_views(seed, stalls):
    compare(usual_view(seed), stalls, seed)


@pytest.mark.parametrize("units", [8, 2])
@pytest.mark.parametrize(("last_x", "last_y"), [(2, 2), (0, 0), (0, 3), (3, 3), (1, 0)])
@pytest.mark.parametrize("stalls", [(1.0, 0.05), STALLS[0]])
def test_tiles_of_any_size_in_several_units(units, last_x, last_y, stalls):
    case = usual_view(last_x)
    case.tile = case.tile | {"last_x": last_x, "last_y": last_y}
    compare(case, stalls, seed=units + last_y, units=units, inputs=(0, 0, 0))


@pytest.mark.parametrize("units", [4, 1])
@pytest.mark.parametrize("stalls", [STALLS[0]])
def test_a_reset_leaves_no_ray(units, stalls):
    """Repeated in the Verilog, where the units are instances that a reset from outside does not reach."""
    case = usual_view(3)
    case.tile = case.tile | {"last_x": 2, "last_y": 1}
    compare(case, stalls, units=units, inputs=(0, 2, 0, 4, 0, 19, 0, 31, 0, 73, 0, 98, 0, 0))


def test_usual_views_have_live_and_dead_rays():
    row, column = np.divmod(np.arange(84 * 84), 84)
    live = np.concatenate([set_up(column, row, case.view, case.grid).live for case in map(usual_view, range(6))])
    assert 0.1 < live.mean() < 0.99


@pytest.mark.parametrize("seed", range(25))
def test_extreme_registers(seed):
    case = extreme_view(seed)
    row, column = np.divmod(np.arange(16), 4)
    rays = set_up(column + case.tile["x"], row + case.tile["y"], case.view, case.grid)
    assert np.abs(rays.step).max() < 1 << 27, "the view must keep the step inside its format"
    compare(case, seed=seed)


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_ray_is_live_up_to_one_step_behind_the_box(beyond):
    """``near`` is put one step behind the point where the first pixel's ray leaves the box, or next to that."""
    case = usual_view(0)
    x, y = np.array([case.tile["x"]]), np.array([case.tile["y"]])
    low, high = 0, DISTANCE.high
    while low < high:
        middle = (low + high + 1) // 2
        live = set_up(x, y, View(case.view.values | {"near": middle, "far": DISTANCE.high}), case.grid).live[0]
        low, high = (middle, high) if live else (low, middle - 1)
    assert 0 < low < DISTANCE.high
    case.view = View(case.view.values | {"near": low + beyond, "far": DISTANCE.high})
    result, _ = compare(case)
    assert result.outputs["o"][0].live == (beyond <= 0)


@pytest.mark.parametrize("units", [1, 2, 4])
def test_latency_and_throughput(units):
    result, _ = compare(usual_view(1), units=units)
    begin, cycles = result.cycles["i"][0], result.cycles["o"]
    latency = RaySetup.LATENCY
    assert cycles == [begin + latency * (1 + n // units) + n % units for n in range(len(cycles))]
    assert result.cycles["o_done"][0] == cycles[-1] + 2, "done is a strobe in the cycle after the last ray"


@pytest.mark.parametrize("lanes", [1, 4])
def test_ray_buffer(lanes):
    buffer = RayBuffer(AcceleratorConfig(tile=4, sample_lanes=lanes))
    chance = random.Random(1)
    shape = buffer.i.payload.shape()
    writes = [shape.from_bits(chance.getrandbits(shape.size) & -32 | pixel) for pixel in chance.sample(range(32), 32)]

    async def bench(ctx):
        for write in writes:
            ctx.set(buffer.i.payload, write)
            ctx.set(buffer.i.valid, 1)
            assert ctx.get(buffer.i.ready)
            assert ctx.get(buffer.initialise)
            assert ctx.get(buffer.pixel) == write.pixel
            assert ctx.get(buffer.live) == write.live
            await ctx.tick()
        ctx.set(buffer.i.valid, 0)
        assert not ctx.get(buffer.initialise)
        for write, other in zip(writes, reversed(writes), strict=True):
            ray = buffer.ray[write.pixel % lanes]
            ctx.set(ray.address, write.pixel)
            ctx.set(ray.enable, 1)
            ctx.set(buffer.direction.address, other.pixel)
            ctx.set(buffer.direction.enable, 1)
            await ctx.tick().repeat(buffer.LATENCY)
            ctx.set(ray.enable, 0)
            ctx.set(ray.address, other.pixel)
            for _ in range(2):
                assert ctx.get(ray.data) == write.ray
                assert ctx.get(buffer.direction.data) == other.direction
                await ctx.tick()

    play(buffer, bench)
