"""What the hybrid decoder is made of: a window that gives a payload's bytes, by number, out of beats."""

import pytest
from amaranth.hdl import Mux, Signal

from rtl.factors.hybrid_decoder import BEAT_BYTES, ByteWindow
from tests.formal.prove import Bench

NUMBER_BITS = 7
"""Of a byte in its payload, the half beat before it included: payloads of up to 8 beats."""


def window_bench(unit: ByteWindow) -> Bench:
    """Watch a byte of each payload, any by number: whenever it is in the window, it is in its place.

    Payloads start and are finished as the window asks for, with any beats, waits and bytes taken.
    """
    bench = Bench()
    inner = bench.add_open("window", unit)
    beat_bits = (BEAT_BYTES - 1).bit_length()
    number = bench.constant("watched", NUMBER_BITS)
    running, value = Signal(), Signal(8)
    beats, passed = Signal(NUMBER_BITS - beat_bits + 1), Signal(NUMBER_BITS + 1)
    accepted, beat = unit.i.valid & unit.i.ready, Mux(unit.finish, 0, beats)
    bench.assume((unit.take <= unit.available) & (unit.take <= BEAT_BYTES))
    bench.assume((unit.take == 0) | running)
    bench.assume(~unit.finish | (running & unit.ending))
    bench.assume(~unit.start | ~running | unit.finish)
    bench.assume(~accepted | (beat < 1 << NUMBER_BITS - beat_bits))
    bench.m.d.sync += [
        running.eq(unit.start | (running & ~unit.finish)),
        beats.eq(beat + accepted),
        passed.eq(Mux(unit.start, Mux(unit.skip, BEAT_BYTES // 2, 0), passed + unit.take)),
    ]
    with bench.m.If(accepted & (beat == number[beat_bits:])):
        bench.m.d.sync += value.eq(unit.i.payload.data.word_select(number[:beat_bits], 8))
    here = (beats << beat_bits) - passed
    bench.claim("so many bytes are available", ~running | (unit.available == Mux(here > 0, here, 0)))
    for place in range(BEAT_BYTES):
        there = running & (passed + place == number) & (place < unit.available)
        bench.claim(f"byte {place} of the window", ~there | (unit.bytes[place] == value))

    # For the induction: which beats are held.
    low, high = inner["low_valid"], inner["high_valid"]
    first = Mux(running, passed >> beat_bits, 0)
    bench.claim("the second register has nothing without the first", low | ~high)
    bench.claim("no beat is lost", beats == first + low + high)
    bench.claim("offset", ~running | (inner["offset"] == passed[:beat_bits]))
    for name, held, beat_number in (("low", low, first), ("high", high, first + 1)):
        own = held & (beat_number == number[beat_bits:])
        bench.claim(f"{name} beat", ~own | (inner[name].word_select(number[:beat_bits], 8) == value))
    bench.goal(
        "the second payload", running & (passed == number) & (number[:beat_bits] == 9) & unit.finish & unit.start
    )
    return bench


def test_byte_window():
    bench = window_bench(ByteWindow())
    assert bench.prove(induction=True) is None
    assert bench.unreached(8) == []


class HastyWindow(ByteWindow):
    """A window with a fault: it drops the beats of a payload when the last of them is here."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If(self.ending):
            m.d.comb += self.available.eq(0)
        return m


@pytest.mark.full
def test_bytes_that_are_lost_are_found():
    assert window_bench(HastyWindow()).prove(induction=True).claim == "so many bytes are available"
