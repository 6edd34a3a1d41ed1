"""`rtl.parts.divider` against Python's integer division."""

import random
from itertools import pairwise

import pytest

from cosim.unit import STALLS, run, shared
from rtl.parts.divider import Divider

WIDTHS = ((45, 28, 2), (37, 34, 1), (8, 8, 3), (5, 12, 1), (45, 28, 2, 32), (9, 6, 2, 5))
"""Bits of dividend and divisor, quotient bits a cycle, and, where it is not as wide as the dividend, the quotient's."""


def cases(widths: tuple[int, ...], count: int, seed: int) -> list[dict[str, int]]:
    dividend_bits, divisor_bits, quotient_bits = widths[0], widths[1], (widths[3:] or widths)[0]
    chance = random.Random(seed)
    top = (1 << dividend_bits) - 1
    edges = [(a, b) for a in (0, 1, top, top >> 1, 1 << dividend_bits - 1) for b in (1, 2, 3, (1 << divisor_bits) - 1)]
    pairs = [
        (chance.getrandbits(dividend_bits), max(chance.getrandbits(chance.randint(1, divisor_bits)), 1))
        for _ in range(count)
    ]
    return [{"dividend": a, "divisor": b} for a, b in edges + pairs if a // b >> quotient_bits == 0]


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize("widths", WIDTHS)
def test_quotient_is_floor(widths, stalls):
    inputs = cases(widths, 30, sum(widths))
    result = run(shared(Divider, *widths), {"i": inputs}, {"o": len(inputs)}, stalls=stalls)
    assert result.outputs["o"] == [case["dividend"] // case["divisor"] for case in inputs]


@pytest.mark.parametrize("widths", WIDTHS)
def test_latency_and_throughput(widths):
    divider = Divider(*widths)
    assert -(-(widths[3:] or widths)[0] // widths[2]) + 1 == divider.LATENCY
    inputs = cases(widths, 4, 1)
    result = run(divider, {"i": inputs}, {"o": len(inputs)})
    accepted, produced = result.cycles["i"], result.cycles["o"]
    assert {b - a for a, b in zip(accepted, produced, strict=True)} == {divider.LATENCY}
    assert {b - a for a, b in pairwise(accepted)} == {divider.LATENCY}


def test_zero_divisor_gives_all_ones():
    result = run(shared(Divider, 9, 4), {"i": [{"dividend": 5, "divisor": 0}]}, {"o": 1})
    assert result.outputs["o"] == [511]
