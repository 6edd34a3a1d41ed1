"""The serial line, both ends of it joined, and bytes that are damaged."""

import itertools
import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, play, run
from rtl.board.uart import BITS, Receiver, Transmitter

DIVISORS = (4, 5, 25)


class Loop(wiring.Component):
    """A transmitter, the line, a receiver whose reader takes a byte before the next one ends."""

    def __init__(self, divisor):
        self._divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.transmitter = transmitter = Transmitter(self._divisor)
        m.submodules.receiver = receiver = Receiver(self._divisor)
        wiring.connect(m, wiring.flipped(self.i), transmitter.i)
        wiring.connect(m, receiver.o, wiring.flipped(self.o))
        m.d.comb += receiver.line.eq(transmitter.line)
        return m


@pytest.mark.parametrize("divisor", DIVISORS)
@pytest.mark.parametrize("stalls", [stalls for stalls in STALLS if stalls[1] >= 0.5])
def test_bytes_arrive(divisor, stalls):
    generator = random.Random(divisor)
    sent = [0, 255, 0x55, 0xAA, 1, 128, *(generator.randrange(256) for _ in range(60))]
    result = run(Loop(divisor), {"i": sent}, {"o": len(sent)}, stalls=stalls, seed=divisor)
    assert result.outputs["o"] == sent
    if stalls == (1.0, 1.0):
        # Throughput: a byte in so many bits.
        cycles = result.cycles["i"]
        assert {after - before for before, after in itertools.pairwise(cycles)} == {BITS * divisor + 1}


class Line(wiring.Component):
    """A receiver on a line of a clock of its own."""

    def __init__(self):
        self.receiver = Receiver(25)
        super().__init__({"line": In(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = self.receiver
        m.d.comb += [self.receiver.line.eq(self.line), self.receiver.o.ready.eq(1)]
        return m


@pytest.mark.parametrize("cycles", [24.6, 25.0, 25.4])
def test_a_receiver_takes_a_rate_that_is_a_little_off(cycles):
    """1.5 % is what `rtl.board.export.bit_cycles` allows."""
    sent, found = [0x00, 0xFF, 0x5A, 0x81], []
    bits = [bit for byte in sent for bit in (0, *(byte >> place & 1 for place in range(8)), 1)]
    dut = Line()

    async def testbench(ctx):
        for cycle in range(round(cycles * len(bits)) + 40):
            place = int(cycle / cycles)
            ctx.set(dut.line, bits[place] if place < len(bits) else 1)
            await ctx.tick()
            if ctx.get(dut.receiver.o.valid):
                found.append(ctx.get(dut.receiver.o.payload))

    play(dut, testbench)
    assert found == sent


def test_a_byte_without_a_stop_bit_is_dropped():
    found = []
    dut = Line()

    async def testbench(ctx):
        for level, bits in ((0, 10), (1, 10), (0, 1), (1, 19)):
            ctx.set(dut.line, level)
            for _ in range(25 * bits):
                await ctx.tick()
                if ctx.get(dut.receiver.o.valid):
                    found.append(ctx.get(dut.receiver.o.payload))

    play(dut, testbench)
    assert found == [255]
