"""Interpolate the current cube's factors at each sample: bilinear plane times linear line, all three pairs at once."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import COMPONENTS, AcceleratorConfig
from nerf.contract.formats import FRACTION_BITS, INTERPOLATED
from nerf.contract.scene_image import PAIRS
from rtl.payloads import AXES, BlockLayouts, CellFactors, Cube, LookUp, ProductVector, vector3


class Interpolator(wiring.Component):
    """Turn each sample into ``groups`` vectors of plane times line, read from a dense cube buffer.

    Rules
    -----
    - The interpolator has one current cube, or none. A sample of another cube waits: ``finished`` is strobed for the
      current cube, and then the next token of ``loaded`` becomes current. A token that no sample asks for is finished
      as soon as a sample of another cube is at the head.
    - ``last`` samples pass in their order on ``o_sample``; they need no cube and leave the current one as it is.
    - A sample's vectors are those of the component groups, in order; the pairs in a vector are those of
      `nerf.contract.scene_image.PAIRS`.
    - A sample is offered on ``o_sample`` before its first vector is offered on ``o_vector``. The reader must be able
      to accept the next sample before it has all vectors of this one, or the next one is not begun.
    - Factors are -127 to 127, as the encoder makes them: with -128 a product would not fit.

    Latency: 1 cycle from a sample at the head (its cube current) to ``o_sample``; `LATENCY` to its first vector.
    Throughput: one vector a cycle; a change of cube costs a cycle when the next token is waiting.

    Parameters
    ----------
    cfg : AcceleratorConfig
    groups : int
        Component groups: 1 (density) or 3 (appearance).
    sample_layout : data.StructLayout
        A layout with ``cube``, ``local`` and ``last``, passed on as it is.

    Members
    -------
    i : In(stream)
        Samples.
    loaded : In(stream)
        Cubes that the cube buffer holds, in the order of the samples.
    finished : Out(1)
        Strobe: the current cube's half of the buffer may be overwritten; what was read of it is not read again.
    factors : Out(LookUp)
        Read of the cube buffer. The answer must stay until the next read.
    o_sample, o_vector : Out(stream)
        Samples, and their `ProductVector` (none for ``last``).
    """

    LATENCY = 4

    def __init__(self, cfg: AcceleratorConfig, groups: int, sample_layout: data.StructLayout) -> None:
        self.groups = groups
        super().__init__(
            {
                "i": In(stream.Signature(sample_layout)),
                "loaded": In(stream.Signature(Cube)),
                "finished": Out(1),
                "factors": Out(LookUp(BlockLayouts(cfg).FactorAddress, CellFactors)),
                "o_sample": Out(stream.Signature(sample_layout)),
                "o_vector": Out(stream.Signature(ProductVector)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the cube gate and the interpolation pipeline."""
        m = Module()
        advance = Signal()
        m.d.comb += advance.eq(~self.o_vector.valid | self.o_vector.ready)
        self._gate(m, advance)
        self._datapath(m, advance)
        return m

    def _gate(self, m: Module, advance: Signal) -> None:
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

        # A single group has a bit, too: Verilog has no signal without.
        group = Signal(range(max(self.groups, 2)))
        begin = group == 0
        final = group == self.groups - 1
        ready_to_pass = ~self.o_sample.valid | self.o_sample.ready
        read = self.factors.enable
        m.d.comb += [
            read.eq(asks & here & advance & (~begin | ready_to_pass)),
            self.i.ready.eq(Mux(sample.last, ready_to_pass, read & final)),
            self.factors.address.group.eq(group),
        ]
        for axis in AXES:
            cell = Cat(sample.local[axis][FRACTION_BITS:], sample.cube[axis])
            m.d.comb += self.factors.address.cell[axis].eq(cell)
        with m.If(read):
            m.d.sync += group.eq(Mux(final, 0, group + 1))

        with m.If(self.o_sample.ready):
            m.d.sync += self.o_sample.valid.eq(0)
        with m.If((read & begin) | (self.i.valid & sample.last & ready_to_pass)):
            m.d.sync += [self.o_sample.payload.eq(sample), self.o_sample.valid.eq(1)]

    def _datapath(self, m: Module, advance: Signal) -> None:
        """Three registered steps behind the buffer: first axis and line, second axis, product."""
        one = 1 << FRACTION_BITS
        plane_shift = 2 * FRACTION_BITS - INTERPOLATED.fraction
        line_shift = FRACTION_BITS - INTERPOLATED.fraction
        weights = Signal(vector3(FRACTION_BITS))
        """Of what the buffer has read; then of what has been mixed along the first axis."""
        weights_mixed = Signal(vector3(FRACTION_BITS))
        reading = Signal()
        mixed = Signal()
        interpolated = Signal()
        with m.If(self.factors.enable):
            for axis in AXES:
                m.d.sync += weights[axis].eq(self.i.payload.local[axis][:FRACTION_BITS])
        with m.If(advance):
            m.d.sync += [
                reading.eq(self.factors.enable),
                mixed.eq(reading),
                interpolated.eq(mixed),
                self.o_vector.valid.eq(interpolated),
                weights_mixed.eq(weights),
            ]
        for pair, axes in enumerate(PAIRS):
            factors = self.factors.data[pair]
            first, second, along = (AXES[axis] for axis in axes)
            for n in range(COMPONENTS):
                p00, p10, p01, p11 = (corner[n] for corner in factors.corners)
                l0, l1 = (end[n] for end in factors.ends)
                # A value between two factors of 8 bits, with 8 fraction bits, has 16 bits.
                low, high = (Signal(signed(16), name=f"{name}_{pair}_{n}") for name in ("low", "high"))
                plane, line, delayed = (
                    Signal(signed(INTERPOLATED.width), name=f"{name}_{pair}_{n}")
                    for name in ("plane", "line", "line_delayed")
                )
                rounded_line = l0 * one + (l1 - l0) * weights[along] + (1 << line_shift >> 1)
                rounded_plane = low * one + (high - low) * weights_mixed[second] + (1 << plane_shift >> 1)
                with m.If(advance):
                    m.d.sync += [
                        low.eq(p00 * one + (p10 - p00) * weights[first]),
                        high.eq(p01 * one + (p11 - p01) * weights[first]),
                        line.eq(rounded_line.shift_right(line_shift)),
                        plane.eq(rounded_plane.shift_right(plane_shift)),
                        delayed.eq(line),
                        self.o_vector.payload[pair][n].eq(plane * delayed),
                    ]
