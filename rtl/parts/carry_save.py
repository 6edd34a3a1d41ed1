"""Sums of many rows without carry chains, and products as such sums.

A full adder a bit turns three rows into two with the same sum. So a product is cut into steps of a pipeline: rows
(`product_rows`), fewer rows (`compress`), and one addition at the end; `few_rows` does the first two. All rows are
modulo ``2**width``. Where there are multipliers (`rtl.parts.shared_module.Platform`), each makes one row.
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Elaboratable, Module, Shape, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.parts.shared_module import PART, Platform, build_in


def product_rows(m: Module, left: Value, right: Value, width: int) -> list[Value]:
    """Return rows whose sum is ``left * right``: one for two bits of the narrower factor, and one more.

    After Booth, in radix 4: a digit is -2 to 2, so a row is the other factor, shifted and inverted. The row on top adds
    what the inversions lack, and what the sign bits stand for.
    """
    if len(left) < len(right):
        left, right = right, left
    left, right = (one if one.shape().signed else Cat(one, Const(0, 1)).as_signed() for one in (left, right))
    right = Cat(Const(0, 1), right, right[-1])
    bits, digits = len(left), (len(right) - 1) // 2
    single, double = Signal(signed(bits + 1), name="single"), Signal(signed(bits + 1), name="double")
    m.d.comb += [single.eq(left), double.eq(left << 1)]
    rows, negative, signs = [], [], 0
    for place in range(digits):
        digit = Signal(3, name="digit")
        chosen = Signal(bits + 1, name="chosen")
        row = Signal(width, name="row")
        m.d.comb += digit.eq(right[2 * place : 2 * place + 3])
        with m.Switch(digit):
            with m.Case(1, 2):
                m.d.comb += chosen.eq(single)
            with m.Case(3):
                m.d.comb += chosen.eq(double)
            with m.Case(4):
                m.d.comb += chosen.eq(~double)
            with m.Case(5, 6):
                m.d.comb += chosen.eq(~single)
            with m.Case(7):
                m.d.comb += chosen.eq(-1)
        m.d.comb += row.eq(Cat(Const(0, 2 * place), chosen[:-1], ~chosen[-1]))
        rows.append(row)
        negative += [digit[2], Const(0, 1)]
        signs -= 1 << bits + 2 * place
    corrections = Const(signs % (1 << width), width)
    return [*rows, Cat(*negative[:-1], corrections[2 * digits - 1 :])[:width]]


MULTIPLIER_BITS = 18
"""Of a factor that a multiplier of a device takes, sign included: an ECP5's, a 7 series' narrower one."""


def multiplied_rows(m: Module, left: Value, right: Value, width: int) -> list[Value]:
    """Return rows whose sum is ``left * right``, each the product of factors of at most `MULTIPLIER_BITS`."""
    products = [(one * other) << at + place for at, one in _pieces(left) for place, other in _pieces(right)]
    rows = [Signal(width, name=f"multiplied_{n}") for n in range(len(products))]
    m.d.comb += [row.eq(product) for row, product in zip(rows, products, strict=True)]
    return rows


def _pieces(factor: Value) -> list[tuple[int, Value]]:
    """Return a factor as signed pieces that a multiplier takes, each with the place of its lowest bit."""
    factor = Value.cast(factor)
    if not factor.shape().signed:
        factor = Cat(factor, Const(0, 1)).as_signed()
    taken = MULTIPLIER_BITS - 1
    ends = range(0, max(len(factor) - 1, 1), taken)
    low = [(at, Cat(factor[at : at + taken], Const(0, 1)).as_signed()) for at in ends[:-1]]
    return [*low, (ends[-1], factor[ends[-1] :].as_signed())]


def compress(m: Module, rows: Sequence[Value], most: int = 2) -> list[Value]:
    """Return at most so many rows of the same sum; ``rows``: as long as each other."""
    rows = list(rows)
    while len(rows) > most:
        whole = len(rows) - len(rows) % 3
        adders = [_FullAdders(rows[at : at + 3]) for at in range(0, whole, 3)]
        m.submodules += adders
        rows = [row for adder in adders for row in (adder.sums, adder.carries)] + rows[whole:]
    return rows


def few_rows(
    m: Module, left: Value, right: Value, width: int, addends: Sequence[Value] = (), count: int = 2
) -> list[Signal]:
    """Return some rows with the sum ``left * right + sum(addends)``; ``addends``: of ``width`` bits."""
    m.submodules += (product := _Product(left, right, addends, width, count))
    return product.rows


class _FullAdders(Elaboratable):
    """Three rows as two, a full adder a bit; a module, so that the simulator computes them once."""

    def __init__(self, rows: Sequence[Value]) -> None:
        self._rows = rows
        self.sums, self.carries = Signal(len(rows[0])), Signal(len(rows[0]))

    def elaborate(self, platform) -> Module:
        m = Module()
        a, b, c = self._rows
        m.d.comb += [self.sums.eq(a ^ b ^ c), self.carries.eq(Cat(Const(0, 1), (a & b) | ((a ^ b) & c)))]
        return m


class ProductRows(wiring.Component):
    """Some rows with the sum ``left * right + sum(addends)``, modulo ``2**width``. No registers.

    Parameters
    ----------
    left, right : Shape
    addends : int
        How many.
    width : int
        Of addends and rows, in bits.
    count : int
        Of the rows.

    Members
    -------
    left, right, addends : In
    rows : Out
    """

    def __init__(self, left: Shape, right: Shape, addends: int, width: int, count: int) -> None:
        self._count = count
        super().__init__(
            {
                "left": In(left),
                "right": In(right),
                "addends": In(width).array(addends),
                "rows": Out(width).array(count),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the rows of the product, and adders of three until they are few."""
        m = Module()
        rows = [*product_rows(m, self.left, self.right, len(self.rows[0])), *self.addends]
        m.d.comb += [held.eq(row) for held, row in zip(self.rows, compress(m, rows, self._count), strict=False)]
        return m


class _Product(Elaboratable):
    """The rows of `few_rows`."""

    def __init__(self, left: Value, right: Value, addends: Sequence[Value], width: int, count: int) -> None:
        self.rows = [Signal(width, name=f"row_{n}") for n in range(count)]
        self._factors, self._addends, self._width = (left, right), addends, width

    def elaborate(self, platform) -> Module:
        m = Module()
        if not isinstance(platform, Platform):
            # In Amaranth's simulator: gate by gate it would take minutes.
            m.d.comb += self.rows[0].eq(self._factors[0] * self._factors[1])
            m.d.comb += self.rows[1].eq(sum(self._addends))
            return m
        addends = [Value.cast(addend)[: self._width] for addend in self._addends]
        if platform.has_multipliers:
            products = multiplied_rows(m, *self._factors, self._width)
            rows = compress(m, [*products, *addends], len(self.rows))
            m.d.comb += [held.eq(row) for held, row in zip(self.rows, rows, strict=False)]
            return m
        shapes = [Value.cast(factor).shape() for factor in self._factors]
        sizes = (*shapes, len(addends), self._width, len(self.rows))
        kind = "_".join(
            [f"{PART}rows", *(f"{'s' if shape.signed else 'u'}{shape.width}" for shape in shapes), *map(str, sizes[2:])]
        )
        (part,) = build_in(m, platform, kind, ["product"], lambda: ProductRows(*sizes), {}, clocked=False)
        m.d.comb += [part.left.eq(self._factors[0]), part.right.eq(self._factors[1])]
        m.d.comb += [port.eq(addend) for port, addend in zip(part.addends, addends, strict=True)]
        m.d.comb += [held.eq(row) for held, row in zip(self.rows, part.rows, strict=True)]
        return m
