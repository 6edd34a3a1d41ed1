"""Basis and MLP of one sample at a time, as `rtl.mlp_engine` tells it: everything but the sequence and the weights.

Output-stationary: each lane accumulates one output of a pass; every cycle one input activation goes to all lanes,
together with one row of weights. While a pass accumulates, the outputs of the pass before are requantised one a cycle.
"""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from nerf.contract.config import COMPONENTS
from nerf.contract.formats import (
    ACCUMULATOR,
    ACTIVATION,
    MULTIPLIER,
    PHASE_SHIFT,
    SIGMOID_ENTRIES,
    SINE_ENTRIES,
    WEIGHT,
    sine_table,
)
from nerf.contract.scene_image import LAYERS
from rtl.payloads import AXES, Direction, SceneRegisters

VECTORS = LAYERS[0][0] // COMPONENTS
CHANNELS = LAYERS[-1][1]
ACTIVATION_SHAPE = signed(ACTIVATION.width)
ACTIVATION_BITS = 7
"""Bits of an activation's index in its layer."""
LOGIT_BITS = SIGMOID_ENTRIES.bit_length() - 1
QUARTER = SINE_ENTRIES // 4

Vector = data.ArrayLayout(ACTIVATION_SHAPE, COMPONENTS)
Entry = data.StructLayout({"bias": signed(32), "multiplier": MULTIPLIER.width, "shift": 6})
Step = data.StructLayout(
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
Output = data.StructLayout({"valid": 1, "layer": 2, "index": ACTIVATION_BITS})
"""One layer output on its way through requantisation."""
Logits = data.ArrayLayout(LOGIT_BITS, CHANNELS)
"""Outputs of the last layer, as the sigmoid table is addressed."""


class MlpDatapath(wiring.Component):
    """Compute one sample of a batch.

    Rules
    -----
    - Products and direction are written while the sample before is computed; ``begin`` makes the direction the current
      one. The products of the current sample are read until then.
    - ``read_vector`` and ``read_activation`` address what ``steps[0]`` uses a cycle later; ``steps[n]`` is the step of
      n + 1 cycles before. ``weights`` is the row of ``steps[4]``.
    - ``outputs[n]`` is the output that left the lanes n cycles before; ``entries[n]`` belongs to ``outputs[n + 1]``.
    - With ``shift`` the logits become those of ``following``.
    - Nothing is reset: what counts has been written before.

    Parameters
    ----------
    lanes : int
        Outputs that accumulate in parallel.

    Members
    -------
    vector, vector_address, write_vector : In
    direction, write_direction, begin : In
    phase_multiplier, sine_shift : In
        Of `rtl.payloads.SceneRegisters`.
    read_vector, read_activation, steps, weights : In
    outputs, entries : In
    following, shift : In
    logits : Out(Logits)
    """

    STEPS = 6
    """Cycles from the issue of an input to its sum."""
    OUTPUTS = 5
    """Cycles from an output at the first lane to its limited result, both counted."""
    ENTRIES = 3
    """Of those, the ones in which an entry is used."""

    def __init__(self, lanes: int) -> None:
        self._lanes = lanes
        super().__init__(
            {
                "vector": In(Vector),
                "vector_address": In(range(VECTORS)),
                "write_vector": In(1),
                "direction": In(Direction),
                "write_direction": In(1),
                "begin": In(1),
                "phase_multiplier": In(SceneRegisters["phase_multiplier"].shape),
                "sine_shift": In(SceneRegisters["sine_shift"].shape),
                "read_vector": In(range(VECTORS)),
                "read_activation": In(ACTIVATION_BITS + 1),
                "steps": In(data.ArrayLayout(Step, self.STEPS)),
                "weights": In(WEIGHT.width * lanes),
                "outputs": In(data.ArrayLayout(Output, self.OUTPUTS)),
                "entries": In(data.ArrayLayout(Entry, self.ENTRIES)),
                "following": In(Logits),
                "shift": In(1),
                "logits": Out(Logits),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return memories, encodings, lanes and requantisation."""
        m = Module()
        # One memory for the layers' outputs: even layers write its lower half, odd layers its upper half.
        m.submodules.activations = activations = Memory(shape=ACTIVATION_SHAPE, depth=2 << ACTIVATION_BITS, init=[])
        read, write = activations.read_port(), activations.write_port()
        m.d.comb += read.addr.eq(self.read_activation)
        activation = self._encode(m, self._source(m, read.data))
        limited = self._limit(m, self._requantise(m, self._accumulate(m, activation)))

        output = self.outputs[self.OUTPUTS - 1]
        m.d.comb += [
            write.addr.eq(Cat(output.index, output.layer[0])),
            write.data.eq(limited),
            write.en.eq(output.valid & (output.layer != len(LAYERS) - 1)),
        ]
        logits = Signal(Logits, reset_less=True)
        m.d.comb += self.logits.eq(logits)
        with m.If(self.shift):
            m.d.sync += logits.eq(self.following)
        with m.If(output.valid & (output.layer == len(LAYERS) - 1)):
            m.d.sync += logits[output.index[:2]].eq(limited + SIGMOID_ENTRIES // 2)
        return m

    def _source(self, m: Module, activation: Signal) -> Signal:
        """Hold products and direction; choose the input of the step."""
        m.submodules.products = products = Memory(shape=Vector, depth=VECTORS, init=[])
        write, read = products.write_port(), products.read_port()
        m.d.comb += [
            write.addr.eq(self.vector_address),
            write.data.eq(self.vector),
            write.en.eq(self.write_vector),
            read.addr.eq(self.read_vector),
        ]
        loaded = Signal(Direction, reset_less=True)
        current = Signal(Direction, reset_less=True)
        with m.If(self.write_direction):
            m.d.sync += loaded.eq(self.direction)
        with m.If(self.begin):
            m.d.sync += current.eq(loaded)

        source = Signal(ACTIVATION_SHAPE)
        step = self.steps[0]
        m.d.comb += source.eq(activation)
        with m.If(step.layer == 0):
            m.d.comb += source.eq(read.data[step.element])
        with m.Elif((step.layer == 1) & step.direct):
            directions = Array(current[axis] for axis in AXES)
            m.d.comb += source.eq(directions[step.axis] >> self.sine_shift)
        return source

    def _encode(self, m: Module, source: Signal) -> Signal:
        """Return the input, or the sine that the first MLP layer wants of it, four registered steps later."""
        m.submodules.sine_table = sine_memory = Memory(
            shape=ACTIVATION_SHAPE, depth=QUARTER + 1, init=[int(value) for value in sine_table()[: QUARTER + 1]]
        )
        sine_read = sine_memory.read_port()
        chosen, multiplied, looked_up, activation = (
            Signal(ACTIVATION_SHAPE, name=name, reset_less=True)
            for name in ("chosen", "multiplied", "looked_up", "activation")
        )
        turn = Signal(signed(ACTIVATION.width + len(self.phase_multiplier)), reset_less=True)
        index_bits = SINE_ENTRIES.bit_length() - 1
        index = Signal(index_bits)
        negative = Signal(reset_less=True)
        along = index[: index_bits - 2]
        m.d.sync += [
            chosen.eq(source),
            multiplied.eq(chosen),
            turn.eq(chosen * self.phase_multiplier),
            looked_up.eq(multiplied),
            negative.eq(index[-1]),
        ]
        m.d.comb += [
            index.eq(
                Mux(self.steps[2].doubled, turn[PHASE_SHIFT - 1 :][:index_bits], turn[PHASE_SHIFT:][:index_bits])
                + Mux(self.steps[2].cosine, QUARTER, 0)
            ),
            # The second and fourth quarters run backwards.
            sine_read.addr.eq(Mux(index[-2], QUARTER - along, along)),
        ]
        sine = Signal(ACTIVATION_SHAPE)
        m.d.comb += sine.eq(Mux(negative, -sine_read.data, sine_read.data))
        encoded = (self.steps[3].layer == 1) & self.steps[3].encoded
        m.d.sync += activation.eq(Mux(encoded, sine >> self.sine_shift, looked_up))
        return activation

    def _accumulate(self, m: Module, activation: Signal) -> Signal:
        """Multiply and add in all lanes; return one finished accumulator a cycle."""
        add = self.steps[self.STEPS - 1]
        finished = Signal()
        m.d.comb += finished.eq(add.valid & add.last)
        accumulator_shape = signed(ACCUMULATOR.width)
        shift_out = [
            Signal(accumulator_shape, name=f"shift_out_{lane}", reset_less=True) for lane in range(self._lanes)
        ]
        for lane in range(self._lanes):
            weight = self.weights[lane * WEIGHT.width :][: WEIGHT.width].as_signed()
            product = Signal(signed(ACTIVATION.width + WEIGHT.width), name=f"product_{lane}", reset_less=True)
            accumulator = Signal(accumulator_shape, name=f"accumulator_{lane}", reset_less=True)
            total = Signal(accumulator_shape, name=f"total_{lane}")
            m.d.sync += product.eq(activation * weight)
            m.d.comb += total.eq(Mux(add.first, 0, accumulator) + product)
            with m.If(add.valid):
                m.d.sync += accumulator.eq(total)
            following = shift_out[lane + 1] if lane + 1 < self._lanes else 0
            m.d.sync += shift_out[lane].eq(Mux(finished, total, following))
        return shift_out[0]

    def _requantise(self, m: Module, accumulator: Signal) -> Signal:
        """Add the bias, multiply, shift with rounding: four registered steps."""
        taken = Signal(signed(ACCUMULATOR.width), reset_less=True)
        biased = Signal(signed(ACCUMULATOR.width + 1), reset_less=True)
        product = Signal(signed(ACCUMULATOR.width + 1 + MULTIPLIER.width), reset_less=True)
        result = Signal(signed(len(product)), reset_less=True)
        m.d.sync += [
            taken.eq(accumulator),
            biased.eq(taken + self.entries[0].bias),
            product.eq(biased * self.entries[1].multiplier),
            # Rounding half up: the bit below the result is added.
            result.eq(((product >> (self.entries[2].shift - 1)[: len(self.entries[2].shift)]) + 1) >> 1),
        ]
        return result

    def _limit(self, m: Module, result: Signal) -> Signal:
        """Return the result in the range of its layer's outputs."""
        half = SIGMOID_ENTRIES // 2
        low = Signal(signed(17))
        high = Signal(signed(17))
        limited = Signal(ACTIVATION_SHAPE)
        layer = self.outputs[self.OUTPUTS - 1].layer
        m.d.comb += [low.eq(0), high.eq(ACTIVATION.high)]
        with m.If(layer == 0):
            m.d.comb += low.eq(ACTIVATION.low)
        with m.Elif(layer == len(LAYERS) - 1):
            m.d.comb += [low.eq(-half), high.eq(half - 1)]
        m.d.comb += limited.eq(Mux(result < low, low, Mux(result > high, high, result)))
        return limited
