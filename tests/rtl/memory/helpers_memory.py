"""A memory behind a `rtl.payloads.ReadPort`, with random latency, for benches."""

import random

from amaranth.hdl import Module, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from nerf.contract.scene_image import BEAT, PAGE
from rtl.parts.queue import Queue
from rtl.payloads import ReadPort


class ReadMemory(wiring.Component):
    """Answers bursts from a memory image that starts at address ``base``, in order, each after a random delay.

    ``error`` is a strobe: a burst crosses a page or leaves the image, or the client does not take a beat at once.
    """

    def __init__(self, cfg: AcceleratorConfig, image: bytes, base: int, seed: int = 0, latency: int = 0) -> None:
        self.cfg, self.base, self.latency, self.seed = cfg, base, latency, seed
        padded = image + bytes(-len(image) % BEAT)
        self.beats = [int.from_bytes(padded[at : at + BEAT], "little") for at in range(0, len(padded), BEAT)]
        super().__init__({"port": In(ReadPort(cfg)), "error": Out(1)})

    def elaborate(self, platform):
        m = Module()
        chance = random.Random(f"memory {self.seed}")
        m.submodules.store = store = memory.Memory(shape=128, depth=max(len(self.beats), 2), init=self.beats)
        delays = [chance.randint(self.latency // 2, self.latency) for _ in range(64)]
        m.submodules.delays = delay_table = memory.Memory(shape=16, depth=64, init=delays)
        read, delay = store.read_port(domain="comb"), delay_table.read_port(domain="comb")
        m.submodules.requests = requests = Queue(data.StructLayout({"beat": 32, "last_beat": 5}), 16)
        asked = self.port.request.payload
        beat = Signal(32)
        offset = (asked.address - self.base) >> 4
        m.d.comb += [
            beat.eq(offset),
            requests.i.payload.beat.eq(beat),
            requests.i.payload.last_beat.eq(asked.last_beat),
            requests.i.valid.eq(self.port.request.valid),
            self.port.request.ready.eq(requests.i.ready),
        ]
        with m.If(self.port.request.valid & self.port.request.ready):
            crosses = (asked.address[4:12] + asked.last_beat) >= PAGE // BEAT
            m.d.comb += self.error.eq(crosses | (offset < 0) | (offset + asked.last_beat >= len(self.beats)))
        with m.If(self.port.beats.valid & ~self.port.beats.ready):
            m.d.comb += self.error.eq(1)
        number, waited, done = Signal(6), Signal(16), Signal(5)
        m.d.comb += [
            delay.addr.eq(number),
            read.addr.eq(requests.o.payload.beat + done),
            self.port.beats.payload.data.eq(read.data),
            self.port.beats.payload.last.eq(done == requests.o.payload.last_beat),
        ]
        with m.If(requests.o.valid):
            with m.If(waited != delay.data):
                m.d.sync += waited.eq(waited + 1)
            with m.Else():
                m.d.comb += self.port.beats.valid.eq(1)
                with m.If(self.port.beats.ready):
                    m.d.sync += done.eq(done + 1)
                    with m.If(self.port.beats.payload.last):
                        m.d.comb += requests.o.ready.eq(1)
                        m.d.sync += [done.eq(0), waited.eq(0), number.eq(number + 1)]
        return m
