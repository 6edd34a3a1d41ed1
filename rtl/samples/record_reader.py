"""Record reader: fetches the mask windows of the cubes, some cubes ahead of their use."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from nerf.contract.scene_image import BEAT, MASK_CELL_BITS, MASK_WINDOW, PAGE, RECORD_BYTES
from rtl.parts.checksum import crc8_of
from rtl.parts.queue import Queue
from rtl.payloads import ReadPort, SceneRegisters, TileLayouts, vector3

CRC_AT = 8 * RECORD_BYTES - 8
"""Bit of a record where its checksum begins."""


def masked_rectangle(cfg: AcceleratorConfig) -> data.StructLayout:
    """Return the layout of a rectangle with its cube's mask ``window`` (x fastest) and the window's first cell."""
    return data.StructLayout(
        {"rectangle": TileLayouts(cfg).Rectangle, "window": MASK_WINDOW**3, "base": vector3(MASK_CELL_BITS)}
    )


class RecordReader(wiring.Component):
    """Add to each rectangle the record of its cube. ``last`` passes without a read.

    A record is two beats in one burst, or in two bursts where it crosses a page. ``record_queue`` rectangles are held.

    Latency: 3 cycles more than the memory needs for the second beat; 3 for ``last``.
    Throughput: one rectangle in 2 cycles, in 3 where the record crosses a page, if the memory is as quick.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    scene : In(SceneRegisters)
    scene_base : In
        Byte address of the scene image.
    i : In(stream)
        `Rectangle`.
    o : Out(stream)
        `masked_rectangle`; ``window`` and ``base`` mean nothing with ``last``.
    records : Out(ReadPort)
    error_record : Out(1)
        Strobe: a record with a wrong checksum.
    """

    def __init__(self, cfg: AcceleratorConfig) -> None:
        self._cfg = cfg
        super().__init__(
            {
                "scene": In(SceneRegisters),
                "scene_base": In(cfg.address_width),
                "i": In(stream.Signature(TileLayouts(cfg).Rectangle)),
                "o": Out(stream.Signature(masked_rectangle(cfg))),
                "records": Out(ReadPort(cfg)),
                "error_record": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the requests, and the queues of rectangles and of records."""
        m = Module()
        m.submodules.rectangles = rectangles = Queue(self.i.payload.shape(), self._cfg.record_queue)
        m.submodules.windows = windows = Queue(8 * RECORD_BYTES, self._cfg.record_queue)
        self._request(m, rectangles.i)
        self._assemble(m, windows.i)
        is_last = rectangles.o.payload.last
        m.d.comb += [
            self.o.valid.eq(rectangles.o.valid & (is_last | windows.o.valid)),
            self.o.payload.rectangle.eq(rectangles.o.payload),
            self.o.payload.window.eq(windows.o.payload),
            self.o.payload.base.eq(windows.o.payload[MASK_WINDOW**3 :]),
            rectangles.o.ready.eq(self.o.valid & self.o.ready),
            windows.o.ready.eq(self.o.valid & self.o.ready & ~is_last),
        ]
        return m

    def _request(self, m: Module, taken) -> None:
        """Ask for the record of a rectangle, which goes into the queue with its last burst."""
        request = self.records.request
        rectangle = Signal.like(self.i.payload)
        address = Signal(len(self.scene_base))
        splits = Signal()
        m.d.comb += [
            address.eq(self.scene_base + self.scene.records_offset + RECORD_BYTES * rectangle.rank),
            splits.eq(address[: PAGE.bit_length() - 1] == PAGE - BEAT),
            taken.payload.eq(rectangle),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += rectangle.eq(self.i.payload)
                with m.If(self.i.valid):
                    m.next = "REQUEST"
                    with m.If(self.i.payload.last):
                        m.next = "LAST"
            with m.State("REQUEST"):
                m.d.comb += [
                    request.payload.address.eq(address),
                    request.payload.last_beat.eq(~splits),
                    # The record will have a place.
                    request.valid.eq(taken.ready),
                ]
                with m.If(request.valid & request.ready):
                    m.d.comb += taken.valid.eq(~splits)
                    m.next = "IDLE"
                    with m.If(splits):
                        m.next = "REQUEST_SECOND"
            with m.State("REQUEST_SECOND"):
                m.d.comb += [request.payload.address.eq(address + BEAT), request.valid.eq(1)]
                with m.If(request.ready):
                    m.d.comb += taken.valid.eq(1)
                    m.next = "IDLE"
            with m.State("LAST"):
                m.d.comb += taken.valid.eq(1)
                with m.If(taken.ready):
                    m.next = "IDLE"

    def _assemble(self, m: Module, windows) -> None:
        """Put the beats of a record together, and check it."""
        beats = self.records.beats
        record = Signal(8 * RECORD_BYTES)
        second, whole = Signal(), Signal()
        m.d.comb += [
            beats.ready.eq(1),
            windows.payload.eq(record),
            windows.valid.eq(whole),
            self.error_record.eq(whole & (crc8_of(record[:CRC_AT]) != record[CRC_AT:])),
        ]
        m.d.sync += whole.eq(beats.valid & second)
        with m.If(beats.valid):
            m.d.sync += [record.eq(Cat(record[8 * BEAT :], beats.payload.data)), second.eq(~second)]
