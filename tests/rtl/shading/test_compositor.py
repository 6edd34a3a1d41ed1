"""The compositor against its integer model."""

import random
from dataclasses import replace

import pytest
from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, play, run, shared
from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import UNIT
from nerf.golden.compositor import composite
from rtl.parts.lanes import each
from rtl.payloads import UNIT_BITS, TileLayouts, ViewRegisters
from rtl.shading.compositor import Compositor
from tests.rtl.shading.helpers_shading import fields, in_lanes, record, samples_in

CFG = AcceleratorConfig(tile=4, sample_lanes=2)
LAYOUTS = TileLayouts(CFG)
LANES = (1, 2)
"""Of density."""
PIXELS = 16
ONE = 1 << UNIT
Probe = data.StructLayout({"pixel": LAYOUTS.pixel, "weight": UNIT_BITS, "transmittance": UNIT_BITS})
Finish = data.StructLayout({"transmittance": UNIT_BITS, "terminated": data.ArrayLayout(1, CFG.sample_lanes)})


class Bench(wiring.Component):
    """Initialise tile after tile, two at a time, each before its samples are let in.

    When a ``last`` has passed look up each of the tile's pixels and its neighbour's flag.
    """

    def __init__(self, dead, lanes=1):
        self.dead, self.lanes = dead, lanes
        cfg = replace(CFG, density_lanes=lanes)
        self.dut = Compositor(cfg)
        super().__init__(
            {
                "i": In(stream.Signature(TileLayouts(cfg).OpaqueSamples)),
                "o": Out(stream.Signature(TileLayouts(cfg).VisibleSamples)),
                "view": In(ViewRegisters),
                "finish": Out(stream.Signature(Finish)),
            }
            | {f"probe_{lane}": Out(stream.Signature(Probe)) for lane in range(lanes)}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        pixel, at = Signal(LAYOUTS.pixel), Signal(LAYOUTS.pixel)
        initialised, added, passed, finished = (
            Signal(8, name=name) for name in ("initialised", "added", "passed", "finished")
        )
        opens, looks, looked_up = Signal(), Signal(), Signal()
        m.d.comb += [
            dut.view.eq(self.view),
            dut.initialise.eq(initialised != finished + 2),
            dut.initialise_pixel.eq(pixel),
            dut.initialise_live.eq(sum(pixel[:-1] == dead for dead in self.dead) == 0),
            opens.eq(added != initialised),
            dut.i.payload.eq(self.i.payload),
            dut.i.valid.eq(self.i.valid & opens),
            self.i.ready.eq(dut.i.ready & opens),
            looks.eq(finished != passed),
            dut.final.address.eq(at),
        ]
        m.d.comb += [port.enable.eq(looks) for port in (dut.final, *dut.terminated)]
        # A sample lane has the columns of one density lane.
        m.d.comb += [
            port.address.eq(at ^ lane if self.lanes == 1 else Cat(Const(lane, 1), at[1:]))
            for lane, port in enumerate(dut.terminated)
        ]
        m.d.sync += [pixel.eq(pixel + dut.initialise), at.eq(at + looks), looked_up.eq(looks)]
        with m.If(dut.initialise & (pixel[:-1] == PIXELS - 1)):
            m.d.sync += initialised.eq(initialised + 1)
        with m.If(self.i.valid & self.i.ready & self.i.payload.last):
            m.d.sync += added.eq(added + 1)
        with m.If(dut.o.valid & dut.o.ready & dut.o.payload.last):
            m.d.sync += passed.eq(passed + 1)
        with m.If(looks & (at[:-1] == PIXELS - 1)):
            m.d.sync += finished.eq(finished + 1)
        wiring.connect(m, dut.o, wiring.flipped(self.o))
        probes = dut.probe_valid, dut.probe_pixel, dut.probe_weight, dut.probe_transmittance
        for lane, (valid, *values) in enumerate(zip(*(each(probe, self.lanes) for probe in probes), strict=True)):
            record(m, f"probe_queue_{lane}", valid, Cat(values), getattr(self, f"probe_{lane}"))
        record(
            m,
            "finish_queue",
            looked_up,
            Cat(dut.final.data, *(look_up.data for look_up in dut.terminated)),
            self.finish,
        )
        return m


def model(samples, dead, view, lanes=1):
    """Visible samples, probes and final pixels."""

    def looked_up(pixel):
        return (pixel, pixel ^ 1) if lanes == 1 else (pixel & ~1, pixel | 1)

    visible, probes, finish = [], [], []
    pixels = None
    for sample in samples:
        if pixels is None:
            pixels = [[ONE, int(n in dead)] for n in range(PIXELS)]
        if sample["last"]:
            visible.append({"last": 1})
            finish += [
                {"transmittance": value, "terminated": [pixels[place][1] for place in looked_up(n)]}
                for n, (value, _) in enumerate(pixels)
            ]
            pixels = None
            continue
        pixel = pixels[sample["pixel"] % PIXELS]
        if pixel[1]:
            continue
        weight, pixel[0] = (int(value) for value in composite(pixel[0], sample["alpha"]))
        pixel[1] = int(pixel[0] < view["termination"])
        probes.append({"pixel": sample["pixel"], "weight": weight, "transmittance": pixel[0]})
        if weight > view["shading_threshold"]:
            visible.append({key: value for key, value in sample.items() if key != "alpha"} | {"weight": weight})
    return visible, probes, finish


def make_samples(generator, tiles, count, pixels=PIXELS):
    samples = []
    for tile in range(tiles):
        for _ in range(count):
            alpha = generator.choice((0, 1, ONE, ONE - 1, generator.randrange(ONE), generator.randrange(ONE >> 4)))
            samples.append(
                {
                    "pixel": tile % 2 * PIXELS + generator.randrange(pixels),
                    "cube": {axis: generator.randrange(128) for axis in "xyz"},
                    "local": {axis: generator.randrange(1024) for axis in "xyz"},
                    "alpha": alpha,
                    "last": 0,
                }
            )
        samples.append({"pixel": 0, "last": 1})
    return samples


def check(samples, dead, view, stalls=(1.0, 1.0), seed=0, lanes=1):
    transfers = samples
    if lanes == 2:
        transfers = in_lanes(samples, random.Random(seed))
        samples = [one | {"cube": number} for number, many in enumerate(transfers) for one in samples_in(many)]
    visible, probes, finish = model(samples, dead, view, lanes)
    passed = len(visible) if lanes == 1 else len({one.get("cube", n - len(visible)) for n, one in enumerate(visible)})
    of_lane = [[probe for probe in probes if probe["pixel"] % lanes == lane] for lane in range(lanes)]
    result = run(
        shared(Bench, frozenset(dead), lanes),
        {"i": transfers},
        {"o": passed, "finish": len(finish)} | {f"probe_{lane}": len(of_lane[lane]) for lane in range(lanes)},
        {"view": view},
        stalls=stalls,
        seed=seed,
        settle=40,
    )
    for lane in range(lanes):
        assert [fields(value) for value in result.outputs[f"probe_{lane}"]] == of_lane[lane]
    assert [fields(value) for value in result.outputs["finish"]] == finish
    found = [one for out in result.outputs["o"] for one in samples_in(fields(out))]
    for out, expected in zip(found, visible, strict=True):
        if lanes == 2:
            expected = expected | ({} if expected["last"] else {"cube": transfers[expected["cube"]]["cube"]})
        assert {key: out[key] for key in expected} == expected
    return result


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("pixels", [1, 3, PIXELS])
@pytest.mark.parametrize("stalls", STALLS)
def test_weights_equal_the_model(stalls, pixels, lanes):
    generator = random.Random(f"{stalls} {pixels}")
    view = {"termination": ONE // 1000, "shading_threshold": ONE // 10000}
    check(make_samples(generator, 4, 40, pixels), {2, 5}, view, stalls, 1, lanes)


@pytest.mark.parametrize(
    ("termination", "shading_threshold"), [(0, 0), (ONE, 0), (0, ONE), (0, ONE - 1), (ONE // 2, ONE // 4)]
)
def test_thresholds_are_strict(termination, shading_threshold):
    samples = [{"pixel": 3, "alpha": alpha, "last": 0} for alpha in (0, ONE // 4, 0, ONE // 3, ONE // 2, 1, ONE, ONE)]
    samples += [{"pixel": 4, "alpha": ONE, "last": 0}, {"pixel": 5, "alpha": ONE // 2, "last": 0}] * 2
    samples += [{"pixel": 0, "last": 1}]
    check(samples, set(), {"termination": termination, "shading_threshold": shading_threshold})


def test_latency_and_a_sample_a_cycle():
    pixels = [1, 3, 1, 3, 7, 2, 7, 4, 1, 2, 3]
    samples = [{"pixel": pixel, "alpha": ONE // 8, "last": 0} for pixel in pixels] + [{"pixel": 3, "last": 1}]
    result = check(samples, {7}, {"termination": 0, "shading_threshold": 0})
    # The bench offers the first in the cycle after the last pixel's.
    taken = list(range(PIXELS, PIXELS + len(samples)))
    assert result.cycles["i"] == taken
    assert result.cycles["o"] == [
        cycle + Compositor.LATENCY for cycle, pixel in zip(taken, [*pixels, 0], strict=True) if pixel != 7
    ]


def test_a_sample_waits_for_the_one_of_its_pixel_before_it():
    pixels = [1, 1, 1, 3, 1, 3, 3]
    samples = [{"pixel": pixel, "alpha": ONE // 8, "last": 0} for pixel in pixels] + [{"pixel": 3, "last": 1}]
    result = check(samples, {7}, {"termination": 0, "shading_threshold": 0})
    taken = [PIXELS + cycle for cycle in (0, 2, 4, 5, 6, 7, 9, 10)]
    assert result.cycles["i"] == taken
    assert result.cycles["o"] == [cycle + Compositor.LATENCY for cycle in taken]


@pytest.mark.parametrize("distance", range(1, Compositor.LATENCY + 2))
def test_a_pixel_is_read_as_it_was_left(distance):
    """Whether the sample before is in a step still or written, in the same cycle or long ago."""
    others = [{"pixel": 8 + n, "alpha": 1, "last": 0} for n in range(distance - 1)]
    alphas = (ONE // 3, ONE - 1, ONE // 5, ONE // 2 + 1, ONE)
    samples = [sample for alpha in alphas for sample in ({"pixel": 4, "alpha": alpha, "last": 0}, *others)]
    for termination in (0, ONE // 4, ONE):
        check([*samples, {"pixel": 0, "last": 1}], set(), {"termination": termination, "shading_threshold": ONE // 99})


def test_a_full_output_costs_its_own_cycles_only():
    samples = [{"pixel": n % 2, "alpha": ONE // 64, "last": 0} for n in range(100)] + [{"pixel": 0, "last": 1}]
    result = check(samples, set(), {"termination": 0, "shading_threshold": 0}, stalls=(1.0, 0.5), seed=3)
    assert result.cycles["i"][Compositor.LATENCY :] == result.cycles["o"][: -Compositor.LATENCY]


def test_two_lanes_take_a_sample_each_a_cycle_and_wait_together():
    def pair(first, second):
        lanes = [
            {"present": int(pixel is not None), "pixel": pixel or 0, "alpha": ONE // 8} for pixel in (first, second)
        ]
        return {"lanes": lanes, "last": 0}

    transfers = [
        pair(0, 1),
        pair(2, 3),
        pair(4, 3),
        pair(4, None),
        pair(None, 3),
        pair(6, None),
        pair(8, 7),
        {"last": 1},
    ]
    result = run(
        shared(Bench, frozenset(), 2),
        {"i": transfers},
        {"o": 8, "finish": PIXELS, "probe_0": 6, "probe_1": 5},
        {"view": {"termination": 0, "shading_threshold": 0}},
    )
    # The third has a pixel of the second, the fourth one of the third, and the last but two is like neither.
    taken = [PIXELS + cycle for cycle in (0, 1, 3, 5, 6, 7, 8, 9)]
    assert result.cycles["i"] == taken
    assert result.cycles["o"] == [cycle + Compositor.LATENCY for cycle in taken]
    assert [[lane["present"] for lane in fields(out)["lanes"]] for out in result.outputs["o"]] == [
        *([1, 1], [1, 1], [1, 1], [1, 0], [0, 1], [1, 0], [1, 1]),
        [0, 0],
    ]


@pytest.mark.parametrize("lanes", LANES)
def test_a_final_value_stays_until_the_next_one_is_asked_for(lanes):
    compositor = Compositor(replace(CFG, density_lanes=lanes))

    async def bench(ctx):
        # The pixel beside it, of the other lane, has another value: none yet.
        ctx.set(compositor.initialise, 1)
        await ctx.tick()
        ctx.set(compositor.initialise, 0)
        for enable, pixel, value in ((1, 0, ONE), (0, 1, ONE), (1, 1, 0), (0, 0, 0)):
            ctx.set(compositor.final.enable, enable)
            ctx.set(compositor.final.address, pixel)
            await ctx.tick()
            assert ctx.get(compositor.final.data) == value

    play(compositor, bench)
