"""Sum the density products of each sample in the shared tree and turn the sum into alpha, by table."""

from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import ALPHA_ENTRIES, DENSITY_MULTIPLIER, FEATURE_SUM, FRACTION_BITS, UNIT
from rtl.parts.carry_save import compress, product_rows
from rtl.payloads import UNIT_BITS, Mode, ProductVector, SceneRegisters, TableWrite, TileLayouts, TreePort

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
      totals of a sample's component groups are added.
    - While ``o`` stalls, responses wait. The tree must go on serving its other clients then
      (`rtl.factors.tree_server` does): one of them may be what ends the stall.
    - position = (sum * density_multiplier >> 24) + density_offset, limited to the table; alpha = entry base +
      (entry difference * fraction of the position, rounded), at most 1.0.
    - The alpha table is what passes on ``table`` in beats 0 to 511: two entries a beat, base in the lower half of
      each. Base and difference are 0 to 1.0 (the table never falls), so only `UNIT_BITS` of each are kept.
    - ``last`` passes behind everything before it.

    Latency: `REQUEST_LATENCY` from a vector to its request, `LATENCY` cycles from the acceptance of a sample's last
    total to its alpha.
    Throughput: a component group of a sample a cycle, if the tree takes a request a cycle.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    i_sample, i_vector : In(stream)
        Samples, and a `ProductVector` per component group for each that is not ``last``.
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
        self._sample_layout = layouts.Sample
        self._groups = cfg.groups["density"]
        self._sum_bits = FEATURE_SUM.width + (self._groups - 1).bit_length()
        super().__init__(
            {
                "i_sample": In(stream.Signature(layouts.Sample)),
                "i_vector": In(stream.Signature(ProductVector)),
                "tree": Out(TreePort()),
                "scene": In(SceneRegisters),
                "table": In(stream.Signature(TableWrite)),
                "o": Out(stream.Signature(layouts.OpaqueSample)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the way through the tree and the table pipeline."""
        m = Module()
        advance = Signal()
        m.d.comb += advance.eq(~self.o.valid | self.o.ready)
        begins, sample, total = self._sum(m, advance)
        self._alpha(m, advance, begins, sample, total)
        return m

    def _sum(self, m: Module, advance: Signal) -> tuple[Signal, data.View, Value]:
        """One total a sample. Returns: a sample enters the table pipeline; the sample; its density sum."""
        m.submodules.samples = samples = SyncFIFO(width=self._sample_layout.size, depth=SAMPLE_QUEUE)
        m.d.comb += [
            samples.w_data.eq(self.i_sample.payload.as_value()),
            samples.w_en.eq(self.i_sample.valid),
            self.i_sample.ready.eq(samples.w_rdy),
        ]
        sample = self._sample_layout(samples.r_data)
        request, response = self.tree.request, self.tree.response
        m.d.comb += [
            request.payload.mode.eq(Mode.SUM),
            self.i_vector.ready.eq(~request.valid | request.ready),
        ]
        with m.If(self.i_vector.ready):
            m.d.sync += request.valid.eq(self.i_vector.valid)
            for n, value in enumerate(request.payload.values):
                m.d.sync += value.eq(sum(products[n] for products in self.i_vector.payload))
        begins = Signal()
        total, is_whole = self._whole(m, response)
        m.d.comb += [
            response.ready.eq(samples.r_rdy & ~sample.last & advance),
            begins.eq(samples.r_rdy & advance & (sample.last | is_whole)),
            samples.r_en.eq(begins),
        ]
        return begins, sample, total

    def _whole(self, m: Module, response: stream.Interface) -> tuple[Value, Value]:
        """Return the sum of a sample's totals up to the one that is there, and whether that is the last of them."""
        if self._groups == 1:
            return response.payload.total, response.valid
        group, partial = Signal(range(self._groups)), Signal(signed(self._sum_bits))
        total, is_last = partial + response.payload.total, group == self._groups - 1
        with m.If(response.valid & response.ready):
            m.d.sync += [group.eq(Mux(is_last, 0, group + 1)), partial.eq(Mux(is_last, 0, total))]
        return total, response.valid & is_last

    def _alpha(self, m: Module, advance: Signal, begins: Signal, sample: data.View, total: Value) -> None:
        """Eight registered steps: sum, product, scaled sum, position, table row, entry, product, alpha."""
        passing = data.StructLayout({"sample": self._sample_layout, "valid": 1})
        steps = [Signal(passing, name=f"step_{number}") for number in range(self.LATENCY - 1)]
        summed, position = Signal(signed(self._sum_bits)), Signal(POSITION_BITS)
        with m.If(advance):
            m.d.sync += [summed.eq(total), steps[0].sample.eq(sample), steps[0].valid.eq(begins)]
            m.d.sync += [behind.eq(before) for before, behind in pairwise(steps)]
            m.d.sync += [
                self.o.valid.eq(steps[-1].valid),
                self.o.payload.pixel.eq(steps[-1].sample.pixel),
                self.o.payload.cube.eq(steps[-1].sample.cube),
                self.o.payload.local.eq(steps[-1].sample.local),
                self.o.payload.last.eq(steps[-1].sample.last),
            ]
        self._scale(m, advance, summed, position)
        self._interpolate(m, advance, position, self._table(m, advance, position))

    def _scale(self, m: Module, advance: Signal, total: Signal, position: Signal) -> None:
        """Three steps from a sum to its position in the table."""
        multiplier = self.scene.density_multiplier
        bits = len(total) + len(multiplier)
        rows = product_rows(m, total, multiplier, bits)
        product, carries = (Signal(bits, name=name) for name in ("product", "product_carries"))
        scaled = Signal(signed(self._sum_bits))
        moved = Signal(signed(34))
        highest = (ALPHA_ENTRIES << FRACTION_BITS) - 1
        m.d.comb += moved.eq(scaled + self.scene.density_offset)
        with m.If(advance):
            m.d.sync += [
                Cat(product, carries).eq(Cat(compress(m, rows))),
                scaled.eq((product + carries)[DENSITY_MULTIPLIER.fraction : bits]),
                position.eq(Mux(moved < 0, 0, Mux(moved > highest, highest, moved))),
            ]

    def _table(self, m: Module, advance: Signal, position: Signal) -> data.View:
        """Return the row of the alpha table that holds the position's entry, a step later."""
        m.submodules.alpha_table = memory = Memory(
            shape=data.ArrayLayout(_Entry, ENTRIES_A_BEAT), depth=ALPHA_ENTRIES // ENTRIES_A_BEAT, init=[]
        )
        write, read = memory.write_port(), memory.read_port()
        beat = self.table.payload
        m.d.comb += [
            self.table.ready.eq(1),
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

    def _interpolate(self, m: Module, advance: Signal, position: Signal, row: data.View) -> None:
        """Three steps from a row of the table to alpha."""
        half = Signal()
        fraction, fraction_of_entry = Signal(FRACTION_BITS), Signal(FRACTION_BITS)
        entry = Signal(_Entry)
        bits = UNIT_BITS + 1 + FRACTION_BITS
        base = Cat(Const(1 << FRACTION_BITS >> 1, FRACTION_BITS), entry.base, Const(0, 1))
        rows = [*product_rows(m, entry.difference, fraction_of_entry, bits), base]
        product, carries = (Signal(bits, name=name) for name in ("alpha_product", "alpha_carries"))
        interpolated = Signal(UNIT_BITS + 1)
        m.d.comb += interpolated.eq((product + carries)[FRACTION_BITS:bits])
        with m.If(advance):
            m.d.sync += [
                Cat(half, fraction).eq(Cat(position[FRACTION_BITS], position[:FRACTION_BITS])),
                entry.eq(row[half]),
                fraction_of_entry.eq(fraction),
                Cat(product, carries).eq(Cat(compress(m, rows))),
                self.o.payload.alpha.eq(Mux(interpolated > 1 << UNIT, 1 << UNIT, interpolated)),
            ]
