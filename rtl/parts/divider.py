"""Sequential unsigned division: ``quotient = dividend // divisor``."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out


class Divider(wiring.Component):
    """Divide unsigned integers, rounding down, most significant quotient bits first.

    A zero divisor gives a quotient of all ones.

    Latency: ``LATENCY`` cycles from an accepted input to a valid output.
    Throughput: one division in ``LATENCY`` cycles.

    Parameters
    ----------
    dividend_bits, divisor_bits : int
        Widths; the quotient is as wide as the dividend.
    bits_per_cycle : int
        Quotient bits found in one cycle.

    Members
    -------
    i : In(stream)
        ``dividend`` and ``divisor``.
    o : Out(stream)
        The quotient.
    """

    def __init__(self, dividend_bits: int, divisor_bits: int, bits_per_cycle: int = 1) -> None:
        self._steps = -(-dividend_bits // bits_per_cycle)
        self._bits_per_cycle = bits_per_cycle
        self._divisor_bits = divisor_bits
        self.LATENCY = self._steps + 1
        operands = data.StructLayout({"dividend": dividend_bits, "divisor": divisor_bits})
        super().__init__({"i": In(stream.Signature(operands)), "o": Out(stream.Signature(dividend_bits))})

    def elaborate(self, platform) -> Module:
        """Return the shift register and its subtractors."""
        m = Module()
        # The dividend leaves at the top while the quotient enters at the bottom.
        quotient = Signal(self._steps * self._bits_per_cycle)
        remainder = Signal(self._divisor_bits)
        divisor = Signal(self._divisor_bits)
        steps_left = Signal(range(self._steps + 1))

        m.d.comb += [
            self.i.ready.eq((steps_left == 0) & (~self.o.valid | self.o.ready)),
            self.o.payload.eq(quotient),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                quotient.eq(self.i.payload.dividend),
                divisor.eq(self.i.payload.divisor),
                remainder.eq(0),
                steps_left.eq(self._steps),
            ]

        value, rest = quotient, remainder
        for _ in range(self._bits_per_cycle):
            partial = Cat(value[-1], rest)
            fits = partial >= divisor
            rest = Signal(self._divisor_bits, name="rest")
            m.d.comb += rest.eq(Mux(fits, partial - divisor, partial))
            value = Cat(fits, value[:-1])
        with m.If(steps_left != 0):
            m.d.sync += [quotient.eq(value), remainder.eq(rest), steps_left.eq(steps_left - 1)]
            with m.If(steps_left == 1):
                m.d.sync += self.o.valid.eq(1)
        return m
