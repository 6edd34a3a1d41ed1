"""Sequential unsigned division: ``quotient = dividend // divisor``."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out


class Divider(wiring.Component):
    """Divide unsigned integers, rounding down, most significant quotient bits first.

    All multiples of the divisor that may be taken away in a cycle are taken away side by side. A zero divisor gives a
    quotient of all ones.

    Latency: ``LATENCY`` cycles from an accepted input to a valid output.
    Throughput: one division in ``LATENCY`` cycles.

    Parameters
    ----------
    dividend_bits, divisor_bits : int
        Widths.
    bits_per_cycle : int
        Quotient bits found in one cycle.
    quotient_bits : int, optional
        Of the dividend if left out. Fewer take fewer cycles; a quotient that does not fit means nothing.

    Members
    -------
    i : In(stream)
        ``dividend`` and ``divisor``.
    o : Out(stream)
        The quotient.
    """

    def __init__(
        self, dividend_bits: int, divisor_bits: int, bits_per_cycle: int = 1, quotient_bits: int | None = None
    ) -> None:
        quotient_bits = quotient_bits or dividend_bits
        self._steps = -(-quotient_bits // bits_per_cycle)
        self._bits_per_cycle = bits_per_cycle
        self._divisor_bits = divisor_bits
        self.LATENCY = self._steps + 1
        operands = data.StructLayout({"dividend": dividend_bits, "divisor": divisor_bits})
        super().__init__({"i": In(stream.Signature(operands)), "o": Out(stream.Signature(quotient_bits))})

    def elaborate(self, platform) -> Module:
        """Return the shift register and its subtractors."""
        m = Module()
        digits = 1 << self._bits_per_cycle
        # The dividend leaves at the top while the quotient enters at the bottom.
        quotient = Signal(self._steps * self._bits_per_cycle)
        remainder = Signal(self._divisor_bits)
        multiples = {odd: Signal(self._divisor_bits + odd.bit_length(), name=f"times_{odd}")
                     for odd in range(1, digits, 2)}  # fmt: skip
        steps_left = Signal(range(self._steps + 1))

        m.d.comb += [
            self.i.ready.eq((steps_left == 0) & (~self.o.valid | self.o.ready)),
            self.o.payload.eq(quotient),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                Cat(quotient, remainder).eq(self.i.payload.dividend),
                *(multiple.eq(odd * self.i.payload.divisor) for odd, multiple in multiples.items()),
                steps_left.eq(self._steps),
            ]

        partial = Cat(quotient[len(quotient) - self._bits_per_cycle :], remainder)
        digit, rest = Const(0, self._bits_per_cycle), partial
        for number in range(1, digits):
            odd = number // (number & -number)
            left = Signal(signed(len(partial) + 1), name=f"left_{number}")
            m.d.comb += left.eq(partial - (multiples[odd] << (number // odd).bit_length() - 1))
            digit, rest = Mux(left < 0, digit, number), Mux(left < 0, rest, left)
        with m.If(steps_left != 0):
            m.d.sync += [
                quotient.eq(Cat(digit[: self._bits_per_cycle], quotient)),
                remainder.eq(rest),
                steps_left.eq(steps_left - 1),
            ]
            with m.If(steps_left == 1):
                m.d.sync += self.o.valid.eq(1)
        return m
