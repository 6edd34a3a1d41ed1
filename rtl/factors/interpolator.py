"""Interpolate the current cube's factors at each sample: bilinear plane times linear line, all three pairs at once."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, ValueLike, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import COMPONENTS, AcceleratorConfig
from nerf.contract.formats import FACTOR, FRACTION_BITS, INTERPOLATED, PRODUCT
from nerf.contract.scene_image import PAIRS
from rtl.parts.carry_save import few_rows
from rtl.parts.lanes import each, of_lane, part_of, sample_in, several
from rtl.parts.shared_module import PART, build_in
from rtl.payloads import AXES, Cube, FactorLookUp, product_vectors, vector3

PLANE_SHIFT = 2 * FRACTION_BITS - INTERPOLATED.fraction
PLANE_BITS = PLANE_SHIFT + INTERPOLATED.width
LINE_SHIFT = FRACTION_BITS - INTERPOLATED.fraction
ROUNDING = 1 << LINE_SHIFT >> 1
"""Half of the last bit of a line's value; at the lower end of a plane's second axis, half of that of its value."""


class Interpolator(wiring.Component):
    """Turn each sample into vectors of plane times line, of some component groups each, read from a dense cube buffer.

    Rules
    -----
    - The interpolator has one current cube, or none. A sample of another cube waits: ``finished`` is strobed for the
      current cube, and then the next token of ``loaded`` becomes current. A token that no sample asks for is finished
      as soon as a sample of another cube is at the head.
    - ``last`` samples pass in their order on ``o_sample``; they need no cube and leave the current one as it is.
    - A sample's vectors are those of the component groups in order, ``lanes`` of them at a time; the pairs in a vector
      are those of `nerf.contract.scene_image.PAIRS`.
    - A vector is made in ``cfg.vector_parts`` steps, some of its components in each, for which the buffer is read.
    - A sample is offered on ``o_sample`` before its first vector is offered on ``o_vector``. The reader must be able
      to accept the next sample before it has all vectors of this one, or the next one is not begun.
    - Factors are -127 to 127, as the encoder makes them: with -128 a product would not fit.

    Latency: 1 cycle from a sample at the head (its cube current) to ``o_sample``; `LATENCY` to its first vector, and
    the steps of a vector but one.
    Throughput: one step a cycle, of each of the samples that come together; a change of cube costs a cycle when the
    next token is waiting.

    Parameters
    ----------
    cfg : AcceleratorConfig
    groups : int
        Component groups.
    sample_layout : data.StructLayout
        `samples_of` a layout with ``cube``, ``local`` and ``last``, passed on as it is.
    lanes : int
        Component groups that are interpolated at a time: 1, or all of them.
    samples : int
        That come together, in lock step; what is a vector here is then an array of one each.

    Members
    -------
    i : In(stream)
        Samples.
    loaded : In(stream)
        Cubes that the cube buffer holds, in the order of the samples.
    finished : Out(1)
        Strobe: the current cube's half of the buffer may be overwritten; what was read of it is not read again.
    factors : Out(FactorLookUp)
        Read of the cube buffer. The answer must stay until the next read. Of several samples, one each.
    o_sample, o_vector : Out(stream)
        Samples, and their `product_vectors` (none for ``last``).
    """

    LATENCY = 8

    def __init__(
        self,
        cfg: AcceleratorConfig,
        groups: int,
        sample_layout: data.StructLayout,
        lanes: int = 1,
        samples: int = 1,
    ) -> None:
        self._lanes, self._vectors, self._samples = lanes, groups // lanes, samples
        self._parts = cfg.vector_parts
        vector = product_vectors(lanes)
        super().__init__(
            {
                "i": In(stream.Signature(sample_layout)),
                "loaded": In(stream.Signature(Cube)),
                "finished": Out(1),
                "factors": several(Out(FactorLookUp(cfg, lanes)), samples),
                "o_sample": Out(stream.Signature(sample_layout)),
                "o_vector": Out(stream.Signature(vector if samples == 1 else data.ArrayLayout(vector, samples))),
            }
        )
        self._reads = each(self.factors, samples)

    def elaborate(self, platform) -> Module:
        """Return the cube gate and the interpolation pipeline."""
        m = Module()
        advance = Signal()
        m.d.comb += advance.eq(~self.o_vector.valid | self.o_vector.ready)
        read = self._gate(m, advance)
        offered = Signal(self.LATENCY - 1)
        """Of each step but the last, whether it holds a vector; the first is the buffer's."""
        with m.If(advance):
            m.d.sync += Cat(offered, self.o_vector.valid).eq(Cat(read, offered))
        self._made = Signal(range(max(self._parts, 2)))
        """Part of a vector that is put in next."""
        if self._parts > 1:
            with m.If(advance & offered[-1]):
                m.d.sync += [self._made.eq(self._made + 1), self.o_vector.valid.eq(self._made == self._parts - 1)]
        for number in range(self._samples):
            self._datapath(m, platform, advance, number)
        return m

    def _gate(self, m: Module, advance: Signal) -> Signal:
        """Current cube, order of the reads, and the samples' way to ``o_sample``."""
        sample = self.i.payload
        current = Signal(Cube)
        has_current = Signal()
        # The next cube can be read in the cycle in which it becomes current.
        at_hand = Mux(has_current, current, self.loaded.payload)
        asks = Signal()
        here = Signal()
        m.d.comb += [
            asks.eq(self.i.valid & ~sample.last),
            here.eq((has_current | self.loaded.valid) & (sample.cube.as_value() == at_hand)),
            self.finished.eq(asks & has_current & ~here),
            self.loaded.ready.eq(~has_current),
        ]
        with m.If(self.loaded.valid & self.loaded.ready):
            m.d.sync += [current.eq(self.loaded.payload), has_current.eq(1)]
        with m.If(self.finished):
            m.d.sync += has_current.eq(0)

        # A single vector has a bit, too: Verilog has no signal without.
        group = Signal(range(max(self._vectors, 2)))
        begin = group == 0
        final = group == self._vectors - 1
        part = Signal(range(max(self._parts, 2)))
        if self._parts > 1:
            begin, final = begin & (part == 0), final & (part == self._parts - 1)
        ready_to_pass = ~self.o_sample.valid | self.o_sample.ready
        read = self._reads[0].enable if self._samples == 1 else Signal(name="read")
        m.d.comb += [
            read.eq(asks & here & advance & (~begin | ready_to_pass)),
            self.i.ready.eq(Mux(sample.last, ready_to_pass, read & final)),
        ]
        for number, port in enumerate(self._reads):
            own, present = sample_in(sample, number)
            m.d.comb += [port.address.group.eq(group), port.part.eq(part)]
            if port.enable is not read:
                m.d.comb += port.enable.eq(read & present)
            for axis in AXES:
                cell = Cat(own.local[axis][FRACTION_BITS:], sample.cube[axis])
                m.d.comb += port.address.cell[axis].eq(cell)
        with m.If(read):
            if self._parts > 1:
                m.d.sync += part.eq(part + 1)
            with m.If(part == self._parts - 1):
                m.d.sync += group.eq(Mux(final, 0, group + 1))

        with m.If(self.o_sample.ready):
            m.d.sync += self.o_sample.valid.eq(0)
        with m.If((read & begin) | (self.i.valid & sample.last & ready_to_pass)):
            m.d.sync += [self.o_sample.payload.eq(sample), self.o_sample.valid.eq(1)]
        return read

    def _datapath(self, m: Module, platform, advance: Signal, number: int) -> None:
        """Seven registered steps of a sample behind the buffer: those of a pair's component are `_Component`."""
        port, (sample, _) = self._reads[number], sample_in(self.i.payload, number)
        vector = self.o_vector.payload if self._samples == 1 else self.o_vector.payload[number]
        weights = Signal(vector3(FRACTION_BITS))
        with m.If(port.enable):
            for axis in AXES:
                m.d.sync += weights[axis].eq(sample.local[axis][:FRACTION_BITS])
        first_weights = _held(m, advance, weights, "first_weights")
        second_weights = _held(m, advance, _held(m, advance, first_weights, "waiting_weights"), "second_weights")
        for pair, axes in enumerate(PAIRS):
            first, second, along = (AXES[axis] for axis in axes)
            factors = port.data[pair]
            common = {
                "advance": advance,
                "first": first_weights[first],
                "along": first_weights[along],
                "second": second_weights[second],
            }
            name = of_lane("component", number, self._samples)
            width = self._lanes * COMPONENTS // self._parts
            components = build_in(
                m, platform, f"{PART}component", [f"{name}_{pair}_{n}" for n in range(width)], _Component, common
            )
            made = part_of(vector[pair], self._made, width)
            for n, component in enumerate(components):
                m.d.comb += Cat(component.factors).eq(Cat(read[n] for read in (*factors.corners, *factors.ends)))
                with m.If(advance):
                    m.d.sync += made[n].eq(component.product)


def _held(m: Module, advance: Signal, value: ValueLike, name: str) -> Signal:
    """Return a register that takes a value at each step."""
    register = Signal.like(value, name=name, reset_less=True)
    with m.If(advance):
        m.d.sync += register.eq(value)
    return register


class _Component(wiring.Component):
    """The product of a component of a pair, six steps behind its four corners and two ends.

    The steps: differences; times the weight; the line's value, the low end of a plane's second axis and the difference
    across; times the weight; the plane's value; times the line's. A product is two rows (`rtl.parts.carry_save`) until
    the step behind; those of the last one are still to be added.

    Members
    -------
    advance : In(1)
        A step.
    factors : In
        Corners, then ends.
    first, along : In
        Weights along the first axis and the line, with the second step.
    second : In
        Weight along the second axis, with the fourth step.
    product : Out
        The sum of the last two rows.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "advance": In(1),
                "factors": In(signed(FACTOR.width)).array(6),
                "first": In(FRACTION_BITS),
                "along": In(FRACTION_BITS),
                "second": In(FRACTION_BITS),
                "product": Out(signed(PRODUCT.width)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the six steps."""
        m = Module()

        def held(value: Value, name: str) -> Signal:
            return _held(m, self.advance, value, name)

        factors = self.factors
        mixed = []
        for part, start, end, weight in (
            ("low", factors[0], factors[1], self.first),
            ("high", factors[2], factors[3], self.first),
            ("line", factors[4], factors[5], self.along),
        ):
            difference, start = held(end - start, f"{part}_difference"), held(start, f"{part}_start")
            # A half of the last bit that is kept in the end, of a plane as of a line. The sum has 16 bits.
            start = Cat(Const(ROUNDING, FRACTION_BITS), start)
            rows = few_rows(m, difference, weight, 2 * FRACTION_BITS, [start])
            value = sum(held(row, f"{part}_{number}") for number, row in enumerate(rows))
            mixed.append(value[: 2 * FRACTION_BITS].as_signed())
        low, high, line = mixed
        across, low = held(high - low, "across"), held(low, "low_end")
        line = held(line[LINE_SHIFT : LINE_SHIFT + INTERPOLATED.width].as_signed(), "line_end")
        low_end = Signal(signed(PLANE_BITS))
        m.d.comb += low_end.eq(low << FRACTION_BITS)
        rows = few_rows(m, across, self.second, PLANE_BITS, [low_end])
        plane = sum(held(row, f"plane_{number}") for number, row in enumerate(rows))
        line = held(line, "line_waits")
        plane, line = held(plane[PLANE_SHIFT:PLANE_BITS].as_signed(), "plane_end"), held(line, "line_last")
        rows = few_rows(m, plane, line, PRODUCT.width)
        m.d.comb += self.product.eq(sum(held(row, f"product_{number}") for number, row in enumerate(rows)))
        return m
