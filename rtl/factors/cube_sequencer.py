"""Announce each cube before the first of its samples, so that it can be loaded ahead of them."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.payloads import Cube


class CubeSequencer(wiring.Component):
    """Pass samples through; whenever the cube changes, send it on ``o_cube`` first.

    Latency: none for a sample of the same cube, 1 cycle for one of another. Throughput: one sample a cycle.

    Parameters
    ----------
    sample : data.StructLayout
        With the fields ``cube`` and ``last``; an end-of-tile marker passes without a cube.

    Members
    -------
    i : In(stream)
    o : Out(stream)
    o_cube : Out(stream)
    """

    def __init__(self, sample) -> None:
        super().__init__(
            {
                "i": In(stream.Signature(sample)),
                "o": Out(stream.Signature(sample)),
                "o_cube": Out(stream.Signature(Cube)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the comparison with the last cube announced."""
        m = Module()
        announced = Signal()
        current = Signal(Cube)
        sample = self.i.payload
        same = announced & (current == sample.cube)
        passes = sample.last | same
        m.d.comb += [
            self.o.payload.eq(sample),
            self.o.valid.eq(self.i.valid & passes),
            self.i.ready.eq(self.o.ready & passes),
            self.o_cube.payload.eq(sample.cube),
            self.o_cube.valid.eq(self.i.valid & ~passes),
        ]
        with m.If(self.o_cube.valid & self.o_cube.ready):
            m.d.sync += [announced.eq(1), current.eq(sample.cube)]
        return m
