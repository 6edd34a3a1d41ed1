"""A first-in first-out queue between two streams."""

from amaranth.hdl import Module, Shape, Value
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out


class Queue(wiring.Component):
    """Hold up to ``depth`` payloads in order.

    Latency: 2 cycles from an accepted payload to the output of an empty queue. Throughput: one payload a cycle.

    Parameters
    ----------
    shape : ShapeLike
        Of the payload.
    depth : int
        At least 2; a queue of 2 takes a payload only every other cycle.

    Members
    -------
    i : In(stream)
    o : Out(stream)
    """

    LATENCY = 2

    def __init__(self, shape, depth: int) -> None:
        self.depth = depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform) -> Module:
        """Return the queue."""
        m = Module()
        m.submodules.fifo = fifo = SyncFIFOBuffered(width=Shape.cast(self.i.payload.shape()).width, depth=self.depth)
        m.d.comb += [
            fifo.w_data.eq(Value.cast(self.i.payload)),
            fifo.w_en.eq(self.i.valid),
            self.i.ready.eq(fifo.w_rdy),
            Value.cast(self.o.payload).eq(fifo.r_data),
            self.o.valid.eq(fifo.r_rdy),
            fifo.r_en.eq(self.o.ready),
        ]
        return m
