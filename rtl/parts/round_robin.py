"""A fair choice among requests."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class RoundRobin(wiring.Component):
    """Grant one of several requests; the one granted last comes last.

    Latency: none (the grant is combinational). Throughput: one grant a cycle.

    Parameters
    ----------
    count : int
        Requesters, at least 1.

    Members
    -------
    requests : In(count)
        One bit a requester.
    grant : Out
        The requester whose turn it is, if ``valid``.
    valid : Out(1)
        Somebody requests.
    next : In(1)
        Take the grant: the turn moves on.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__({"requests": In(count), "grant": Out(range(max(count, 2))), "valid": Out(1), "next": In(1)})

    def elaborate(self, platform) -> Module:
        """Return the choice."""
        m = Module()
        # Of a single requester too the number has a bit: Verilog has no signal without.
        last = Signal.like(self.grant, init=self.count - 1)
        m.d.comb += self.valid.eq(self.requests.any())
        with m.Switch(last):
            for turn in range(self.count):
                with m.Case(turn):
                    # The last assignment wins: from the farthest requester to the nearest.
                    for distance in reversed(range(self.count)):
                        candidate = (turn + 1 + distance) % self.count
                        with m.If(self.requests[candidate]):
                            m.d.comb += self.grant.eq(candidate)
        with m.If(self.next & self.valid):
            m.d.sync += last.eq(self.grant)
        return m
