"""Basis and MLP of one sample at a time: from 144 appearance products to a colour.

Output-stationary: each lane accumulates one output of a pass; every cycle one input activation goes to all lanes,
together with one row of weights. While a pass accumulates, the outputs of the pass before are requantised one a cycle.
"""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory, ReadPort, WritePort
from amaranth.lib.wiring import In, Out

from nerf.contract.config import COMPONENTS, AcceleratorConfig
from nerf.contract.formats import (
    ACCUMULATOR,
    ACTIVATION,
    ALPHA_ENTRIES,
    COLOUR_BITS,
    MULTIPLIER,
    PHASE_SHIFT,
    SIGMOID_ENTRIES,
    SINE_ENTRIES,
    WEIGHT,
    sigmoid_table,
    sine_table,
)
from nerf.contract.scene_image import LAYERS, weight_rows
from rtl.payloads import AXES, SceneRegisters, TableWrite, TileLayouts

BEAT_BITS = 128
VECTORS = LAYERS[0][0] // COMPONENTS
FEATURES = LAYERS[0][1]
LANES_A_BEAT = BEAT_BITS // WEIGHT.width
ENTRIES_A_BEAT = 2
ENTRY_BITS = 64
ENTRIES = sum(outputs for _, outputs in LAYERS)
FIRST_ENTRY_BEAT = ALPHA_ENTRIES // 2
ENTRY_BEATS = -(-ENTRIES // ENTRIES_A_BEAT)
FIRST_ROW_BEAT = FIRST_ENTRY_BEAT + ENTRY_BEATS
ACTIVATION_BITS = 7
"""Bits of an activation's index in its layer."""
ACTIVATION_SHAPE = signed(ACTIVATION.width)
QUARTER = SINE_ENTRIES // 4

_Entry = data.StructLayout({"bias": signed(32), "multiplier": MULTIPLIER.width, "shift": 6})
_Step = data.StructLayout(
    {
        "valid": 1,
        "layer": 2,
        "first": 1,
        "last": 1,
        "element": 4,
        "axis": 2,
        "direct": 1,
        "encoded": 1,
        "doubled": 1,
        "cosine": 1,
    }
)
"""One input activation on its way to the lanes. ``first`` and ``last`` of its pass; ``element`` of its product vector;
``direct``: comes from the view direction, by ``axis``; ``encoded``: as the sine or ``cosine`` of it or of twice it."""
_Output = data.StructLayout({"valid": 1, "layer": 2, "index": ACTIVATION_BITS})
"""One layer output on its way through requantisation."""


class MlpEngine(wiring.Component):
    """Shade samples.

    Rules
    -----
    - A job that is not ``last`` takes nine vectors of ``i_products``; they may come before, with or after it. The
      vectors of the next job are accepted as soon as the basis has used those of this one.
    - ``last`` passes behind everything before it.
    - ``table`` is always accepted; beats of the tables section from 512 on fill requantisation entries and weight rows.
      Nothing may be shaded while they pass.
    - Every layer output is (accumulator + bias) * multiplier, shifted with rounding (shift 1 to 47) and limited.

    Latency: ``busy_cycles(cfg) + LATENCY`` cycles from an accepted job, its vectors waiting, to its colour.
    Throughput: one sample in ``busy_cycles(cfg) + 1`` cycles.

    Parameters
    ----------
    cfg : AcceleratorConfig
        ``mlp_lanes`` outputs accumulate in parallel.

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
    """Cycles from the last input of the last layer to the colour."""
    TURNAROUND = 11
    """Idle cycles before a layer whose inputs all come from one pass of the layer before."""

    def __init__(self, cfg: AcceleratorConfig) -> None:
        layouts = TileLayouts(cfg)
        self._lanes = cfg.mlp_lanes
        self._job_layout = layouts.ShadeJob
        self._passes = [-(-outputs // cfg.mlp_lanes) for _, outputs in LAYERS]
        self._rows = sum(LAYERS[layer][0] for layer, _ in weight_rows(cfg))
        super().__init__(
            {
                "i_job": In(stream.Signature(layouts.ShadeJob)),
                "i_products": In(stream.Signature(data.ArrayLayout(ACTIVATION_SHAPE, COMPONENTS))),
                "table": In(stream.Signature(TableWrite)),
                "scene": In(SceneRegisters),
                "o": Out(stream.Signature(layouts.ColouredSample)),
            }
        )

    @classmethod
    def busy_cycles(cls, cfg: AcceleratorConfig) -> int:
        """Return the cycles from the first input of a sample's first layer to the last input of its last layer."""
        rows = sum(LAYERS[layer][0] for layer, _ in weight_rows(cfg))
        return rows + cls.TURNAROUND * sum(outputs <= cfg.mlp_lanes for _, outputs in LAYERS[:-1])

    def elaborate(self, platform) -> Module:
        """Return the sequence of inputs, the lanes, the requantisation and the output."""
        m = Module()
        # One memory for the layers' outputs: even layers write its lower half, odd layers its upper half.
        m.submodules.activations = activations = Memory(shape=ACTIVATION_SHAPE, depth=2 << ACTIVATION_BITS, init=[])
        written = Signal(_Output)
        """The latest output in the memory; all outputs of its layer up to it are there."""
        finishing = Signal()
        """The last layer has begun, or ``last`` is offered: the output register is taken."""
        job = Signal(self._job_layout)

        step, product_data, activation_data = self._sequence(m, activations.read_port(), written, job, finishing)
        activation, at_lanes = self._inputs(m, step, product_data, activation_data, job)
        result, at_result = self._requantise(m, *self._accumulate(m, activation, at_lanes))
        self._finish(m, result, at_result, activations.write_port(), written, finishing)
        m.d.comb += self.table.ready.eq(1)
        return m

    def _sequence(
        self, m: Module, read: ReadPort, written: data.View, job: data.View, finishing: Signal
    ) -> tuple[data.View, data.View, Signal]:
        """Issue the inputs of all passes, each as soon as it exists; return the step and what is read a cycle later."""
        m.submodules.products = products = Memory(shape=self.i_products.payload.shape(), depth=VECTORS, init=[])
        write_vector, read_vector = products.write_port(), products.read_port()
        vectors = Signal(range(VECTORS + 1))
        m.d.comb += [
            self.i_products.ready.eq(vectors != VECTORS),
            write_vector.addr.eq(vectors),
            write_vector.data.eq(self.i_products.payload),
            write_vector.en.eq(self.i_products.valid & self.i_products.ready),
        ]
        with m.If(write_vector.en):
            m.d.sync += vectors.eq(vectors + 1)

        busy = Signal()
        layer = Signal(2)
        run = Signal(range(max(self._passes)))
        row = Signal(8)
        last_row = Signal()
        last_run = Signal()
        available = Signal()
        issue = Signal()
        now = Signal(_Step)
        channel = self._first_layer_order(m, issue & (layer == 1), now)
        m.d.comb += [
            last_row.eq(row == Array(inputs - 1 for inputs, _ in LAYERS)[layer]),
            last_run.eq(run == Array(passes - 1 for passes in self._passes)[layer]),
            issue.eq(busy & available),
            self.i_job.ready.eq(~busy & (~self.i_job.payload.last | ~finishing)),
        ]
        with m.Switch(layer):
            with m.Case(0):
                m.d.comb += available.eq(row[4:] < vectors)
            with m.Case(1):
                there = (written.layer == 0) & written.valid & (channel <= written.index)
                m.d.comb += available.eq(now.direct | (run != 0) | there)
            with m.Case(2, 3):
                there = (written.layer == layer - 1) & (row <= written.index)
                m.d.comb += available.eq(((run != 0) | there) & ~((layer == 3) & (row == 0) & finishing))

        with m.If(self.i_job.valid & self.i_job.ready):
            with m.If(self.i_job.payload.last):
                m.d.sync += [self.o.payload.last.eq(1), self.o.valid.eq(1), finishing.eq(1)]
            with m.Else():
                m.d.sync += [job.eq(self.i_job.payload), busy.eq(1)]
        with m.If(issue & (layer == 3) & (row == 0)):
            m.d.sync += [
                self.o.payload.pixel.eq(job.pixel),
                self.o.payload.weight.eq(job.weight),
                self.o.payload.last.eq(0),
                finishing.eq(1),
            ]
        with m.If(issue):
            m.d.sync += row.eq(row + 1)
            with m.If(last_row):
                m.d.sync += [row.eq(0), run.eq(run + 1)]
                with m.If(last_run):
                    m.d.sync += [run.eq(0), layer.eq(layer + 1)]
                    with m.If(layer == 0):
                        m.d.sync += vectors.eq(0)
                    with m.If(layer == 3):
                        m.d.sync += busy.eq(0)

        step = Signal(_Step)
        m.d.comb += [
            now.valid.eq(issue),
            now.layer.eq(layer),
            now.first.eq(row == 0),
            now.last.eq(last_row),
            now.element.eq(row),
            read_vector.addr.eq(row[4:]),
            read.addr.eq(Cat(Mux(layer == 1, channel, row)[:ACTIVATION_BITS], ~layer[0])),
        ]
        m.d.sync += step.eq(now)
        return step, read_vector.data, read.data

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

    def _inputs(
        self, m: Module, step: data.View, product_data: data.View, activation_data: Signal, job: data.View
    ) -> tuple[Signal, data.View]:
        """Choose or compute the activation in five registered steps; return it and its step."""
        m.submodules.sine_table = sine_memory = Memory(
            shape=ACTIVATION_SHAPE, depth=QUARTER + 1, init=[int(value) for value in sine_table()[: QUARTER + 1]]
        )
        sine_read = sine_memory.read_port()
        steps = [step]
        for n in range(4):
            following = Signal(_Step, name=f"step_{n}")
            m.d.sync += following.eq(steps[-1])
            steps.append(following)

        chosen, multiplied, looked_up, activation = (
            Signal(ACTIVATION_SHAPE, name=name) for name in ("chosen", "multiplied", "looked_up", "activation")
        )
        source = Signal(ACTIVATION_SHAPE)
        m.d.comb += source.eq(activation_data)
        with m.If(step.layer == 0):
            m.d.comb += source.eq(product_data[step.element])
        with m.Elif((step.layer == 1) & step.direct):
            directions = Array(job.direction[axis] for axis in AXES)
            m.d.comb += source.eq(directions[step.axis] >> self.scene.sine_shift)

        turn = Signal(signed(ACTIVATION.width + len(self.scene.phase_multiplier)))
        index_bits = SINE_ENTRIES.bit_length() - 1
        index = Signal(index_bits)
        negative = Signal()
        along = index[: index_bits - 2]
        m.d.sync += [
            chosen.eq(source),
            multiplied.eq(chosen),
            turn.eq(chosen * self.scene.phase_multiplier),
            looked_up.eq(multiplied),
            negative.eq(index[-1]),
        ]
        m.d.comb += [
            index.eq(
                Mux(steps[2].doubled, turn[PHASE_SHIFT - 1 :][:index_bits], turn[PHASE_SHIFT:][:index_bits])
                + Mux(steps[2].cosine, QUARTER, 0)
            ),
            # The second and fourth quarters run backwards.
            sine_read.addr.eq(Mux(index[-2], QUARTER - along, along)),
        ]
        sine = Signal(ACTIVATION_SHAPE)
        m.d.comb += sine.eq(Mux(negative, -sine_read.data, sine_read.data))
        encoded = (steps[3].layer == 1) & steps[3].encoded
        m.d.sync += activation.eq(Mux(encoded, sine >> self.scene.sine_shift, looked_up))
        return activation, steps[3]

    def _accumulate(self, m: Module, activation: Signal, before: data.View) -> tuple[Signal, data.View]:
        """Multiply and add in all lanes. ``before``: the step that reaches the lanes in the next cycle.

        Return one finished accumulator a cycle, and what it is.
        """
        m.submodules.weights = memory = Memory(shape=WEIGHT.width * self._lanes, depth=self._rows, init=[])
        write = memory.write_port(granularity=BEAT_BITS)
        read_weights = memory.read_port()
        beats_a_row = self._lanes // LANES_A_BEAT
        offset = Signal(16)
        part = offset[: beats_a_row.bit_length() - 1]
        m.d.comb += [
            offset.eq(self.table.payload.beat - FIRST_ROW_BEAT),
            write.addr.eq(offset >> beats_a_row.bit_length() - 1),
            write.data.eq(self.table.payload.data.replicate(beats_a_row)),
        ]
        with m.If(self.table.valid & (self.table.payload.beat >= FIRST_ROW_BEAT)):
            m.d.comb += write.en.eq((1 << part) if beats_a_row > 1 else 1)

        # Every sample uses all rows in the order of the table.
        weight_row = Signal(range(self._rows))
        m.d.comb += [read_weights.addr.eq(weight_row), read_weights.en.eq(before.valid)]
        with m.If(before.valid):
            m.d.sync += weight_row.eq(Mux(weight_row == self._rows - 1, 0, weight_row + 1))

        multiply = Signal(_Step)
        add = Signal(_Step)
        m.d.sync += [multiply.eq(before), add.eq(multiply)]
        finished = Signal()
        m.d.comb += finished.eq(add.valid & add.last)
        shift_out = [Signal(signed(ACCUMULATOR.width), name=f"shift_out_{lane}") for lane in range(self._lanes)]
        for lane in range(self._lanes):
            weight = read_weights.data[lane * WEIGHT.width :][: WEIGHT.width].as_signed()
            product = Signal(signed(ACTIVATION.width + WEIGHT.width), name=f"product_{lane}")
            accumulator, total = (
                Signal(signed(ACCUMULATOR.width), name=f"{name}_{lane}") for name in ("accumulator", "total")
            )
            m.d.sync += product.eq(activation * weight)
            m.d.comb += total.eq(Mux(add.first, 0, accumulator) + product)
            with m.If(add.valid):
                m.d.sync += accumulator.eq(total)
            following = shift_out[lane + 1] if lane + 1 < self._lanes else 0
            m.d.sync += shift_out[lane].eq(Mux(finished, total, following))

        # A pass takes at least as many cycles as it has outputs, so the last pass has left when the next arrives.
        output = Signal(_Output)
        lane = Signal(range(self._lanes))
        complete = Signal()
        m.d.comb += complete.eq(output.index == Array(outputs - 1 for _, outputs in LAYERS)[output.layer])
        with m.If(output.valid):
            m.d.sync += [lane.eq(lane + 1), output.index.eq(Mux(complete, 0, output.index + 1))]
            with m.If(complete | (lane == self._lanes - 1)):
                m.d.sync += output.valid.eq(0)
        with m.If(finished):
            m.d.sync += [output.valid.eq(1), output.layer.eq(add.layer), lane.eq(0)]
        return shift_out[0], output

    def _requantise(self, m: Module, accumulator: Signal, output: data.View) -> tuple[Signal, data.View]:
        """Add the bias, multiply, shift with rounding: one output a cycle, four registered steps."""
        m.submodules.requantisation = memory = Memory(
            shape=data.ArrayLayout(_Entry, ENTRIES_A_BEAT), depth=ENTRY_BEATS, init=[]
        )
        write, read_entries = memory.write_port(), memory.read_port()
        beat = self.table.payload
        m.d.comb += [
            write.addr.eq(beat.beat - FIRST_ENTRY_BEAT),
            write.en.eq(self.table.valid & (beat.beat >= FIRST_ENTRY_BEAT) & (beat.beat < FIRST_ROW_BEAT)),
        ]
        for n in range(ENTRIES_A_BEAT):
            m.d.comb += write.data[n].eq(beat.data[n * ENTRY_BITS :][: _Entry.size])

        # Every sample uses all entries in the order of the table.
        entry_index = Signal(range(ENTRIES))
        half = Signal()
        m.d.comb += [read_entries.addr.eq(entry_index[1:]), read_entries.en.eq(output.valid)]
        with m.If(output.valid):
            m.d.sync += entry_index.eq(Mux(entry_index == ENTRIES - 1, 0, entry_index + 1))

        outputs = [output]
        for n in range(4):
            following = Signal(_Output, name=f"output_{n}")
            m.d.sync += following.eq(outputs[-1])
            outputs.append(following)
        entry = Signal(_Entry)
        taken = Signal(signed(ACCUMULATOR.width))
        biased = Signal(signed(ACCUMULATOR.width + 1))
        multiplier = Signal(MULTIPLIER.width)
        shift = Signal(6)
        product_shift = Signal(6)
        product = Signal(signed(ACCUMULATOR.width + 1 + MULTIPLIER.width))
        result = Signal(signed(len(product)))
        m.d.comb += entry.eq(read_entries.data[half])
        m.d.sync += [
            half.eq(entry_index[0]),
            taken.eq(accumulator),
            biased.eq(taken + entry.bias),
            multiplier.eq(entry.multiplier),
            shift.eq(entry.shift),
            product.eq(biased * multiplier),
            product_shift.eq(shift),
            # Rounding half up: the bit below the result is added.
            result.eq(((product >> (product_shift - 1)[: len(product_shift)]) + 1) >> 1),
        ]
        return result, outputs[-1]

    def _finish(
        self,
        m: Module,
        result: Signal,
        output: data.View,
        write: WritePort,
        written: data.View,
        finishing: Signal,
    ) -> None:
        """Limit each result and write it for the next layer; the last layer's become the colour, by the sigmoid."""
        half = SIGMOID_ENTRIES // 2
        low = Signal(signed(17))
        high = Signal(signed(17))
        limited = Signal(ACTIVATION_SHAPE)
        m.d.comb += [low.eq(0), high.eq(ACTIVATION.high)]
        with m.If(output.layer == 0):
            m.d.comb += low.eq(ACTIVATION.low)
        with m.Elif(output.layer == 3):
            m.d.comb += [low.eq(-half), high.eq(half - 1)]
        m.d.comb += [
            limited.eq(Mux(result < low, low, Mux(result > high, high, result))),
            write.addr.eq(Cat(output.index, output.layer[0])),
            write.data.eq(limited),
            write.en.eq(output.valid & (output.layer != 3)),
        ]
        with m.If(write.en):
            m.d.sync += written.eq(output)

        m.submodules.sigmoid = sigmoid = Memory(
            shape=COLOUR_BITS, depth=SIGMOID_ENTRIES, init=[int(value) for value in sigmoid_table()]
        )
        read_sigmoid = sigmoid.read_port()
        m.d.comb += read_sigmoid.addr.eq(limited + half)
        coloured = Signal()
        component = Signal(2)
        m.d.sync += [coloured.eq(output.valid & (output.layer == 3)), component.eq(output.index)]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [self.o.valid.eq(0), finishing.eq(0)]
        with m.If(coloured):
            m.d.sync += self.o.payload.colour[component].eq(read_sigmoid.data)
            with m.If(component == 2):
                m.d.sync += self.o.valid.eq(1)
