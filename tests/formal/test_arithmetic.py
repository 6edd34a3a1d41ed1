"""Checksum, divider and sparse search equal their definitions, for all operands."""

import pytest
from amaranth.hdl import Cat, Const, Mux, Signal

from nerf.contract.blocks import CRC_POLYNOMIAL
from nerf.contract.formats import FACTOR
from rtl.factors import sparse_search
from rtl.factors.sparse_search import SparseSearch
from rtl.parts.checksum import crc8_of
from rtl.parts.divider import Divider
from tests.formal.prove import Bench

ROWS = sparse_search.COORDINATE_LIMIT // sparse_search.LOAD_ENTRIES


def crc8_step(crc, bit):
    """Return a CRC-8 after one more bit, as `nerf.contract.blocks.crc8` defines it."""
    return Cat(Const(0, 1), crc[:7]) ^ Mux(crc[7] ^ bit, CRC_POLYNOMIAL, 0)


def checksum_bench(bits: int, fault: int = 0) -> Bench:
    """Compare the XOR trees with the serial definition, which takes one bit a cycle.

    After n cycles the register holds the checksum of the first n bits. That is what the XOR trees say of the bits so
    far, shifted to the end: leading zeros do not count.
    """
    bench = Bench()
    bit, word, crc = bench.free("bit"), Signal(bits), Signal(8)
    left = Signal(range(bits + 1), init=bits)
    with bench.m.If(left != 0):
        bench.m.d.sync += [word.eq(Cat(bit, word)), crc.eq(crc8_step(crc, bit)), left.eq(left - 1)]
    bench.claim("checksum", crc8_of(word) == crc ^ (word[-1] & fault))
    bench.claim("bits left", left <= bits)
    bench.claim("only so many bits", (word >> (bits - left).as_unsigned()) == 0)
    bench.goal("all bits", (left == 0) & word.all())
    return bench


@pytest.mark.parametrize("bits", [8, 56, *(pytest.param(bits, marks=pytest.mark.full) for bits in (120, 248))])
def test_checksum(bits):
    bench = checksum_bench(bits)
    assert bench.prove(induction=True) is None
    assert bench.unreached(bits + 1) == []


def test_a_wrong_checksum_is_found():
    assert checksum_bench(8, 1).prove(induction=True, cycles=10).claim == "checksum"


def divider_bench(dividend_bits: int, divisor_bits: int, bits_per_cycle: int) -> Bench:
    bench = Bench()
    unit = bench.add("divider", Divider(dividend_bits, divisor_bits, bits_per_cycle))
    put, get = unit.i.valid & unit.i.ready, unit.o.valid & unit.o.ready
    asked, busy, age = Signal.like(unit.i.payload), Signal(), Signal(range(unit.LATENCY + 2))
    with bench.m.If(busy & (age != unit.LATENCY)):
        bench.m.d.sync += age.eq(age + 1)
    with bench.m.If(get):
        bench.m.d.sync += busy.eq(0)
    with bench.m.If(put):
        bench.m.d.sync += [asked.eq(unit.i.payload), busy.eq(1), age.eq(1)]
    quotient, divisor, dividend = unit.o.payload, asked.divisor, asked.dividend
    exact = (quotient * divisor <= dividend) & (dividend < (quotient + 1) * divisor)
    bench.claim("quotient", ~unit.o.valid | (divisor == 0) | exact)
    bench.claim("by zero", ~unit.o.valid | (divisor != 0) | quotient.all())
    bench.claim("latency", unit.o.valid == (busy & (age == unit.LATENCY)))
    bench.claim_stream("o", unit.o)
    bench.goal("at once again", get & put)
    bench.goal("uneven", unit.o.valid & (quotient == 2) & (divisor != 0) & (2 * divisor != dividend))
    return bench


@pytest.mark.parametrize("shape", [(5, 4, 1), (5, 3, 2), (4, 3, 3)])
def test_divider(shape):
    """For any sequence of divisions; as in the design, the steps may find more bits than the quotient has."""
    bench = divider_bench(*shape)
    assert bench.prove() is None
    assert bench.unreached() == []


def sparse_bench(monkeypatch, component: int, entries: int, loads: int = ROWS) -> Bench:
    """Watch a component of any one position: it is found, with its value, exactly if an entry of it came since clear.

    The unit is built with fewer entries a row than the design has. The values of entries with the same index would be
    ORed; no encoder writes any.
    """
    monkeypatch.setattr(sparse_search, "LOAD_ENTRIES", entries)
    monkeypatch.setattr(sparse_search, "COORDINATE_LIMIT", ROWS * entries)
    bench = Bench()
    unit = SparseSearch()
    inner = bench.add_open("search", unit)
    position = bench.constant("watched", 4)
    watched = Cat(Const(component, 4), position)
    hit, value, number = Signal(), Signal(FACTOR.width), Signal(range(loads + 1))
    bench.assume(unit.position == position)
    bench.assume(~unit.load | unit.clear | (number < loads))
    new_hit, new_value = hit & ~unit.clear, Mux(unit.clear, 0, value)
    for place in range(entries):
        entry = unit.entries[place]
        takes = unit.load & (place < unit.load_count) & (Cat(entry.component, entry.position) == watched)
        new_hit, new_value = new_hit | takes, new_value | Mux(takes, entry.value.as_unsigned(), 0)
    bench.m.d.sync += [hit.eq(new_hit), value.eq(new_value), number.eq(Mux(unit.clear, 0, number) + unit.load)]
    bench.claim("hit", unit.hits[component] == hit)
    bench.claim("value", unit.values[component].as_unsigned() == value)

    # For the induction: rows not loaded since the clear are empty.
    for row in range(ROWS):
        age = Signal(range(ROWS), name=f"age_{row}")
        bench.m.d.comb += age.eq(inner["loaded"] - 1 - row)
        used = inner["valid"].word_select(row, entries)
        bench.claim(f"row {row} is empty", (age < number) | (used == 0))
    bench.goal("full", hit & (number == ROWS) & (value == 3) & inner["valid"].all())
    bench.goal("forgotten", ~hit & inner["held"].any())
    return bench


@pytest.mark.parametrize(("component", "entries"), [(0, 2), (15, 2), (5, 4)])
def test_sparse_search(monkeypatch, component, entries):
    """For any loads: they need not be full, as each has its own row."""
    bench = sparse_bench(monkeypatch, component, entries)
    assert bench.prove(induction=True) is None
    assert bench.unreached(8) == []


def test_one_load_too_many_is_found(monkeypatch):
    """A fifth load takes the place of the first."""
    fault = sparse_bench(monkeypatch, 3, 2, ROWS + 1).prove(induction=True, cycles=8)
    assert fault.claim in ("hit", "value")
