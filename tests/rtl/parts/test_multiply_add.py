"""`rtl.parts.multiply_add` and `carry_save` against Python's integers."""

import random

import pytest
from amaranth.hdl import Fragment, Module, Signal, signed

from cosim.unit import play
from rtl.parts.carry_save import few_rows
from rtl.parts.multiply_add import MultiplyAdd

WIDTHS = ((36, 32, 54), (5, 13, 4), (12, 7, 30), (2, 2, 1), (8, 8, 16))


def edges(bits: int, chance: random.Random) -> int:
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    return chance.choice((low, high, 0, -1, chance.randint(low, high), chance.randint(low, high)))


def with_gates(component) -> Module:
    """Return a module with the gates that the Verilog has; for the simulator itself there are none."""
    m = Module()
    m.submodules.component = Fragment.get(component, object())
    return m


@pytest.mark.parametrize("gates", [False, True])
@pytest.mark.parametrize("widths", WIDTHS)
def test_a_total_a_cycle(widths, gates):
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

    play(with_gates(unit) if gates else unit, bench)
    assert totals[MultiplyAdd.LATENCY :] == [left * right + addend for left, right, addend in operands]


@pytest.mark.parametrize(("left", "right"), [(7, signed(5)), (signed(7), 5), (6, 6), (4, signed(9))])
def test_rows_of_factors_with_and_without_sign(left, right):
    chance = random.Random(str((left, right)))
    m = Module()
    factors = [Signal(shape) for shape in (left, right)]
    width = sum(map(len, factors))
    product = Signal(signed(width))
    halves = few_rows(m, *factors, width)
    m.d.sync += product.eq(halves[0] + halves[1])

    async def bench(ctx):
        for _ in range(100):
            for factor in factors:
                ctx.set(factor, edges(len(factor), chance) & (1 << len(factor)) - 1)
            values = [ctx.get(factor) for factor in factors]
            await ctx.tick()
            assert ctx.get(product) & (1 << width) - 1 == values[0] * values[1] & (1 << width) - 1

    play(with_gates(m), bench)
