"""`rtl.ray_setup` and `rtl.ray_buffer` against `nerf.golden.ray_setup`, bit for bit."""

import random
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from cosim.unit import STALLS, run
from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import DIRECTION, DISTANCE, ORIGIN, POSITION
from nerf.contract.registers import AXES, VIEW_SCALE, View
from nerf.golden.ray_setup import set_up
from rtl.payloads import TileLayouts
from rtl.ray_buffer import RayBuffer
from rtl.ray_setup import RaySetup
from tests.rtl.helpers_rays import camera, scene_stub, view_constants

CONFIG = AcceleratorConfig(tile=4)


class OneTile(wiring.Component):
    """Starts the ray set-up once and turns ``done`` into a payload."""

    def __init__(self):
        layouts = TileLayouts(CONFIG)
        self.ray_setup = RaySetup(CONFIG)
        members = {name: self.ray_setup.signature.members[name] for name in ("tile", "scene", "view", "o")}
        super().__init__(members | {"i": In(stream.Signature(1)), "o_done": Out(stream.Signature(layouts.pixel))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.ray_setup = ray_setup = self.ray_setup
        for name in ("tile", "scene", "view"):
            m.d.comb += getattr(ray_setup, name).eq(getattr(self, name))
        wiring.connect(m, ray_setup.o, wiring.flipped(self.o))
        m.d.comb += [self.i.ready.eq(1), ray_setup.start.eq(self.i.valid)]
        with m.If(self.o_done.ready):
            m.d.sync += self.o_done.valid.eq(0)
        with m.If(ray_setup.done):
            m.d.sync += self.o_done.valid.eq(1)
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
    values["slope_pixel"] = pick(0, 1 << 20)
    values["near"], values["far"] = (pick(0, DISTANCE.high) for _ in "nf")
    grid = tuple(chance.choice((1, 2, 384, 512, chance.randint(1, 512))) for _ in AXES)
    tile = {"x": pick(0, 8191), "y": pick(0, 8191), "last_x": chance.randint(0, 2), "last_y": chance.randint(0, 1)}
    return SimpleNamespace(view=View(values), grid=grid, tile=tile)


def usual_view(seed: int) -> SimpleNamespace:
    chance = random.Random(seed)
    scene = scene_stub(tuple(chance.randint(5, 160) for _ in AXES), seed)
    tile = {"x": 4 * chance.randint(0, 20), "y": 4 * chance.randint(0, 20), "last_x": 3, "last_y": chance.randint(0, 3)}
    return SimpleNamespace(view=camera(scene, seed, 84, 84), grid=scene.grid, tile=tile)


def compare(case: SimpleNamespace, stalls=(1.0, 1.0), seed: int = 0):
    count_x, count_y = case.tile["last_x"] + 1, case.tile["last_y"] + 1
    row, column = np.divmod(np.arange(count_x * count_y), count_x)
    rays = set_up(column + case.tile["x"], row + case.tile["y"], case.view, case.grid)
    constants = {
        "tile": case.tile,
        "view": view_constants(case.view),
        "scene": {"grid": dict(zip(AXES, case.grid, strict=True))},
    }
    outputs = {"o": len(row), "o_done": 1}
    result = run(OneTile(), {"i": [0]}, outputs, constants=constants, stalls=stalls, seed=seed)
    for n, write in enumerate(result.outputs["o"]):
        assert write.pixel == row[n] * CONFIG.tile + column[n]
        fits = np.all((rays.position[n] >= POSITION.low) & (rays.position[n] <= POSITION.high))
        assert write.live == (rays.live[n] & fits)
        for k, axis in enumerate(AXES):
            assert write.ray.step[axis] == rays.step[n, k]
            assert write.ray.inverse[axis] == rays.inverse[n, k]
            assert write.direction[axis] == rays.direction[n, k]
            if write.live:
                assert write.ray.position[axis] == rays.position[n, k]
    assert result.cycles["o_done"][0] > result.cycles["o"][-1]
    return result, rays


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("stalls", [STALLS[0], STALLS[2]])
def test_usual_views(seed, stalls):
    compare(usual_view(seed), stalls, seed)


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


def test_latency_and_throughput():
    result, _ = compare(usual_view(1))
    cycles = result.cycles["o"]
    assert cycles[0] - result.cycles["i"][0] == RaySetup.LATENCY
    assert {b - a for a, b in pairwise(cycles)} == {RaySetup.LATENCY}
    assert result.cycles["o_done"][0] == cycles[-1] + 2, "done is a strobe in the cycle after the last ray"


def test_ray_buffer():
    buffer = RayBuffer(CONFIG)
    chance = random.Random(1)
    shape = buffer.i.payload.shape()
    writes = [shape.from_bits(chance.getrandbits(shape.size) & -16 | pixel) for pixel in chance.sample(range(16), 16)]
    simulator = Simulator(buffer)
    simulator.add_clock(1e-6)

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
            ctx.set(buffer.ray.address, write.pixel)
            ctx.set(buffer.ray.enable, 1)
            ctx.set(buffer.direction.address, other.pixel)
            ctx.set(buffer.direction.enable, 1)
            await ctx.tick().repeat(buffer.LATENCY)
            ctx.set(buffer.ray.enable, 0)
            ctx.set(buffer.ray.address, other.pixel)
            for _ in range(2):
                assert ctx.get(buffer.ray.data) == write.ray
                assert ctx.get(buffer.direction.data) == other.direction
                await ctx.tick()

    simulator.add_testbench(bench)
    simulator.run()
