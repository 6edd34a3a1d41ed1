"""Basis and MLP of a batch of samples in lock step: from the appearance products of each to a colour each.

Basis, hidden layers and last layer work on three batches at a time. One sequence for all samples of a batch: a cycle's
row of weights goes to every sample's datapath.
"""

from functools import partial

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import ALPHA_ENTRIES, COLOUR_BITS, SIGMOID_ENTRIES, sigmoid_table
from nerf.contract.network import MODULATED, MONOMIALS
from nerf.contract.scene_image import stage_beats
from rtl.parts.banks import Banks
from rtl.parts.queue import Queue
from rtl.parts.shared_module import build_in
from rtl.payloads import AXES, UNIT_BITS, SceneRegisters, TableWrite, TileLayouts
from rtl.shading.mlp_datapath import CHANNELS, MlpDatapath, Product, Products, encoding_layout
from rtl.shading.mlp_sequence import MlpSequence, delayed

FIRST_BEAT = ALPHA_ENTRIES // 2
"""Of the network in the tables section."""
BATCHES = 9
"""That can be under way: two with products, two with features, one between the hidden layers, two behind them, one with
logits, one that is put out."""
LOADED = 2
"""Cycles from a batch's last products to the basis."""
COLOURED = 2
"""Cycles from its logits to the first colour."""


class MlpEngine(wiring.Component):
    """Shade samples, up to ``mlp_batch`` at a time.

    Rules
    -----
    - A job that is not ``last`` takes a transfer of ``i_products`` for each component group, which are taken after
      it. Jobs and products of two batches are accepted before the basis has read those of the first.
    - A batch is begun when it is full and all its products are there, or with fewer samples when ``last`` is offered.
    - ``last`` passes behind everything before it.
    - ``table`` is always accepted; beats of the tables section from 512 on fill requantisation entries and weight rows.
      Nothing may be shaded while they pass.
    - Every layer output is (accumulator + bias) * multiplier, shifted with rounding (shift 1 to 47) and limited.

    Latency: ``latency(cfg)`` cycles from a batch's last products (from the offer of ``last``, if that is later) to its
    first colour; the others follow one a cycle.
    Throughput: one batch in ``cfg.stages[1].cycles``, or in a cycle for each transfer, and one.

    Parameters
    ----------
    cfg : AcceleratorConfig
        ``mlp_batch`` samples with the lanes of ``stages`` each.

    Members
    -------
    i_job, i_products : In(stream)
    table : In(stream)
    scene : In(SceneRegisters)
        ``phase_multiplier`` and ``sine_shift`` are used.
    o : Out(stream)
        Samples with colour: the sigmoid of the last layer's output, or, plain, that output.
    """

    def __init__(self, cfg: AcceleratorConfig) -> None:
        layouts = TileLayouts(cfg)
        self._cfg = cfg
        self._batch = cfg.mlp_batch
        self._plain = cfg.colours == "plain"
        self._groups = cfg.groups["appearance"]
        self._layouts = layouts
        super().__init__(
            {
                "i_job": In(stream.Signature(layouts.ShadeJob)),
                "i_products": In(stream.Signature(Products)),
                "table": In(stream.Signature(TableWrite)),
                "scene": In(SceneRegisters),
                "o": Out(stream.Signature(layouts.ColouredSample)),
            }
        )

    @staticmethod
    def latency(cfg: AcceleratorConfig) -> int:
        """Return the cycles from a batch's last products to its first colour."""
        passing = zip(cfg.stages, MlpDatapath.SOURCES, strict=True)
        return LOADED + sum(stage.cycles + MlpSequence.latency(stage, source) for stage, source in passing) + COLOURED

    def elaborate(self, platform) -> Module:
        """Return the three sequences, the banks between them, the output, and a datapath a sample."""
        m = Module()
        m.submodules.products = products = Banks(2)
        m.submodules.features = features = Banks(2)
        m.submodules.second_hidden = second_hidden = Banks(2)
        m.submodules.logits = logits = Banks(1)
        links = products, features, second_hidden, logits
        sequences = self._sequences(m, links)
        names = [f"sample_{number}" for number in range(self._batch)]
        common = {name: sequence.drive for name, sequence in sequences.items()}
        common |= {"products": self.i_products.payload}
        samples = build_in(
            m, platform, f"mlp_datapath_{self._cfg.mlp_lanes}", names, partial(MlpDatapath, self._cfg), common
        )
        self._read(m, samples, links, **sequences)

        m.submodules.places = places = Queue(
            data.StructLayout({"pixel": self._layouts.pixel, "weight": UNIT_BITS}), BATCHES * self._batch
        )
        m.submodules.counts = counts = Queue(range(self._batch + 1), BATCHES)
        jobs = self._load(m, samples, products, places.i, counts.i)
        take_last = self._colours(m, samples, logits, jobs, places.o, counts.o)
        m.d.comb += [
            self.i_job.ready.eq(Mux(self.i_job.payload.last, take_last, products.room & (jobs != self._batch))),
            self.table.ready.eq(1),
        ]
        for sample in samples:
            m.d.comb += [
                sample.phase_multiplier.eq(self.scene.phase_multiplier),
                sample.sine_shift.eq(self.scene.sine_shift),
            ]
        return m

    def _sequences(self, m: Module, links: tuple[Banks, ...]) -> dict[str, MlpSequence]:
        """Build the stages in, each between two links; return them by the name of what they drive in a datapath."""
        sequences = {}
        beat = FIRST_BEAT
        names = "basis", "hidden", "last"
        for n, (name, stage, source) in enumerate(zip(names, self._cfg.stages, MlpDatapath.SOURCES, strict=True)):
            m.submodules[name] = sequence = MlpSequence(stage, source, beat)
            beat += stage_beats(stage)
            m.d.comb += [
                sequence.there.eq(links[n].there),
                links[n].free.eq(sequence.free),
                sequence.room.eq(links[n + 1].room),
                links[n + 1].claim.eq(sequence.claim),
                links[n + 1].fill.eq(sequence.fill),
                sequence.table.eq(self.table.payload),
                sequence.write.eq(self.table.valid),
            ]
            sequences[name] = sequence
        return sequences

    def _read(
        self,
        m: Module,
        samples: list[MlpDatapath],
        links: tuple[Banks, ...],
        basis: MlpSequence,
        hidden: MlpSequence,
        last: MlpSequence,
    ) -> None:
        """Address the inputs that the stages issue."""
        products, features, second_hidden, _ = links
        group, product = self._product_order(m, basis.step.valid)
        channel, encoding = self._first_layer_order(m, hidden.step.valid & ~hidden.layer)
        m.d.comb += encoding.layer.eq(hidden.layer)
        (product,) = delayed(m, product, 1)
        encodings = delayed(m, encoding, MlpDatapath.ENCODING)
        for sample in samples:
            reads = sample.reads
            m.d.comb += [
                reads.products.group.eq(group),
                reads.products.bank.eq(products.reading),
                reads.features.channel.eq(channel),
                reads.features.bank.eq(features.reading),
                reads.direction.eq(features.reading),
                reads.first_hidden.eq(hidden.row),
                reads.second_hidden.index.eq(last.row),
                reads.second_hidden.bank.eq(second_hidden.reading),
                sample.product.eq(product),
                sample.feature_bank.eq(features.writing),
                sample.hidden_bank.eq(second_hidden.writing),
                *(port.eq(one) for port, one in zip(sample.encodings, encodings, strict=True)),
            ]

    def _product_order(self, m: Module, issue) -> tuple[Signal, data.View]:
        """Order the inputs of the basis by pair, group and component; return group, and the place in it."""
        group = Signal(range(self._groups))
        product = Signal(Product)
        with m.If(issue):
            m.d.sync += product.component.eq(product.component + 1)
            with m.If(product.component.all()):
                m.d.sync += group.eq(group + 1)
                with m.If(group == self._groups - 1):
                    m.d.sync += [group.eq(0), product.pair.eq(Mux(product.pair == 2, 0, product.pair + 1))]
        return group, product

    def _first_layer_order(self, m: Module, issue) -> tuple[Signal, data.View]:
        """Order the first MLP layer's inputs: features, direction, sines and cosines of each, features times monomials.

        Return the channel, and what else tells the input.
        """
        # Segments: (from the direction, bands or 0 where it is not encoded, cosine, channels).
        channels = self._cfg.features, len(AXES)
        segments = [(0, 0, 0, channels[0]), (1, 0, 0, channels[1])]
        for direct, bands in enumerate((self._cfg.feature_bands, self._cfg.view_bands)):
            segments += [(direct, bands, cosine, channels[direct]) for cosine in range(2) if bands]
        modulated = len(segments)
        segments += [(0, 0, 0, MODULATED)] * self._plain
        segment = Signal(range(len(segments)))
        channel = Signal(range(self._cfg.features))
        encoding = Signal(encoding_layout(self._cfg))
        band = Signal.like(encoding.band)
        last_band = Signal()
        last_channel = Signal()
        with m.Switch(segment):
            for n, (direct, bands, cosine, count) in enumerate(segments):
                with m.Case(n):
                    m.d.comb += [
                        encoding.direct.eq(direct),
                        encoding.encoded.eq(bands > 0),
                        encoding.cosine.eq(cosine),
                        last_band.eq(band == max(bands - 1, 0)),
                        last_channel.eq(channel == count - 1),
                    ]
        m.d.comb += [encoding.band.eq(band), encoding.axis.eq(channel)]
        if self._plain:
            m.d.comb += encoding.modulated.eq(segment == modulated)
            self._monomial_order(m, issue & encoding.modulated, encoding.factors)
        with m.If(issue):
            with m.If(~last_band):
                m.d.sync += band.eq(band + 1)
            with m.Else():
                m.d.sync += [band.eq(0), channel.eq(channel + 1)]
                with m.If(last_channel):
                    m.d.sync += [channel.eq(0), segment.eq(Mux(segment == len(segments) - 1, 0, segment + 1))]
        return channel, encoding

    def _monomial_order(self, m: Module, issue, factors: data.View) -> None:
        """Tell the factors of monomial after monomial."""
        monomial = Signal(range(len(MONOMIALS)))
        with m.If(issue):
            m.d.sync += monomial.eq(Mux(monomial == len(MONOMIALS) - 1, 0, monomial + 1))
        with m.Switch(monomial):
            for n, pair in enumerate(MONOMIALS):
                with m.Case(n):
                    m.d.comb += [factor.eq(number) for factor, number in zip(factors, pair, strict=True)]

    def _load(
        self,
        m: Module,
        samples: list[MlpDatapath],
        products: Banks,
        places: stream.Interface,
        counts: stream.Interface,
    ) -> Signal:
        """Take the jobs of a batch, and the transfers of each; return the jobs so far."""
        jobs, whole = (Signal(range(self._batch + 1), name=name) for name in ("jobs", "whole"))
        group = Signal(range(self._groups))
        job = self.i_job.payload
        take_job = Signal()
        take_products = Signal()
        loaded = Signal()
        m.d.comb += [
            take_job.eq(self.i_job.valid & ~job.last & products.room & (jobs != self._batch)),
            self.i_products.ready.eq(whole != jobs),
            take_products.eq(self.i_products.valid & self.i_products.ready),
            loaded.eq((jobs != 0) & (whole == jobs) & ((jobs == self._batch) | (self.i_job.valid & job.last))),
            products.claim.eq(loaded),
            products.fill.eq(loaded),
            places.valid.eq(take_job),
            places.payload.pixel.eq(job.pixel),
            places.payload.weight.eq(job.weight),
            counts.valid.eq(loaded),
            counts.payload.eq(jobs),
        ]
        with m.If(take_job):
            m.d.sync += jobs.eq(jobs + 1)
        with m.If(take_products):
            m.d.sync += group.eq(group + 1)
            with m.If(group == self._groups - 1):
                m.d.sync += [group.eq(0), whole.eq(whole + 1)]
        with m.If(loaded):
            m.d.sync += [jobs.eq(0), whole.eq(0)]
        for number, sample in enumerate(samples):
            m.d.comb += [
                sample.direction.eq(job.direction),
                sample.write_direction.eq(take_job & (jobs == number)),
                sample.group.eq(group),
                sample.loading.eq(products.writing),
                sample.write_products.eq(take_products & (whole == number)),
            ]
        return jobs

    def _colours(
        self,
        m: Module,
        samples: list[MlpDatapath],
        logits: Banks,
        jobs: Signal,
        places: stream.Interface,
        counts: stream.Interface,
    ) -> Signal:
        """Put the colours of a batch out by the sigmoid, in the order of its jobs; return whether ``last`` is taken."""
        coloured = Signal.like(jobs)
        """Samples of the batch that are still to be put out."""
        take = Signal()
        take_last = Signal()
        advance = Signal()
        shift = Signal()
        m.d.comb += [
            take.eq(logits.there & (coloured == 0)),
            logits.free.eq(take),
            counts.ready.eq(take),
            advance.eq(~self.o.valid | self.o.ready),
            shift.eq(advance & (coloured != 0)),
            places.ready.eq(shift),
            # A job's place is in the queue until its colour is put out.
            take_last.eq(self.i_job.valid & self.i_job.payload.last & (jobs == 0) & ~places.valid & advance),
        ]
        with m.If(take):
            m.d.sync += coloured.eq(counts.payload)
        with m.If(shift):
            m.d.sync += [
                coloured.eq(coloured - 1),
                self.o.payload.pixel.eq(places.payload.pixel),
                self.o.payload.weight.eq(places.payload.weight),
            ]
        with m.If(advance):
            m.d.sync += [self.o.valid.eq(shift | take_last), self.o.payload.last.eq(take_last)]

        self._put_out(m, shift, samples[0].logits)
        for sample, following in zip(samples, [*samples[1:], samples[0]], strict=True):
            m.d.comb += [sample.take.eq(take), sample.shift.eq(shift), sample.following.eq(following.logits)]
        return take_last

    def _put_out(self, m: Module, shift: Signal, logits: data.View) -> None:
        """Put the colour of the last layer's outputs out, a cycle after ``shift``."""
        if self._plain:
            with m.If(shift):
                m.d.sync += self.o.payload.colour.eq(logits)
            return
        m.submodules.sigmoid = sigmoid = Memory(
            shape=COLOUR_BITS, depth=SIGMOID_ENTRIES, init=[int(value) for value in sigmoid_table()]
        )
        for channel in range(CHANNELS):
            read = sigmoid.read_port()
            m.d.comb += [
                read.addr.eq(logits[channel]),
                read.en.eq(shift),
                self.o.payload.colour[channel].eq(read.data),
            ]
