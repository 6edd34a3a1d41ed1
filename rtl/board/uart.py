"""A serial line: bytes with a start bit and a stop bit, least significant bit first, no parity, no flow control."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

BITS = 10
"""Of a byte on the line."""


class Transmitter(wiring.Component):
    """Send bytes.

    Latency: 1 cycle from an accepted byte to its start bit. Throughput: a byte in ``10 * divisor`` cycles.

    Parameters
    ----------
    divisor : int
        Cycles of a bit, at least 2.

    Members
    -------
    i : In(stream)
        Bytes.
    line : Out(1)
        1 while idle.
    """

    def __init__(self, divisor: int) -> None:
        self._divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "line": Out(1, init=1)})

    def elaborate(self, platform) -> Module:
        """Return a shift register and its clock."""
        m = Module()
        bits, left = Signal(BITS - 1), Signal(range(BITS + 1))
        ticks = Signal(range(self._divisor))
        m.d.comb += self.i.ready.eq(left == 0)
        with m.If(left == 0):
            m.d.sync += [self.line.eq(1), ticks.eq(0)]
            with m.If(self.i.valid):
                m.d.sync += [self.line.eq(0), Cat(bits).eq(Cat(self.i.payload, Const(1, 1))), left.eq(BITS)]
        with m.Elif(ticks == self._divisor - 1):
            m.d.sync += [ticks.eq(0), Cat(self.line, bits).eq(Cat(bits, Const(1, 1))), left.eq(left - 1)]
        with m.Else():
            m.d.sync += ticks.eq(ticks + 1)
        return m


class Receiver(wiring.Component):
    """Receive bytes; each must be taken before the next one ends. A byte without a stop bit is dropped.

    Parameters
    ----------
    divisor : int
        Cycles of a bit, at least 4.

    Members
    -------
    line : In(1)
        Of any clock.
    o : Out(stream)
        Bytes.
    """

    def __init__(self, divisor: int) -> None:
        self._divisor = divisor
        super().__init__({"line": In(1, init=1), "o": Out(stream.Signature(8))})

    def elaborate(self, platform) -> Module:
        """Return a shift register that takes the line in the middle of each bit."""
        m = Module()
        line = Signal(init=1)
        m.submodules.synchroniser = FFSynchronizer(self.line, line, init=1)
        bits, left = Signal(BITS), Signal(range(BITS + 1))
        was_idle = Signal()
        """The line has been 1 since the last byte: a 0 begins one."""
        ticks = Signal(range(self._divisor))
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(left == 0):
            m.d.sync += [ticks.eq(self._divisor // 2), was_idle.eq(line)]
            with m.If(~line & was_idle):
                m.d.sync += left.eq(BITS)
        with m.Elif(ticks == self._divisor - 1):
            taken = Cat(bits[1:], line)
            m.d.sync += [ticks.eq(0), bits.eq(taken), left.eq(left - 1), was_idle.eq(line)]
            # What is 1 again in its middle was no start bit.
            with m.If((left == BITS) & line):
                m.d.sync += left.eq(0)
            with m.If(left == 1):
                m.d.sync += [self.o.payload.eq(taken[1:-1]), self.o.valid.eq(line)]
        with m.Else():
            m.d.sync += ticks.eq(ticks + 1)
        return m
