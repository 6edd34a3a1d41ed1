"""Make one stream of the visible samples of all density lanes."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.parts.lanes import sample_in, samples_of


class Serialiser(wiring.Component):
    """Hand on the samples of a transfer one by one, in the order of their lanes.

    Latency: 1 cycle. Throughput: one sample a cycle.

    Parameters
    ----------
    sample : data.StructLayout
        With the fields ``cube`` and ``last``; an end-of-tile marker passes alone.
    lanes : int
        Two.

    Members
    -------
    i : In(stream)
        `samples_of` the lanes; at least one is present, or ``last``.
    o : Out(stream)
        Samples.
    """

    def __init__(self, sample: data.StructLayout, lanes: int) -> None:
        assert lanes == 2
        super().__init__({"i": In(stream.Signature(samples_of(sample, lanes))), "o": Out(stream.Signature(sample))})

    def elaborate(self, platform) -> Module:
        """Return the register, and what remembers that the first sample has gone."""
        m = Module()
        samples, room = self.i.payload, Signal()
        first_gone, takes_second, both_wait = Signal(), Signal(), Signal()
        (first, has_first), (second, has_second) = (sample_in(samples, lane) for lane in range(2))
        m.d.comb += [
            room.eq(~self.o.valid | self.o.ready),
            takes_second.eq(~has_first | first_gone),
            both_wait.eq(has_first & has_second & ~first_gone),
            self.i.ready.eq(room & ~both_wait),
        ]
        with m.If(room):
            m.d.sync += [self.o.valid.eq(self.i.valid), first_gone.eq(self.i.valid & both_wait)]
            m.d.sync += [self.o.payload.cube.eq(samples.cube), self.o.payload.last.eq(samples.last)]
            m.d.sync += [
                self.o.payload[name].eq(Mux(takes_second, second[name], first[name]))
                for name in first.shape().members
                if name != "present"
            ]
        return m
