"""Sums of many rows without carry chains, and products as such sums.

A full adder a bit turns three rows into two with the same sum. So a product is cut into steps of a pipeline: rows
(`product_rows`), fewer rows (`compress`), and one addition at the end. All rows are modulo ``2**width``.
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed


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


def compress(m: Module, rows: Sequence[Value], most: int = 2) -> list[Value]:
    """Return at most so many rows of the same sum; ``rows``: as long as each other."""
    rows = list(rows)
    while len(rows) > most:
        whole = len(rows) - len(rows) % 3
        pairs = [_full_adders(m, *rows[at : at + 3]) for at in range(0, whole, 3)]
        rows = [row for pair in pairs for row in pair] + rows[whole:]
    return rows


def _full_adders(m: Module, a: Value, b: Value, c: Value) -> tuple[Value, Value]:
    sums, carries = Signal(len(a), name="sums"), Signal(len(a), name="carries")
    m.d.comb += [sums.eq(a ^ b ^ c), carries.eq(Cat(Const(0, 1), (a & b) | ((a ^ b) & c)))]
    return sums, carries
