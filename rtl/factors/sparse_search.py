"""The high-density sparse search unit: all entries of a coordinate block compared with the wanted indices at once."""

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed
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
    """Hold the entries of a coordinate block and answer which of them a position has, several components at once.

    Every entry that is held is compared with every wanted index in parallel. Loads append: all loads after ``clear``
    but the last must be full. ``clear`` and ``load`` may come in the same cycle: clear, then load.

    Latency: 0 cycles from a position to its answer (combinational); an entry is found from the cycle after its load.
    Throughput: ``components`` wanted indices a cycle, 8 entries loaded a cycle.

    Parameters
    ----------
    components : int
        Of the 16 of a position, a power of two.

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
    part : In
        Which of its components, the first ones in part 0; of all at a time there is none but 0.
    hits : Out(components)
        Those that have an entry.
    values : Out(array of components)
        Their values; zero for the others.
    """

    LATENCY = 0

    def __init__(self, components: int = COMPONENTS) -> None:
        self._components = components
        super().__init__(
            {
                "clear": In(1),
                "load": In(1),
                "load_count": In(range(LOAD_ENTRIES + 1)),
                "entries": In(data.ArrayLayout(CoordinateEntry, LOAD_ENTRIES)),
                "position": In(4),
                "part": In(range(max(COMPONENTS // components, 2))),
                "hits": Out(components),
                "values": Out(data.ArrayLayout(FactorVector.elem_shape, components)),
            }
        )

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
        for component in range(self._components):
            match = Signal(COORDINATE_LIMIT, name=f"match_{component}")
            wanted: Value | int = component
            if self._components < COMPONENTS:
                wanted = Cat(Const(component, (self._components - 1).bit_length()), self.part)
            found = 0
            for index in range(COORDINATE_LIMIT):
                m.d.comb += match[index].eq(here[index] & (held[index].component == wanted))
                found |= held[index].value.as_unsigned() & match[index].replicate(FACTOR.width)
            m.d.comb += [self.hits[component].eq(match.any()), self.values[component].eq(found)]
        return m
