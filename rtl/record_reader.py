"""Record reader: fetches the mask window of each cube, one cube ahead of its use."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from nerf.contract.scene_image import BEAT, MASK_CELL_BITS, MASK_WINDOW, PAGE, RECORD_BYTES
from rtl.checksum import crc8_of
from rtl.payloads import ReadPort, SceneRegisters, TileLayouts, vector3

BEATS = RECORD_BYTES // BEAT
CRC_AT = 8 * RECORD_BYTES - 8
"""Bit of a record where its checksum begins."""


def masked_rectangle(cfg: AcceleratorConfig) -> data.StructLayout:
    """Return the layout of a rectangle with its cube's mask ``window`` (x fastest) and the window's first cell."""
    return data.StructLayout(
        {"rectangle": TileLayouts(cfg).Rectangle, "window": MASK_WINDOW**3, "base": vector3(MASK_CELL_BITS)}
    )


class RecordReader(wiring.Component):
    """Add to each rectangle the record of its cube. ``last`` passes without a read.

    A record is two beats in one burst, or in two bursts where it crosses a page.

    Latency: 3 cycles more than the memory needs for the second beat; 1 for ``last``.
    Throughput: one rectangle in the latency and one cycle.

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
        """Return the requests, the record register and its check."""
        m = Module()
        request, beats = self.records.request, self.records.beats
        record = Signal(8 * RECORD_BYTES)
        beats_left = Signal(range(BEATS + 1))
        address = Signal(len(self.scene_base))
        splits = Signal()
        m.d.comb += [
            address.eq(self.scene_base + self.scene.records_offset + RECORD_BYTES * self.o.payload.rectangle.rank),
            splits.eq(address[: PAGE.bit_length() - 1] == PAGE - BEAT),
            self.o.payload.window.eq(record),
            self.o.payload.base.eq(record[MASK_WINDOW**3 :]),
            beats.ready.eq(1),
        ]
        with m.If(beats.valid):
            m.d.sync += [record.eq(Cat(record[8 * BEAT :], beats.payload.data)), beats_left.eq(beats_left - 1)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [self.o.payload.rectangle.eq(self.i.payload), beats_left.eq(BEATS)]
                with m.If(self.i.valid):
                    m.next = "REQUEST"
                    with m.If(self.i.payload.last):
                        m.next = "RECORD"
            with m.State("REQUEST"):
                m.d.comb += [
                    request.payload.address.eq(address),
                    request.payload.last_beat.eq(~splits),
                    request.valid.eq(1),
                ]
                with m.If(request.ready):
                    m.next = "BEATS"
                    with m.If(splits):
                        m.next = "REQUEST_SECOND"
            with m.State("REQUEST_SECOND"):
                m.d.comb += [request.payload.address.eq(address + BEAT), request.valid.eq(1)]
                with m.If(request.ready):
                    m.next = "BEATS"
            with m.State("BEATS"), m.If(beats_left == 0):
                m.d.comb += self.error_record.eq(crc8_of(record[:CRC_AT]) != record[CRC_AT:])
                m.next = "RECORD"
            with m.State("RECORD"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "IDLE"
        return m
