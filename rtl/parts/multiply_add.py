"""Multiplication and addition of signed integers: ``total = left * right + addend``."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.parts.carry_save import compress, few_rows

ROWS = 4
"""Rows that a total is held in between its first two steps."""


class MultiplyAdd(wiring.Component):
    """Multiply and add in three steps: some rows, two rows, their sum. Nothing stalls it.

    Latency: ``LATENCY`` cycles from the operands to the total.
    Throughput: one total a cycle.

    Parameters
    ----------
    left_bits, right_bits, addend_bits : int
        Widths of the operands, sign included.

    Members
    -------
    left, right, addend : In
    total : Out
        Wide enough for all of them.
    """

    LATENCY = 3

    def __init__(self, left_bits: int, right_bits: int, addend_bits: int) -> None:
        super().__init__(
            {
                "left": In(signed(left_bits)),
                "right": In(signed(right_bits)),
                "addend": In(signed(addend_bits)),
                "total": Out(signed(max(left_bits + right_bits, addend_bits) + 1)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the three steps."""
        m = Module()
        width = len(self.total)
        addend = Signal(signed(width))
        some = [Signal(width, name=f"row_{n}") for n in range(ROWS)]
        two = [Signal(width, name=f"half_{n}") for n in range(2)]
        m.d.comb += addend.eq(self.addend)
        rows = few_rows(m, self.left, self.right, width, [addend], len(some))
        m.d.sync += [held.eq(row) for held, row in zip(some, rows, strict=True)]
        m.d.sync += [held.eq(row) for held, row in zip(two, compress(m, some), strict=True)]
        m.d.sync += self.total.eq(two[0] + two[1])
        return m
