"""Sum the density products of each sample in the shared tree and turn the sum into alpha, by table."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import ALPHA_ENTRIES, DENSITY_MULTIPLIER, FEATURE_SUM, FRACTION_BITS, UNIT
from rtl.payloads import UNIT_BITS, Mode, ProductVector, SceneRegisters, TableWrite, TileLayouts, TreePort

ENTRIES_A_BEAT = 2
ENTRY_BITS = 64
SAMPLE_QUEUE = 8
"""Samples that wait for their totals: covers a tree of up to 5 cycles without a bubble."""

_Entry = data.StructLayout({"base": UNIT_BITS, "difference": UNIT_BITS})


class Density(wiring.Component):
    """Give each sample its alpha.

    Rules
    -----
    - The three products of each component are added; the 16 sums go to the tree as one request, in the same cycle.
    - While ``o`` stalls, responses wait. The tree must go on serving its other clients then
      (`rtl.factors.tree_server` does): one of them may be what ends the stall.
    - position = (sum * density_multiplier >> 24) + density_offset, limited to the table; alpha = entry base +
      (entry difference * fraction of the position, rounded), at most 1.0.
    - The alpha table is what passes on ``table`` in beats 0 to 511: two entries a beat, base in the lower half of
      each. Base and difference are 0 to 1.0 (the table never falls), so only `UNIT_BITS` of each are kept.
    - ``last`` passes behind everything before it.

    Latency: `LATENCY` cycles from the acceptance of a sample's total to its alpha.
    Throughput: one sample a cycle, if the tree takes a request a cycle.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    i_sample, i_vector : In(stream)
        Samples, and a `ProductVector` for each that is not ``last``.
    tree : Out(TreePort)
        The adder tree.
    scene : In(SceneRegisters)
    table : In(stream)
        Beats of the tables section, always accepted.
    o : Out(stream)
        Samples with alpha.
    probe_valid, probe_total : Out
        Density sum of a sample (not ``last``), in the cycle in which ``o`` is accepted.
    """

    LATENCY = 5

    def __init__(self, cfg: AcceleratorConfig) -> None:
        layouts = TileLayouts(cfg)
        self._sample_layout = layouts.Sample
        super().__init__(
            {
                "i_sample": In(stream.Signature(layouts.Sample)),
                "i_vector": In(stream.Signature(ProductVector)),
                "tree": Out(TreePort()),
                "scene": In(SceneRegisters),
                "table": In(stream.Signature(TableWrite)),
                "o": Out(stream.Signature(layouts.OpaqueSample)),
                "probe_valid": Out(1),
                "probe_total": Out(signed(FEATURE_SUM.width)),
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

    def _sum(self, m: Module, advance: Signal) -> tuple[Signal, data.View, Signal]:
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
            request.valid.eq(self.i_vector.valid),
            request.payload.mode.eq(Mode.SUM),
            self.i_vector.ready.eq(request.ready),
        ]
        for n, value in enumerate(request.payload.values):
            m.d.comb += value.eq(sum(products[n] for products in self.i_vector.payload))
        begins = Signal()
        m.d.comb += [
            response.ready.eq(samples.r_rdy & ~sample.last & advance),
            begins.eq(samples.r_rdy & advance & (sample.last | response.valid)),
            samples.r_en.eq(begins),
        ]
        return begins, sample, response.payload.total

    def _alpha(self, m: Module, advance: Signal, begins: Signal, sample: data.View, total: Signal) -> None:
        """Five registered steps: sum, scaled sum, position, table entry, alpha."""
        m.submodules.alpha_table = memory = Memory(
            shape=data.ArrayLayout(_Entry, ENTRIES_A_BEAT), depth=ALPHA_ENTRIES // ENTRIES_A_BEAT, init=[]
        )
        write, read = memory.write_port(), memory.read_port()
        beat = self.table.payload
        m.d.comb += [
            self.table.ready.eq(1),
            write.addr.eq(beat.beat),
            write.en.eq(self.table.valid & (beat.beat < ALPHA_ENTRIES // ENTRIES_A_BEAT)),
        ]
        for n in range(ENTRIES_A_BEAT):
            low = n * ENTRY_BITS
            m.d.comb += [
                write.data[n].base.eq(beat.data[low : low + UNIT_BITS]),
                write.data[n].difference.eq(beat.data[low + ENTRY_BITS // 2 : low + ENTRY_BITS // 2 + UNIT_BITS]),
            ]

        passing = data.StructLayout({"sample": self._sample_layout, "total": signed(FEATURE_SUM.width), "valid": 1})
        summed, scaled, placed, read_out = (
            Signal(passing, name=name) for name in ("summed", "scaled", "placed", "read_out")
        )
        scaled_sum = Signal(signed(FEATURE_SUM.width))
        position = Signal(ALPHA_ENTRIES.bit_length() - 1 + FRACTION_BITS)
        moved = Signal(signed(34))
        highest = (ALPHA_ENTRIES << FRACTION_BITS) - 1
        entry_index = position[FRACTION_BITS:]
        m.d.comb += [
            moved.eq(scaled_sum + self.scene.density_offset),
            read.addr.eq(entry_index[1:]),
            read.en.eq(advance),
        ]
        half = Signal()
        fraction = Signal(FRACTION_BITS)
        base = Signal(UNIT_BITS)
        difference = Signal(UNIT_BITS)
        interpolated = Signal(UNIT_BITS + 1)
        m.d.comb += [
            Cat(base, difference).eq(read.data[half].as_value()),
            interpolated.eq(base + ((difference * fraction + (1 << FRACTION_BITS >> 1)) >> FRACTION_BITS)),
        ]
        with m.If(advance):
            m.d.sync += [
                summed.sample.eq(sample),
                summed.total.eq(total),
                summed.valid.eq(begins),
                scaled.eq(summed),
                scaled_sum.eq((summed.total * self.scene.density_multiplier) >> DENSITY_MULTIPLIER.fraction),
                placed.eq(scaled),
                position.eq(Mux(moved < 0, 0, Mux(moved > highest, highest, moved))),
                read_out.eq(placed),
                half.eq(entry_index[0]),
                fraction.eq(position[:FRACTION_BITS]),
                self.o.valid.eq(read_out.valid),
                self.o.payload.pixel.eq(read_out.sample.pixel),
                self.o.payload.cube.eq(read_out.sample.cube),
                self.o.payload.local.eq(read_out.sample.local),
                self.o.payload.last.eq(read_out.sample.last),
                self.o.payload.alpha.eq(Mux(interpolated > 1 << UNIT, 1 << UNIT, interpolated)),
                self.probe_total.eq(read_out.total),
            ]
        m.d.comb += self.probe_valid.eq(self.o.valid & self.o.ready & ~self.o.payload.last)
