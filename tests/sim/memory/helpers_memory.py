"""A memory in hardware with the timing of `nerf.contract.memory`, for benches in Amaranth's own simulator."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from nerf.contract.config import AcceleratorConfig
from nerf.contract.memory import MemoryTiming
from nerf.contract.scene_image import BEAT
from rtl.memory.axi import ID_BITS, Axi4

QUEUE = 16
Timing = data.StructLayout({"latency": 17, "beat_interval": 17, "pause_of_256": 8, "seed": 32})
"""A `MemoryTiming` for `AxiMemory`."""


def timing_words(timing: MemoryTiming) -> dict[str, int]:
    """Return the members of a `Timing`."""
    return {name: getattr(timing, name) for name in ("latency", "beat_interval", "pause_of_256", "seed")}


class AxiMemory(wiring.Component):
    """Serve an AXI4 bus as `cosim.wrapper.MEMORY_TIMING` says; what is written is forgotten."""

    def __init__(self, cfg: AcceleratorConfig, image: bytes) -> None:
        padded = image + bytes(-len(image) % BEAT + BEAT)
        self._words = [int.from_bytes(padded[at : at + BEAT], "little") for at in range(0, len(padded), BEAT)]
        self._cfg = cfg
        super().__init__({"axi": In(Axi4(cfg.address_width, cfg.data_width)), "timing": In(Timing)})

    def elaborate(self, platform):
        m = Module()
        axi, timing = self.axi, self.timing
        random, seeded = Signal(32), Signal()
        m.d.sync += seeded.eq(1)
        noise = Signal(32)
        m.d.comb += noise.eq(Mux(seeded, random, timing.seed))
        mixed = noise
        for amount in (13, -17, 5):
            step = Signal(32, name=f"random_{abs(amount)}")
            m.d.comb += step.eq(mixed ^ (mixed << amount if amount > 0 else mixed >> -amount))
            mixed = step
        m.d.sync += random.eq(mixed)
        hold_ar, hold_r, hold_aw, hold_w = (noise.word_select(byte, 8) < timing.pause_of_256 for byte in range(4))
        now = Signal(32)
        m.d.sync += now.eq(now + 1)

        # ---- Reads ----
        burst = data.StructLayout({"id": ID_BITS, "address": self._cfg.address_width, "length": 8, "due": 32})
        m.submodules.queue = queue = Memory(shape=burst, depth=QUEUE, init=[])
        m.submodules.words = words = Memory(shape=8 * BEAT, depth=len(self._words), init=self._words)
        write, first, word = queue.write_port(), queue.read_port(domain="comb"), words.read_port(domain="comb")
        head, tail = Signal(range(2 * QUEUE)), Signal(range(2 * QUEUE))
        waiting = (tail - head)[: len(head)]
        beat, read_from, offered = Signal(8), Signal(32), Signal()
        m.d.comb += [
            axi.arready.eq((waiting != QUEUE) & ~hold_ar),
            write.addr.eq(tail),
            write.en.eq(axi.arvalid & axi.arready),
            write.data.id.eq(axi.arid),
            write.data.address.eq(axi.araddr),
            write.data.length.eq(axi.arlen),
            write.data.due.eq(now + timing.latency),
            first.addr.eq(head),
            word.addr.eq((first.data.address >> 4) + beat),
            axi.rvalid.eq((waiting != 0) & (now >= first.data.due) & (now >= read_from) & (offered | ~hold_r)),
            axi.rid.eq(first.data.id),
            axi.rdata.eq(word.data),
            axi.rlast.eq(beat == first.data.length),
        ]
        m.d.sync += [tail.eq(tail + write.en), offered.eq(axi.rvalid & ~axi.rready)]
        with m.If(axi.rvalid & axi.rready):
            m.d.sync += [beat.eq(beat + 1), read_from.eq(now + timing.beat_interval)]
            with m.If(axi.rlast):
                m.d.sync += [beat.eq(0), head.eq(head + 1)]

        # ---- Writes ----
        write_from = Signal(32)
        with m.FSM():
            with m.State("ADDRESS"):
                m.d.comb += axi.awready.eq(~hold_aw)
                with m.If(axi.awvalid & axi.awready):
                    m.next = "DATA"
            with m.State("DATA"):
                m.d.comb += axi.wready.eq(~hold_w & (now >= write_from))
                with m.If(axi.wvalid & axi.wready):
                    m.d.sync += write_from.eq(now + timing.beat_interval)
                    with m.If(axi.wlast):
                        m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += axi.bvalid.eq(~hold_w)
                with m.If(axi.bvalid & axi.bready):
                    m.next = "ADDRESS"
        return m
