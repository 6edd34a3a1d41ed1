"""The compositor against its integer model."""

import random

import pytest
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, run
from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import UNIT
from nerf.golden.compositor import composite
from rtl.compositor import Compositor
from rtl.payloads import UNIT_BITS, TileLayouts, ViewRegisters
from tests.rtl.helpers_shading import fields, record

CFG = AcceleratorConfig(tile=4)
LAYOUTS = TileLayouts(CFG)
PIXELS = 16
ONE = 1 << UNIT
Probe = data.StructLayout({"pixel": LAYOUTS.pixel, "weight": UNIT_BITS, "transmittance": UNIT_BITS})
Finish = data.StructLayout({"transmittance": UNIT_BITS, "terminated": 1})


class Bench(wiring.Component):
    """Initialise all pixels, pass the samples, and after each ``last`` look up every pixel."""

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
        pixel = Signal(LAYOUTS.pixel)
        looked_up = Signal()
        m.d.comb += [
            dut.view.eq(self.view),
            dut.i.payload.eq(self.i.payload),
            dut.initialise_pixel.eq(pixel),
            dut.final.address.eq(pixel),
            dut.terminated[0].address.eq(pixel),
        ]
        for n in range(PIXELS):
            with m.If(pixel == n):
                m.d.comb += dut.initialise_live.eq(n not in self.dead)
        wiring.connect(m, dut.o, wiring.flipped(self.o))
        m.d.sync += looked_up.eq(dut.final.enable)
        with m.FSM():
            with m.State("initialise"):
                m.d.comb += dut.initialise.eq(1)
                m.d.sync += pixel.eq(pixel + 1)
                with m.If(pixel == PIXELS - 1):
                    m.next = "samples"
            with m.State("samples"):
                m.d.comb += [dut.i.valid.eq(self.i.valid), self.i.ready.eq(dut.i.ready)]
                with m.If(self.i.valid & self.i.ready & self.i.payload.last):
                    m.next = "look up"
            with m.State("look up"):
                m.d.comb += [dut.final.enable.eq(1), dut.terminated[0].enable.eq(1)]
                m.d.sync += pixel.eq(pixel + 1)
                with m.If(pixel == PIXELS - 1):
                    m.next = "initialise"
        record(
            m,
            "probe_queue",
            dut.probe_valid,
            Cat(dut.probe_pixel, dut.probe_weight, dut.probe_transmittance),
            self.probe,
        )
        record(m, "finish_queue", looked_up, Cat(dut.final.data, dut.terminated[0].data), self.finish)
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
            finish += [{"transmittance": value, "terminated": flag} for value, flag in pixels]
            pixels = None
            continue
        pixel = pixels[sample["pixel"]]
        if pixel[1]:
            continue
        weight, pixel[0] = (int(value) for value in composite(pixel[0], sample["alpha"]))
        pixel[1] = int(pixel[0] < view["termination"])
        probes.append({"pixel": sample["pixel"], "weight": weight, "transmittance": pixel[0]})
        if weight > view["visibility"]:
            visible.append({key: value for key, value in sample.items() if key != "alpha"} | {"weight": weight})
    return visible, probes, finish


def make_samples(generator, tiles, count, pixels=PIXELS):
    samples = []
    for _ in range(tiles):
        for _ in range(count):
            alpha = generator.choice((0, 1, ONE, ONE - 1, generator.randrange(ONE), generator.randrange(ONE >> 4)))
            samples.append(
                {
                    "pixel": generator.randrange(pixels),
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
        Bench(dead),
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
    view = {"termination": ONE // 1000, "visibility": ONE // 10000}
    check(make_samples(generator, 2, 60, pixels), {2, 5}, view, stalls, 1)


@pytest.mark.parametrize(
    ("termination", "visibility"), [(0, 0), (ONE, 0), (0, ONE), (0, ONE - 1), (ONE // 2, ONE // 4)]
)
def test_thresholds_are_strict(termination, visibility):
    samples = [{"pixel": 3, "alpha": alpha, "last": 0} for alpha in (0, ONE // 4, 0, ONE // 3, ONE // 2, 1, ONE, ONE)]
    samples += [{"pixel": 4, "alpha": ONE, "last": 0}, {"pixel": 5, "alpha": ONE // 2, "last": 0}] * 2
    samples += [{"pixel": 0, "last": 1}]
    check(samples, set(), {"termination": termination, "visibility": visibility})


def test_latency_and_three_cycles_a_sample():
    samples = [{"pixel": 1, "alpha": ONE // 8, "last": 0} for _ in range(6)]
    samples += [{"pixel": 7, "alpha": ONE, "last": 0} for _ in range(3)] + [{"pixel": 0, "last": 1}]
    result = check(samples, {7}, {"termination": 0, "visibility": 0})
    taken, given = result.cycles["i"], result.cycles["o"]
    # A sample is accepted when it is done; the bench offers the first in the cycle after the last pixel's.
    assert taken == [PIXELS + Compositor.LATENCY + 3 * n for n in range(6)] + [
        PIXELS + 3 * 6 + 1 + 2 * n for n in range(3)
    ] + [PIXELS + 3 * 6 + 2 * 3]
    assert given == [*taken[:6], taken[-1]]
