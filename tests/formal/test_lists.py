"""An entry of a cube list comes back as the part of its footprint that lies in the tile, or not at all."""

import pytest
from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.registers import LIST_ENTRY_BYTES
from rtl.parts.checksum import crc8_of
from rtl.payloads import Footprint, TileLayouts
from rtl.samples import cube_list
from tests.formal.golden import largest, smallest
from tests.formal.prove import Bench
from tests.formal.test_stages import CFG, assert_proved, part


class Passing(wiring.Component):
    """Takes the place of a queue: what comes in leaves in the same cycle."""

    def __init__(self, shape, depth: int) -> None:
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform) -> Module:
        m = Module()
        wiring.connect(m, wiring.flipped(self.i), wiring.flipped(self.o))
        return m


def entry_bench(monkeypatch) -> Bench:
    """A footprint's entry, of which any one bit may change in memory, and a tile."""
    monkeypatch.setattr(cube_list, "Queue", Passing)
    bench = Bench()
    footprint, tile = bench.free("footprint", Footprint), bench.free("tile", TileLayouts(CFG).Tile)
    changed, place = bench.free("changed"), bench.free("place", range(8 * LIST_ENTRY_BYTES))
    written, drops = Signal(cube_list.CRC_AT), Signal()

    def cut(unit, m):
        m.d.comb += drops.eq(unit._cut(m, Signal())[0])

    unit = part(cube_list.CubeList, cut, CFG)
    bench.add_wires("list", unit)
    bench.m.d.comb += [
        written.eq(footprint.as_value()),
        unit.entries.beats.valid.eq(1),
        unit.entries.beats.payload.data.eq(Cat(written, crc8_of(written)) ^ (changed << place)),
        unit.tile.eq(tile),
        unit.o.ready.eq(1),
    ]
    rectangle, meets = unit.o.payload, Const(1)
    for axis in "xy":
        begin, end = tile[axis], tile[axis] + tile[f"last_{axis}"]
        first, last = footprint[f"first_{axis}"], footprint[f"last_{axis}"]
        meets &= (first <= end) & (last >= begin)
        for name, wanted in (("first", largest(first, begin)), ("last", smallest(last, end))):
            cut_to = begin + rectangle[f"{name}_{axis}"]
            bench.claim(f"{name} pixel along {axis}", changed | ~unit.o.valid | (cut_to == wanted))
    own = Cat(rectangle.cube, rectangle.rank) == Cat(footprint.cube, footprint.rank)
    bench.claim("cube and rank", changed | ~unit.o.valid | own)
    bench.claim("what meets the tile is handed on", changed | (unit.o.valid == meets))
    bench.claim("the rest is dropped", drops == ~unit.o.valid)
    bench.claim("a changed bit is an error", unit.error == changed)
    bench.goal(
        "cut on both sides", meets & (footprint.first_x < tile.x) & (rectangle.last_x < footprint.last_x - tile.x)
    )
    return bench


def test_entry(monkeypatch):
    assert_proved(entry_bench(monkeypatch))


@pytest.mark.full
def test_a_rectangle_that_is_not_cut_is_found(monkeypatch):
    monkeypatch.setattr(cube_list, "Mux", lambda condition, one, other: one)
    assert entry_bench(monkeypatch).prove().claim == "first pixel along x"


@pytest.mark.full
def test_a_bit_without_checksum_is_found(monkeypatch):
    monkeypatch.setattr(cube_list, "crc8_of", lambda entry: crc8_of(entry & ~Const(1, len(entry))))
    assert entry_bench(monkeypatch).prove().claim == "a changed bit is an error"
