"""AXI4 write master: whole beats, and finished pixels to the frame in memory."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from nerf.contract.memory import PIXEL_BYTES
from rtl.axi import BURST_INCREMENTING, RESPONSE_OKAY, Axi4
from rtl.payloads import TileLayouts, beat_write

OUTSTANDING_LIMIT = 15


class WriteMaster(wiring.Component):
    """Write beats, and pixels, each a burst of one beat, half of it enabled. Beats come first.

    The pixel (x, y) of the window goes to ``frame_base + 8 * (y * width + x)``.

    Latency: 1 cycle from an accepted payload to the bus. Throughput: one a cycle; at most 15 unanswered writes.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    i : In(stream)
        ``PixelWrite``.
    beats : In(stream)
        `beat_write`; addresses are multiples of a beat.
    frame_base : In
        Byte address of the frame, a multiple of 8.
    width : In(14)
        Window width, in pixels.
    axi : Out(Axi4)
        Only the write channels are driven.
    idle : Out(1)
        Everything accepted has been written and answered.
    error : Out(1)
        Strobe: the memory answered with an error.
    """

    LATENCY = 1

    def __init__(self, cfg: AcceleratorConfig) -> None:
        self.cfg = cfg
        super().__init__(
            {
                "i": In(stream.Signature(TileLayouts(cfg).PixelWrite)),
                "beats": In(stream.Signature(beat_write(cfg))),
                "frame_base": In(cfg.address_width),
                "width": In(14),
                "axi": Out(Axi4(cfg.address_width, cfg.data_width)),
                "idle": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the address and data registers."""
        m = Module()
        axi, pixel = self.axi, self.i.payload
        beat_bytes = self.cfg.data_width // 8
        outstanding = Signal(range(OUTSTANDING_LIMIT + 1))
        address = Signal(self.cfg.address_width)
        free, accept, answered = Signal(), Signal(), Signal()
        m.d.comb += [
            address.eq(self.frame_base + PIXEL_BYTES * (pixel.y * self.width + pixel.x)),
            axi.awsize.eq(beat_bytes.bit_length() - 1),
            axi.awburst.eq(BURST_INCREMENTING),
            axi.wlast.eq(1),
            axi.bready.eq(1),
            free.eq((~axi.awvalid | axi.awready) & (~axi.wvalid | axi.wready) & (outstanding != OUTSTANDING_LIMIT)),
            self.beats.ready.eq(free),
            self.i.ready.eq(free & ~self.beats.valid),
            accept.eq(free & (self.beats.valid | self.i.valid)),
            answered.eq(axi.bvalid & axi.bready),
            self.idle.eq(outstanding == 0),
            self.error.eq(answered & (axi.bresp != RESPONSE_OKAY)),
        ]
        m.d.sync += outstanding.eq(outstanding + accept - answered)
        with m.If(axi.awready):
            m.d.sync += axi.awvalid.eq(0)
        with m.If(axi.wready):
            m.d.sync += axi.wvalid.eq(0)
        with m.If(accept):
            upper = address[3]
            m.d.sync += [
                axi.awvalid.eq(1),
                axi.awaddr.eq(address & -beat_bytes),
                axi.wvalid.eq(1),
                axi.wdata.eq(Cat(*([pixel.channels.as_value()] * (beat_bytes // PIXEL_BYTES)))),
                axi.wstrb.eq(((1 << PIXEL_BYTES) - 1) << (upper << 3)),
            ]
            with m.If(self.beats.valid):
                m.d.sync += [
                    axi.awaddr.eq(self.beats.payload.address),
                    axi.wdata.eq(self.beats.payload.data),
                    axi.wstrb.eq(-1),
                ]
        return m
