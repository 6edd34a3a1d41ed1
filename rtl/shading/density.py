"""Sum the density products of each sample in the shared tree and turn the sum into alpha, by table."""

from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from nerf.contract.config import COMPONENTS, AcceleratorConfig
from nerf.contract.formats import ALPHA_ENTRIES, DENSITY_MULTIPLIER, FEATURE_SUM, FRACTION_BITS, UNIT
from rtl.parts.carry_save import few_rows
from rtl.parts.lanes import each, of_lane, pass_on, sample_in
from rtl.payloads import (
    TREE_CREDITS,
    TREE_LEAF,
    TREE_SUM,
    UNIT_BITS,
    Mode,
    ProductVector,
    SceneRegisters,
    TableWrite,
    TileLayouts,
    TreePort,
)

ENTRIES_A_BEAT = 2
ENTRY_BITS = 64
POSITION_BITS = ALPHA_ENTRIES.bit_length() - 1 + FRACTION_BITS
SAMPLE_QUEUE = 16
"""Samples that wait for their totals: covers an interpolator and a tree of up to 15 cycles without a bubble."""

_Entry = data.StructLayout({"base": UNIT_BITS, "difference": UNIT_BITS})


class Density(wiring.Component):
    """Give each sample its alpha.

    Rules
    -----
    - The three products of each component are added; the 16 sums go to the tree as one request, a cycle later. The
      totals of a sample's component groups are added. With ``density_lanes`` that request is for the first lane's
      sample; each other lane has an adder tree of its own, which is never later.
    - While ``o`` stalls, responses wait. The tree must go on serving its other clients then
      (`rtl.factors.tree_server` does): one of them may be what ends the stall.
    - position = (sum * density_multiplier >> 24) + density_offset, limited to the table; alpha = entry base +
      (entry difference * fraction of the position, rounded), at most 1.0.
    - The alpha table is what passes on ``table`` in beats 0 to 511: two entries a beat, base in the lower half of
      each. Base and difference are 0 to 1.0 (the table never falls), so only `UNIT_BITS` of each are kept.
    - ``last`` passes behind everything before it.

    Latency: `REQUEST_LATENCY` from a vector to its request, `LATENCY` cycles from the acceptance of a sample's last
    total to its alpha.
    Throughput: a component group of a sample of each lane a cycle, if the tree takes a request a cycle.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    i_sample, i_vector : In(stream)
        ``Samples``, and a `ProductVector` (of several lanes an array of them) per component group for each that is not
        ``last``.
    tree : Out(TreePort)
        The adder tree.
    scene : In(SceneRegisters)
    table : In(stream)
        Beats of the tables section, always accepted.
    o : Out(stream)
        Samples with alpha.
    """

    REQUEST_LATENCY = 1
    LATENCY = 8

    def __init__(self, cfg: AcceleratorConfig) -> None:
        layouts = TileLayouts(cfg)
        self._lanes, self._sample_layout = cfg.density_lanes, layouts.Samples
        vectors = ProductVector if cfg.density_lanes == 1 else data.ArrayLayout(ProductVector, cfg.density_lanes)
        self._groups = cfg.groups["density"]
        self._sum_bits = FEATURE_SUM.width + (self._groups - 1).bit_length()
        super().__init__(
            {
                "i_sample": In(stream.Signature(layouts.Samples)),
                "i_vector": In(stream.Signature(vectors)),
                "tree": Out(TreePort()),
                "scene": In(SceneRegisters),
                "table": In(stream.Signature(TableWrite)),
                "o": Out(stream.Signature(layouts.OpaqueSamples)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the way through the tree and the table pipeline."""
        m = Module()
        advance = Signal()
        m.d.comb += [advance.eq(~self.o.valid | self.o.ready), self.table.ready.eq(1)]
        begins, sample, totals = self._sum(m, advance)
        self._alpha(m, advance, begins, sample, totals)
        return m

    def _sum(self, m: Module, advance: Signal) -> tuple[Signal, data.View, list[Value]]:
        """One total a sample. Returns: samples enter the table pipeline; the samples; their density sums."""
        m.submodules.samples = samples = SyncFIFO(width=self._sample_layout.size, depth=SAMPLE_QUEUE)
        m.d.comb += [
            samples.w_data.eq(self.i_sample.payload.as_value()),
            samples.w_en.eq(self.i_sample.valid),
            self.i_sample.ready.eq(samples.w_rdy),
        ]
        sample = self._sample_layout(samples.r_data)
        vectors = each(self.i_vector.payload, self._lanes)
        request, response = self.tree.request, self.tree.response
        m.d.comb += [
            request.payload.mode.eq(Mode.SUM),
            self.i_vector.ready.eq(~request.valid | request.ready),
        ]
        with m.If(self.i_vector.ready):
            m.d.sync += request.valid.eq(self.i_vector.valid)
            for n, value in enumerate(request.payload.values):
                m.d.sync += value.eq(sum(products[n] for products in vectors[0]))
        totals = [response.payload.total, *(self._add(m, lane, vectors[lane]) for lane in range(1, self._lanes))]
        begins = Signal()
        wholes, is_whole = self._whole(m, response, totals)
        m.d.comb += [
            response.ready.eq(samples.r_rdy & ~sample.last & advance),
            begins.eq(samples.r_rdy & advance & (sample.last | is_whole)),
            samples.r_en.eq(begins),
        ]
        return begins, sample, wholes

    def _add(self, m: Module, lane: int, vector: data.View) -> Value:
        """Return what the tree would answer of another lane's vector: asked with each request, there before it."""
        request, response = self.tree.request, self.tree.response
        values = [Signal(signed(TREE_LEAF), name=f"value_{n}") for n in range(COMPONENTS)]
        with m.If(self.i_vector.ready):
            m.d.sync += [value.eq(sum(products[n] for products in vector)) for n, value in enumerate(values)]
        # Two steps of two adders, one behind the other; they never wait.
        there = request.valid & request.ready
        while len(values) > 1:
            fours = [sum(values[n : n + 4]) for n in range(0, len(values), 4)]
            values = [Signal.like(total, name="part") for total in fours]
            added = Signal()
            m.d.sync += [*(value.eq(total) for value, total in zip(values, fours, strict=True)), added.eq(there)]
            there = added
        m.submodules[f"totals_{lane}"] = totals = SyncFIFO(width=TREE_SUM, depth=TREE_CREDITS)
        m.d.comb += [
            totals.w_data.eq(values[0]),
            totals.w_en.eq(there),
            totals.r_en.eq(response.valid & response.ready),
        ]
        return totals.r_data.as_signed()

    def _whole(self, m: Module, response: stream.Interface, totals: list[Value]) -> tuple[list[Value], Value]:
        """Return the sums of samples' totals up to those that are there, and whether these are the last of them."""
        if self._groups == 1:
            return totals, response.valid
        group, partial = Signal(range(self._groups)), [Signal(signed(self._sum_bits), name="partial") for _ in totals]
        wholes, is_last = [a + b for a, b in zip(partial, totals, strict=True)], group == self._groups - 1
        with m.If(response.valid & response.ready):
            m.d.sync += group.eq(Mux(is_last, 0, group + 1))
            m.d.sync += [sum_.eq(Mux(is_last, 0, whole)) for sum_, whole in zip(partial, wholes, strict=True)]
        return wholes, response.valid & is_last

    def _alpha(self, m: Module, advance: Signal, begins: Signal, sample: data.View, totals: list[Value]) -> None:
        """Eight registered steps: sum, product, scaled sum, position, table row, entry, product, alpha."""
        passing = data.StructLayout({"sample": self._sample_layout, "valid": 1})
        steps = [Signal(passing, name=f"step_{number}") for number in range(self.LATENCY - 1)]
        sums = [Signal(signed(self._sum_bits), name="summed") for _ in totals]
        with m.If(advance):
            m.d.sync += [summed.eq(total) for summed, total in zip(sums, totals, strict=True)]
            m.d.sync += [steps[0].sample.eq(sample), steps[0].valid.eq(begins)]
            m.d.sync += [behind.eq(before) for before, behind in pairwise(steps)]
            m.d.sync += [self.o.valid.eq(steps[-1].valid), *pass_on(self.o.payload, steps[-1].sample)]
        for lane, summed in enumerate(sums):
            position = Signal(POSITION_BITS)
            self._scale(m, advance, summed, position)
            row = self._table(m, of_lane("alpha_table", lane, self._lanes), advance, position)
            self._interpolate(m, advance, position, row, sample_in(self.o.payload, lane)[0].alpha)

    def _scale(self, m: Module, advance: Signal, total: Signal, position: Signal) -> None:
        """Three steps from a sum to its position in the table."""
        multiplier = self.scene.density_multiplier
        bits = len(total) + len(multiplier)
        product, carries = (Signal(bits, name=name) for name in ("product", "product_carries"))
        scaled = Signal(signed(self._sum_bits))
        moved = Signal(signed(34))
        highest = (ALPHA_ENTRIES << FRACTION_BITS) - 1
        m.d.comb += moved.eq(scaled + self.scene.density_offset)
        with m.If(advance):
            m.d.sync += [
                Cat(product, carries).eq(Cat(few_rows(m, total, multiplier, bits))),
                scaled.eq((product + carries)[DENSITY_MULTIPLIER.fraction : bits]),
                position.eq(Mux(moved < 0, 0, Mux(moved > highest, highest, moved))),
            ]

    def _table(self, m: Module, name: str, advance: Signal, position: Signal) -> data.View:
        """Return the row of the alpha table that holds the position's entry, a step later."""
        memory = Memory(shape=data.ArrayLayout(_Entry, ENTRIES_A_BEAT), depth=ALPHA_ENTRIES // ENTRIES_A_BEAT, init=[])
        m.submodules[name] = memory
        write, read = memory.write_port(), memory.read_port()
        beat = self.table.payload
        m.d.comb += [
            write.addr.eq(beat.beat),
            write.en.eq(self.table.valid & (beat.beat < ALPHA_ENTRIES // ENTRIES_A_BEAT)),
            read.addr.eq(position[FRACTION_BITS + 1 :]),
            read.en.eq(advance),
        ]
        for n in range(ENTRIES_A_BEAT):
            low = n * ENTRY_BITS
            m.d.comb += [
                write.data[n].base.eq(beat.data[low : low + UNIT_BITS]),
                write.data[n].difference.eq(beat.data[low + ENTRY_BITS // 2 : low + ENTRY_BITS // 2 + UNIT_BITS]),
            ]
        return read.data

    def _interpolate(self, m: Module, advance: Signal, position: Signal, row: data.View, alpha: Value) -> None:
        """Three steps from a row of the table to alpha."""
        half = Signal()
        fraction, fraction_of_entry = Signal(FRACTION_BITS), Signal(FRACTION_BITS)
        entry = Signal(_Entry)
        bits = UNIT_BITS + 1 + FRACTION_BITS
        base = Cat(Const(1 << FRACTION_BITS >> 1, FRACTION_BITS), entry.base, Const(0, 1))
        rows = few_rows(m, entry.difference, fraction_of_entry, bits, [base])
        product, carries = (Signal(bits, name=name) for name in ("alpha_product", "alpha_carries"))
        interpolated = Signal(UNIT_BITS + 1)
        m.d.comb += interpolated.eq((product + carries)[FRACTION_BITS:bits])
        with m.If(advance):
            m.d.sync += [
                Cat(half, fraction).eq(Cat(position[FRACTION_BITS], position[:FRACTION_BITS])),
                entry.eq(row[half]),
                fraction_of_entry.eq(fraction),
                Cat(product, carries).eq(Cat(rows)),
                alpha.eq(Mux(interpolated > 1 << UNIT, 1 << UNIT, interpolated)),
            ]
