"""The MLP engine against the golden shading, with networks that the encoder made and with extreme ones."""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, run, shared
from nerf.contract.config import COMPONENTS, AcceleratorConfig, load_config
from nerf.contract.formats import ALPHA_ENTRIES, sine_table
from nerf.contract.network import NetworkSize
from nerf.contract.scene_image import BEAT, PAIRS, pack_network
from nerf.encode import encode_model
from nerf.golden.mlp_engine import load_network, shade
from nerf.model import TensorfModel
from rtl.payloads import SceneRegisters, TileLayouts
from rtl.shading.mlp_datapath import QUARTER
from rtl.shading.mlp_engine import MlpEngine
from tests.rtl.shading.helpers_shading import fields

ALPHA_BEATS = ALPHA_ENTRIES // 2
Products = data.ArrayLayout(data.ArrayLayout(signed(16), COMPONENTS), len(PAIRS))


SIZE = NetworkSize()
SMALL = NetworkSize(features=25, hidden=64)
SMALLEST = NetworkSize(features=32, hidden=32)
WIDE = NetworkSize(features=24, hidden=256, feature_bands=1, view_bands=3)
DEEP = NetworkSize(features=24, hidden=32, feature_bands=6, view_bands=0)
PLAIN = NetworkSize(features=28, hidden=32, feature_bands=0, view_bands=0, plain=True)


def config(lanes, batch=1, size=SIZE):
    network = {name: getattr(size, name) for name in ("features", "hidden", "feature_bands", "view_bands")}
    colours = "plain" if size.plain else "network"
    return AcceleratorConfig(tile=8, mlp_lanes=lanes, mlp_batch=batch, colours=colours, **network)


@cache
def encoded_scene(lanes, size=SIZE):
    """Scene image of a small random model."""
    generator = torch.Generator().manual_seed(1)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    model = TensorfModel(
        aabb=torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]),
        density_planes=[normal(16, 6, 6) for _ in range(3)],
        density_lines=[normal(16, 6) for _ in range(3)],
        app_planes=[normal(48, 6, 6) for _ in range(3)],
        app_lines=[normal(48, 6) for _ in range(3)],
        basis=normal(size.features, 144) / 12,
        mlp=[(normal(outputs, inputs) / inputs**0.5, normal(outputs) / 4) for _, inputs, outputs in size.layers[1:]],
        density_shift=0.0,
        view_bands=size.view_bands,
        feature_bands=size.feature_bands,
    )
    return encode_model(model, config(lanes, size=size)).scene


@cache
def extreme_scene(lanes, size=SIZE):
    """What the engine reads of a scene whose weights, biases, multipliers and shifts take all values in range."""
    generator = np.random.default_rng(lanes)
    weights = [generator.integers(-128, 128, (outputs, inputs)).astype(np.int8) for _, inputs, outputs in size.layers]
    entries = []
    for *_, outputs in size.layers:
        shift = generator.integers(10, 34, outputs)
        shift[0] = 1
        multiplier = generator.integers(1, 65536, outputs)
        multiplier = np.where(generator.random(outputs) < 0.2, generator.choice([0, 1, 65535], outputs), multiplier)
        bias = generator.integers(-(1 << 20), 1 << 20, outputs)
        limits = generator.choice([0, (1 << 30) - 1, -(1 << 30)], outputs)
        bias = np.where(generator.random(outputs) < 0.75, limits, bias)
        entries.append(((bias & 0xFFFFFFFF) | multiplier << 32 | shift << 48).astype(np.uint64))
    # The largest shift; then one colour channel that is always at a limit, and two that are not.
    entries[2][-1] = 1 << 32 | 47 << 48
    entries[3][-2:] = [256 << 32 | 26 << 48, 60000 << 32 | 34 << 48]
    alpha = bytes([255]) * (ALPHA_BEATS * BEAT)
    network = pack_network(config(lanes, size=size).stages, weights, entries)
    return SimpleNamespace(
        data=alpha + network,
        tables_offset=0,
        tables_beats=(len(alpha) + len(network)) // BEAT,
        phase_multiplier=(1 << 19) - 1,
        sine_shift=3,
    )


def scene_of(kind, cfg):
    """Return a scene for a configuration: encoded, or extreme."""
    return {"encoded": encoded_scene, "extreme": extreme_scene}[kind](cfg.mlp_lanes, cfg.network)


class Bench(wiring.Component):
    """The engine behind a player of the tables; jobs wait until all tables have passed."""

    FIRST_BEAT = ALPHA_BEATS - 2

    def __init__(self, kind, cfg):
        scene = scene_of(kind, cfg)
        start = scene.tables_offset
        self.beats = [
            int.from_bytes(scene.data[start + BEAT * n : start + BEAT * (n + 1)], "little")
            for n in range(self.FIRST_BEAT, scene.tables_beats)
        ]
        self.dut = MlpEngine(cfg)
        layouts = TileLayouts(cfg)
        super().__init__(
            {
                "i_job": In(stream.Signature(layouts.ShadeJob)),
                "i_products": In(stream.Signature(Products)),
                "scene": In(SceneRegisters),
                "o": Out(stream.Signature(layouts.ColouredSample)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        m.submodules.tables = tables = Memory(shape=128, depth=len(self.beats), init=self.beats)
        read = tables.read_port()
        index, playing, done = Signal(16), Signal(), Signal()
        m.d.sync += playing.eq(index < len(self.beats))
        with m.If(index < len(self.beats)):
            m.d.sync += index.eq(index + 1)
        with m.Elif(~playing):
            m.d.sync += done.eq(1)
        m.d.comb += [
            read.addr.eq(index),
            dut.table.valid.eq(playing),
            dut.table.payload.beat.eq(index - 1 + self.FIRST_BEAT),
            dut.table.payload.data.eq(read.data),
            dut.scene.eq(self.scene),
        ]
        for name in ("i_job", "i_products"):
            outer, inner = getattr(self, name), getattr(dut, name)
            m.d.comb += [
                inner.payload.eq(outer.payload),
                inner.valid.eq(outer.valid & done),
                outer.ready.eq(inner.ready & done),
            ]
        wiring.connect(m, dut.o, wiring.flipped(self.o))
        return m


def make_case(seed, count, lasts=(), products_each=144):
    """Jobs (``last`` after those in ``lasts``), products (count, products_each) and directions (count, 3)."""
    generator = np.random.default_rng(seed)
    size = generator.choice([3, 60, 1000, 16384], count)
    products = generator.integers(-size[:, None], size[:, None] + 1, (count, products_each))
    direction = generator.integers(-16384, 16385, (count, 3))
    direction[0] = (16384, -16384, 0)
    jobs = []
    for n in range(count):
        jobs.append(
            {
                "pixel": int(generator.integers(64)),
                "weight": int(generator.integers((1 << 20) + 1)),
                "direction": dict(zip("xyz", map(int, direction[n]), strict=True)),
                "last": 0,
            }
        )
        if n in lasts:
            jobs.append({"last": 1})
    return jobs, products, direction


def check(kind, cfg, jobs, products, direction, **options):
    scene = scene_of(kind, cfg)
    expected = iter(shade(load_network(scene, cfg), products, direction).tolist())
    by_group = products.reshape(-1, len(PAIRS), cfg.groups["appearance"], COMPONENTS).swapaxes(1, 2)
    transfers = by_group.reshape(-1, len(PAIRS), COMPONENTS).tolist()
    result = run(
        shared(Bench, kind, cfg),
        {"i_job": jobs, "i_products": transfers},
        {"o": len(jobs)},
        {"scene": {"phase_multiplier": scene.phase_multiplier, "sine_shift": scene.sine_shift}},
        **options,
    )
    for job, out in zip(jobs, map(fields, result.outputs["o"]), strict=True):
        assert out["last"] == job["last"]
        if not job["last"]:
            assert out == {"pixel": job["pixel"], "weight": job["weight"], "colour": next(expected), "last": 0}
    return result


@pytest.mark.parametrize("stalls", STALLS)
def test_colours_equal_the_model_with_stalls(stalls):
    jobs, products, direction = make_case(1, 3, lasts=(1, 2))
    check("encoded", config(32, 2, SMALLEST), jobs, products, direction, stalls=stalls, seed=2)


@pytest.mark.parametrize(
    ("lanes", "kind", "count"),
    [
        (16, "extreme", 2),
        pytest.param(32, "encoded", 1, marks=pytest.mark.full),
        pytest.param(64, "encoded", 2, marks=pytest.mark.full),
        (128, "extreme", 3),
    ],
)
def test_colours_and_cycles(lanes, kind, count):
    cfg = config(lanes)
    result = check(kind, cfg, *make_case(lanes, count))
    period = cfg.stages[1].cycles
    assert np.diff(result.cycles["o"]).tolist() == [period] * (count - 1)
    assert result.cycles["o"][0] == result.cycles["i_products"][cfg.groups["appearance"] - 1] + MlpEngine.latency(cfg)


@pytest.mark.parametrize(
    ("lanes", "size", "kind"),
    [
        (64, SMALL, "encoded"),
        pytest.param(16, SMALL, "extreme", marks=pytest.mark.full),
        (32, SMALLEST, "extreme"),
        (16, SMALLEST, "encoded"),
        (32, WIDE, "extreme"),
        (16, DEEP, "extreme"),
        (16, PLAIN, "extreme"),
        pytest.param(16, DEEP, "encoded", marks=pytest.mark.full),
    ],
)
def test_other_networks(lanes, size, kind):
    cfg = config(lanes, 2, size)
    result = check(kind, cfg, *make_case(lanes, 6))
    first = result.cycles["i_products"][2 * cfg.groups["appearance"] - 1] + MlpEngine.latency(cfg)
    period = cfg.stages[1].cycles
    assert result.cycles["o"] == [first + period * one + sample for one in range(3) for sample in range(2)]


def test_cycles_a_batch_are_the_documented_ones():
    cycles = {lanes: [stage.cycles for stage in config(lanes).stages] for lanes in (16, 32, 64, 128)}
    assert cycles == {16: [2016, 2224, 384], 32: [1008, 1112, 384], 64: [432, 556, 384], 128: [288, 290, 256]}
    assert {lanes: MlpEngine.latency(config(lanes)) for lanes in cycles} == {16: 4673, 32: 2571, 64: 1477, 128: 1007}


@pytest.mark.parametrize(
    ("lanes", "batch", "kind"), [(16, 2, "encoded"), pytest.param(32, 3, "extreme", marks=pytest.mark.full)]
)
def test_full_batches_follow_each_other_without_a_gap(lanes, batch, kind):
    cfg = config(lanes, batch, SMALLEST)
    result = check(kind, cfg, *make_case(lanes + batch, 4 * batch))
    first = result.cycles["i_products"][cfg.groups["appearance"] * batch - 1] + MlpEngine.latency(cfg)
    assert result.cycles["o"] == [
        first + cfg.stages[1].cycles * one + sample for one in range(4) for sample in range(batch)
    ]


@pytest.mark.full
def test_the_multipliers_of_edge_are_used():
    cfg = replace(load_config("edge"), tile=8)
    batch, period = cfg.mlp_batch, 290
    jobs, products, direction = make_case(7, 3 * batch + 1, lasts=(3 * batch,))
    result = check("encoded", cfg, jobs, products, direction)
    assert np.diff(result.cycles["o"][: 3 * batch + 1 : batch]).tolist() == [period] * 3
    utilisation = batch * SIZE.multiply_accumulates / (period * cfg.multipliers)
    assert (cfg.multipliers, round(utilisation, 3)) == (6336, 0.954)


@pytest.mark.parametrize("batch", [pytest.param(1, marks=pytest.mark.full), 4])
def test_markers_pass_behind_what_is_there(batch):
    jobs, products, direction = make_case(8, 6, lasts=(0, 5))
    jobs = [{"last": 1}, *jobs[:2], {"last": 1}, {"last": 1}, *jobs[2:], {"last": 1}]
    check("extreme", config(32, batch, SMALLEST), jobs, products, direction)


def test_a_quarter_of_the_sine_holds_it_all():
    table = sine_table()
    quarter = table[: QUARTER + 1]
    half = np.concatenate([quarter[:-1], quarter[:0:-1]])
    assert np.array_equal(np.concatenate([half, -half]), table)


@pytest.mark.parametrize("stalls", [(1.0, 0.006), (0.03, 1.0)])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_late_reader_and_late_products(stalls, batch):
    jobs, products, direction = make_case(5, 7, lasts=(0, 6))
    check("extreme", config(32, batch, SMALLEST), jobs, products, direction, stalls=stalls, seed=3)
