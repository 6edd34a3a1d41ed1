# amaranth: UnusedElaboratable=no
"""The bi-directional tree against plain Python, its timing, and what sharing it saves in cells."""

import json
import random

import pytest
from amaranth.back import rtlil
from pyosys import libyosys

from cosim.unit import STALLS, run, shared
from nerf.contract.config import COMPONENTS
from rtl.factors.search_tree import BidirectionalTree
from rtl.payloads import TREE_LEAF, Mode

HIGH = (1 << TREE_LEAF - 1) - 1
LOW = -HIGH - 1


def request(mode, values=None, bits=0, k=0):
    return {"mode": mode, "values": values or [0] * COMPONENTS, "bits": bits, "k": k}


def edge_requests():
    for values in ([LOW] * 16, [HIGH] * 16, [LOW, HIGH] * 8, [-1] * 16, [0] * 16, [1] + [0] * 15, [0] * 15 + [-1]):
        yield request(Mode.SUM, values, 0xFFFF, 15)
    for bits in (0, 0xFFFF, 1, 0x8000, 0x5555, 0xAAAA, 0xFF00, 0x00FF, 0x8001):
        yield request(Mode.PREFIX, [LOW] * 16, bits, 3)
        for k in range(COMPONENTS):
            yield request(Mode.SEARCH, [HIGH] * 16, bits, k)


def random_requests(count, seed):
    generator = random.Random(seed)
    for _ in range(count):
        values = [generator.randint(LOW, HIGH) for _ in range(COMPONENTS)]
        bits = generator.getrandbits(16) & (generator.getrandbits(16) if generator.random() < 0.5 else 0xFFFF)
        yield request(generator.choice(list(Mode)), values, bits, generator.randrange(COMPONENTS))


def check(asked, response):
    bits = [asked["bits"] >> place & 1 for place in range(COMPONENTS)]
    if asked["mode"] == Mode.SUM:
        assert response.total == sum(asked["values"])
        return
    assert response.total == sum(bits)
    if asked["mode"] == Mode.PREFIX:
        assert [response.prefix[place] for place in range(COMPONENTS)] == [sum(bits[:place]) for place in range(16)]
    else:
        places = [place for place, bit in enumerate(bits) if bit]
        assert response.found == (asked["k"] < len(places))
        if response.found:
            assert response.index == places[asked["k"]]


@pytest.mark.parametrize("stalls", STALLS)
def test_answers_equal_python(stalls):
    asked = [*edge_requests(), *random_requests(300, str(stalls))]
    result = run(shared(BidirectionalTree), {"i": asked}, {"o": len(asked)}, stalls=stalls)
    for one, response in zip(asked, result.outputs["o"], strict=True):
        check(one, response)
    if stalls == (1.0, 1.0):
        delays = {out - into for into, out in zip(result.cycles["i"], result.cycles["o"], strict=True)}
        assert delays == {BidirectionalTree.LATENCY}
        assert result.total == len(asked) - 1 + BidirectionalTree.LATENCY


def test_bitmaps_all_over_are_counted_and_searched():
    generator = random.Random(5)
    asked = [request(Mode.PREFIX, bits=bits) for bits in range(0, 1 << 16, 97)]
    asked += [request(Mode.SEARCH, bits=bits, k=generator.randrange(16)) for bits in range(7, 1 << 16, 97)]
    result = run(shared(BidirectionalTree), {"i": asked}, {"o": len(asked)})
    for one, response in zip(asked, result.outputs["o"], strict=True):
        check(one, response)


@pytest.mark.parametrize("mode", list(Mode))
def test_a_tree_of_one_mode_does_that_mode(mode):
    asked = [one for one in (*edge_requests(), *random_requests(100, 9)) if one["mode"] == mode]
    result = run(shared(BidirectionalTree, (mode,)), {"i": asked}, {"o": len(asked)})
    for one, response in zip(asked, result.outputs["o"], strict=True):
        check(one, response)


def test_a_tree_without_modes_is_refused():
    with pytest.raises(ValueError, match="modes must be at least one Mode, not none"):
        BidirectionalTree([])


def cells(modes, passes, folder):
    """Return the cells by type of a tree after the given synthesis passes."""
    source, report = folder / "tree.il", folder / "cells.json"
    source.write_text(rtlil.convert(BidirectionalTree(modes), emit_src=False))
    design = libyosys.Design()
    for command in (f"read_rtlil {source}", *passes, f"-o {report} stat -json"):
        libyosys.run_pass(f"tee -q {command}", design)
    return json.loads(report.read_text())["design"]["num_cells_by_type"]


ARITHMETIC = {"$add", "$sub", "$alu", "$macc", "$lt", "$le", "$gt", "$ge", "$neg", "$mul"}


def test_all_uses_share_15_adders_up_and_15_down(tmp_path):
    found = cells(tuple(Mode), ["proc", "opt"], tmp_path)
    assert {kind: count for kind, count in found.items() if kind in ARITHMETIC} == {"$add": 15 + 15}
    separate = [cells([mode], ["proc", "opt"], tmp_path)["$add"] for mode in Mode]
    assert separate[Mode.SUM] == 15
    assert sum(separate) > 2 * 30


@pytest.mark.parametrize("flow", ["synth -flatten", "synth -flatten -noalumacc"])
def test_the_shared_tree_is_smaller_than_three(flow, tmp_path):
    """The 29-bit sum is most of every tree that has it, so what is beyond it is compared as well.

    The limits leave room for what ABC makes of other names: some cells more or less.
    """
    shared = sum(cells(tuple(Mode), [flow], tmp_path).values())
    separate = [sum(cells([mode], [flow], tmp_path).values()) for mode in Mode]
    assert shared < 0.98 * sum(separate), (shared, separate)
    beyond = shared - separate[Mode.SUM]
    assert beyond < 0.9 * (separate[Mode.PREFIX] + separate[Mode.SEARCH]), (shared, separate)
