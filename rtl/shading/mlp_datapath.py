"""Basis and MLP of one sample of a batch, as `rtl.shading.mlp_engine` tells it: all but sequences and weights.

Output-stationary: each lane of a stage accumulates one output of a pass; every cycle one input activation goes to all
its lanes, together with one row of weights. While a pass accumulates, the outputs of the pass before are requantised
one a cycle.
"""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from nerf.contract.config import COMPONENTS, AcceleratorConfig
from nerf.contract.formats import (
    ACCUMULATOR,
    ACTIVATION,
    MULTIPLIER,
    PHASE_SHIFT,
    PLAIN_COLOUR,
    SIGMOID_ENTRIES,
    SINE_ENTRIES,
    SINE_FRACTION,
    WEIGHT,
    sine_table,
)
from nerf.contract.network import COLOURS, Stage
from nerf.contract.scene_image import PAIRS
from rtl.parts.banks import BATCHES
from rtl.parts.carry_save import few_rows
from rtl.payloads import AXES, Direction, SceneRegisters

CHANNELS = COLOURS
ACTIVATION_SHAPE = signed(ACTIVATION.width)
FEATURE_BITS = 5
LOGIT_BITS = SIGMOID_ENTRIES.bit_length() - 1
QUARTER = SINE_ENTRIES // 4

Products = data.ArrayLayout(data.ArrayLayout(ACTIVATION_SHAPE, COMPONENTS), len(PAIRS))
"""Products of one component group: [pair][component]."""
Entry = data.StructLayout({"bias": signed(32), "multiplier": MULTIPLIER.width, "shift": 6})
Step = data.StructLayout({"valid": 1, "first": 1, "last": 1})
"""One input activation on its way to the lanes; ``first`` and ``last`` of its pass."""
Product = data.StructLayout({"component": COMPONENTS.bit_length() - 1, "pair": 2})


def output_layout(stage: Stage) -> data.StructLayout:
    """Return the layout of an output of a stage's layers on its way through requantisation."""
    return data.StructLayout({"valid": 1, "index": range(stage.outputs)})


def logits_layout(cfg: AcceleratorConfig) -> data.ArrayLayout:
    """Return the layout of the last layer's outputs: as the sigmoid table is addressed, or plain colours."""
    return data.ArrayLayout(signed(PLAIN_COLOUR.width) if cfg.colours == "plain" else LOGIT_BITS, CHANNELS)


def logit(result: Value) -> Value:
    """Return the address in the sigmoid table of a result of the last layer."""
    return result + SIGMOID_ENTRIES // 2


def encoding_layout(cfg: AcceleratorConfig) -> data.StructLayout:
    """Return the layout of where an input of the hidden ``layer`` comes from.

    ``direct``: from the view direction, by ``axis``; ``encoded``: as the sine or ``cosine`` of it times 2 to the
    ``band``; ``modulated``: times two ``factors`` of 1, x, y, z of the view direction.
    """
    bands = range(max(cfg.feature_bands, cfg.view_bands, 1))
    fields = {"layer": 1, "direct": 1, "axis": 2, "encoded": 1, "band": bands, "cosine": 1}
    if cfg.colours == "plain":
        fields |= {"modulated": 1, "factors": data.ArrayLayout(2, 2)}
    return data.StructLayout(fields)


def reads_layout(cfg: AcceleratorConfig) -> data.StructLayout:
    """Return the layout of the addresses of what is there a cycle later."""
    group, hidden = range(cfg.groups["appearance"]), range(cfg.hidden)
    return data.StructLayout(
        {
            "products": data.StructLayout({"group": group, "bank": 1}),
            "features": data.StructLayout({"channel": FEATURE_BITS, "bank": 1}),
            "direction": range(BATCHES),
            "first_hidden": hidden,
            "second_hidden": data.StructLayout({"index": hidden, "bank": 1}),
        }
    )


class Drive(wiring.Signature):
    """What the lanes of a stage are told, in all samples alike.

    Members
    -------
    weights : Out
        Of the activation that is at the lanes.
    add : Out(Step)
        Of the activation of the cycle before.
    entries : Out
        ``entries[n]`` belongs to the output that left the lanes n + 1 cycles before.
    output : Out
        The output that left the lanes `MlpLanes.RESULT` cycles before.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__(
            {
                "weights": Out(WEIGHT.width * stage.lanes),
                "add": Out(Step),
                "entries": Out(data.ArrayLayout(Entry, MlpLanes.ENTRIES)),
                "output": Out(output_layout(stage)),
            }
        )


class MlpLanes(wiring.Component):
    """Multiply, add and requantise the outputs of a stage.

    Latency: 2 cycles from the last activation of a pass to its first output at lane 0, `RESULT` more to the result.
    Throughput: one activation and one result a cycle.

    Parameters
    ----------
    stage : Stage
    low, high : int
        Limits of the results.

    Members
    -------
    activation : In
    drive : In(Drive)
    result : Out
    """

    RESULT = 5
    ENTRIES = 4
    """Cycles of those in which an output's requantisation entry is used."""

    def __init__(self, stage: Stage, low: int, high: int) -> None:
        self._lanes, self._low, self._high = stage.lanes, low, high
        super().__init__(
            {"activation": In(ACTIVATION_SHAPE), "drive": In(Drive(stage)), "result": Out(ACTIVATION_SHAPE)}
        )

    def elaborate(self, platform) -> Module:
        """Return lanes and requantisation."""
        m = Module()
        result = self._requantise(m, self._accumulate(m))
        m.d.comb += self.result.eq(Mux(result < self._low, self._low, Mux(result > self._high, self._high, result)))
        return m

    def _accumulate(self, m: Module) -> Signal:
        """Multiply and add in all lanes; return one finished accumulator a cycle."""
        add = self.drive.add
        finished = Signal()
        m.d.comb += finished.eq(add.valid & add.last)
        accumulator_shape = signed(ACCUMULATOR.width)
        shift_out = [
            Signal(accumulator_shape, name=f"shift_out_{lane}", reset_less=True) for lane in range(self._lanes)
        ]
        for lane in range(self._lanes):
            weight = self.drive.weights[lane * WEIGHT.width :][: WEIGHT.width].as_signed()
            product = Signal(signed(ACTIVATION.width + WEIGHT.width), name=f"product_{lane}", reset_less=True)
            accumulator = Signal(accumulator_shape, name=f"accumulator_{lane}", reset_less=True)
            total = Signal(accumulator_shape, name=f"total_{lane}")
            m.d.sync += product.eq(self.activation * weight)
            m.d.comb += total.eq(Mux(add.first, 0, accumulator) + product)
            with m.If(add.valid):
                m.d.sync += accumulator.eq(total)
            following = shift_out[lane + 1] if lane + 1 < self._lanes else 0
            m.d.sync += shift_out[lane].eq(Mux(finished, total, following))
        return shift_out[0]

    def _requantise(self, m: Module, accumulator: Signal) -> Signal:
        """Add the bias, multiply, add the carries, shift: five registered steps. Return what they give, rounded."""
        entries = self.drive.entries
        taken = Signal(signed(ACCUMULATOR.width), reset_less=True)
        biased = Signal(signed(ACCUMULATOR.width + 1), reset_less=True)
        bits = len(biased) + MULTIPLIER.width
        product, shifted = (Signal(signed(bits), name=name, reset_less=True) for name in ("product", "shifted"))
        partial, carries = (Signal(bits, name=name, reset_less=True) for name in ("partial", "carries"))
        result = Signal(signed(bits - 1))
        m.d.sync += [
            taken.eq(accumulator),
            biased.eq(taken + entries[0].bias),
            Cat(partial, carries).eq(Cat(few_rows(m, biased, entries[1].multiplier, bits))),
            product.eq(partial + carries),
            shifted.eq(product >> (entries[3].shift - 1)[: len(entries[3].shift)]),
        ]
        # Rounding half up: the bit below the result is added.
        m.d.comb += result.eq((shifted + 1) >> 1)
        return result


class MlpDatapath(wiring.Component):
    """Compute one sample of each of three batches: one in the basis, one in the hidden layers, one in the last layer.

    Rules
    -----
    - Between the stages lie two banks, so that each writes the next batch while the one behind it reads.
    - ``product``, ``encodings[n]``: of the input that ``reads`` addressed a cycle, n + 1 cycles before. An input is at
      the lanes `SOURCES` cycles after its address.
    - With ``take`` the logits of the last layer become those at the output, with ``shift`` those of ``following``.
    - Nothing is reset: what counts has been written before.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    products, group, direction, loading : In
        What is loaded, and its place: component group, number of the batch.
    write_products, write_direction : In
    phase_multiplier, sine_shift : In
        Of `rtl.payloads.SceneRegisters`.
    reads, product, encodings : In
    feature_bank, hidden_bank : In
        Where features and second hidden activations are written.
    basis, hidden, last : In(Drive)
    take, shift, following : In
    logits : Out(logits_layout)
    """

    SOURCES = (2, 5, 2)
    """Cycles from the address of an input of each stage to the lanes."""
    ENCODING = 4
    """Cycles of a hidden layer's input in which its encoding is used."""

    def __init__(self, cfg: AcceleratorConfig) -> None:
        self._stages = cfg.stages
        self._plain = cfg.colours == "plain"
        self._logits = logits_layout(cfg)
        self._index_bits = cfg.hidden.bit_length() - 1
        """Of a hidden activation in its layer."""
        basis, hidden, last = (In(Drive(stage)) for stage in cfg.stages)
        self._bands = max(cfg.feature_bands, cfg.view_bands, 1)
        super().__init__(
            {
                "products": In(Products),
                "group": In(range(cfg.groups["appearance"])),
                "direction": In(Direction),
                "loading": In(range(BATCHES)),
                "write_products": In(1),
                "write_direction": In(1),
                "phase_multiplier": In(SceneRegisters["phase_multiplier"].shape),
                "sine_shift": In(SceneRegisters["sine_shift"].shape),
                "reads": In(reads_layout(cfg)),
                "product": In(Product),
                "encodings": In(data.ArrayLayout(encoding_layout(cfg), self.ENCODING)),
                "feature_bank": In(1),
                "hidden_bank": In(1),
                "basis": basis,
                "hidden": hidden,
                "last": last,
                "take": In(1),
                "shift": In(1),
                "following": In(self._logits),
                "logits": Out(self._logits),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the three stages, the memories before and between them, and the logits."""
        m = Module()
        half = SIGMOID_ENTRIES // 2
        of_logits = (PLAIN_COLOUR.low, PLAIN_COLOUR.high) if self._plain else (-half, half - 1)
        limits = (ACTIVATION.low, ACTIVATION.high), (0, ACTIVATION.high), of_logits
        drives = self.basis, self.hidden, self.last
        names = "basis_lanes", "hidden_lanes", "last_lanes"
        for name, stage, limit, drive in zip(names, self._stages, limits, drives, strict=True):
            m.submodules[name] = lanes = MlpLanes(stage, *limit)
            wiring.connect(m, wiring.flipped(drive), lanes.drive)
        basis, hidden, last = (m.submodules[name] for name in names)
        of_basis, of_hidden, of_last = (drive.output for drive in drives)
        second = of_hidden.index[self._index_bits]
        reads = self.reads

        product = self._products(m)
        feature = _memory(
            m, "features", FEATURE_BITS + 1, reads.features,
            of_basis.valid, Cat(of_basis.index[:FEATURE_BITS], self.feature_bank), basis.result,
        )  # fmt: skip
        first_hidden = _memory(
            m, "first_hidden", self._index_bits, reads.first_hidden,
            of_hidden.valid & ~second, of_hidden.index[:self._index_bits], hidden.result,
        )  # fmt: skip
        second_hidden = _memory(
            m, "second_hidden", self._index_bits + 1, reads.second_hidden,
            of_hidden.valid & second, Cat(of_hidden.index[:self._index_bits], self.hidden_bank), hidden.result,
        )  # fmt: skip
        m.d.sync += [basis.activation.eq(product), last.activation.eq(second_hidden)]
        direction = _memory(
            m, "directions", len(self.loading), self.reads.direction,
            self.write_direction, self.loading, self.direction, Direction,
        )  # fmt: skip
        source = self._hidden_input(m, feature, first_hidden, direction)
        modulated = self._modulate(m, feature, direction) if self._plain else None
        m.d.comb += hidden.activation.eq(self._encode(m, source, modulated))

        logits = Signal(self._logits, reset_less=True)
        put_out = Signal(self._logits, reset_less=True)
        m.d.comb += self.logits.eq(put_out)
        with m.If(of_last.valid):
            m.d.sync += logits[of_last.index[:2]].eq(last.result if self._plain else logit(last.result))
        with m.If(self.take):
            m.d.sync += put_out.eq(logits)
        with m.Elif(self.shift):
            m.d.sync += put_out.eq(self.following)
        return m

    def _products(self, m: Module) -> Signal:
        """Hold products of two batches; return the one that is told."""
        address = Cat(self.group, self.loading[0])
        words = _memory(
            m, "products", len(address), self.reads.products, self.write_products, address, self.products, Products
        )
        product = Signal(ACTIVATION_SHAPE)
        pairs = Array(words[pair] for pair in range(len(PAIRS)))
        m.d.comb += product.eq(Array(pairs[self.product.pair][n] for n in range(COMPONENTS))[self.product.component])
        return product

    def _hidden_input(self, m: Module, feature, first_hidden, direction: data.View) -> Signal:
        """Choose the input of a hidden layer: a feature, the direction, or an activation."""
        source = Signal(ACTIVATION_SHAPE)
        encoding = self.encodings[0]
        m.d.comb += source.eq(Mux(encoding.layer, first_hidden, feature))
        with m.If(encoding.direct):
            m.d.comb += source.eq(Array(direction[axis] for axis in AXES)[encoding.axis] >> self.sine_shift)
        return source

    def _modulate(self, m: Module, feature, direction: data.View) -> Value:
        """Return a feature times a monomial of the direction, three registered steps later."""
        one = 1 << SINE_FRACTION
        factors = Array([Const(one, ACTIVATION_SHAPE), *(direction[axis] for axis in AXES)])
        of_monomial = [Signal(ACTIVATION_SHAPE, name=f"factor_{n}", reset_less=True) for n in range(2)]
        taken, waits = (Signal(ACTIVATION_SHAPE, name=name, reset_less=True) for name in ("taken", "waits"))
        monomial = Signal(signed(2 * ACTIVATION.width - SINE_FRACTION), reset_less=True)
        product = Signal(signed(len(waits) + len(monomial)), name="modulated", reset_less=True)
        m.d.sync += [
            *(
                factor.eq(factors[number])
                for factor, number in zip(of_monomial, self.encodings[0].factors, strict=True)
            ),
            taken.eq(feature),
            monomial.eq((of_monomial[0] * of_monomial[1]) >> SINE_FRACTION),
            waits.eq(taken),
            product.eq(waits * monomial),
        ]
        rounded = (product + (one >> 1)) >> SINE_FRACTION
        return Mux(rounded < ACTIVATION.low, ACTIVATION.low, Mux(rounded > ACTIVATION.high, ACTIVATION.high, rounded))

    def _encode(self, m: Module, source: Signal, modulated: Value | None) -> Signal:
        """Return the input, or the sine that the first MLP layer wants of it, four registered steps later.

        ``modulated``: what it takes instead where the input is a feature times a monomial, three steps behind it.
        """
        m.submodules.sine_table = sine_memory = Memory(
            shape=ACTIVATION_SHAPE, depth=QUARTER + 1, init=[int(value) for value in sine_table()[: QUARTER + 1]]
        )
        sine_read = sine_memory.read_port()
        chosen, multiplied, looked_up, activation = (
            Signal(ACTIVATION_SHAPE, name=name, reset_less=True)
            for name in ("chosen", "multiplied", "looked_up", "activation")
        )
        index_bits = SINE_ENTRIES.bit_length() - 1
        turn_bits = PHASE_SHIFT + index_bits
        partial, carries = (Signal(turn_bits, name=name, reset_less=True) for name in ("partial_turn", "turn_carries"))
        turn = Signal(turn_bits)
        index = Signal(index_bits)
        negative = Signal(reset_less=True)
        along = index[: index_bits - 2]
        m.d.sync += [
            chosen.eq(source),
            multiplied.eq(chosen),
            Cat(partial, carries).eq(Cat(few_rows(m, chosen, self.phase_multiplier, turn_bits))),
            looked_up.eq(multiplied),
            negative.eq(index[-1]),
        ]
        m.d.comb += [
            turn.eq(partial + carries),
            index.eq(
                Array(turn[PHASE_SHIFT - band :][:index_bits] for band in range(self._bands))[self.encodings[2].band]
                + Mux(self.encodings[2].cosine, QUARTER, 0)
            ),
            # The second and fourth quarters run backwards.
            sine_read.addr.eq(Mux(index[-2], QUARTER - along, along)),
        ]
        sine = Signal(ACTIVATION_SHAPE)
        m.d.comb += sine.eq(Mux(negative, -sine_read.data, sine_read.data))
        activated = Mux(self.encodings[3].encoded, sine >> self.sine_shift, looked_up)
        if modulated is not None:
            activated = Mux(self.encodings[3].modulated, modulated, activated)
        m.d.sync += activation.eq(activated)
        return activation


def _memory(m: Module, name: str, address_bits: int, reads, enable, writes, value, shape=ACTIVATION_SHAPE):
    """Build a memory in; return what is read, a cycle after its address."""
    m.submodules[name] = memory = Memory(shape=shape, depth=1 << address_bits, init=[])
    read, write = memory.read_port(), memory.write_port()
    m.d.comb += [read.addr.eq(reads), write.en.eq(enable), write.addr.eq(writes), write.data.eq(value)]
    return read.data
