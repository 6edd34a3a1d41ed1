"""The bi-directional adder and search tree: one physical tree that sums, counts bits and finds a bit.

Upward, 15 adders give the sum of 16 leaves. Downward, 15 small adders work on the sums of the left subtrees, which the
upward half has already made. A node that receives ``v`` passes ``v`` to the left and ``v + left`` to the right:

* from ``v = 0`` at the root, leaf i receives the number of set bits before i (the exclusive prefix count);
* from ``v = -1 - k``, a node receives ``-1 - k'`` where k' is the rank wanted inside its own subtree, and
  ``v + left = -1 - (k' - left)``. Its sign is the comparison: negative means k' >= left, go right with the new value.

So the prefix count and the search are the same addition, and the search needs neither subtractor nor comparator.
The paper names such a tree; its insides are ours.
"""

from collections.abc import Iterable

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import COMPONENTS
from rtl.payloads import TREE_LEAF, TREE_SUM, Mode, TreeRequest, TreeResponse

LEVELS = COMPONENTS.bit_length() - 1
COUNT_BITS = LEVELS + 1
"""Bits of a count of up to 16."""
FIRST_STOP, SECOND_STOP = range(8, 16), range(2, 4)
"""The nodes, numbered like a heap, whose sums are registered on the way up."""
DOWN_BITS = LEVELS + 1
"""Bits that travel downwards: a prefix count below 16, or -16 to -1 for a search."""


class BidirectionalTree(wiring.Component):
    """One tree of 16 leaves for sums, prefix counts and searches.

    Response fields that `Mode` does not name for the request's mode have no meaning.

    Latency: 3 cycles from an accepted request to its valid response.
    Throughput: 1 request a cycle.

    Parameters
    ----------
    modes : iterable of Mode
        What the tree can do; all of it by default. Fewer modes make a smaller tree, to compare with.

    Members
    -------
    i : In(stream)
        `TreeRequest`.
    o : Out(stream)
        `TreeResponse`, in order.
    """

    LATENCY = 3

    def __init__(self, modes: Iterable[Mode] = tuple(Mode)) -> None:
        self._modes = frozenset(Mode(mode) for mode in modes)
        if not self._modes:
            raise ValueError("modes must be at least one Mode, not none")
        super().__init__({"i": In(stream.Signature(TreeRequest)), "o": Out(stream.Signature(TreeResponse))})

    def elaborate(self, platform) -> Module:
        """Return the tree in three registered steps: lowest adders, the next two levels, the root and the way down."""
        m = Module()
        leaf_ready, up_ready, down_ready = (Signal(name=f"{name}_ready") for name in ("leaf", "up", "down"))
        leaf_valid, up_valid = Signal(), Signal()
        m.d.comb += [
            down_ready.eq(self.o.ready | ~self.o.valid),
            up_ready.eq(down_ready | ~up_valid),
            leaf_ready.eq(up_ready | ~leaf_valid),
            self.i.ready.eq(leaf_ready),
        ]
        with m.If(leaf_ready):
            m.d.sync += leaf_valid.eq(self.i.valid)
        with m.If(up_ready):
            m.d.sync += up_valid.eq(leaf_valid)
        with m.If(down_ready):
            m.d.sync += self.o.valid.eq(up_valid)

        lefts = self._upward(m, leaf_ready, up_ready, down_ready)
        if self._modes != {Mode.SUM}:
            self._downward(m, lefts, leaf_ready, up_ready, down_ready)
        return m

    def _is(self, mode: Mode):
        """Return whether the request has a mode; a constant where the tree has no other mode, or not this one."""
        if mode not in self._modes:
            return Const(0)
        return self.i.payload.mode == mode if len(self._modes) > 1 else Const(1)

    def _leaf(self, m: Module, leaf: int):
        """Return what a leaf adds: the value, or the bit. A count needs the low bits only, so those are switched."""
        value, bit = self.i.payload.values[leaf], self.i.payload.bits[leaf]
        if Mode.SUM not in self._modes:
            return bit
        if self._modes == {Mode.SUM}:
            return value
        summing = self._is(Mode.SUM)
        mixed = Signal(signed(TREE_LEAF), name=f"leaf_{leaf}")
        m.d.comb += mixed.eq(Cat(Mux(summing, value[:COUNT_BITS], bit), value[COUNT_BITS:]))
        return mixed

    def _upward(self, m: Module, leaf_ready, up_ready, down_ready):
        """Add up the leaves, to the response's total; return, registered, the count of each node's left subtree.

        A node is numbered like a heap: the root is 1, the children of n are 2 n and 2 n + 1, the leaves 16 to 31.
        """

        def held(ready, value, name):
            register = Signal(value.shape(), name=name, reset_less=True)
            with m.If(ready):
                m.d.sync += register.eq(value)
            return register

        sums = {COMPONENTS + leaf: self._leaf(m, leaf) for leaf in range(COMPONENTS)}
        lefts = {}
        for node in reversed(range(1, COMPONENTS)):
            height = LEVELS - (node.bit_length() - 1)
            lefts[node] = sums[2 * node][:height]
            if node in FIRST_STOP:
                lefts[node] = held(leaf_ready, lefts[node], f"early_{node}")
            if 2 * node not in SECOND_STOP:
                lefts[node] = held(up_ready, lefts[node], f"left_{node}")
            added = sums[2 * node] + sums[2 * node + 1]
            sums[node] = Signal(added.shape(), name=f"sum_{node}")
            m.d.comb += sums[node].eq(added)
            for stop, ready in ((FIRST_STOP, leaf_ready), (SECOND_STOP, up_ready)):
                if node in stop:
                    sums[node] = held(ready, sums[node], f"part_{node}")
        total = held(down_ready, sums[1], "total")
        if Mode.SUM in self._modes:
            assert total.shape().width == TREE_SUM
            summing = held(up_ready, held(leaf_ready, self._is(Mode.SUM), "early_summing"), "summing")
            # The upper bits of a count are sums of values that nobody asked for.
            with m.If(down_ready & ~summing):
                m.d.sync += total[COUNT_BITS:].eq(0)
        m.d.comb += self.o.payload.total.eq(total)
        return lefts

    def _downward(self, m: Module, lefts, leaf_ready, up_ready, down_ready) -> None:
        """Send counts and the search down the tree, and register what arrives at the leaves."""
        request = self.i.payload
        early_start, start = (
            Signal(signed(DOWN_BITS), name=name, reset_less=True) for name in ("early_start", "start")
        )
        early_bit, last_bit = (Signal(name=name, reset_less=True) for name in ("early_bit", "last_bit"))
        with m.If(leaf_ready):
            # -1 - k is ~k: the root value costs inverters, not a subtractor.
            m.d.sync += early_start.eq(Mux(self._is(Mode.SEARCH), Cat(~request.k, 1), 0))
            m.d.sync += early_bit.eq(request.bits[-1])
        with m.If(up_ready):
            m.d.sync += [start.eq(early_start), last_bit.eq(early_bit)]
        values, active = {1: start}, {1: Const(1)}
        for node in range(1, COMPONENTS):
            right = Signal(signed(DOWN_BITS), name=f"right_{node}")
            m.d.comb += right.eq(values[node] + lefts[node])
            values[2 * node], values[2 * node + 1] = values[node], right
            active[2 * node], active[2 * node + 1] = active[node] & ~right[-1], active[node] & right[-1]
        if Mode.PREFIX in self._modes:
            for leaf in range(1, COMPONENTS):
                count = Signal(leaf.bit_length(), name=f"prefix_{leaf}", reset_less=True)
                with m.If(down_ready):
                    m.d.sync += count.eq(values[COMPONENTS + leaf])
                m.d.comb += self.o.payload.prefix[leaf].eq(count)
        if Mode.SEARCH in self._modes:
            index = Signal(LEVELS, reset_less=True)
            found = Signal(reset_less=True)
            last = 2 * COMPONENTS - 1
            with m.If(down_ready):
                for level in range(LEVELS):
                    ways = [active[COMPONENTS + leaf] for leaf in range(COMPONENTS) if leaf >> level & 1]
                    m.d.sync += index[level].eq(Cat(ways).any())
                # Every step to the left proves the bit; only the way to the last leaf has proved nothing yet.
                m.d.sync += found.eq(~active[last] | (values[last].all() & last_bit))
            m.d.comb += [self.o.payload.index.eq(index), self.o.payload.found.eq(found)]
