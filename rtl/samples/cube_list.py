"""Cube list: the cubes that meet a row of tiles, front to back, listed in memory once a frame, read for each tile."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from nerf.contract.registers import LIST_ENTRY_BYTES
from nerf.contract.scene_image import PAGE, RANK_BITS
from rtl.parts.carry_save import few_rows
from rtl.parts.checksum import crc8_of
from rtl.parts.queue import Queue
from rtl.payloads import Footprint, LookUp, ReadPort, TileLayouts, beat_write

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
    - A tile is begun by ``start``, when the lists are whole and the one before is done. Its rectangles come in the
      order of the list, then ``last``.

    Latency: after a reset, ``rows`` cycles in which the counters of the lists are cleared. 3 cycles from a footprint to
    its first write; it is accepted with its last row; 1 from the ``last`` footprint to ``listed``. `LATENCY` from an
    entry out of memory to its rectangle. To the first request 3 from ``start``; to ``last`` of an empty list 1 less; 2
    from the end of the last entry to ``last``.
    Throughput: an entry a cycle, each way, and a request every other; ``list_queue`` entries are on their way or wait
    for room behind the block.

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
        Of the scene: no list has more entries. Stable from the cycle before the first footprint on.
    i : In(stream)
        `Footprint`, inside the window.
    writes : Out(stream)
        `beat_write`.
    written : In(1)
        Every accepted write has been answered.
    listed : Out(1)
        Strobe: the lists are whole.
    tile_rows : In(LookUp)
        `TileRow` of a row of tiles, by number, when the lists are whole.
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
        Strobe: an entry had a wrong checksum.
    """

    LATENCY = 4

    def __init__(self, cfg: AcceleratorConfig) -> None:
        self._layouts = layouts = TileLayouts(cfg)
        self._tile_bits = cfg.tile_bits
        self._ahead = cfg.list_queue
        """Entries that may have been requested and be neither dropped nor handed on."""
        self.rows = 1 << Footprint["last_y"].width - cfg.tile_bits
        super().__init__(
            {
                "list_base": In(cfg.address_width),
                "live_cubes": In(RANK_BITS),
                "i": In(stream.Signature(Footprint)),
                "writes": Out(stream.Signature(beat_write(cfg))),
                "written": In(1),
                "listed": Out(1),
                "tile_rows": In(LookUp(range(self.rows), layouts.TileRow)),
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
        m.submodules.tile_rows = tile_rows = Memory(shape=self._layouts.TileRow, depth=self.rows, init=[])
        update = tile_rows.write_port()
        look_up = tile_rows.read_port(transparent_for=[update])
        whole = Signal()
        page = Signal(len(self.list_base) - PAGE.bit_length() + 1)
        """Of memory: where the list begins whose row is there."""
        row, moves = self._write(m, update, look_up, page, whole)
        m.d.comb += [look_up.addr.eq(row), self.tile_rows.data.eq(look_up.data)]
        with m.If(whole):
            m.d.comb += [
                row.eq(self.tile.y[self._tile_bits :]),
                look_up.addr.eq(self.tile_rows.address),
                look_up.en.eq(self.tile_rows.enable),
            ]
        self._find_page(m, row, moves, page)
        self._read(m, page)
        return m

    def _find_page(self, m: Module, row: Signal, moves: Signal, page: Signal) -> None:
        """Multiply a row by the pages of a list: two rows of a sum in one step, one in the next."""
        pages = Signal(range((1 << RANK_BITS) // PAGE_ENTRIES + 1))
        halves = [Signal.like(page, name=f"half_{n}") for n in range(2)]
        m.d.sync += pages.eq((self.live_cubes + PAGE_ENTRIES - 1) // PAGE_ENTRIES)
        with m.If(moves):
            rows = few_rows(m, row, pages, len(page), [self.list_base[-len(page) :]])
            m.d.sync += [half.eq(one) for half, one in zip(halves, rows, strict=True)]
            m.d.sync += page.eq(sum(halves))

    def _write(self, m: Module, update, look_up, page: Signal, whole: Signal) -> tuple[Signal, Signal]:
        """Clear the counters; then, for each entry: take it, look its row up, add the entry to it, write both.

        Return the row that is looked up, and whether the steps go on.
        """
        write, footprint = self.writes, self.i.payload
        first, last = (footprint[name][self._tile_bits :] for name in ("first_y", "last_y"))
        clearing = Signal(range(self.rows + 1))
        cleared = clearing[-1]
        passed, row, taken_row, looked_up, counted_row, written_row = (
            Signal.like(look_up.addr, name=name)
            for name in ("passed", "row", "taken_row", "looked_up", "counted_row", "written_row")
        )
        takes, taken, counted, moves = (Signal(name=name) for name in ("takes", "taken", "counted", "moves"))
        taken_entry, entry = Signal(CRC_AT), Signal(CRC_AT)
        found, updated = Signal(self._layouts.TileRow), Signal(self._layouts.TileRow)
        written = data.View(Footprint, write.payload.data[: Footprint.size])
        first_tile, last_tile = (written[name][self._tile_bits :] for name in ("first_x", "last_x"))
        is_first = found.entries == 0
        m.d.comb += [
            row.eq(first + passed),
            moves.eq(~write.valid | write.ready),
            takes.eq(self.i.valid & ~footprint.last & cleared & moves),
            self.i.ready.eq(
                cleared & Mux(footprint.last, self.written & ~(taken | counted | write.valid), moves & (row == last))
            ),
            looked_up.eq(taken_row),
            look_up.en.eq(moves),
            updated.entries.eq(found.entries + 1),
            updated.first.eq(Mux(is_first | (first_tile < found.first), first_tile, found.first)),
            updated.last.eq(Mux(is_first | (last_tile > found.last), last_tile, found.last)),
            update.en.eq(~cleared | (write.valid & write.ready)),
            update.addr.eq(Mux(cleared, written_row, clearing)),
            Value.cast(update.data).eq(Mux(cleared, updated, 0)),
            write.payload.address.eq(PAGE * page + LIST_ENTRY_BYTES * found.entries),
        ]
        m.d.sync += clearing.eq(clearing + ~cleared)
        with m.If(moves):
            m.d.sync += [
                taken.eq(takes),
                taken_row.eq(row),
                taken_entry.eq(footprint.as_value()),
                counted.eq(taken),
                counted_row.eq(taken_row),
                entry.eq(taken_entry),
                write.valid.eq(counted),
                written_row.eq(counted_row),
                # The entry before is counted only when it is written.
                found.eq(Mux(write.valid & (written_row == counted_row), updated, look_up.data)),
                write.payload.data.eq(Cat(entry, crc8_of(entry))),
            ]
        with m.If(takes):
            m.d.sync += passed.eq(Mux(row == last, 0, passed + 1))
        m.d.sync += self.listed.eq(self.i.valid & self.i.ready & footprint.last)
        with m.If(self.i.valid & self.i.ready & footprint.last):
            m.d.sync += whole.eq(1)
        return looked_up, moves

    def _read(self, m: Module, page: Signal) -> None:
        """Request entries for which there is room, and hand on the rectangles of those that meet the tile."""
        request = self.entries.request
        running, ends = Signal(), Signal()
        """A tile is; its last rectangle has been accepted."""
        left, requested = Signal(RANK_BITS), Signal(RANK_BITS)
        burst = Signal(range(BURST + 1))
        """Entries to ask for next. Like `room`, it is a cycle late: none is asked for in the cycle after a request."""
        ahead, room = Signal(range(self._ahead + 1)), Signal()
        asks = Signal()
        drops, hands_on = self._cut(m, ends)
        m.d.comb += [
            asks.eq((burst != 0) & room & ~request.valid),
            self.done.eq(ends & self.o.ready),
        ]
        m.d.sync += [
            burst.eq(Mux(running, Mux(left < BURST, left, BURST), 0)),
            room.eq(ahead <= self._ahead - BURST),
            ahead.eq(ahead + Mux(asks, burst, 0) - drops - hands_on),
            ends.eq(running & (left == 0) & (ahead == 0)),
        ]
        with m.If(request.ready):
            m.d.sync += request.valid.eq(0)
        with m.If(asks):
            m.d.sync += [
                request.valid.eq(1),
                request.payload.address.eq(PAGE * page + LIST_ENTRY_BYTES * requested),
                request.payload.last_beat.eq(burst - 1),
                requested.eq(requested + BURST),
                left.eq(left - burst),
            ]
        with m.If(self.start):
            m.d.sync += [running.eq(1), left.eq(self.tile.entries)]
        with m.If(self.done):
            m.d.sync += [running.eq(0), ends.eq(0), requested.eq(0)]

    def _cut(self, m: Module, ends: Signal) -> tuple[Signal, Signal]:
        """Queue the rectangles of the entries that meet the tile; return whether one is dropped, and one handed on."""
        beats, tile = self.entries.beats, self.tile
        arrived, cut, meets, drops, hands_on = (
            Signal(name=name) for name in ("arrived", "cut", "meets", "drops", "hands_on")
        )
        entry = Signal(8 * LIST_ENTRY_BYTES)
        m.submodules.rectangles = rectangles = Queue(self.o.payload.shape(), self._ahead)
        footprint = data.View(Footprint, entry[: Footprint.size])
        rectangle = Signal.like(self.o.payload)
        m.d.comb += beats.ready.eq(1)
        m.d.sync += [
            arrived.eq(beats.valid),
            entry.eq(beats.payload.data),
            cut.eq(arrived),
            self.error.eq(arrived & (crc8_of(entry[:CRC_AT]) != entry[CRC_AT:])),
        ]
        inside = []
        for row in "xy":
            begin, size = tile[row], tile[f"last_{row}"]
            first, last = footprint[f"first_{row}"] - begin, footprint[f"last_{row}"] - begin
            inside += [first <= size, last >= 0]
            m.d.sync += [
                rectangle[f"first_{row}"].eq(Mux(first > 0, first, 0)),
                rectangle[f"last_{row}"].eq(Mux(last < size, last, size)),
            ]
        m.d.sync += [
            meets.eq(Cat(inside).all()),
            rectangle.cube.eq(footprint.cube),
            rectangle.rank.eq(footprint.rank),
        ]
        m.d.comb += [
            drops.eq(cut & ~meets),
            rectangles.i.payload.eq(rectangle),
            # There is a place for every entry ahead.
            rectangles.i.valid.eq(cut & meets),
            hands_on.eq(rectangles.o.valid & self.o.ready),
            self.o.payload.eq(rectangles.o.payload),
            self.o.payload.last.eq(ends),
            self.o.payload.tile.eq(tile.place),
            self.o.valid.eq(rectangles.o.valid | ends),
            rectangles.o.ready.eq(self.o.ready),
        ]
        return drops, hands_on
