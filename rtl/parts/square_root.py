"""Sequential integer square root: ``root = floor(sqrt(radicand))``."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.parts.carry_save import compress


class SquareRoot(wiring.Component):
    """Take the square root of an unsigned integer, rounding down, most significant root bits first, two a cycle.

    Latency: ``LATENCY`` cycles from an accepted input to a valid output.
    Throughput: one root in ``LATENCY`` cycles.

    Parameters
    ----------
    root_bits : int
        Width of the root; the radicand is twice as wide.

    Members
    -------
    i : In(stream)
        The radicand.
    o : Out(stream)
        The root.
    """

    def __init__(self, root_bits: int) -> None:
        self._steps = -(-root_bits // 2)
        self.LATENCY = self._steps + 1
        super().__init__({"i": In(stream.Signature(2 * root_bits)), "o": Out(stream.Signature(root_bits))})

    def elaborate(self, platform) -> Module:
        """Return the shift registers and their subtractors."""
        m = Module()
        root_bits = 2 * self._steps
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

        # A digit d takes away (8 root + d) d: the largest that leaves something is right.
        partial = Cat(radicand[-4:], remainder)
        bits = len(partial) + 1
        eight, sixteen = (Signal(bits, name=name) for name in ("eight", "sixteen"))
        m.d.comb += [eight.eq(root << 3), sixteen.eq(root << 4)]
        three = compress(m, [Cat(partial, Const(0, 1)), ~eight, ~(sixteen | 7)])
        digit, rest = Const(0, 2), partial
        for number, difference in enumerate((partial - (eight | 1), partial - (sixteen | 4), three[0] + three[1]), 1):
            left = Signal(signed(bits), name=f"left_{number}")
            m.d.comb += left.eq(difference)
            digit, rest = Mux(left < 0, digit, number), Mux(left < 0, rest, left)
        with m.If(steps_left != 0):
            m.d.sync += [
                radicand.eq(radicand << 4),
                root.eq(Cat(digit[:2], root)),
                remainder.eq(rest),
                steps_left.eq(steps_left - 1),
            ]
            with m.If(steps_left == 1):
                m.d.sync += self.o.valid.eq(1)
        return m
