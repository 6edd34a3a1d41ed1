"""A memory behind a `rtl.payloads.ReadPort`, with random latency, for benches."""

import random

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory, MemoryData
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from nerf.contract.scene_image import BEAT, PAGE
from rtl.parts.queue import Queue
from rtl.payloads import ReadPort

IN_IMAGE = 8 * BEAT
"""Bit of a row: it is a beat of the image."""


class ReadMemory(wiring.Component):
    """Answers bursts from a memory image of `contents` at address ``base``, in order, each after a random delay.

    ``error`` is a strobe: a burst crosses a page, a beat is none of the image, or the client does not take it at once.
    """

    def __init__(self, cfg: AcceleratorConfig, beats: int, base: int) -> None:
        self.base = base
        self.beats = MemoryData(shape=IN_IMAGE + 1, depth=beats, init=[])
        self.delays = MemoryData(shape=16, depth=64, init=[])
        super().__init__({"port": In(ReadPort(cfg)), "error": Out(1)})

    @staticmethod
    def contents(path: str, image: bytes, seed: int = 0, latency: int = 0) -> dict[str, list[int]]:
        """Return what `cosim.unit.run` takes for a memory at a path of the component."""
        padded = image + bytes(-len(image) % BEAT)
        beats = [int.from_bytes(padded[at : at + BEAT], "little") for at in range(0, len(padded), BEAT)]
        chance = random.Random(f"memory {seed}")
        delays = [chance.randint(latency // 2, latency) for _ in range(64)]
        return {f"{path}.beats": [beat | 1 << IN_IMAGE for beat in beats], f"{path}.delays": delays}

    def elaborate(self, platform):
        m = Module()
        m.submodules.store, m.submodules.delays = store, delays = Memory(self.beats), Memory(self.delays)
        read, delay = store.read_port(domain="comb"), delays.read_port(domain="comb")
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
            m.d.comb += self.error.eq(crosses | (offset < 0) | (offset + asked.last_beat >= self.beats.depth))
        with m.If(self.port.beats.valid & ~(self.port.beats.ready & read.data[IN_IMAGE])):
            m.d.comb += self.error.eq(1)
        number, waited, done = Signal(6), Signal(16), Signal(5)
        m.d.comb += [
            delay.addr.eq(number),
            read.addr.eq(requests.o.payload.beat + done),
            self.port.beats.payload.data.eq(read.data[:IN_IMAGE]),
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
