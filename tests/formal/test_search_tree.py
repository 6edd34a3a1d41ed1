"""The bi-directional tree equals its definition for all requests, in any mix of modes and under any stalls.

The reference is a pipeline that moves with the tree's handshakes and carries each request to its response. What is
claimed of the registers between the tree's halves serves the induction: the response then follows in one step.
"""

import functools
import operator

import pytest
from amaranth.hdl import Cat, Mux, Signal

from nerf.contract.config import COMPONENTS
from rtl.factors.search_tree import BidirectionalTree
from rtl.payloads import TREE_SUM, Mode, TreeRequest
from tests.formal.prove import Bench


def count(bits, start: int = 0, stop: int = COMPONENTS):
    """Return how many bits of a range are set."""
    return functools.reduce(operator.add, [bits[place] for place in range(start, stop)], 0)


def pairwise(values):
    """Return a sum in the tree's order. Amaranth's additions are exact, so no other order differs."""
    while len(values) > 1:
        values = [left + right for left, right in zip(values[::2], values[1::2], strict=True)]
    return values[0]


class TreeBench(Bench):
    """A tree, its registers by name, and the requests that its two register stages work on, once there were any."""

    def __init__(self, tree: BidirectionalTree) -> None:
        super().__init__()
        self.tree = tree
        self.inner = self.add_open("tree", tree)
        self.upper, self.lower = Signal(TreeRequest), Signal(TreeRequest)
        self.in_upper, self.in_lower = Signal(), Signal()
        self.to_upper, self.to_lower = tree.i.ready, tree.o.ready | ~tree.o.valid
        with self.m.If(self.to_upper):
            self.m.d.sync += [self.upper.eq(tree.i.payload), self.in_upper.eq(1)]
        with self.m.If(self.to_lower):
            self.m.d.sync += [self.lower.eq(self.upper), self.in_lower.eq(self.in_upper)]
        self.response = tree.o.payload
        for mode in Mode:
            answered = tree.o.valid & self.in_lower & (self.lower.mode == mode)
            self.goal(f"{mode.name} answered", answered & (self.response.total != 0))

    def claim_upper(self, name: str, condition) -> None:
        self.claim(f"upper {name}", ~self.in_upper | condition)

    def claim_lower(self, name: str, condition) -> None:
        self.claim(name, ~self.in_lower | condition)

    def claim_halves(self) -> None:
        """Claim what goes down: each node's left count, the start value and the last bit."""
        self.claim_upper(
            "start", self.inner["start"].as_unsigned() == Mux(self.upper.mode == Mode.SEARCH, Cat(~self.upper.k, 1), 0)
        )
        self.claim_upper("last bit", self.inner["last_bit"] == self.upper.bits[-1])
        for node in range(1, COMPONENTS):
            leaves = COMPONENTS >> node.bit_length() - 1
            first = node * leaves % COMPONENTS
            left = count(self.upper.bits, first, first + leaves // 2)
            self.claim_upper(f"left {node}", (self.upper.mode == Mode.SUM) | (self.inner[f"left_{node}"] == left))


def assert_proved(bench: Bench) -> None:
    assert bench.prove(induction=True) is None
    assert bench.unreached() == []


def test_order():
    """Responses are as many as requests, in their order, at most two late; here the payload is a tag."""
    bench = Bench()
    tree = bench.add("tree", BidirectionalTree([Mode.PREFIX]))
    put, get = tree.i.valid & tree.i.ready, tree.o.valid & tree.o.ready
    inside = Signal(3)
    bench.m.d.sync += inside.eq(inside + put - get)
    follow = bench.free("follow")
    following, ahead, tag = Signal(), Signal(3), Signal()
    leaves = following & get & (ahead == 0)
    with bench.m.If(following & get):
        bench.m.d.sync += [ahead.eq(ahead - 1), following.eq(ahead != 0)]
    with bench.m.If(put & follow & ~following):
        bench.m.d.sync += [following.eq(1), ahead.eq(inside - get), tag.eq(tree.i.payload.bits[0])]
    stays = Signal()
    bench.m.d.sync += stays.eq(inside != get)
    bench.claim("order", ~leaves | (tree.o.payload.prefix[1] == tag))
    bench.claim("nothing comes from nothing", ~tree.o.valid | (inside != 0))
    bench.claim("at most two inside", inside <= BidirectionalTree.LATENCY)
    bench.claim("latency", ~stays | tree.o.valid)
    bench.claim("throughput", ~tree.o.ready | tree.i.ready)
    bench.goal("two inside", (inside == BidirectionalTree.LATENCY) & following & (ahead == 1))
    bench.goal("the followed leaves", leaves & tag)
    assert bench.prove() is None
    assert bench.unreached() == []


def test_stream_rule():
    bench = Bench()
    tree = bench.add("tree", BidirectionalTree())
    bench.claim_stream("o", tree.o)
    assert bench.prove() is None
    assert bench.unreached() == []


def test_sum():
    bench = TreeBench(BidirectionalTree())
    upper, lower = Signal(TREE_SUM), Signal(TREE_SUM)
    total = pairwise([bench.tree.i.payload.values[leaf] for leaf in range(COMPONENTS)])
    with bench.m.If(bench.to_upper):
        bench.m.d.sync += upper.eq(total)
    with bench.m.If(bench.to_lower):
        bench.m.d.sync += lower.eq(upper)
    bench.claim_upper("sum", (bench.upper.mode != Mode.SUM) | (bench.inner["sum"].as_unsigned() == upper))
    bench.claim_lower("SUM", (bench.lower.mode != Mode.SUM) | (bench.response.total.as_unsigned() == lower))
    assert_proved(bench)


def test_count():
    bench = TreeBench(BidirectionalTree())
    bench.claim_upper("sum", (bench.upper.mode == Mode.SUM) | (bench.inner["sum"] == count(bench.upper.bits)))
    bench.claim_lower("total", (bench.lower.mode == Mode.SUM) | (bench.response.total == count(bench.lower.bits)))
    assert_proved(bench)


def test_prefix():
    bench = TreeBench(BidirectionalTree())
    bench.claim_halves()
    for leaf in range(COMPONENTS):
        before = count(bench.lower.bits, 0, leaf)
        bench.claim_lower(f"prefix {leaf}", (bench.lower.mode != Mode.PREFIX) | (bench.response.prefix[leaf] == before))
    assert_proved(bench)


def search_bench(tree: BidirectionalTree) -> Bench:
    bench = TreeBench(tree)
    bench.claim_halves()
    asked, response = bench.lower, bench.response
    before = count([asked.bits[place] & (place < response.index) for place in range(COMPONENTS)])
    other = asked.mode != Mode.SEARCH
    bench.claim_lower("found", other | (response.found == (asked.k < count(asked.bits))))
    bench.claim_lower("a set bit", other | ~response.found | asked.bits.bit_select(response.index, 1))
    bench.claim_lower("the k-th", other | ~response.found | (before == asked.k))
    return bench


def test_search():
    assert_proved(search_bench(BidirectionalTree()))


class ForgetfulTree(BidirectionalTree):
    """A tree with a fault: a search that ends at the last leaf finds something there, whatever its bit."""

    def elaborate(self, platform):
        fragment = super().elaborate(platform)
        fragment.d.comb += self.o.payload.found.eq(1)
        return fragment


@pytest.mark.full
def test_a_search_without_its_last_comparison_is_found():
    fault = search_bench(ForgetfulTree()).prove(induction=True)
    assert fault.claim == "found"
    assert len(fault.trace) == BidirectionalTree.LATENCY + 1


@pytest.mark.parametrize("node", [1, 15])
def test_claims_about_the_registers_are_needed(node):
    """Induction says so when claims do not follow from each other; it never proves what it has not seen."""
    bench = TreeBench(BidirectionalTree())
    bench.claim_lower(
        "prefix", (bench.lower.mode != Mode.PREFIX) | (bench.response.prefix[node] == count(bench.lower.bits, 0, node))
    )
    with pytest.raises(TimeoutError, match="ind"):
        bench.prove(induction=True)
