"""Basis and MLP of a batch of samples in lock step: from 144 appearance products each to a colour each.

One sequence for all: a cycle's row of weights goes to every sample's datapath.
"""

from functools import partial

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import ALPHA_ENTRIES, COLOUR_BITS, SIGMOID_ENTRIES, WEIGHT, sigmoid_table
from nerf.contract.scene_image import LAYERS, weight_rows
from rtl.mlp_datapath import ACTIVATION_BITS, CHANNELS, VECTORS, Entry, MlpDatapath, Output, Step, Vector
from rtl.payloads import AXES, UNIT_BITS, SceneRegisters, TableWrite, TileLayouts
from rtl.queue import Queue
from rtl.shared_module import build_in

BEAT_BITS = 128
FEATURES = LAYERS[0][1]
LAST_LAYER = len(LAYERS) - 1
LANES_A_BEAT = BEAT_BITS // WEIGHT.width
ENTRIES_A_BEAT = 2
ENTRY_BITS = 64
ENTRIES = sum(outputs for _, outputs in LAYERS)
FIRST_ENTRY_BEAT = ALPHA_ENTRIES // 2
ENTRY_BEATS = -(-ENTRIES // ENTRIES_A_BEAT)
FIRST_ROW_BEAT = FIRST_ENTRY_BEAT + ENTRY_BEATS
BATCHES = 3
"""That can be under way: one is loaded, one computed, one put out."""


class MlpEngine(wiring.Component):
    """Shade samples, up to ``mlp_batch`` at a time.

    Rules
    -----
    - A job that is not ``last`` takes nine vectors of ``i_products``, which are taken after it. Jobs and vectors of a
      batch are accepted as soon as the basis has used those of the batch before.
    - A batch is begun when it is full and all its vectors are there, or with fewer samples when ``last`` is offered.
    - ``last`` passes behind everything before it.
    - ``table`` is always accepted; beats of the tables section from 512 on fill requantisation entries and weight rows.
      Nothing may be shaded while they pass.
    - Every layer output is (accumulator + bias) * multiplier, shifted with rounding (shift 1 to 47) and limited.

    Latency: ``busy_cycles(cfg) + LATENCY`` cycles from a batch's last vector (from the offer of ``last``, if that is
    later) to its first colour; the others follow one a cycle.
    Throughput: one batch in ``busy_cycles(cfg)`` cycles, or in those of the basis and ``9 * mlp_batch + 1`` more.

    Parameters
    ----------
    cfg : AcceleratorConfig
        ``mlp_lanes`` outputs of each of ``mlp_batch`` samples accumulate in parallel.

    Members
    -------
    i_job, i_products : In(stream)
    table : In(stream)
    scene : In(SceneRegisters)
        ``phase_multiplier`` and ``sine_shift`` are used.
    o : Out(stream)
        Samples with colour, ``COLOUR_BITS`` fraction bits.
    """

    LATENCY = 15
    """Cycles from the last input of the last layer to the first colour."""
    TURNAROUND = 11
    """Idle cycles before a layer whose inputs all come from one pass of the layer before."""

    def __init__(self, cfg: AcceleratorConfig) -> None:
        layouts = TileLayouts(cfg)
        self._lanes = cfg.mlp_lanes
        self._batch = cfg.mlp_batch
        self._layouts = layouts
        self._passes = [-(-outputs // cfg.mlp_lanes) for _, outputs in LAYERS]
        self._rows = sum(LAYERS[layer][0] for layer, _ in weight_rows(cfg))
        super().__init__(
            {
                "i_job": In(stream.Signature(layouts.ShadeJob)),
                "i_products": In(stream.Signature(Vector)),
                "table": In(stream.Signature(TableWrite)),
                "scene": In(SceneRegisters),
                "o": Out(stream.Signature(layouts.ColouredSample)),
            }
        )

    @classmethod
    def busy_cycles(cls, cfg: AcceleratorConfig) -> int:
        """Return the cycles from the first input of a batch's first layer to the last input of its last layer."""
        rows = sum(LAYERS[layer][0] for layer, _ in weight_rows(cfg))
        return rows + cls.TURNAROUND * sum(outputs <= cfg.mlp_lanes for _, outputs in LAYERS[:-1])

    def elaborate(self, platform) -> Module:
        """Return the sequence, weights and entries, the output, and a datapath a sample."""
        m = Module()
        names = [f"sample_{number}" for number in range(self._batch)]
        samples = build_in(m, platform, f"mlp_datapath_{self._lanes}", names, partial(MlpDatapath, self._lanes))
        used = Signal()
        """The basis has used the products of the batch."""
        finishing = Signal()
        """The last layer has begun, or ``last`` is offered: the output is taken."""
        written = Signal(Output)
        """The latest output among the activations; all outputs of its layer up to it are there."""

        m.submodules.places = places = Queue(
            data.StructLayout({"pixel": self._layouts.pixel, "weight": UNIT_BITS}), BATCHES * self._batch
        )

        loaded, jobs = self._load(m, samples, places.i, used)
        step, ending = self._sequence(m, samples, loaded, used, finishing, written)
        steps = _delayed(m, step, MlpDatapath.STEPS)
        output = self._outputs(m, steps[-1])
        outputs = [output, *_delayed(m, output, MlpDatapath.OUTPUTS - 1)]
        with m.If(outputs[-1].valid & (outputs[-1].layer != LAST_LAYER)):
            m.d.sync += written.eq(outputs[-1])
        weights = self._weights(m, steps[3].valid)
        entries = self._entries(m, output.valid)
        for sample in samples:
            m.d.comb += [
                sample.begin.eq(used),
                sample.phase_multiplier.eq(self.scene.phase_multiplier),
                sample.sine_shift.eq(self.scene.sine_shift),
                sample.weights.eq(weights),
                *(port.eq(one) for port, one in zip(sample.steps, steps, strict=True)),
                *(port.eq(one) for port, one in zip(sample.outputs, outputs, strict=True)),
                *(port.eq(one) for port, one in zip(sample.entries, entries, strict=True)),
            ]
        take_last = self._colours(m, samples, jobs, places.o, used, ending, finishing, outputs[-1])
        m.d.comb += [
            self.i_job.ready.eq(Mux(self.i_job.payload.last, take_last, jobs != self._batch)),
            self.table.ready.eq(1),
        ]
        return m

    def _load(
        self, m: Module, samples: list[MlpDatapath], places: stream.Interface, used: Signal
    ) -> tuple[Signal, Signal]:
        """Take the jobs of a batch, and nine vectors for each; return whether it is whole, and its jobs so far."""
        jobs, whole = (Signal(range(self._batch + 1), name=name) for name in ("jobs", "whole"))
        vector = Signal(range(VECTORS))
        job = self.i_job.payload
        take_job = Signal()
        take_vector = Signal()
        loaded = Signal()
        m.d.comb += [
            take_job.eq(self.i_job.valid & ~job.last & (jobs != self._batch)),
            self.i_products.ready.eq(whole != jobs),
            take_vector.eq(self.i_products.valid & self.i_products.ready),
            places.valid.eq(take_job),
            places.payload.pixel.eq(job.pixel),
            places.payload.weight.eq(job.weight),
            loaded.eq((jobs != 0) & (whole == jobs) & ((jobs == self._batch) | (self.i_job.valid & job.last))),
        ]
        with m.If(take_job):
            m.d.sync += jobs.eq(jobs + 1)
        with m.If(take_vector):
            m.d.sync += vector.eq(vector + 1)
            with m.If(vector == VECTORS - 1):
                m.d.sync += [vector.eq(0), whole.eq(whole + 1)]
        with m.If(used):
            m.d.sync += [jobs.eq(0), whole.eq(0)]
        for number, sample in enumerate(samples):
            m.d.comb += [
                sample.direction.eq(job.direction),
                sample.write_direction.eq(take_job & (jobs == number)),
                sample.vector.eq(self.i_products.payload),
                sample.vector_address.eq(vector),
                sample.write_vector.eq(take_vector & (whole == number)),
            ]
        return loaded, jobs

    def _sequence(
        self, m: Module, samples: list[MlpDatapath], loaded: Signal, used: Signal, finishing: Signal, written: data.View
    ) -> tuple[data.View, Signal]:
        """Issue the inputs of all passes, each as soon as it exists; return the step, and if the last layer begins."""
        layer = Signal(2)
        run = Signal(range(max(self._passes)))
        row = Signal(8)
        last_row = Signal()
        last_run = Signal()
        available = Signal()
        ending = Signal()
        now = Signal(Step)
        channel = self._first_layer_order(m, now.valid & (layer == 1), now)
        there = Signal()
        m.d.comb += [
            last_row.eq(row == Array(inputs - 1 for inputs, _ in LAYERS)[layer]),
            last_run.eq(run == Array(passes - 1 for passes in self._passes)[layer]),
            used.eq(now.valid & (layer == 0) & last_row & last_run),
            ending.eq(now.valid & (layer == LAST_LAYER) & (row == 0)),
        ]
        with m.Switch(layer):
            with m.Case(0):
                m.d.comb += available.eq(loaded)
            with m.Case(1):
                m.d.comb += [
                    there.eq((written.layer == 0) & written.valid & (channel <= written.index)),
                    available.eq(now.direct | (run != 0) | there),
                ]
            with m.Default():
                m.d.comb += [
                    there.eq((written.layer == layer - 1) & (row <= written.index)),
                    available.eq(((run != 0) | there) & ~((layer == LAST_LAYER) & (row == 0) & finishing)),
                ]
        with m.If(now.valid):
            m.d.sync += row.eq(row + 1)
            with m.If(last_row):
                m.d.sync += [row.eq(0), run.eq(run + 1)]
                with m.If(last_run):
                    m.d.sync += [run.eq(0), layer.eq(layer + 1)]

        m.d.comb += [
            now.valid.eq(available),
            now.layer.eq(layer),
            now.first.eq(row == 0),
            now.last.eq(last_row),
            now.element.eq(row),
        ]
        read_activation = Signal(ACTIVATION_BITS + 1)
        m.d.comb += read_activation.eq(Cat(Mux(layer == 1, channel, row)[:ACTIVATION_BITS], ~layer[0]))
        for sample in samples:
            m.d.comb += [sample.read_vector.eq(row[4:]), sample.read_activation.eq(read_activation)]
        return now, ending

    def _first_layer_order(self, m: Module, issue, now: data.View) -> Signal:
        """Order the first MLP layer's inputs: features, direction, sines and cosines of each; return the channel."""
        # Segments: (from the direction, encoded, cosine).
        segments = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 1, 1), (1, 1, 0), (1, 1, 1))
        segment = Signal(range(len(segments)))
        channel = Signal(range(FEATURES))
        doubled = Signal()
        last_channel = Signal()
        with m.Switch(segment):
            for n, (direct, encoded, cosine) in enumerate(segments):
                with m.Case(n):
                    m.d.comb += [
                        now.direct.eq(direct),
                        now.encoded.eq(encoded),
                        now.cosine.eq(cosine),
                        last_channel.eq(channel == (len(AXES) if direct else FEATURES) - 1),
                    ]
        m.d.comb += [now.doubled.eq(doubled), now.axis.eq(channel)]
        with m.If(issue):
            with m.If(now.encoded & ~doubled):
                m.d.sync += doubled.eq(1)
            with m.Else():
                m.d.sync += [doubled.eq(0), channel.eq(channel + 1)]
                with m.If(last_channel):
                    m.d.sync += [channel.eq(0), segment.eq(Mux(segment == len(segments) - 1, 0, segment + 1))]
        return channel

    def _weights(self, m: Module, read: Signal) -> Signal:
        """Return the row of weights that goes with the input of the cycle after ``read``."""
        m.submodules.weights = memory = Memory(shape=WEIGHT.width * self._lanes, depth=self._rows, init=[])
        write_port = memory.write_port(granularity=BEAT_BITS)
        read_port = memory.read_port()
        beats_a_row = self._lanes // LANES_A_BEAT
        offset = Signal(16)
        part = offset[: beats_a_row.bit_length() - 1]
        m.d.comb += [
            offset.eq(self.table.payload.beat - FIRST_ROW_BEAT),
            write_port.addr.eq(offset >> beats_a_row.bit_length() - 1),
            write_port.data.eq(self.table.payload.data.replicate(beats_a_row)),
        ]
        with m.If(self.table.valid & (self.table.payload.beat >= FIRST_ROW_BEAT)):
            m.d.comb += write_port.en.eq((1 << part) if beats_a_row > 1 else 1)

        # Every batch uses all rows in the order of the table.
        row = Signal(range(self._rows))
        m.d.comb += [read_port.addr.eq(row), read_port.en.eq(read)]
        with m.If(read):
            m.d.sync += row.eq(Mux(row == self._rows - 1, 0, row + 1))
        return read_port.data

    def _outputs(self, m: Module, add: data.View) -> data.View:
        """Return which output leaves the lanes."""
        # A pass takes at least as many cycles as it has outputs, so the last pass has left when the next arrives.
        output = Signal(Output)
        lane = Signal(range(self._lanes))
        complete = Signal()
        m.d.comb += complete.eq(output.index == Array(outputs - 1 for _, outputs in LAYERS)[output.layer])
        with m.If(output.valid):
            m.d.sync += [lane.eq(lane + 1), output.index.eq(Mux(complete, 0, output.index + 1))]
            with m.If(complete | (lane == self._lanes - 1)):
                m.d.sync += output.valid.eq(0)
        with m.If(add.valid & add.last):
            m.d.sync += [output.valid.eq(1), output.layer.eq(add.layer), lane.eq(0)]
        return output

    def _entries(self, m: Module, read: Signal) -> list[data.View]:
        """Return the requantisation entry of the output of the cycle before, of that before it, and so on."""
        m.submodules.requantisation = memory = Memory(
            shape=data.ArrayLayout(Entry, ENTRIES_A_BEAT), depth=ENTRY_BEATS, init=[]
        )
        write_port, read_port = memory.write_port(), memory.read_port()
        beat = self.table.payload
        m.d.comb += [
            write_port.addr.eq(beat.beat - FIRST_ENTRY_BEAT),
            write_port.en.eq(self.table.valid & (beat.beat >= FIRST_ENTRY_BEAT) & (beat.beat < FIRST_ROW_BEAT)),
        ]
        for n in range(ENTRIES_A_BEAT):
            m.d.comb += write_port.data[n].eq(beat.data[n * ENTRY_BITS :][: Entry.size])

        # Every batch uses all entries in the order of the table.
        index = Signal(range(ENTRIES))
        half = Signal()
        entry = Signal(Entry)
        m.d.comb += [read_port.addr.eq(index[1:]), read_port.en.eq(read), entry.eq(read_port.data[half])]
        m.d.sync += half.eq(index[0])
        with m.If(read):
            m.d.sync += index.eq(Mux(index == ENTRIES - 1, 0, index + 1))
        return [entry, *_delayed(m, entry, MlpDatapath.ENTRIES - 1)]

    def _colours(
        self,
        m: Module,
        samples: list[MlpDatapath],
        jobs: Signal,
        places: stream.Interface,
        used: Signal,
        ending: Signal,
        finishing: Signal,
        output: data.View,
    ) -> Signal:
        """Put the colours of a batch out by the sigmoid, in the order of its jobs; return whether ``last`` is taken."""
        computed, coloured = (Signal.like(jobs, name=name) for name in ("computed", "coloured"))
        """Samples of the batch behind the basis, until they are coloured; of those, the ones still to be put out."""
        take_last = Signal()
        advance = Signal()
        shift = Signal()
        m.d.comb += [
            take_last.eq(self.i_job.valid & self.i_job.payload.last & (jobs == 0) & (computed == 0) & ~finishing),
            advance.eq(~self.o.valid | self.o.ready),
            shift.eq(advance & (coloured != 0)),
            places.ready.eq(shift),
        ]
        with m.If(used):
            m.d.sync += computed.eq(jobs)
        with m.If(shift):
            m.d.sync += [
                coloured.eq(coloured - 1),
                self.o.payload.pixel.eq(places.payload.pixel),
                self.o.payload.weight.eq(places.payload.weight),
            ]
        with m.If(output.valid & (output.layer == LAST_LAYER) & (output.index == CHANNELS - 1)):
            m.d.sync += [coloured.eq(computed), computed.eq(0)]
        with m.If(advance):
            m.d.sync += [self.o.valid.eq(shift | take_last), self.o.payload.last.eq(take_last)]
        with m.If(ending | take_last):
            m.d.sync += finishing.eq(1)
        with m.Elif(self.o.valid & self.o.ready & (coloured == 0)):
            m.d.sync += finishing.eq(0)

        m.submodules.sigmoid = sigmoid = Memory(
            shape=COLOUR_BITS, depth=SIGMOID_ENTRIES, init=[int(value) for value in sigmoid_table()]
        )
        for channel in range(CHANNELS):
            read = sigmoid.read_port()
            m.d.comb += [
                read.addr.eq(samples[0].logits[channel]),
                read.en.eq(shift),
                self.o.payload.colour[channel].eq(read.data),
            ]
        for sample, following in zip(samples, [*samples[1:], samples[0]], strict=True):
            m.d.comb += [sample.shift.eq(shift), sample.following.eq(following.logits)]
        return take_last


def _delayed(m: Module, signal: data.View, cycles: int) -> list[data.View]:
    """Return a structure one cycle later, two cycles later, and so on."""
    line = [signal]
    for n in range(cycles):
        line.append(Signal(signal.shape(), name=f"{signal.as_value().name}_{n + 1}"))
        m.d.sync += line[-1].eq(line[-2])
    return line[1:]
