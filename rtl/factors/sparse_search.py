"""The high-density sparse search unit: all entries of a coordinate block compared with 16 wanted indices at once."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.blocks import COORDINATE_LIMIT
from nerf.contract.config import COMPONENTS
from nerf.contract.formats import FACTOR
from rtl.payloads import FactorVector

LOAD_ENTRIES = 8
"""Entries in a memory beat."""

CoordinateEntry = data.StructLayout({"component": 4, "position": 4, "value": signed(FACTOR.width)})
"""One stored value: index (position * 16 + component), then the value, a byte each."""


class SparseSearch(wiring.Component):
    """Hold the entries of a coordinate block and answer which of them a position has, all 16 components at once.

    Every entry that is held is compared with every wanted index in parallel. Loads append: all loads after ``clear``
    but the last must be full. ``clear`` and ``load`` may come in the same cycle: clear, then load.

    Latency: 0 cycles from a position to its answer (combinational); an entry is found from the cycle after its load.
    Throughput: 16 wanted indices a cycle, 8 entries loaded a cycle.

    Members
    -------
    clear : In(1)
        Strobe: forget all entries.
    load : In(1)
        Strobe: take the first ``load_count`` of ``entries``.
    load_count : In(4)
        0 to 8.
    entries : In(array of 8 `CoordinateEntry`)
    position : In(4)
        Wanted position.
    hits : Out(16)
        Components of the position that have an entry.
    values : Out(`FactorVector`)
        Their values; zero for the others.
    """

    LATENCY = 0

    clear: In(1)
    load: In(1)
    load_count: In(range(LOAD_ENTRIES + 1))
    entries: In(data.ArrayLayout(CoordinateEntry, LOAD_ENTRIES))
    position: In(4)
    hits: Out(COMPONENTS)
    values: Out(FactorVector)

    def elaborate(self, platform) -> Module:
        """Return the entry registers and the comparators."""
        m = Module()
        loads = COORDINATE_LIMIT // LOAD_ENTRIES
        held = Signal(data.ArrayLayout(CoordinateEntry, COORDINATE_LIMIT))
        valid = Signal(COORDINATE_LIMIT)
        loaded = Signal(range(loads))
        with m.If(self.clear):
            m.d.sync += valid.eq(0)
        with m.If(self.load):
            # The rows are used in turn; which of them is a block's first does not matter.
            m.d.sync += loaded.eq(loaded + 1)
            for row in range(loads):
                with m.If(loaded == row):
                    for entry in range(LOAD_ENTRIES):
                        index = row * LOAD_ENTRIES + entry
                        m.d.sync += held[index].eq(self.entries[entry])
                        m.d.sync += valid[index].eq(entry < self.load_count)

        here = Signal(COORDINATE_LIMIT)
        for index in range(COORDINATE_LIMIT):
            m.d.comb += here[index].eq(valid[index] & (held[index].position == self.position))
        for component in range(COMPONENTS):
            match = Signal(COORDINATE_LIMIT, name=f"match_{component}")
            found = 0
            for index in range(COORDINATE_LIMIT):
                m.d.comb += match[index].eq(here[index] & (held[index].component == component))
                found |= held[index].value.as_unsigned() & match[index].replicate(FACTOR.width)
            m.d.comb += [self.hits[component].eq(match.any()), self.values[component].eq(found)]
        return m
