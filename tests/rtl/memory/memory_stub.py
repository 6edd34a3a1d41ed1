"""A read-only memory on a `ReadPort` or behind an AXI4 read channel, for benches."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from rtl.memory.axi import Axi4
from rtl.payloads import ReadPort

BEAT_BYTES = 16


class ReadPortMemory(wiring.Component):
    """Serve a `ReadPort`: one burst at a time, a beat every ``interval`` cycles, the first after ``interval``."""

    def __init__(self, cfg, image: bytes, interval: int = 1) -> None:
        padded = image + bytes(-len(image) % BEAT_BYTES)
        self.words = [int.from_bytes(padded[n : n + 16], "little") for n in range(0, len(padded), 16)]
        self.interval = interval
        super().__init__({"port": In(ReadPort(cfg))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=128, depth=len(self.words), init=self.words)
        read = memory.read_port(domain="comb")
        request, beats = self.port.request, self.port.beats
        busy, left, wait = Signal(), Signal(5), Signal(8)
        m.d.comb += [
            request.ready.eq(~busy),
            beats.valid.eq(busy & (wait == 0)),
            beats.payload.data.eq(read.data),
            beats.payload.last.eq(left == 0),
        ]
        address = Signal(32)
        m.d.comb += read.addr.eq(address)
        with m.If(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.If(request.valid & request.ready):
            m.d.sync += [
                busy.eq(1),
                address.eq(request.payload.address >> 4),
                left.eq(request.payload.last_beat),
                wait.eq(self.interval - 1),
            ]
        with m.If(beats.valid & beats.ready):
            m.d.sync += [address.eq(address + 1), left.eq(left - 1), wait.eq(self.interval - 1)]
            with m.If(left == 0):
                m.d.sync += busy.eq(0)
        return m


class AxiReadMemory(wiring.Component):
    """Serve the read channels of an AXI4 bus: a beat's data is its byte address; up to 4 bursts wait.

    Address ``BAD`` and above answer with an error.
    """

    BAD = 1 << 20

    def __init__(self, cfg) -> None:
        self.cfg = cfg
        super().__init__({"axi": In(Axi4(cfg.address_width, cfg.data_width))})

    def elaborate(self, platform):
        m = Module()
        axi = self.axi
        from amaranth.lib.data import StructLayout

        from rtl.parts.queue import Queue

        burst = StructLayout({"id": 3, "address": self.cfg.address_width, "left": 8})
        m.submodules.bursts = bursts = Queue(burst, 4)
        beat = Signal(8)
        random = Signal(16, init=0xACE1)
        m.d.sync += random.eq((random >> 1) ^ ((-random[0]) & 0xB400))
        m.d.comb += [
            bursts.i.valid.eq(axi.arvalid & random[3]),
            axi.arready.eq(bursts.i.ready & random[3]),
            bursts.i.payload.id.eq(axi.arid),
            bursts.i.payload.address.eq(axi.araddr),
            bursts.i.payload.left.eq(axi.arlen),
        ]
        offering = Signal()
        current = bursts.o.payload
        m.d.comb += [
            axi.rvalid.eq(bursts.o.valid & (offering | random[7])),
            axi.rid.eq(current.id),
            axi.rdata.eq(current.address + (beat << 4)),
            axi.rlast.eq(beat == current.left),
            axi.rresp.eq((current.address >= self.BAD) << 1),
            bursts.o.ready.eq(axi.rvalid & axi.rready & axi.rlast),
        ]
        m.d.sync += offering.eq(axi.rvalid & ~axi.rready)
        with m.If(axi.rvalid & axi.rready):
            m.d.sync += beat.eq(beat + 1)
            with m.If(axi.rlast):
                m.d.sync += beat.eq(0)
        return m
