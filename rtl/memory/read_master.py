"""AXI4 read master: the clients' bursts onto one bus, each client's data back to it."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from rtl.memory.axi import BURST_INCREMENTING, RESPONSE_OKAY, Axi4
from rtl.parts.round_robin import RoundRobin
from rtl.payloads import ReadPort


class ReadMaster(wiring.Component):
    """Share the read channels of an AXI4 bus among clients.

    A client's number is its transaction identifier, so data find their way back in whatever order the bus
    serves different clients. Bursts of a client stay in order.

    A client's request waits in a register of its own, so that no client's ``ready`` depends on another.

    Latency: `LATENCY` cycles from an accepted request to the bus; none for data.

    Throughput: one request and one beat a cycle; of a client, a request every other cycle.

    Parameters
    ----------
    cfg : AcceleratorConfig
    clients : int
        At most 8.

    Members
    -------
    client_N : In(ReadPort)
        A request's address may point into a beat: the burst starts with that beat.
    axi : Out(Axi4)
        Only the read channels are driven.
    abort : In(1)
        While set, no new request is issued, and those that wait and arriving beats are dropped.
    idle : Out(1)
        No request waits or is on the bus, and no data are outstanding.
    beat : Out(1)
        Strobe: a beat was accepted.
    error : Out(1)
        Strobe: the memory answered with an error.
    """

    LATENCY = 2

    def __init__(self, cfg: AcceleratorConfig, clients: int) -> None:
        self.cfg = cfg
        self.clients = clients
        super().__init__(
            {f"client_{index}": In(ReadPort(cfg)) for index in range(clients)}
            | {
                "axi": Out(Axi4(cfg.address_width, cfg.data_width)),
                "abort": In(1),
                "idle": Out(1),
                "beat": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the registers of requests, the arbiter between them and the way back."""
        m = Module()
        axi = self.axi
        ports = [getattr(self, f"client_{index}") for index in range(self.clients)]
        beat_bytes = self.cfg.data_width // 8
        m.submodules.arbiter = arbiter = RoundRobin(self.clients)
        waits = Signal(self.clients)
        requests = [Signal.like(port.request.payload, name=f"request_{n}") for n, port in enumerate(ports)]
        for n, port in enumerate(ports):
            m.d.comb += port.request.ready.eq(~waits[n])
            with m.If(port.request.ready):
                m.d.sync += [waits[n].eq(port.request.valid), requests[n].eq(port.request.payload)]
        m.d.comb += [
            axi.arsize.eq(beat_bytes.bit_length() - 1),
            axi.arburst.eq(BURST_INCREMENTING),
            arbiter.requests.eq(Mux(self.abort, 0, waits)),
        ]
        with m.If(~axi.arvalid | axi.arready):
            m.d.comb += arbiter.next.eq(1)
            m.d.sync += axi.arvalid.eq(arbiter.valid)
            with m.Switch(arbiter.grant):
                for n, request in enumerate(requests):
                    with m.Case(n):
                        m.d.sync += [
                            axi.arid.eq(n),
                            axi.araddr.eq(request.address & -beat_bytes),
                            axi.arlen.eq(request.last_beat),
                        ]
                        with m.If(arbiter.valid):
                            m.d.sync += waits[n].eq(0)
        with m.If(self.abort):
            m.d.sync += waits.eq(0)

        with m.Switch(axi.rid):
            for n, port in enumerate(ports):
                with m.Case(n):
                    m.d.comb += [
                        port.beats.valid.eq(axi.rvalid & ~self.abort),
                        axi.rready.eq(port.beats.ready | self.abort),
                    ]
        for port in ports:
            m.d.comb += [port.beats.payload.data.eq(axi.rdata), port.beats.payload.last.eq(axi.rlast)]

        outstanding = Signal(8)
        begin, end = axi.arvalid & axi.arready, axi.rvalid & axi.rready & axi.rlast
        m.d.sync += outstanding.eq(outstanding + begin - end)
        m.d.comb += [
            self.idle.eq((outstanding == 0) & ~axi.arvalid & ~waits.any()),
            self.beat.eq(axi.rvalid & axi.rready),
            self.error.eq(self.beat & (axi.rresp != RESPONSE_OKAY)),
        ]
        return m
