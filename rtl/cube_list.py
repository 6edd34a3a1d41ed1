"""Cube list: the cubes that meet the window, front to back, listed in memory once a frame and read for every tile."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from nerf.contract.registers import LIST_ENTRY_BYTES
from nerf.contract.scene_image import RANK_BITS
from rtl.checksum import crc8_of
from rtl.payloads import Footprint, ReadPort, TileLayouts, beat_write
from rtl.queue import Queue

BURST = 16
"""Entries of a burst: none crosses a page, since the list begins with one."""
ENTRIES_AHEAD = 128
"""Entries that have been requested and are neither dropped nor handed on."""
CRC_AT = 8 * LIST_ENTRY_BYTES - 8
"""Bit of an entry where its checksum begins; before it lies the `Footprint`."""


class CubeList(wiring.Component):
    """Write the footprints of a frame to memory; for each tile, cut all of them to it and hand on what remains.

    Rules
    -----
    - The list is whole when the ``last`` footprint has been accepted: then every entry has been written.
    - A tile is begun by ``start``, when the one before is done; it waits until the list is whole. Its rectangles come
      in the order of the list, then ``last``.

    Latency: 1 cycle from a footprint to its write. `LATENCY` from an entry out of memory to its rectangle, 1 from
    ``start`` to the first request, and to ``last`` of an empty list; 1 from the end of the last entry to ``last``.
    Throughput: an entry a cycle, each way; `ENTRIES_AHEAD` are on their way or wait for room behind the block.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    list_base : In
        Byte address of the list, a multiple of 4 KiB.
    i : In(stream)
        `Footprint`.
    writes : Out(stream)
        `beat_write`.
    written : In(1)
        Every accepted write has been answered.
    start : In(1)
        Strobe.
    tile : In(Tile)
        Stable from ``start`` to ``done``.
    entries : Out(ReadPort)
    o : Out(stream)
        `Rectangle`.
    done : Out(1)
        Strobe: ``last`` is accepted from ``o``.
    error : Out(1)
        Strobe: an entry with a wrong checksum.
    """

    LATENCY = 3

    def __init__(self, cfg: AcceleratorConfig) -> None:
        self._layouts = layouts = TileLayouts(cfg)
        super().__init__(
            {
                "list_base": In(cfg.address_width),
                "i": In(stream.Signature(Footprint)),
                "writes": Out(stream.Signature(beat_write(cfg))),
                "written": In(1),
                "start": In(1),
                "tile": In(layouts.Tile),
                "entries": Out(ReadPort(cfg)),
                "o": Out(stream.Signature(layouts.Rectangle)),
                "done": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the writer and the reader."""
        m = Module()
        count = Signal(RANK_BITS)
        whole = Signal()
        self._write(m, count, whole)
        self._read(m, count, whole)
        return m

    def _write(self, m: Module, count: Signal, whole: Signal) -> None:
        """Count the footprints, and write each to its place."""
        write, is_last = self.writes, self.i.payload.last
        entry = Signal(CRC_AT)
        m.d.comb += [
            entry.eq(self.i.payload.as_value()),
            self.i.ready.eq(Mux(is_last, self.written & ~write.valid, ~write.valid | write.ready)),
        ]
        with m.If(write.ready):
            m.d.sync += write.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += whole.eq(is_last)
            with m.If(~is_last):
                m.d.sync += [
                    count.eq(count + 1),
                    write.valid.eq(1),
                    write.payload.address.eq(self.list_base + LIST_ENTRY_BYTES * count),
                    write.payload.data.eq(Cat(entry, crc8_of(entry))),
                ]

    def _read(self, m: Module, count: Signal, whole: Signal) -> None:
        """Request entries for which there is room, and queue the rectangles of those that meet the tile."""
        request, beats, tile = self.entries.request, self.entries.beats, self.tile
        running, arrived, meets, drops = Signal(), Signal(), Signal(), Signal()
        requested = Signal(RANK_BITS)
        ahead = Signal(range(ENTRIES_AHEAD + 1))
        left = count - requested
        burst = Signal(range(BURST + 1))
        entry = Signal(8 * LIST_ENTRY_BYTES)
        ends = Signal()
        m.d.comb += [
            burst.eq(Mux(left < BURST, left, BURST)),
            request.valid.eq(running & whole & (left != 0) & (ahead <= ENTRIES_AHEAD - BURST)),
            request.payload.address.eq(self.list_base + LIST_ENTRY_BYTES * requested),
            request.payload.last_beat.eq(burst - 1),
            beats.ready.eq(1),
            self.error.eq(arrived & (crc8_of(entry[:CRC_AT]) != entry[CRC_AT:])),
        ]
        m.d.sync += [arrived.eq(beats.valid), entry.eq(beats.payload.data)]

        m.submodules.rectangles = rectangles = Queue(self.o.payload.shape(), ENTRIES_AHEAD)
        footprint = data.View(Footprint, entry[: Footprint.size])
        rectangle = rectangles.i.payload
        inside = []
        for row in "xy":
            begin, size = tile[row], tile[f"last_{row}"]
            first, last = footprint[f"first_{row}"] - begin, footprint[f"last_{row}"] - begin
            inside += [first <= size, last >= 0]
            m.d.comb += [
                rectangle[f"first_{row}"].eq(Mux(first > 0, first, 0)),
                rectangle[f"last_{row}"].eq(Mux(last < size, last, size)),
            ]
        m.d.comb += [
            meets.eq(Cat(inside).all()),
            drops.eq(arrived & ~meets),
            rectangle.cube.eq(footprint.cube),
            rectangle.rank.eq(footprint.rank),
            rectangle.tile.eq(tile.parity),
            # There is a place for every entry ahead.
            rectangles.i.valid.eq(arrived & meets),
        ]

        hands_on = rectangles.o.valid & self.o.ready
        m.d.comb += [
            ends.eq(running & whole & (left == 0) & (ahead == 0)),
            self.o.payload.eq(rectangles.o.payload),
            self.o.payload.last.eq(ends),
            self.o.valid.eq(rectangles.o.valid | ends),
            rectangles.o.ready.eq(self.o.ready),
            self.done.eq(ends & self.o.ready),
        ]
        asked = request.valid & request.ready
        m.d.sync += ahead.eq(ahead + Mux(asked, burst, 0) - drops - hands_on)
        with m.If(asked):
            m.d.sync += requested.eq(requested + burst)
        with m.If(self.start):
            m.d.sync += running.eq(1)
        with m.If(self.done):
            m.d.sync += [running.eq(0), requested.eq(0)]
