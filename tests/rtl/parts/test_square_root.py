"""`rtl.parts.square_root` against `math.isqrt`."""

import math
import random
from itertools import pairwise

import pytest

from cosim.unit import STALLS, run, shared
from rtl.parts.square_root import SquareRoot

WIDTHS = (25, 7, 4)


def cases(root_bits: int, count: int, seed: int) -> list[int]:
    chance = random.Random(seed)
    top = (1 << 2 * root_bits) - 1
    roots = [chance.getrandbits(root_bits) for _ in range(count)]
    around = [min(max(root * root + by, 0), top) for root in roots for by in (-1, 0, 1)]
    return [0, 1, 2, 3, 4, top, top - 1, top >> 1, *around, *(chance.getrandbits(2 * root_bits) for _ in range(count))]


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize("bits", WIDTHS)
def test_root_is_floor(bits, stalls):
    inputs = cases(bits, 15, bits)
    result = run(shared(SquareRoot, bits), {"i": inputs}, {"o": len(inputs)}, stalls=stalls)
    assert result.outputs["o"] == [math.isqrt(value) for value in inputs]


@pytest.mark.parametrize("bits", WIDTHS)
def test_latency_and_throughput(bits):
    root = SquareRoot(bits)
    assert -(-bits // 2) + 1 == root.LATENCY
    inputs = cases(bits, 2, 1)
    result = run(root, {"i": inputs}, {"o": len(inputs)})
    accepted, produced = result.cycles["i"], result.cycles["o"]
    assert {b - a for a, b in zip(accepted, produced, strict=True)} == {root.LATENCY}
    assert {b - a for a, b in pairwise(accepted)} == {root.LATENCY}
