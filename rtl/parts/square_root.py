"""Sequential integer square root: ``root = floor(sqrt(radicand))``."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class SquareRoot(wiring.Component):
    """Take the square root of an unsigned integer, rounding down, most significant root bits first.

    Latency: ``LATENCY`` cycles from an accepted input to a valid output.
    Throughput: one root in ``LATENCY`` cycles.

    Parameters
    ----------
    root_bits : int
        Width of the root; the radicand is twice as wide.
    bits_per_cycle : int
        Root bits found in one cycle.

    Members
    -------
    i : In(stream)
        The radicand.
    o : Out(stream)
        The root.
    """

    def __init__(self, root_bits: int, bits_per_cycle: int = 1) -> None:
        self._steps = -(-root_bits // bits_per_cycle)
        self._bits_per_cycle = bits_per_cycle
        self.LATENCY = self._steps + 1
        super().__init__({"i": In(stream.Signature(2 * root_bits)), "o": Out(stream.Signature(root_bits))})

    def elaborate(self, platform) -> Module:
        """Return the shift registers and their subtractors."""
        m = Module()
        root_bits = self._steps * self._bits_per_cycle
        radicand = Signal(2 * root_bits)
        root = Signal(root_bits)
        # Never more than twice the root found so far.
        remainder = Signal(root_bits + 1)
        steps_left = Signal(range(self._steps + 1))

        m.d.comb += [
            self.i.ready.eq((steps_left == 0) & (~self.o.valid | self.o.ready)),
            self.o.payload.eq(root),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [radicand.eq(self.i.payload), root.eq(0), remainder.eq(0), steps_left.eq(self._steps)]

        value, found, rest = radicand, root, remainder
        for _ in range(self._bits_per_cycle):
            partial = Cat(value[-2:], rest)
            trial = Cat(Const(1, 2), found)
            fits = partial >= trial
            rest = Signal(root_bits + 1, name="rest")
            m.d.comb += rest.eq(Mux(fits, partial - trial, partial))
            value = Cat(Const(0, 2), value[:-2])
            found = Cat(fits, found[:-1])
        with m.If(steps_left != 0):
            m.d.sync += [radicand.eq(value), root.eq(found), remainder.eq(rest), steps_left.eq(steps_left - 1)]
            with m.If(steps_left == 1):
                m.d.sync += self.o.valid.eq(1)
        return m
