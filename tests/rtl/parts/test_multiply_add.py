"""`rtl.parts.multiply_add` and `carry_save` against Python's integers."""

import random

import pytest
from amaranth.hdl import Fragment, Module, Signal, signed

from cosim.unit import play
from rtl.parts.carry_save import ProductRows, few_rows
from rtl.parts.multiply_add import MultiplyAdd
from rtl.parts.shared_module import Platform

WIDTHS = ((36, 32, 54), (5, 13, 4), (12, 7, 30), (2, 2, 1), (8, 8, 16))


def edges(bits: int, chance: random.Random) -> int:
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    return chance.choice((low, high, 0, -1, chance.randint(low, high), chance.randint(low, high)))


def with_multipliers(component) -> Module:
    """Return a module with the products that an FPGA gets."""
    m = Module()
    m.submodules.component = Fragment.get(component, Platform(has_multipliers=True))
    return m


@pytest.mark.parametrize("prepare", [lambda unit: unit, with_multipliers], ids=["whole", "multipliers"])
@pytest.mark.parametrize("widths", WIDTHS)
def test_a_total_a_cycle(widths, prepare):
    chance = random.Random(sum(widths))
    unit = MultiplyAdd(*widths)
    operands = [[edges(bits, chance) for bits in widths] for _ in range(60)]
    totals = []

    async def bench(ctx):
        for left, right, addend in [*operands, *operands[: MultiplyAdd.LATENCY]]:
            ctx.set(unit.left, left)
            ctx.set(unit.right, right)
            ctx.set(unit.addend, addend)
            totals.append(ctx.get(unit.total))
            await ctx.tick()

    play(prepare(unit), bench)
    assert totals[MultiplyAdd.LATENCY :] == [left * right + addend for left, right, addend in operands]


FACTORS = [(7, signed(5)), (signed(7), 5), (6, 6), (4, signed(9)), (18, signed(19)), (signed(35), 36), (1, signed(53))]


def few(m: Module, left: Signal, right: Signal, addend: Signal) -> list:
    return few_rows(m, left, right, len(addend), [addend])


def gates(m: Module, left: Signal, right: Signal, addend: Signal) -> list:
    """The rows of the Verilog for an ASIC."""
    m.submodules.rows = rows = ProductRows(left.shape(), right.shape(), 1, len(addend), 2)
    m.d.comb += [rows.left.eq(left), rows.right.eq(right), rows.addends[0].eq(addend)]
    return list(rows.rows)


@pytest.mark.parametrize(("rows", "prepare"), [(few, lambda m: m), (few, with_multipliers), (gates, lambda m: m)])
@pytest.mark.parametrize("shapes", FACTORS)
def test_rows_of_factors_with_and_without_sign(shapes, rows, prepare):
    chance = random.Random(str(shapes))
    m = Module()
    left, right = (Signal(shape, name=name) for shape, name in zip(shapes, ("left", "right"), strict=True))
    width = len(left) + len(right) + 1
    addend, total = Signal(signed(width)), Signal(signed(width))
    halves = rows(m, left, right, addend)
    m.d.comb += addend.eq(right)
    m.d.sync += total.eq(halves[0] + halves[1])

    async def bench(ctx):
        for _ in range(100):
            values = []
            for factor in (left, right):
                ctx.set(factor, edges(len(factor), chance) & (1 << len(factor)) - 1)
                values.append(ctx.get(factor))
            await ctx.tick()
            assert ctx.get(total) == values[0] * values[1] + values[1]

    play(prepare(m), bench)
