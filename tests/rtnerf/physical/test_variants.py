"""What stands in the place of an idea in `benchmarks.variants` and is no part of the accelerator."""

import random

import pytest

from benchmarks.merge_sorter import MergeSorter, sorting_cycles
from cosim.unit import STALLS, run, shared

CAPACITY = 16
LISTS = (1, 2, 3, 5, 8, 13, 16)
"""Lengths of lists, one after the other."""


@pytest.mark.parametrize("stalls", STALLS)
def test_lists_come_out_sorted_and_equal_keys_keep_their_order(stalls):
    source = random.Random(1)
    lists = [[(source.randrange(12), number) for number in range(length)] for length in LISTS]
    items = [
        {"key": key, "other": other, "last": place == len(one) - 1}
        for one in lists
        for place, (key, other) in enumerate(one)
    ]
    result = run(shared(MergeSorter, 4, 6, CAPACITY), {"i": items}, {"o": len(items)}, stalls=stalls)
    found = [(item.key, item.other, item.last) for item in result.outputs["o"]]
    wanted = [(*item, place == len(one) - 1) for one in lists
              for place, item in enumerate(sorted(one, key=lambda item: item[0]))]  # fmt: skip
    assert found == wanted
    if stalls == (1.0, 1.0):
        ends = [cycle for cycle, item in zip(result.cycles["i"], items, strict=True) if item["last"]]
        starts = [
            cycle for cycle, before in zip(result.cycles["o"], [(0, 0, True), *wanted], strict=False) if before[2]
        ]
        assert [start - end for start, end in zip(starts, ends, strict=True)] == list(map(sorting_cycles, LISTS))
