"""The bi-directional tree equals its definition for all requests, in any mix of modes and under any stalls.

The reference is a pipeline that moves with the tree's handshakes and carries each request to its response. What is
claimed of the registers between the tree's halves serves the induction: the response then follows in one step.
"""

import functools
import operator

import pytest
from amaranth.hdl import Cat, Mux, Signal

from nerf.contract.config import COMPONENTS
from rtl.factors.search_tree import COUNT_BITS, FIRST_STOP, SECOND_STOP, BidirectionalTree
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


def leaves_of(node: int) -> tuple[int, int]:
    """Return the first leaf below a node, and the one behind its last."""
    leaves = COMPONENTS >> node.bit_length() - 1
    return node * leaves % COMPONENTS, node * leaves % COMPONENTS + leaves


class TreeBench(Bench):
    """A tree, its registers by name, and the requests that its three register stages work on, once there were any."""

    def __init__(self, tree: BidirectionalTree) -> None:
        super().__init__()
        self.tree = tree
        self.inner = self.add_open("tree", tree)
        self.leaf, self.upper, self.lower = Signal(TreeRequest), Signal(TreeRequest), Signal(TreeRequest)
        self.in_leaf, self.in_upper, self.in_lower = Signal(), Signal(), Signal()
        self.to_leaf, self.to_upper = tree.i.ready, self.inner["up_ready"]
        self.to_lower = tree.o.ready | ~tree.o.valid
        with self.m.If(self.to_leaf):
            self.m.d.sync += [self.leaf.eq(tree.i.payload), self.in_leaf.eq(1)]
        with self.m.If(self.to_upper):
            self.m.d.sync += [self.upper.eq(self.leaf), self.in_upper.eq(self.in_leaf)]
        with self.m.If(self.to_lower):
            self.m.d.sync += [self.lower.eq(self.upper), self.in_lower.eq(self.in_upper)]
        self.response = tree.o.payload
        for mode in Mode:
            answered = tree.o.valid & self.in_lower & (self.lower.mode == mode)
            self.goal(f"{mode.name} answered", answered & (self.response.total != 0))

    def claim_leaf(self, name: str, condition) -> None:
        self.claim(f"leaf {name}", ~self.in_leaf | condition)

    def claim_upper(self, name: str, condition) -> None:
        self.claim(f"upper {name}", ~self.in_upper | condition)

    def claim_lower(self, name: str, condition) -> None:
        self.claim(name, ~self.in_lower | condition)

    def claim_halves(self) -> None:
        """Claim what goes down: each node's left count (the root's is a part), the start value and the last bit."""
        self.claim_parts()
        for asked, claim, start, last_bit, left, nodes in (
            (self.leaf, self.claim_leaf, "early_start", "early_bit", "early", FIRST_STOP),
            (self.upper, self.claim_upper, "start", "last_bit", "left", range(2, COMPONENTS)),
        ):
            wanted = Mux(asked.mode == Mode.SEARCH, Cat(~asked.k, 1), 0)
            claim("start", self.inner[start].as_unsigned() == wanted)
            claim("last bit", self.inner[last_bit] == asked.bits[-1])
            for node in nodes:
                begin, end = leaves_of(node)
                counted = count(asked.bits, begin, (begin + end) // 2)
                claim(f"left {node}", (asked.mode == Mode.SUM) | (self.inner[f"{left}_{node}"] == counted))

    def claim_parts(self) -> None:
        """Claim that the register stages know their mode and, of other modes than sums, what they have counted."""
        for asked, claim, name, stop in (
            (self.leaf, self.claim_leaf, "early_summing", FIRST_STOP),
            (self.upper, self.claim_upper, "summing", SECOND_STOP),
        ):
            summing = asked.mode == Mode.SUM
            claim("summing", self.inner[name] == summing)
            for node in stop:
                counted = count(asked.bits, *leaves_of(node))
                claim(f"count {node}", summing | (self.inner[f"part_{node}"][:COUNT_BITS] == counted))


def assert_proved(bench: Bench) -> None:
    assert bench.prove(induction=True) is None
    assert bench.unreached() == []


def test_order():
    """Responses are as many as requests, in their order, at most three late; here the payload is a tag."""
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
    old, stays = Signal(3), Signal()
    bench.m.d.sync += [old.eq(inside - get), stays.eq(old > get)]
    bench.claim("order", ~leaves | (tree.o.payload.prefix[1] == tag))
    bench.claim("nothing comes from nothing", ~tree.o.valid | (inside != 0))
    bench.claim("at most three inside", inside <= BidirectionalTree.LATENCY)
    bench.claim("latency", ~stays | tree.o.valid)
    bench.claim("throughput", ~tree.o.ready | tree.i.ready)
    bench.goal("three inside", (inside == BidirectionalTree.LATENCY) & following & (ahead == 1))
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
    bench.claim_parts()
    values = bench.tree.i.payload.values
    sums = {node: pairwise([values[leaf] for leaf in range(*leaves_of(node))]) for node in FIRST_STOP}
    for stop, moves, asked, claim in (
        (FIRST_STOP, bench.to_leaf, bench.leaf, bench.claim_leaf),
        (SECOND_STOP, bench.to_upper, bench.upper, bench.claim_upper),
    ):
        wanted = {}
        for node in stop:
            of_node = [sums[below] for below in sums if below >> below.bit_length() - node.bit_length() == node]
            total = pairwise(of_node)
            wanted[node] = Signal(total.shape(), name=f"wanted_{node}")
            with bench.m.If(moves):
                bench.m.d.sync += wanted[node].eq(total)
            claim(f"sum {node}", (asked.mode != Mode.SUM) | (bench.inner[f"part_{node}"] == wanted[node]))
        sums = wanted
    lower = Signal(TREE_SUM)
    with bench.m.If(bench.to_lower):
        bench.m.d.sync += lower.eq(pairwise(list(sums.values())))
    bench.claim_lower("SUM", (bench.lower.mode != Mode.SUM) | (bench.response.total.as_unsigned() == lower))
    assert_proved(bench)


def test_count():
    bench = TreeBench(BidirectionalTree())
    bench.claim_parts()
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
    fault = search_bench(ForgetfulTree()).prove(induction=True, cycles=BidirectionalTree.LATENCY + 1)
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
