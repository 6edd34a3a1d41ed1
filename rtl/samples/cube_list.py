"""Cube list: the cubes that meet a row of tiles, front to back, listed in memory once a frame, read for each tile."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from nerf.contract.registers import LIST_ENTRY_BYTES
from nerf.contract.scene_image import PAGE, RANK_BITS
from rtl.parts.checksum import crc8_of
from rtl.parts.queue import Queue
from rtl.payloads import Footprint, ReadPort, TileLayouts, beat_write

BURST = 16
"""Entries of a burst: none crosses a page, since each list begins with one."""
CRC_AT = 8 * LIST_ENTRY_BYTES - 8
"""Bit of an entry where its checksum begins; before it lies the `Footprint`."""
PAGE_ENTRIES = PAGE // LIST_ENTRY_BYTES


class CubeList(wiring.Component):
    """List the footprints of a frame in memory by rows of tiles; for each tile, cut those of its row to it.

    A footprint has an entry in the list of every row of tiles that it meets.

    Rules
    -----
    - The list of row r begins at ``list_base`` + r * `list_stride`; its entries are in the order of the footprints.
    - The lists are whole when the ``last`` footprint has been accepted: then every entry has been written.
    - A tile is begun by ``start``, when the one before is done; it waits until the lists are whole. Its rectangles come
      in the order of the list, then ``last``.

    Latency: after a reset, ``rows`` cycles in which the counters of the lists are cleared. 1 cycle from a footprint to
    its first write; it is accepted with its last row. `LATENCY` from an entry out of memory to its rectangle. To the
    first request, and to ``last`` of an empty list, 1 from ``start`` and 2 from the ``last`` footprint; 1 from the end
    of the last entry to ``last``.
    Throughput: an entry a cycle, each way; ``list_queue`` are on their way or wait for room behind the block.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Attributes
    ----------
    rows : int
        Rows of tiles of the highest window: as many counters are on chip.

    Members
    -------
    list_base : In
        Byte address of the lists, a multiple of 4 KiB.
    live_cubes : In
        Of the scene: no list has more entries. Stable from the first footprint on.
    i : In(stream)
        `Footprint`, inside the window.
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
        self._tile_bits = cfg.tile_bits
        self._ahead = cfg.list_queue
        """Entries that have been requested and are neither dropped nor handed on."""
        self.rows = 1 << Footprint["last_y"].width - cfg.tile_bits
        super().__init__(
            {
                "list_base": In(cfg.address_width),
                "live_cubes": In(RANK_BITS),
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
        """Return the rows' counters, the writer and the reader."""
        m = Module()
        m.submodules.counts = counts = Memory(shape=RANK_BITS, depth=self.rows, init=[])
        update = counts.write_port()
        look_up = counts.read_port(transparent_for=[update])
        base = Signal.like(self.list_base)
        """Address of the list whose count was looked up."""
        pages = Signal(range((1 << RANK_BITS) // PAGE_ENTRIES + 1))
        whole = Signal()
        m.d.comb += pages.eq((self.live_cubes + PAGE_ENTRIES - 1) // PAGE_ENTRIES)
        with m.If(look_up.en):
            m.d.sync += base.eq(self.list_base + PAGE * (look_up.addr * pages))
        self._write(m, update, look_up, base, whole)
        self._read(m, look_up, base, whole)
        return m

    def _write(self, m: Module, update, look_up, base: Signal, whole: Signal) -> None:
        """Clear the counters; look up a row's count for each entry, and add one when it is written."""
        write, footprint = self.writes, self.i.payload
        first, last = (footprint[name][self._tile_bits :] for name in ("first_y", "last_y"))
        clearing = Signal(range(self.rows + 1))
        cleared = clearing[-1]
        passed, row, written_row = (Signal.like(look_up.addr, name=name) for name in ("passed", "row", "written_row"))
        free, takes = Signal(), Signal()
        entry = Signal(CRC_AT)
        m.d.comb += [
            entry.eq(footprint.as_value()),
            row.eq(first + passed),
            free.eq(cleared & (~write.valid | write.ready)),
            takes.eq(self.i.valid & ~footprint.last & free),
            self.i.ready.eq(Mux(footprint.last, cleared & self.written & ~write.valid, free & (row == last))),
            look_up.addr.eq(row),
            look_up.en.eq(takes),
            write.payload.address.eq(base + LIST_ENTRY_BYTES * look_up.data),
            update.en.eq(~cleared | (write.valid & write.ready)),
            update.addr.eq(Mux(cleared, written_row, clearing)),
            update.data.eq(Mux(cleared, look_up.data + 1, 0)),
        ]
        m.d.sync += clearing.eq(clearing + ~cleared)
        with m.If(write.ready):
            m.d.sync += write.valid.eq(0)
        with m.If(takes):
            m.d.sync += [
                passed.eq(Mux(row == last, 0, passed + 1)),
                written_row.eq(row),
                write.valid.eq(1),
                write.payload.data.eq(Cat(entry, crc8_of(entry))),
            ]
        with m.If(self.i.valid & self.i.ready & footprint.last):
            m.d.sync += whole.eq(1)

    def _read(self, m: Module, look_up, base: Signal, whole: Signal) -> None:
        """Request entries for which there is room, and queue the rectangles of those that meet the tile."""
        listed = Signal()
        """The tile's row has been looked up."""
        m.d.sync += listed.eq(whole)
        with m.If(whole):
            m.d.comb += [look_up.addr.eq(self.tile.y[self._tile_bits :]), look_up.en.eq(1)]
        request, beats, tile = self.entries.request, self.entries.beats, self.tile
        running, arrived, meets, drops = Signal(), Signal(), Signal(), Signal()
        requested = Signal(RANK_BITS)
        ahead = Signal(range(self._ahead + 1))
        left = look_up.data - requested
        burst = Signal(range(BURST + 1))
        entry = Signal(8 * LIST_ENTRY_BYTES)
        ends = Signal()
        m.d.comb += [
            burst.eq(Mux(left < BURST, left, BURST)),
            request.valid.eq(running & listed & (left != 0) & (ahead <= self._ahead - BURST)),
            request.payload.address.eq(base + LIST_ENTRY_BYTES * requested),
            request.payload.last_beat.eq(burst - 1),
            beats.ready.eq(1),
            self.error.eq(arrived & (crc8_of(entry[:CRC_AT]) != entry[CRC_AT:])),
        ]
        m.d.sync += [arrived.eq(beats.valid), entry.eq(beats.payload.data)]

        m.submodules.rectangles = rectangles = Queue(self.o.payload.shape(), self._ahead)
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
            ends.eq(running & listed & (left == 0) & (ahead == 0)),
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
