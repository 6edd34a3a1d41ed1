"""The compositor against its integer model."""

import random

import pytest
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, run, shared
from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import UNIT
from nerf.golden.compositor import composite
from rtl.payloads import UNIT_BITS, TileLayouts, ViewRegisters
from rtl.shading.compositor import Compositor
from tests.rtl.shading.helpers_shading import fields, record

CFG = AcceleratorConfig(tile=4, sample_lanes=2)
LAYOUTS = TileLayouts(CFG)
PIXELS = 16
ONE = 1 << UNIT
Probe = data.StructLayout({"pixel": LAYOUTS.pixel, "weight": UNIT_BITS, "transmittance": UNIT_BITS})
Finish = data.StructLayout({"transmittance": UNIT_BITS, "terminated": data.ArrayLayout(1, CFG.sample_lanes)})


class Bench(wiring.Component):
    """Initialise tile after tile, two at a time, each before its samples are let in.

    When a ``last`` has passed look up each of the tile's pixels and its neighbour's flag.
    """

    def __init__(self, dead):
        self.dead = dead
        self.dut = Compositor(CFG)
        super().__init__(
            {
                "i": In(stream.Signature(LAYOUTS.OpaqueSample)),
                "o": Out(stream.Signature(LAYOUTS.VisibleSample)),
                "view": In(ViewRegisters),
                "probe": Out(stream.Signature(Probe)),
                "finish": Out(stream.Signature(Finish)),
            }
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
        m.d.comb += [port.address.eq(at ^ lane) for lane, port in enumerate(dut.terminated)]
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
        record(
            m,
            "probe_queue",
            dut.probe_valid,
            Cat(dut.probe_pixel, dut.probe_weight, dut.probe_transmittance),
            self.probe,
        )
        record(
            m,
            "finish_queue",
            looked_up,
            Cat(dut.final.data, *(look_up.data for look_up in dut.terminated)),
            self.finish,
        )
        return m


def model(samples, dead, view):
    """Visible samples, probes and final pixels."""
    visible, probes, finish = [], [], []
    pixels = None
    for sample in samples:
        if pixels is None:
            pixels = [[ONE, int(n in dead)] for n in range(PIXELS)]
        if sample["last"]:
            visible.append({"last": 1})
            finish += [
                {"transmittance": value, "terminated": [flag, pixels[n ^ 1][1]]}
                for n, (value, flag) in enumerate(pixels)
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


def check(samples, dead, view, stalls=(1.0, 1.0), seed=0):
    visible, probes, finish = model(samples, dead, view)
    result = run(
        shared(Bench, frozenset(dead)),
        {"i": samples},
        {"o": len(visible), "probe": len(probes), "finish": len(finish)},
        {"view": view},
        stalls=stalls,
        seed=seed,
        settle=40,
    )
    assert [fields(value) for value in result.outputs["probe"]] == probes
    assert [fields(value) for value in result.outputs["finish"]] == finish
    for out, expected in zip(map(fields, result.outputs["o"]), visible, strict=True):
        assert {key: out[key] for key in expected} == expected
    return result


@pytest.mark.parametrize("pixels", [1, 3, PIXELS])
@pytest.mark.parametrize("stalls", STALLS)
def test_weights_equal_the_model(stalls, pixels):
    generator = random.Random(f"{stalls} {pixels}")
    view = {"termination": ONE // 1000, "shading_threshold": ONE // 10000}
    check(make_samples(generator, 4, 40, pixels), {2, 5}, view, stalls, 1)


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
