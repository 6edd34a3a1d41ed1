"""A sample finds what the one before left of its pixel, however closely they follow each other.

The units keep a pixel's value in a memory, and hand on what is still on its way there. Here one pixel, any, is watched:
a register has what its last sample left, and that is claimed to be what the next one is added to. Values are narrow,
since none is looked at, and products are any.
"""

import pytest
from amaranth.hdl import Cat, Const, Signal, Value

from nerf.contract.config import AcceleratorConfig
from rtl.parts.lanes import each, sample_in
from rtl.shading import compositor, tile_buffer
from tests.formal.prove import Bench

UNIT = 1
"""Fraction bits, instead of those that a weight has."""
TILE_BITS = 4
"""Bits of a pixel inside its tile."""
ALL, OF_TILE = slice(None), slice(TILE_BITS, None)
"""Bits of a pixel: all of them, and those that name its tile."""


def watch(bench: Bench, found: Value, most: int, least: int = 1) -> None:
    """Expect that the watched pixel's samples come so many cycles behind each other, from least to most."""
    past = [found]
    for distance in range(1, most + 1):
        past.append(Signal(name=f"found_{distance}_ago"))
        bench.m.d.sync += past[-1].eq(past[-2])
    for distance in range(least, most + 1):
        bench.goal(f"{distance} cycles behind", past[0] & past[distance])


def assert_proved(bench: Bench) -> None:
    assert bench.prove() is None
    assert bench.unreached() == []


def compositor_bench(monkeypatch, lanes: int) -> Bench:
    """Samples of any pixels, with any stalls; a tile's pixels are initialised while none of its samples is there."""
    bits = 2 * UNIT + 1
    for name, value in (("UNIT", UNIT), ("UNIT_BITS", UNIT + 1), ("PRODUCT_BITS", bits)):
        monkeypatch.setattr(compositor, name, value)
    bench = Bench()
    products = [bench.free(f"product_{lane}", bits) for lane in range(lanes)]
    monkeypatch.setattr(compositor, "few_rows", lambda *_: [products.pop(), Const(0, bits)])
    unit = compositor.Compositor(AcceleratorConfig(tile=4, sample_lanes=2, density_lanes=lanes))
    inner = bench.add_open("compositor", unit)
    watched = bench.constant("watched", len(unit.initialise_pixel))

    def holds(samples, lane: int, part: slice) -> Value:
        """Return whether a lane has a sample of the watched pixel, or of its tile."""
        sample, present = sample_in(samples, lane)
        return present & (sample.pixel[part] == watched[part])

    shape, steps = unit.i.payload.shape(), [inner[name] for name in ("reading", "multiplying", "adding", "writing")]
    places = [(unit.i.payload, unit.i.valid), *((shape(step[: shape.size]), step[-1]) for step in steps)]
    of_tile = Cat(valid & holds(samples, lane, OF_TILE) for samples, valid in places for lane in range(lanes)).any()
    bench.assume(~(unit.initialise & (unit.initialise_pixel[OF_TILE] == watched[OF_TILE]) & of_tile))
    if lanes > 1:
        # A lane has columns of its own.
        offered = [sample_in(unit.i.payload, lane) for lane in range(lanes)]
        bench.assume(Cat(~present | (one.pixel[0] == lane) for lane, (one, present) in enumerate(offered)).all())

    transmittance, ended, found = Signal(UNIT + 1), Signal(), 0
    writing, written = places[-1]
    advance = ~unit.o.valid | unit.o.ready
    probes = [each(getattr(unit, f"probe_{name}"), lanes) for name in ("valid", "pixel", "weight", "transmittance")]
    for lane, (valid, pixel, weight, behind) in enumerate(zip(*probes, strict=True)):
        leaves, own = written & advance & holds(writing, lane, ALL), valid & (pixel == watched)
        before = (weight + behind)[: UNIT + 1]
        bench.claim(f"lane {lane}: a sample counts unless its pixel has ended", ~leaves | (valid == ~ended))
        bench.claim(f"lane {lane}: it finds what the one before left", ~own | (before == transmittance))
        with bench.m.If(own):
            bench.m.d.sync += [transmittance.eq(behind), ended.eq(behind < unit.view.termination)]
        found |= own
    with bench.m.If(unit.initialise & (unit.initialise_pixel == watched)):
        bench.m.d.sync += [transmittance.eq(1 << UNIT), ended.eq(~unit.initialise_live)]
    watch(bench, found & (transmittance != 0), len(steps), least=2)
    return bench


@pytest.mark.parametrize("lanes", [1, 2])
def test_compositor(monkeypatch, lanes):
    assert_proved(compositor_bench(monkeypatch, lanes))


@pytest.mark.full
@pytest.mark.parametrize(("step", "lane"), [("reading", 1), ("adding", 0), ("writing", 0)])
def test_a_sample_that_does_not_see_a_step_before_it_is_found(monkeypatch, step, lane):
    follows = compositor._follows

    def blind(samples, before, of):
        missed = before.as_value().name == step and of == lane
        return Const(0) if missed else follows(samples, before, of)

    monkeypatch.setattr(compositor, "_follows", blind)
    assert compositor_bench(monkeypatch, 2).prove().claim.startswith(f"lane {lane}: ")


def colours_bench(monkeypatch) -> Bench:
    """Samples of any pixels are added up, of which a tile's are cleared while none of its samples is there."""
    for name, value in (("UNIT_BITS", UNIT + 1), ("COLOUR_BITS", 1), ("CHANNELS", 1)):
        monkeypatch.setattr(tile_buffer, name, value)
    bench = Bench()
    addend = bench.free("addend", UNIT + 2)
    monkeypatch.setattr(tile_buffer, "few_rows", lambda *_: [addend, Const(0, UNIT + 2)])
    monkeypatch.setattr(tile_buffer.TileBuffer, "_channels", lambda *_: None)
    unit = tile_buffer.TileBuffer(AcceleratorConfig(tile=4, sample_lanes=2))
    inner = bench.add_open("buffer", unit)
    watched = bench.constant("watched", len(unit.initialise_pixel))
    steps = [(unit.i.payload.pixel, unit.i.valid & unit.i.ready & ~unit.i.payload.last)]
    for step in range(unit.ADDING):
        steps.append((Signal.like(watched, name=f"passing_{step}"), Signal(name=f"passes_{step}")))
        bench.m.d.sync += [held.eq(before) for held, before in zip(steps[-1], steps[-2], strict=True)]
    of_tile = Cat(valid & (pixel[OF_TILE] == watched[OF_TILE]) for pixel, valid in steps).any()
    bench.assume(~(unit.initialise & (unit.initialise_pixel[OF_TILE] == watched[OF_TILE]) & of_tile))

    total, added, waiting = Signal(UNIT + 1), inner["total_0"], Signal(UNIT + 1)
    pixel, valid = steps[-1]
    found = valid & (pixel == watched)
    bench.m.d.sync += waiting.eq(inner["waiting_0"])
    bench.claim("a colour is added to what the one before left", ~found | (added == (total + waiting)[: UNIT + 1]))
    with bench.m.If(found):
        bench.m.d.sync += total.eq(added)
    with bench.m.If(unit.initialise & (unit.initialise_pixel == watched)):
        bench.m.d.sync += total.eq(0)
    watch(bench, found & (total != 0), unit.ADDING)
    return bench


def test_colours(monkeypatch):
    assert_proved(colours_bench(monkeypatch))


@pytest.mark.full
def test_a_colour_that_is_not_handed_on_is_found(monkeypatch):
    monkeypatch.setattr(tile_buffer, "Mux", lambda condition, one, other: other)
    assert colours_bench(monkeypatch).prove().claim == "a colour is added to what the one before left"
