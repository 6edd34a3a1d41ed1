"""AXI4 write master: finished pixels to the frame in memory, in bursts, and whole beats."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from nerf.contract.memory import PIXEL_BYTES
from rtl.memory.axi import BURST_INCREMENTING, RESPONSE_OKAY, Axi4
from rtl.parts.carry_save import few_rows
from rtl.payloads import TileLayouts, beat_write

BURST = 16
"""Beats of the longest burst, a power of two; a burst stays in a block of so many aligned beats, and so in a page."""
OUTSTANDING_LIMIT = 15
PIXEL_SHIFT = PIXEL_BYTES.bit_length() - 1


class WriteMaster(wiring.Component):
    """Write pixels, two to a beat, and whole beats.

    Rules
    -----
    - The pixel (x, y) of the window goes to ``frame_base + 8 * (y * width + x)``.
    - The pixels of a row of a tile come one after the other, from left to right, the last with ``ends_row``. They are
      collected until the row ends or the next pixel lies in another block of `BURST` aligned beats, then written as
      one burst. Of its first and its last beat one half may be disabled.
    - A beat is a burst of its own. Beats come between the rows of pixels, and then before them.
    - A burst is offered when all of it is there: W never waits for pixels.

    Latency: `LATENCY` from the last pixel of a burst, or from a beat, to the bus. Throughput: a pixel a cycle, and
    `ROW_CYCLES` for each row; n beats on the bus in n + 1 cycles. At most `OUTSTANDING_LIMIT` unanswered bursts.

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
    abort : In(1)
        Drop what is collected and every pixel that comes; bursts that are whole are written.
    axi : Out(Axi4)
        Only the write channels are driven.
    idle : Out(1)
        Everything accepted has been written and answered, or dropped.
    error : Out(1)
        Strobe: the memory answered with an error.
    """

    LATENCY = 2
    ROW_CYCLES = 2
    """In which the address of a row's first pixel is found."""

    def __init__(self, cfg: AcceleratorConfig) -> None:
        self.cfg = cfg
        super().__init__(
            {
                "i": In(stream.Signature(TileLayouts(cfg).PixelWrite)),
                "beats": In(stream.Signature(beat_write(cfg))),
                "frame_base": In(cfg.address_width),
                "width": In(14),
                "abort": In(1),
                "axi": Out(Axi4(cfg.address_width, cfg.data_width)),
                "idle": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the memory of bursts, its writer and its reader."""
        m = Module()
        axi, held = self.axi, self.cfg.write_bursts
        halves = data.StructLayout({"upper": 1, "beat": range(BURST)})
        place = data.StructLayout({"below": range(PIXEL_BYTES), "half": halves, "above": self.cfg.address_width - 8})
        bursts = Signal(data.ArrayLayout(data.StructLayout({"first": place, "last": halves}), held))
        # Counted modulo twice what is held; the low bits are the place of the burst that comes next.
        collected = Signal(range(2 * held))
        written = Signal.like(collected)
        collecting = Signal()
        begins = Signal()
        outstanding = Signal(range(OUTSTANDING_LIMIT + 1))
        answered = Signal()
        shape = data.ArrayLayout(8 * PIXEL_BYTES, self.cfg.data_width // 8 // PIXEL_BYTES)
        m.submodules.content = content = Memory(shape=shape, depth=held * BURST, init=[])
        self._collect(m, content.write_port(granularity=1), bursts[collected[:-1]], collected, written, collecting)
        self._write(m, content.read_port(), bursts[written[:-1]], begins, written)
        m.d.comb += [
            begins.eq(
                (collected != written) & ~axi.wvalid & (~axi.awvalid | axi.awready) & (outstanding != OUTSTANDING_LIMIT)
            ),
            axi.bready.eq(1),
            answered.eq(axi.bvalid & axi.bready),
            self.idle.eq((collected == written) & ~collecting & (outstanding == 0)),
            self.error.eq(answered & (axi.bresp != RESPONSE_OKAY)),
        ]
        m.d.sync += outstanding.eq(outstanding + begins - answered)
        return m

    def _collect(self, m: Module, port, burst, collected: Signal, written: Signal, collecting: Signal) -> None:
        """Put a pixel, or a beat, where it belongs in its block; a burst is whole with the row or with the block."""
        room, takes_beat, takes_pixel, begins, whole = (
            Signal(name=name) for name in ("room", "takes_beat", "takes_pixel", "begins_row", "whole")
        )
        rests, collects = Signal(init=1, name="rests"), Signal(name="collects")
        """Between two rows; in a row whose next pixel has a place."""
        place = Signal(burst.first.shape())
        """Of the next pixel."""
        self._find_row(m, begins, collects, takes_pixel, place)
        at = Mux(takes_beat, data.View(place.shape(), self.beats.payload.address).half, place.half)
        at = data.View(place.half.shape(), at)
        m.d.comb += [
            room.eq((collected - written)[: len(collected)] != self.cfg.write_bursts),
            self.beats.ready.eq(room & rests),
            self.i.ready.eq((room & collects) | self.abort),
            takes_beat.eq(self.beats.valid & self.beats.ready),
            takes_pixel.eq(self.i.valid & self.i.ready & ~self.abort),
            begins.eq(rests & self.i.valid & ~self.beats.valid & ~self.abort),
            whole.eq(takes_beat | (takes_pixel & (self.i.payload.ends_row | at.as_value().all()))),
            port.addr.eq(Cat(at.beat, collected[:-1])),
            port.data.as_value().eq(
                Mux(rests, self.beats.payload.data, self.i.payload.channels.as_value().replicate(2))
            ),
            port.en.eq(Mux(takes_beat, 0b11, Cat(takes_pixel & ~at.upper, takes_pixel & at.upper))),
        ]
        with m.If(takes_beat | takes_pixel):
            m.d.sync += [burst.last.beat.eq(at.beat), burst.last.upper.eq(at.upper | takes_beat)]
            with m.If(~collecting):
                m.d.sync += burst.first.eq(Mux(rests, self.beats.payload.address, place))
        m.d.sync += [
            collected.eq(collected + whole),
            collecting.eq((collecting | takes_pixel) & ~whole & ~self.abort),
            rests.eq(self.abort | Mux(rests, ~begins, takes_pixel & self.i.payload.ends_row)),
            collects.eq(~self.abort & Mux(rests | ~collects, ~rests, ~(takes_pixel & self.i.payload.ends_row))),
        ]

    def _find_row(self, m: Module, begins: Signal, collects: Signal, takes_pixel: Signal, place: data.View) -> None:
        """Find the place of a row's first pixel, in two steps: two rows of a sum, their sum; then count."""
        pixel = self.i.payload
        number = place.as_value()[PIXEL_SHIFT:]
        halves = [Signal(len(number), name=f"half_{n}") for n in range(2)]
        addends = [self.frame_base[PIXEL_SHIFT:], Cat(pixel.x, Const(0, len(number) - len(pixel.x)))]
        with m.If(begins):
            rows = few_rows(m, pixel.y, self.width, len(number), addends)
            m.d.sync += [half.eq(row) for half, row in zip(halves, rows, strict=True)]
        with m.If(~collects):
            m.d.sync += number.eq(sum(halves))
        with m.Elif(takes_pixel):
            m.d.sync += number.eq(number + 1)

    def _write(self, m: Module, port, burst, begins: Signal, written: Signal) -> None:
        """Offer the address of a burst and its beats: the memory's output register is that of W."""
        axi, beat_bytes = self.axi, self.cfg.data_width // 8
        first, last = burst.first.half, burst.last
        beat = Signal(range(BURST))
        moves = Signal()
        m.d.comb += [
            axi.awsize.eq(beat_bytes.bit_length() - 1),
            axi.awburst.eq(BURST_INCREMENTING),
            moves.eq(axi.wvalid & axi.wready),
            port.addr.eq(Cat(Mux(begins, first.beat, beat + 1)[: len(beat)], written[:-1])),
            port.en.eq(begins | moves),
            axi.wdata.eq(port.data.as_value()),
            axi.wlast.eq(beat == last.beat),
            axi.wstrb.eq(
                Cat(
                    (~((beat == first.beat) & first.upper)).replicate(PIXEL_BYTES),
                    (~axi.wlast | last.upper).replicate(PIXEL_BYTES),
                )
            ),
        ]
        with m.If(axi.awready):
            m.d.sync += axi.awvalid.eq(0)
        with m.If(moves):
            m.d.sync += [beat.eq(beat + 1), axi.wvalid.eq(~axi.wlast), written.eq(written + axi.wlast)]
        with m.If(begins):
            m.d.sync += [
                axi.awvalid.eq(1),
                axi.awaddr.eq(burst.first.as_value() & -beat_bytes),
                axi.awlen.eq(last.beat - first.beat),
                axi.wvalid.eq(1),
                beat.eq(first.beat),
            ]
