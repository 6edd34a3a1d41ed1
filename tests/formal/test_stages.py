"""The stages that compute a picture equal the functions of the golden model, for all values.

Of a unit's way, registers are wires here: what is proved is what a value becomes that passes. Multiplications are any
(`tests/formal/products.py`). The golden side is the source of the golden function, evaluated on the same values.
"""

from functools import reduce
from operator import or_
from types import SimpleNamespace

import pytest
from amaranth.hdl import Array, Cat, Const, Elaboratable, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring

from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import (
    ACTIVATION,
    FACTOR,
    FRACTION_BITS,
    INTERPOLATED,
    PLAIN_COLOUR,
    PRODUCT,
    SIGMOID_ENTRIES,
    SINE_ENTRIES,
    UNIT,
    sigmoid_table,
)
from nerf.golden import compositor as golden_compositor
from nerf.golden import density as golden_density
from nerf.golden import interpolator as golden_interpolator
from nerf.golden import mlp_engine as golden_network
from nerf.golden import product_buffer as golden_buffer
from rtl.factors import interpolator
from rtl.payloads import UNIT_BITS, SceneRegisters, TileLayouts
from rtl.shading import compositor, density, mlp_datapath, mlp_engine, product_buffer, product_lanes
from tests.formal.golden import evaluate
from tests.formal.products import Products, only_row
from tests.formal.prove import Bench

CFG = AcceleratorConfig(tile=4, sample_lanes=2)
ONE = 1 << UNIT
ALWAYS = Const(1)
SUM_LATENCY = 3


def part(unit: type, of, *arguments) -> wiring.Component:
    """Return a unit of which only a part is built, by a function of unit and module."""

    class Part(unit):
        def elaborate(self, platform) -> Module:
            m = Module()
            of(self, m)
            return m

    return Part(*arguments or (CFG,))


def assert_proved(bench: Bench) -> None:
    assert bench.prove() is None
    assert bench.unreached(1) == []


def interpolator_bench(monkeypatch) -> Bench:
    bench = Bench()
    products = Products(bench)
    monkeypatch.setattr(interpolator, "few_rows", products.few_rows)
    factors = [bench.free(f"factor_{n}", signed(FACTOR.width)) for n in range(6)]
    first, second, along = (bench.free(name, FRACTION_BITS) for name in ("first", "second", "along"))
    for factor in factors:
        bench.assume(factor != FACTOR.low)
    unit = interpolator._Component()
    bench.add_wires("component", unit)
    bench.m.d.comb += [
        unit.advance.eq(1), unit.first.eq(first), unit.second.eq(second), unit.along.eq(along),
        *(port.eq(factor) for port, factor in zip(unit.factors, factors, strict=True)),
    ]  # fmt: skip
    plane = evaluate(golden_interpolator.interpolate_plane, *factors[:4], first, second, multiply=products.of)
    line = evaluate(golden_interpolator.interpolate_line, *factors[4:], along, multiply=products.of)
    most = FACTOR.high << INTERPOLATED.fraction
    assert most**2 <= PRODUCT.high
    for name, value in (("plane", plane), ("line", line)):
        bench.claim(f"{name} fits", (value >= -most) & (value <= most))
    # With factors that fit, their product does: no bit is lost.
    bench.claim("product", unit.product == products.of(plane, line)[: PRODUCT.width].as_signed())
    bench.goal("largest", (plane == most) & (line == -most))
    return bench


@pytest.mark.full
def test_interpolator(monkeypatch):
    assert_proved(interpolator_bench(monkeypatch))


@pytest.mark.full
def test_an_interpolator_that_rounds_otherwise_is_found(monkeypatch):
    monkeypatch.setattr(interpolator, "ROUNDING", interpolator.ROUNDING - 1)
    assert interpolator_bench(monkeypatch).prove().claim == "product"


@pytest.fixture
def shading(monkeypatch):
    """Return a function that gives a bench whose products are any, in modules of the RTL."""

    def make(*modules):
        bench = Bench()
        products = Products(bench)
        for module in modules:
            if hasattr(module, "few_rows"):
                monkeypatch.setattr(module, "few_rows", products.few_rows)
            if hasattr(module, "Memory"):
                monkeypatch.setattr(module, "Memory", Table)
        return bench, products

    return make


class Table(Elaboratable):
    """Takes the place of a memory that is never written: what is read is there at once."""

    def __init__(self, *, shape, depth: int, init) -> None:
        self._init, self._shape, self._ports = init[:depth], shape, []

    def read_port(self):
        port = SimpleNamespace(
            addr=Signal(range(len(self._init))), en=Signal(init=1), data=Signal(self._shape, name="entry")
        )
        self._ports.append(port)
        return port

    def elaborate(self, platform) -> Module:
        m = Module()
        m.d.comb += [port.data.eq(Array(self._init)[port.addr]) for port in self._ports]
        return m


def scale_bench(shading) -> Bench:
    bench, products = shading(density)
    position = Signal(density.POSITION_BITS)
    unit = part(density.Density, lambda unit, m: unit._scale(m, ALWAYS, total, position))
    total = bench.free("total", signed(unit._sum_bits))
    multiplier, offset = (
        bench.free(name, Value.cast(unit.scene[f"density_{name}"]).shape()) for name in ("multiplier", "offset")
    )
    bench.add_wires("scale", unit)
    bench.m.d.comb += [unit.scene.density_multiplier.eq(multiplier), unit.scene.density_offset.eq(offset)]
    golden = evaluate(golden_density.table_position, total, multiplier, offset, multiply=products.of)
    bench.claim("table position", position == golden)
    bench.goal("beyond the table", (golden == (1 << density.POSITION_BITS) - 1) & (total < 0))
    return bench


@pytest.mark.full
def test_density_scale(shading):
    assert_proved(scale_bench(shading))


@pytest.mark.full
def test_a_scale_without_its_limit_is_found(shading, monkeypatch):
    monkeypatch.setattr(density, "ALPHA_ENTRIES", density.ALPHA_ENTRIES // 2)
    assert scale_bench(shading).prove().claim == "table position"


def alpha_bench(shading) -> Bench:
    bench, products = shading(density)
    position = bench.free("position", density.POSITION_BITS)
    row = bench.free("row", data.ArrayLayout(density._Entry, density.ENTRIES_A_BEAT))
    unit = part(density.Density, lambda unit, m: unit._interpolate(m, ALWAYS, position, row, unit.o.payload.alpha))
    bench.add_wires("interpolate", unit)
    entry = row[position[FRACTION_BITS]]
    golden = evaluate(golden_density.alpha, position, entry.base, entry.difference, multiply=products.of)
    bench.claim("alpha", unit.o.payload.alpha == golden)
    bench.goal("opaque", (golden == ONE) & (entry.base < ONE) & position[FRACTION_BITS])
    return bench


@pytest.mark.full
def test_density_alpha(shading):
    assert_proved(alpha_bench(shading))


@pytest.mark.full
def test_an_alpha_of_another_limit_is_found(shading, monkeypatch):
    bench = alpha_bench(shading)
    assert bench.prove() is None
    monkeypatch.setattr(density, "UNIT", density.UNIT - 1)
    assert alpha_bench(shading).prove().claim == "alpha"


def compositor_bench(monkeypatch, fault: int = 0) -> Bench:
    """A sample without others near it: transmittance and mark are what was stored.

    The unit multiplies by what alpha leaves of 1.0, which is the distributive law: T (1 - alpha) = T - T alpha.
    """
    bench = Bench()
    products = Products(bench)
    layout = data.StructLayout({"sample": TileLayouts(CFG).OpaqueSample, "valid": 1})
    held, alpha, stored = bench.free("held"), bench.free("alpha", UNIT_BITS), bench.free("stored", UNIT_BITS)
    valid, last, termination, threshold = (
        bench.free(name, shape)
        for name, shape in (("valid", 1), ("last", 1), ("termination", UNIT_BITS), ("threshold", UNIT_BITS))
    )

    def rows(m, left, right, width, addends):
        bench.claim("what alpha leaves", right == ONE - alpha)
        return only_row(m, sum(addends, (left << UNIT) - products.of(left, alpha) - fault), width)

    monkeypatch.setattr(compositor, "few_rows", rows)
    reading, nothing, writing = (Signal(layout, name=name) for name in ("reading", "nothing", "writing"))
    behind, ends = Signal(UNIT_BITS), Signal()

    def step(unit, m):
        *outcome, visible = unit._composite(m, 0, ALWAYS, reading, nothing, writing, stored, held)
        m.d.comb += Cat(behind, ends).eq(Cat(outcome))
        unit._hand_on(m, ALWAYS, writing, [visible])

    unit = part(compositor.Compositor, step)
    bench.add_wires("composite", unit)
    bench.m.d.comb += [
        reading.sample.alpha.eq(alpha),
        writing.sample.pixel.eq(1),
        writing.sample.last.eq(last),
        writing.valid.eq(valid),
        unit.view.termination.eq(termination),
        unit.view.shading_threshold.eq(threshold),
    ]
    bench.assume((alpha <= ONE) & (stored <= ONE))
    weight, transmittance = evaluate(golden_compositor.composite, stored, alpha, multiply=products.of)
    counts = valid & ~last & ~held
    bench.claim("transmittance", behind == transmittance)
    bench.claim("weight", unit.probe_weight == weight)
    bench.claim("termination", ends == (held | (transmittance < termination)))
    bench.claim("a terminated pixel's sample does not count", unit.composited == counts)
    bench.claim("visible", unit.o.valid == (valid & (last | (~held & (weight > threshold)))))
    bench.claim("its weight goes on", unit.o.payload.weight == weight)
    bench.goal("invisible", counts & ~unit.o.valid & (weight != 0))
    bench.goal("nothing is left", (transmittance == 0) & (stored > 1))
    return bench


def test_compositor(monkeypatch):
    assert_proved(compositor_bench(monkeypatch))


@pytest.mark.full
def test_a_compositor_that_rounds_otherwise_is_found(monkeypatch):
    assert compositor_bench(monkeypatch, fault=1).prove().claim == "transmittance"


LIMITS = {
    "basis": (ACTIVATION.low, ACTIVATION.high),
    "hidden": (0, ACTIVATION.high),
    "sigmoid": (-SIGMOID_ENTRIES // 2, SIGMOID_ENTRIES // 2 - 1),
    "plain": (PLAIN_COLOUR.low, PLAIN_COLOUR.high),
}


def requantise_bench(shading, low: int, high: int, least_shift: int = 1) -> Bench:
    bench, products = shading(mlp_datapath)
    accumulator = bench.free("accumulator", signed(32))
    entry = bench.free("entry", mlp_datapath.Entry)

    class Lanes(mlp_datapath.MlpLanes):
        def _accumulate(self, m):
            return accumulator

    unit = Lanes(CFG.stages[0], low, high)
    bench.add_wires("lanes", unit)
    bench.m.d.comb += Cat(*unit.drive.entries).eq(entry.as_value().replicate(unit.ENTRIES))
    bench.assume(entry.shift >= least_shift)
    total = evaluate(
        golden_network.requantise, accumulator, entry.bias, entry.multiplier, entry.shift, multiply=products.of
    )
    golden = Mux(total < low, low, Mux(total > high, high, total))
    bench.claim("result", unit.result == golden)
    bench.goal("in range", (total > low) & (total == high) & (entry.shift > 20))
    return bench


@pytest.mark.full
@pytest.mark.parametrize("layer", LIMITS)
def test_requantisation(shading, layer):
    assert_proved(requantise_bench(shading, *LIMITS[layer]))


@pytest.mark.full
def test_a_shift_by_nothing_is_found(shading):
    """The encoder writes none: what it would come to is not the same."""
    assert requantise_bench(shading, *LIMITS["basis"], least_shift=0).prove().claim == "result"


def sine_bench(shading) -> Bench:
    """An input of the first hidden layer, encoded; its band and the quarter are the sequence's choice."""
    bench, products = shading(mlp_datapath)
    source, multiplier, shift, cosine, encoded = (
        bench.free(name, shape)
        for name, shape in (
            ("source", signed(ACTIVATION.width)), ("multiplier", SceneRegisters["phase_multiplier"].shape),
            ("shift", SceneRegisters["sine_shift"].shape), ("cosine", 1), ("encoded", 1),
        )
    )  # fmt: skip
    band = bench.free("band", range(max(CFG.feature_bands, CFG.view_bands, 1)))
    result = Signal(signed(ACTIVATION.width))

    def encode(unit, m):
        m.d.comb += result.eq(unit._encode(m, source, None))

    unit = part(mlp_datapath.MlpDatapath, encode)
    bench.add_wires("encode", unit)
    bench.assume(band < unit._bands)
    for encoding in unit.encodings:
        bench.m.d.comb += [encoding.band.eq(band), encoding.cosine.eq(cosine), encoding.encoded.eq(encoded)]
    bench.m.d.comb += [unit.phase_multiplier.eq(multiplier), unit.sine_shift.eq(shift)]
    ahead = Mux(cosine, SINE_ENTRIES // 4, 0)
    golden = evaluate(golden_network.sine, source, multiplier, band, ahead, shift, multiply=products.of)
    bench.claim("sine or cosine", ~encoded | (result == golden))
    bench.claim("an input that is not encoded", encoded | (result == source))
    bench.goal("lowest", encoded & (golden == -(1 << 14)) & (band == unit._bands - 1) & cosine)
    return bench


@pytest.mark.full
def test_sine(shading):
    assert_proved(sine_bench(shading))


@pytest.mark.full
def test_a_quarter_that_does_not_run_backwards_is_found(shading, monkeypatch):
    monkeypatch.setattr(mlp_datapath, "QUARTER", mlp_datapath.QUARTER - 1)
    assert sine_bench(shading).prove().claim == "sine or cosine"


def sigmoid_bench(shading) -> Bench:
    """A sample's colour, of what the lanes of the last layer give: limited, as `test_requantisation` proves."""
    bench, _ = shading(mlp_engine)
    low, high = LIMITS["sigmoid"]
    outputs = bench.free("outputs", data.ArrayLayout(signed(ACTIVATION.width), mlp_datapath.CHANNELS))
    logits = Signal(mlp_datapath.logits_layout(CFG))
    unit = part(mlp_engine.MlpEngine, lambda unit, m: unit._put_out(m, ALWAYS, logits))
    bench.add_wires("colours", unit)
    for channel, output in enumerate(outputs):
        bench.assume((output >= low) & (output <= high))
        bench.m.d.comb += logits[channel].eq(mlp_datapath.logit(output))
        golden = evaluate(golden_network.sigmoid, output)
        bench.claim(f"colour {channel}", unit.o.payload.colour[channel] == golden)
    bench.goal("the middle", (outputs[0] == 0) & (outputs[2] == low))
    return bench


@pytest.mark.full
def test_sigmoid(shading):
    assert_proved(sigmoid_bench(shading))


@pytest.mark.full
def test_a_sigmoid_of_other_entries_is_found(shading, monkeypatch):
    monkeypatch.setattr(mlp_engine, "sigmoid_table", lambda: sigmoid_table()[::-1])
    assert sigmoid_bench(shading).prove().claim == "colour 0"


def mean_bench(shading, monkeypatch) -> Bench:
    """A lane's mean, of a weight whose length is what Python's would be."""
    for name, one in (("LANES", 1), ("COMPONENTS", 1), ("PAIRS", product_buffer.PAIRS[:1])):
        monkeypatch.setattr(product_buffer, name, one)
    bench, products = shading(product_buffer, product_lanes)
    cfg = AcceleratorConfig(tile=4, sample_lanes=2, shading="deferred")
    total, weight = bench.free("total", product_buffer.SUM), bench.free("weight", UNIT_BITS)
    length = bench.free("length", range(UNIT_BITS + 1))
    sums = Signal(data.ArrayLayout(product_buffer.SUM, 1))
    unit = part(product_buffer.ProductBuffer, lambda unit, m: unit._mean(m, None, sums, weight, ALWAYS, ALWAYS), cfg)
    bench.add_wires("mean", unit)
    bench.m.d.comb += sums[0].eq(total)
    bench.assume((weight <= ONE) & (1 << length > weight) & (1 << length <= weight << 1))
    golden = evaluate(golden_buffer.mean, total, weight, length, multiply=products.of)
    bench.claim("mean", unit.o_vector.payload[0][0] == golden)
    bench.goal("a limit", golden == PRODUCT.low)
    return bench


@pytest.mark.full
def test_mean(shading, monkeypatch):
    assert_proved(mean_bench(shading, monkeypatch))


@pytest.mark.full
def test_a_mean_that_is_shifted_otherwise_is_found(shading, monkeypatch):
    monkeypatch.setattr(product_lanes, "MEAN_SHIFT", product_lanes.MEAN_SHIFT - 1)
    assert mean_bench(shading, monkeypatch).prove().claim == "mean"


def sum_bench(shading, forwards: bool) -> Bench:
    """A lane's total, of products that change in every cycle; what it is added to is chosen anew in each."""
    bench, products = shading(product_lanes)
    unit = product_lanes.SumLane(forwards)
    bench.add_open("lane", unit)
    addend = evaluate(golden_buffer.weighted_product, unit.weight, unit.product, multiply=products.of)
    for step in range(SUM_LATENCY):
        held = Signal(product_lanes.SUM, name=f"addend_{step}")
        bench.m.d.sync += held.eq(addend)
        addend = held
    before, known = Signal(product_lanes.SUM), Signal(product_lanes.SUM)
    choices = [unit.read, *([unit.total, before] if forwards else [])]
    bench.m.d.sync += [
        before.eq(unit.total),
        known.eq(reduce(or_, (Mux(unit.source[number], choice, 0) for number, choice in enumerate(choices)))),
    ]
    bench.claim("a sum of weighted products", (unit.total - known - addend)[: len(unit.total)] == 0)
    bench.assume(unit.weight <= ONE)
    bench.goal("a sum", (known < 0) & (unit.total == 1))
    return bench


@pytest.mark.full
@pytest.mark.parametrize("forwards", [False, True])
def test_weighted_product(shading, forwards):
    bench = sum_bench(shading, forwards)
    assert bench.prove() is None
    assert bench.unreached(8) == []


@pytest.mark.full
def test_a_sum_that_rounds_otherwise_is_found(shading, monkeypatch):
    monkeypatch.setattr(product_lanes, "DROPPED_BITS", product_lanes.DROPPED_BITS - 1)
    assert sum_bench(shading, True).prove().claim == "a sum of weighted products"
