"""Lanes of the product buffer: one adds weighted products up, one divides a sum by its weight."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.formats import DROPPED_BITS, MEAN_SHIFT, PRODUCT, PRODUCT_SUM, RECIPROCAL_BITS, UNIT
from rtl.parts.carry_save import few_rows
from rtl.payloads import UNIT_BITS, shape_of

SUM = shape_of(PRODUCT_SUM)
RECIPROCAL_WIDTH = RECIPROCAL_BITS + 2


class SumLane(wiring.Component):
    """A lane of the sums: a product times its sample's weight, rounded, is added to what is read, or handed on.

    Latency: 3 cycles from product and weight to the total. What is read, and ``source``, come two cycles after them.

    Parameters
    ----------
    forwards : bool
        Whether totals are handed on.

    Members
    -------
    product, weight : In
    read : In
    source : In(SOURCES)
        A bit for what is added to, nothing without any: what is read, the total, the total of the cycle before.
    total : Out
    """

    SOURCES = 3

    def __init__(self, forwards: bool) -> None:
        self._forwards = forwards
        super().__init__(
            {
                "product": In(signed(PRODUCT.width)),
                "weight": In(UNIT_BITS),
                "read": In(SUM),
                "source": In(self.SOURCES),
                "total": Out(SUM),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the multiplication in two steps, what is added to, and the sum."""
        m = Module()
        bits = UNIT_BITS + PRODUCT.width
        half = Const(1 << UNIT + DROPPED_BITS >> 1, bits)
        partial, carries = (Signal(bits, name=name, reset_less=True) for name in ("partial", "carries"))
        rounded, addend, found = (Signal(SUM, name=name, reset_less=True) for name in ("rounded", "addend", "found"))
        known = self.read & self.source[0].replicate(len(self.read))
        if self._forwards:
            before = Signal(SUM, reset_less=True)
            m.d.sync += before.eq(self.total)
            for number, value in ((1, self.total), (2, before)):
                known |= value & self.source[number].replicate(len(value))
        m.d.sync += [
            Cat(partial, carries).eq(Cat(few_rows(m, self.product, self.weight, bits, [half]))),
            rounded.eq((partial + carries)[UNIT + DROPPED_BITS : bits].as_signed()),
            addend.eq(rounded),
            found.eq(known),
        ]
        m.d.comb += self.total.eq(found + addend)
        return m


class MeanLane(wiring.Component):
    """A lane of the means: a sum times a factor, shifted and limited; a step a cycle with ``advance``.

    Latency: 4 steps from the sum to the mean; ``factor`` comes with the second, ``behind`` with the fourth.

    Members
    -------
    advance : In(1)
    sum, factor : In
    behind : In
        Zeros behind the leading one of the weight that ``factor`` is the reciprocal of.
    mean : Out
        Not registered.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "advance": In(1),
                "sum": In(SUM),
                "factor": In(RECIPROCAL_WIDTH),
                "behind": In(range(UNIT_BITS)),
                "mean": Out(signed(PRODUCT.width)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the multiplication in two steps, the shift and the limits."""
        m = Module()
        bits = SUM.width + RECIPROCAL_WIDTH + 1
        total = Signal(SUM, reset_less=True)
        partial, carries = (Signal(bits, name=name, reset_less=True) for name in ("partial", "carries"))
        product = Signal(signed(bits), reset_less=True)
        shifted = Signal(signed(bits + MEAN_SHIFT + 1), reset_less=True)
        rounded = Signal(signed(bits + MEAN_SHIFT + 1))
        # Rounding half up: a bit below the result is kept, then one is added.
        m.d.comb += [
            rounded.eq((shifted + 1).shift_right(1)),
            self.mean.eq(Mux(rounded < PRODUCT.low, PRODUCT.low, Mux(rounded > PRODUCT.high, PRODUCT.high, rounded))),
        ]
        with m.If(self.advance):
            m.d.sync += [
                total.eq(self.sum),
                Cat(partial, carries).eq(Cat(few_rows(m, total, self.factor, bits))),
                product.eq(partial + carries),
                shifted.eq(product.shift_left(MEAN_SHIFT + 1) >> self.behind),
            ]
        return m
