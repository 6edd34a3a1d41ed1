"""Which bank of a memory a producer fills and which its consumer reads, batch by batch."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

BATCHES = 4
"""Modulus of the batch numbers."""


class Banks(wiring.Component):
    """Let a producer be as many batches ahead of its consumer as there are banks.

    Latency: what a strobe changes is seen in the next cycle.

    Parameters
    ----------
    count : int
        Banks, 1 to 4.

    Members
    -------
    claim : In(1)
        The producer begins to fill a bank, only with ``room``.
    fill : In(1)
        It has filled it; in the same cycle as ``claim`` or later.
    free : In(1)
        The consumer has read it, only when it is ``there``.
    room, there : Out(1)
    writing, reading : Out(range(4))
        Number of the batch that is filled, and of the one that is read, modulo 4.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        super().__init__(
            {
                **dict.fromkeys(("claim", "fill", "free"), In(1)),
                **dict.fromkeys(("room", "there"), Out(1)),
                **dict.fromkeys(("writing", "reading"), Out(range(BATCHES))),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the counters."""
        m = Module()
        claimed, filled = (Signal(range(self._count + 1), name=name) for name in ("claimed", "filled"))
        m.d.comb += [self.room.eq(claimed != self._count), self.there.eq(filled != 0)]
        m.d.sync += [
            claimed.eq(claimed + self.claim - self.free),
            filled.eq(filled + self.fill - self.free),
            self.writing.eq(self.writing + self.fill),
            self.reading.eq(self.reading + self.free),
        ]
        return m
