"""The kit of the unit benches: a kept simulator begins as a new one does, and a broken rule of a stream is told."""

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory, MemoryData
from amaranth.lib.wiring import In, Out

import cosim.unit
from cosim.unit import STALLS, play, run, shared


class Tally(wiring.Component):
    """Answers how often a place was named, added to what its memory held; ``fault`` breaks a rule of the stream."""

    i: In(stream.Signature(2))
    o: Out(stream.Signature(8))

    def __init__(self, fault=None):
        self.fault = fault
        self.tallies = MemoryData(shape=8, depth=4, init=[])
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.tallies = tallies = Memory(self.tallies)
        read, write = tallies.read_port(domain="comb"), tallies.write_port()
        waits = Signal()
        m.d.sync += waits.eq(self.o.valid & ~self.o.ready)
        m.d.comb += [
            read.addr.eq(self.i.payload),
            write.addr.eq(self.i.payload),
            write.data.eq(read.data + 1),
            write.en.eq(self.i.valid & self.i.ready),
            self.o.payload.eq(read.data + 1 + (waits if self.fault == "payload" else 0)),
            self.o.valid.eq(self.i.valid & ~(waits if self.fault == "valid" else 0)),
            self.i.ready.eq(self.o.valid & self.o.ready),
        ]
        return m


PLACES = [0, 3, 3, 1, 0, 3]
TALLIES = [1, 1, 2, 1, 2, 3]


@pytest.mark.parametrize("stalls", STALLS)
def test_a_component_runs_again_as_for_the_first_time(stalls):
    runs = [
        run(component, {"i": PLACES}, {"o": len(PLACES)}, stalls=stalls, seed=1)
        for component in (shared(Tally), shared(Tally), Tally())
    ]
    assert runs[0].outputs == {"o": TALLIES}
    assert runs[0] == runs[1] == runs[2]


def test_memories_hold_what_a_run_gives_them_and_nothing_of_the_run_before():
    for held in ([5, 6, 7, 8], [], [9]):
        first = (held + [0] * 4)[0]
        result = run(shared(Tally), {"i": PLACES[:1]}, {"o": 1}, memories={"tallies": held})
        assert result.outputs == {"o": [first + 1]}
    assert run(shared(Tally), {"i": PLACES}, {"o": len(PLACES)}).outputs == {"o": TALLIES}


def test_a_run_that_fails_leaves_nothing():
    with pytest.raises(AssertionError, match=r"^watchdog: {'o': '2 of 3'} after 50 cycles$"):
        run(shared(Tally), {"i": PLACES[:2]}, {"o": 3}, watchdog=50)
    with pytest.raises(AssertionError, match=r"^o: surplus payloads"):
        run(shared(Tally), {"i": PLACES}, {"o": 3})
    assert run(shared(Tally), {"i": PLACES}, {"o": len(PLACES)}).outputs == {"o": TALLIES}


@pytest.mark.parametrize(
    ("fault", "told"),
    [("valid", "valid dropped before the payload was accepted"), ("payload", "payload changed before it was accepted")],
)
def test_a_broken_rule_is_told(fault, told):
    with pytest.raises(AssertionError, match=f"^o: {told}"):
        run(shared(Tally, fault), {"i": PLACES}, {"o": len(PLACES)}, stalls=(1.0, 0.3))


def test_a_play_without_an_end_is_ended(monkeypatch):
    monkeypatch.setattr(cosim.unit, "LONGEST", 100)

    async def waits(ctx):
        await ctx.delay(1)

    async def ends(ctx):
        await ctx.tick().repeat(99)

    unit = Tally()
    play(unit, ends)
    with pytest.raises(AssertionError, match="not at an end after 100 cycles"):
        play(unit, waits)
