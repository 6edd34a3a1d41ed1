"""Interpolate the current cube's factors at each sample: bilinear plane times linear line, 16 components at once."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import COMPONENTS, AcceleratorConfig
from nerf.contract.formats import FRACTION_BITS, INTERPOLATED
from nerf.contract.scene_image import PAIRS
from rtl.payloads import AXES, Cube, FactorVector, ProductVector

CORNERS = 4
ENDS = 2

_Weights = data.StructLayout({"first": FRACTION_BITS, "second": FRACTION_BITS, "along": FRACTION_BITS})


class Interpolator(wiring.Component):
    """Turn each sample into ``3 * groups`` vectors of plane times line, read from a dense cube buffer.

    Rules
    -----
    - The interpolator has one current cube, or none. A sample of another cube waits: ``finished`` is strobed for the
      current cube, once nothing that was read of it is still in the buffer's output, and then the next token of
      ``loaded`` becomes current. A token that no sample asks for is finished as soon as a sample of another cube
      is at the head.
    - ``last`` samples pass in their order on ``o_sample``; they need no cube and leave the current one as it is.
    - Vectors of a sample: pair 0 groups 0 to ``groups - 1``, then pairs 1 and 2; the pairs are those of
      `nerf.contract.scene_image.PAIRS`.
    - A sample is offered on ``o_sample`` before its first vector is offered on ``o_vector``. The reader must be able
      to accept the next sample before it has all vectors of this one, or the next one is not begun.
    - Factors are -127 to 127, as the encoder makes them: with -128 a product would not fit.

    Latency: 1 cycle from a sample at the head (its cube current) to ``o_sample``; `LATENCY` to its first vector.
    Throughput: one vector a cycle; a change of cube costs 3 cycles when the next token is waiting.

    Parameters
    ----------
    cfg : AcceleratorConfig
    groups : int
        Vectors of components a factor position: 1 (density) or 3 (appearance).
    sample_layout : data.StructLayout
        A layout with ``cube``, ``local`` and ``last``, passed on as it is.

    Members
    -------
    i : In(stream)
        Samples.
    loaded : In(stream)
        Cubes that the cube buffer holds, in the order of the samples.
    finished : Out(1)
        Strobe: the current cube's half of the buffer may be overwritten.
    read_enable, pair, group, first, second, along : Out
        Read of the cube buffer: vertex coordinates modulo 16 of the plane, modulo 64 of the line.
    corners : In(ArrayLayout(FactorVector, 4))
        Plane values at (first, second), (first + 1, second), (first, second + 1), (first + 1, second + 1), one cycle
        after ``read_enable``, held while it is 0.
    ends : In(ArrayLayout(FactorVector, 2))
        Line values at along and along + 1, likewise.
    o_sample, o_vector : Out(stream)
        Samples, and their vectors (none for ``last``).
    """

    LATENCY = 4

    def __init__(self, cfg: AcceleratorConfig, groups: int, sample_layout: data.StructLayout) -> None:
        self.groups = groups
        super().__init__(
            {
                "i": In(stream.Signature(sample_layout)),
                "loaded": In(stream.Signature(Cube)),
                "finished": Out(1),
                "read_enable": Out(1),
                "pair": Out(2),
                "group": Out(2),
                "first": Out(4),
                "second": Out(4),
                "along": Out(6),
                "corners": In(data.ArrayLayout(FactorVector, CORNERS)),
                "ends": In(data.ArrayLayout(FactorVector, ENDS)),
                "o_sample": Out(stream.Signature(sample_layout)),
                "o_vector": Out(stream.Signature(ProductVector)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the cube gate and the interpolation pipeline."""
        m = Module()
        advance = Signal()
        reading = Signal()
        """The buffer's output holds a vector that no register has taken yet."""
        weights = Signal(_Weights)
        m.d.comb += advance.eq(~self.o_vector.valid | self.o_vector.ready)

        self._gate(m, advance, reading, weights)
        self._datapath(m, advance, reading, weights)
        return m

    def _gate(self, m: Module, advance: Signal, reading: Signal, weights: data.View) -> None:
        """Current cube, order of the reads, and the samples' way to ``o_sample``."""
        sample = self.i.payload
        current = Signal(Cube)
        has_current = Signal()
        here = Signal()
        ready_to_pass = Signal()
        begin = Signal()
        final = Signal()
        m.d.comb += [
            here.eq(has_current & (sample.cube.as_value() == current.as_value())),
            ready_to_pass.eq(~self.o_sample.valid | self.o_sample.ready),
            begin.eq((self.pair == 0) & (self.group == 0)),
            final.eq((self.pair == len(PAIRS) - 1) & (self.group == self.groups - 1)),
            self.read_enable.eq(self.i.valid & ~sample.last & here & advance & (~begin | ready_to_pass)),
            self.i.ready.eq(Mux(sample.last, ready_to_pass, self.read_enable & final)),
            self.finished.eq(self.i.valid & ~sample.last & has_current & ~here & ~reading),
            self.loaded.ready.eq(~has_current),
        ]
        with m.If(self.loaded.ready & self.loaded.valid):
            m.d.sync += [current.eq(self.loaded.payload), has_current.eq(1)]
        with m.If(self.finished):
            m.d.sync += has_current.eq(0)

        with m.If(self.o_sample.ready):
            m.d.sync += self.o_sample.valid.eq(0)
        with m.If((self.read_enable & begin) | (self.i.valid & sample.last & ready_to_pass)):
            m.d.sync += [self.o_sample.payload.eq(sample), self.o_sample.valid.eq(1)]

        with m.If(self.read_enable):
            with m.If(self.group == self.groups - 1):
                m.d.sync += [self.group.eq(0), self.pair.eq(Mux(final, 0, self.pair + 1))]
            with m.Else():
                m.d.sync += self.group.eq(self.group + 1)
        with m.If(advance):
            m.d.sync += reading.eq(self.read_enable)

        with m.Switch(self.pair):
            for pair, axes in enumerate(PAIRS):
                cell, weight, cube = [], [], []
                for axis in axes:
                    local = sample.local[AXES[axis]]
                    weight.append(local[:FRACTION_BITS])
                    cell.append(local[FRACTION_BITS:])
                    cube.append(sample.cube[AXES[axis]])
                with m.Case(pair):
                    m.d.comb += [
                        self.first.eq(Cat(cell[0], cube[0])),
                        self.second.eq(Cat(cell[1], cube[1])),
                        self.along.eq(Cat(cell[2], cube[2])),
                    ]
                    with m.If(self.read_enable):
                        m.d.sync += [
                            weights.first.eq(weight[0]),
                            weights.second.eq(weight[1]),
                            weights.along.eq(weight[2]),
                        ]

    def _datapath(self, m: Module, advance: Signal, reading: Signal, weights: data.View) -> None:
        """Three registered steps behind the buffer: first axis and line, second axis, product."""
        one = 1 << FRACTION_BITS
        plane_shift = 2 * FRACTION_BITS - INTERPOLATED.fraction
        line_shift = FRACTION_BITS - INTERPOLATED.fraction
        weight_second = Signal(FRACTION_BITS)
        mixed = Signal()
        interpolated = Signal()
        with m.If(advance):
            m.d.sync += [
                mixed.eq(reading),
                interpolated.eq(mixed),
                self.o_vector.valid.eq(interpolated),
                weight_second.eq(weights.second),
            ]
        for n in range(COMPONENTS):
            p00, p10, p01, p11 = (self.corners[corner][n] for corner in range(CORNERS))
            l0, l1 = (self.ends[end][n] for end in range(ENDS))
            # A value between two factors of 8 bits, with 8 fraction bits, has 16 bits.
            low, high = (Signal(signed(16), name=f"{name}_{n}") for name in ("low", "high"))
            plane, line, delayed = (
                Signal(signed(INTERPOLATED.width), name=f"{name}_{n}") for name in ("plane", "line", "line_delayed")
            )
            with m.If(advance):
                m.d.sync += [
                    low.eq(p00 * one + (p10 - p00) * weights.first),
                    high.eq(p01 * one + (p11 - p01) * weights.first),
                    line.eq((l0 * one + (l1 - l0) * weights.along + (1 << line_shift >> 1)) >> line_shift),
                    plane.eq((low * one + (high - low) * weight_second + (1 << plane_shift >> 1)) >> plane_shift),
                    delayed.eq(line),
                    self.o_vector.payload[n].eq(plane * delayed),
                ]
