"""A sorter of a tile's cubes by depth: what the accelerator would need in the place of its exact order. Not part of it.

Merge sort between two memories: runs of 1, 2, 4, ... items become runs of twice the length until there is one.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


def sorting_cycles(items: int) -> int:
    """Return the cycles from the last of some items to the offer of the first in order."""
    widths = [1 << step for step in range((items - 1).bit_length())]
    return 3 + sum(2 * items + 4 * -(-items // (2 * width)) for width in widths)


class MergeSorter(wiring.Component):
    """Sort lists of items by their key, the lowest first; equal ones keep their order.

    Latency: `sorting_cycles`. Throughput: a list at a time; an item a cycle in, every other cycle out.

    Parameters
    ----------
    key_bits, other_bits : int
        Of an item: what is sorted by, and what goes along.
    capacity : int
        Items of the longest list, a power of two.

    Members
    -------
    i, o : In(stream), Out(stream)
        ``key``, ``other``, and ``last`` of a list.
    """

    def __init__(self, key_bits: int, other_bits: int, capacity: int) -> None:
        self.capacity = capacity
        self.item = data.StructLayout({"key": key_bits, "other": other_bits})
        shape = data.StructLayout({"key": key_bits, "other": other_bits, "last": 1})
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform) -> Module:
        """Return the sorter."""
        m = Module()
        bits = (2 * self.capacity).bit_length()
        # Written is the memory that is not the source.
        source, count, width, place = Signal(init=1), Signal(bits), Signal(bits), Signal(bits)
        left, middle, right, end = (Signal(bits, name=name) for name in ("left", "middle", "right", "end"))
        left_head, right_head = Signal(self.item), Signal(self.item)
        address, enable, takes_left, took_left = Signal(bits), Signal(), Signal(), Signal()
        written, read = Signal(self.item), Signal(self.item)
        for number in range(2):
            m.submodules[f"memory_{number}"] = memory = Memory(shape=self.item, depth=self.capacity, init=[])
            reader, writer = memory.read_port(), memory.write_port()
            m.d.comb += [reader.addr.eq(address), reader.en.eq(source == number)]
            m.d.comb += [writer.addr.eq(place), writer.data.eq(written), writer.en.eq(enable & (source != number))]
            with m.If(source == number):
                m.d.comb += read.eq(reader.data)
        m.d.comb += [
            takes_left.eq((left != middle) & ((right == end) | (left_head.key <= right_head.key))),
            self.o.payload.key.eq(read.key),
            self.o.payload.other.eq(read.other),
            self.o.payload.last.eq(place == count - 1),
        ]
        with m.FSM():
            with m.State("LOAD"):
                m.d.comb += [
                    self.i.ready.eq(1), enable.eq(self.i.valid),
                    written.key.eq(self.i.payload.key), written.other.eq(self.i.payload.other),
                ]  # fmt: skip
                with m.If(self.i.valid):
                    m.d.sync += place.eq(place + 1)
                    with m.If(self.i.payload.last):
                        m.d.sync += [count.eq(place + 1), place.eq(0), width.eq(1), source.eq(0)]
                        m.next = "PAIR"
            with m.State("PAIR"):
                one, two = place + width, place + (width << 1)
                middle_here = Mux(one < count, one, count)
                m.d.sync += [left.eq(place), middle.eq(middle_here), right.eq(middle_here)]
                m.d.sync += end.eq(Mux(two < count, two, count))
                m.next = "LEFT"
                with m.If(width >= count):
                    m.next = "READ"
            with m.State("LEFT"):
                m.d.comb += address.eq(left)
                m.next = "RIGHT"
            with m.State("RIGHT"):
                m.d.comb += address.eq(right)
                m.d.sync += left_head.eq(read)
                m.next = "HEADS"
            with m.State("HEADS"):
                m.d.sync += right_head.eq(read)
                m.next = "MERGE"
            with m.State("MERGE"):
                m.d.comb += [written.eq(Mux(takes_left, left_head, right_head)), enable.eq(1)]
                m.d.comb += address.eq(Mux(takes_left, left, right) + 1)
                m.d.sync += [left.eq(left + takes_left), right.eq(right + ~takes_left), place.eq(place + 1)]
                m.d.sync += took_left.eq(takes_left)
                m.next = "NEXT"
            with m.State("NEXT"):
                with m.If(took_left):
                    m.d.sync += left_head.eq(read)
                with m.Else():
                    m.d.sync += right_head.eq(read)
                m.next = "MERGE"
                with m.If(place == end):
                    m.next = "PAIR"
                    with m.If(end == count):
                        m.d.sync += [place.eq(0), width.eq(width << 1), source.eq(~source)]
            with m.State("READ"):
                m.d.comb += address.eq(place)
                m.next = "SHOW"
            with m.State("SHOW"):
                m.d.comb += [address.eq(place), self.o.valid.eq(1)]
                with m.If(self.o.ready):
                    m.d.sync += place.eq(place + 1)
                    m.next = "READ"
                    with m.If(self.o.payload.last):
                        m.d.sync += [place.eq(0), source.eq(1)]
                        m.next = "LOAD"
        return m
