"""Occupancy walker: the live cubes of the scene, front to back.

Per axis from the camera's own cube away from it, first up, then down; z outermost, x innermost. This is the order
of `nerf.golden.occupancy_walker`. A row of cubes along x is one memory beat, cut in chunks of 16 bits that the
bi-directional tree counts and searches.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import COMPONENTS, AcceleratorConfig
from nerf.contract.scene_image import BEAT, RANK_BITS, ROW_BITS
from rtl.parts.checksum import crc8_of
from rtl.parts.queue import Queue
from rtl.payloads import CUBE_BITS, CubeVisit, Mode, ReadPort, SceneRegisters, TreePort, ViewRegisters

CHUNKS = ROW_BITS // COMPONENTS
"""Parts of a row that the tree takes at once."""
CRC_AT = ROW_BITS + RANK_BITS
"""Bit of a row entry where its checksum begins."""

RowPlace = data.StructLayout({"y": CUBE_BITS, "z": CUBE_BITS, "last": 1})
"""Where a requested row lies; ``last``: it is the last one of the walk."""


class AxisOrder(wiring.Component):
    """The visiting order along one axis: from ``start`` up to the end, then from below ``start`` down to 0.

    Combinational.

    Members
    -------
    start : In
        The camera's cube, -1 to ``count``.
    count : In
        Cubes along the axis, at least 1.
    first, first_falls : Out
        Where the order begins, and whether it begins with the downward part.
    place, falls : In
        A cube of the order, and whether it belongs to the downward part.
    next, next_falls, is_last : Out
        The cube after it, unless it is the last.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(signed(CUBE_BITS + 2)),
                "count": In(CUBE_BITS + 1),
                "first": Out(CUBE_BITS),
                "first_falls": Out(1),
                "place": In(CUBE_BITS),
                "falls": In(1),
                "next": Out(CUBE_BITS),
                "next_falls": Out(1),
                "is_last": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the comparisons."""
        m = Module()
        turns = ~self.falls & (self.place + 1 == self.count)
        m.d.comb += [
            self.first_falls.eq(self.start >= self.count),
            self.first.eq(Mux(self.first_falls, self.count - 1, Mux(self.start < 0, 0, self.start))),
            self.next_falls.eq(self.falls | turns),
            self.next.eq(Mux(self.falls, self.place - 1, Mux(turns, self.start - 1, self.place + 1))),
            self.is_last.eq(Mux(self.falls, self.place == 0, turns & (self.start <= 0))),
        ]
        return m


class OccupancyWalker(wiring.Component):
    """Visit the live cubes of the scene in front-to-back order, then send ``last``.

    Latency: ``LATENCY`` cycles, a memory read and a round through the tree from ``start`` to the first visit, if the
    first row has no downward part.
    Throughput: an empty row takes 1 cycle, or what the memory needs for ``row_queue`` beats in flight; a visit
    takes 1 cycle and a round through the tree; each chunk of the downward part takes one such round more.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    start : In(1)
        Strobe; only while idle.
    scene, view : In
        Registers of the frame.
    scene_base : In
        Byte address of the scene image.
    rows : Out(ReadPort)
        Row entries, one beat each.
    tree : Out(TreePort)
        Prefix counts and searches.
    o : Out(stream)
        `CubeVisit`.
    error_row : Out(1)
        Strobe: a row entry with a wrong checksum.
    """

    LATENCY = 6

    def __init__(self, cfg: AcceleratorConfig) -> None:
        self._rows_ahead = cfg.row_queue
        super().__init__(
            {
                "start": In(1),
                "scene": In(SceneRegisters),
                "view": In(ViewRegisters),
                "scene_base": In(cfg.address_width),
                "rows": Out(ReadPort(cfg)),
                "tree": Out(TreePort()),
                "o": Out(stream.Signature(CubeVisit)),
                "error_row": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return a part that requests rows and a part that walks them."""
        m = Module()
        m.submodules.places = places = Queue(RowPlace, self._rows_ahead)
        m.submodules.entries = entries = Queue(128, self._rows_ahead)
        self._request_rows(m, places.i, entries.i)
        self._walk_rows(m, places.o, entries.o)
        return m

    def _request_rows(self, m: Module, places: stream.Interface, entries: stream.Interface) -> None:
        """Request the rows in visiting order.

        A place is taken together with its entry, and both queues are equally deep: what is asked for has room.
        """
        order = {axis: AxisOrder() for axis in "yz"}
        place = {axis: Signal(CUBE_BITS, name=f"row_{axis}") for axis in "yz"}
        falls = {axis: Signal(name=f"row_{axis}_falls") for axis in "yz"}
        for axis in "yz":
            m.submodules[f"order_{axis}"] = order[axis]
            m.d.comb += [
                order[axis].start.eq(self.view.start_cube[axis]),
                order[axis].count.eq(self.scene.cubes[axis]),
                order[axis].place.eq(place[axis]),
                order[axis].falls.eq(falls[axis]),
            ]

        request = self.rows.request
        row = Signal(2 * CUBE_BITS + 1)
        waits = Signal()
        last = order["y"].is_last & order["z"].is_last
        m.d.comb += [
            request.payload.address.eq(self.scene_base + self.scene.rows_offset + BEAT * row),
            request.payload.last_beat.eq(0),
            request.valid.eq(waits),
            places.payload.y.eq(place["y"]),
            places.payload.z.eq(place["z"]),
            places.payload.last.eq(last),
            entries.payload.eq(self.rows.beats.payload.data),
            entries.valid.eq(self.rows.beats.valid),
            self.rows.beats.ready.eq(entries.ready),
        ]
        with m.If(request.ready):
            m.d.sync += waits.eq(0)
        with m.FSM(name="requests"):
            with m.State("IDLE"):
                for axis in "yz":
                    m.d.sync += [place[axis].eq(order[axis].first), falls[axis].eq(order[axis].first_falls)]
                with m.If(self.start):
                    m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += places.valid.eq(~waits | request.ready)
                with m.If(places.valid & places.ready):
                    m.d.sync += [waits.eq(1), row.eq(place["z"] * self.scene.cubes.y + place["y"])]
                    m.d.sync += [place["y"].eq(order["y"].next), falls["y"].eq(order["y"].next_falls)]
                    with m.If(order["y"].is_last):
                        m.d.sync += [
                            place["y"].eq(order["y"].first),
                            falls["y"].eq(order["y"].first_falls),
                            place["z"].eq(order["z"].next),
                            falls["z"].eq(order["z"].next_falls),
                        ]
                    with m.If(last):
                        m.next = "IDLE"

    def _walk_rows(self, m: Module, places: stream.Interface, entries: stream.Interface) -> None:
        """Find the cubes of each row with the tree.

        The rank of the first upward cube is the row's rank plus the count of the downward part; upward the rank
        counts up from there, downward it counts down from one below.
        """
        row = _Row()
        request, response = self.tree.request, self.tree.response
        # Cubes below the camera's: the downward part.
        below = Signal(ROW_BITS)
        m.d.comb += below.eq(Cat(place < self.view.start_cube.x for place in range(ROW_BITS)))
        m.d.comb += [
            self.o.payload.cube.x.eq(Cat(response.payload.index, row.chunk)),
            self.o.payload.cube.y.eq(row.place.y),
            self.o.payload.cube.z.eq(row.place.z),
            self.o.payload.rank.eq(Mux(row.falls, row.downward_rank, row.upward_rank)),
            request.payload.bits.eq(Mux(row.falls, row.downward[row.chunk], row.upward[row.chunk])),
            request.payload.k.eq(row.k),
        ]
        with m.FSM(name="walk"):
            with m.State("ROW"):
                self._take_row(m, row, below, places, entries)
            with m.State("CHUNK"):
                self._choose_chunk(m, row)
            with m.State("COUNT"):
                m.d.comb += [request.payload.mode.eq(Mode.PREFIX), request.valid.eq(1)]
                with m.If(request.ready):
                    m.next = "COUNTED"
            with m.State("COUNTED"):
                m.d.comb += response.ready.eq(1)
                with m.If(response.valid):
                    m.d.sync += [
                        row.counts[row.chunk].eq(response.payload.total),
                        row.counted.bit_select(row.chunk, 1).eq(1),
                        row.upward_rank.eq(row.upward_rank + response.payload.total),
                        row.downward_rank.eq(row.downward_rank + response.payload.total),
                    ]
                    m.next = "CHUNK"
            with m.State("SEARCH"):
                m.d.comb += [request.payload.mode.eq(Mode.SEARCH), request.valid.eq(1)]
                with m.If(request.ready):
                    m.next = "VISIT"
            with m.State("VISIT"):
                self._visit(m, row)
            with m.State("LAST"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.last.eq(1)]
                with m.If(self.o.ready):
                    m.next = "ROW"

    def _take_row(self, m: Module, row: "_Row", below: Signal, places, entries) -> None:
        """Take a row's entry with its place, and cut it in two; an empty one is done with, unless it is the last."""
        entry = entries.payload
        bits, rank, checked = entry[:ROW_BITS], entry[ROW_BITS:CRC_AT], entry[:CRC_AT]
        m.d.comb += [entries.ready.eq(1), places.ready.eq(entries.valid)]
        m.d.sync += [
            row.upward.eq(bits & ~below),
            row.downward.eq(bits & below),
            row.upward_rank.eq(rank),
            row.downward_rank.eq(rank - 1),
            row.place.eq(places.payload),
            row.counted.eq(0),
        ]
        with m.If(entries.valid):
            m.d.comb += self.error_row.eq(crc8_of(checked) != entry[CRC_AT:])
            with m.If(bits.any() | places.payload.last):
                m.next = "CHUNK"

    def _choose_chunk(self, m: Module, row: "_Row") -> None:
        """Count the downward chunks first, then search the upward ones upwards, the downward ones downwards."""
        upward_left, downward_left = (Cat(part[n].any() for n in range(CHUNKS)) for part in (row.upward, row.downward))
        uncounted = downward_left & ~row.counted
        with m.If(uncounted.any()):
            m.d.sync += [row.falls.eq(1), row.chunk.eq(_lowest(uncounted))]
            m.next = "COUNT"
        with m.Elif(upward_left.any()):
            m.d.sync += [row.falls.eq(0), row.chunk.eq(_lowest(upward_left)), row.k.eq(0)]
            m.next = "SEARCH"
        with m.Elif(downward_left.any()):
            highest = _highest(downward_left)
            m.d.sync += [row.falls.eq(1), row.chunk.eq(highest), row.k.eq(row.counts[highest] - 1)]
            m.next = "SEARCH"
        with m.Elif(row.place.last):
            m.next = "LAST"
        with m.Else():
            m.next = "ROW"

    def _visit(self, m: Module, row: "_Row") -> None:
        """Offer the cube that the tree has found; go on to the next of its chunk, or choose another."""
        response, k, chunk = self.tree.response, row.k, row.chunk
        m.d.comb += [self.o.valid.eq(response.valid), response.ready.eq(self.o.ready)]
        with m.If(response.valid & self.o.ready):
            m.next = "SEARCH"
            with m.If(row.falls):
                m.d.sync += [k.eq(k - 1), row.downward_rank.eq(row.downward_rank - 1)]
                with m.If(k == 0):
                    m.d.sync += row.downward[chunk].eq(0)
                    m.next = "CHUNK"
            with m.Else():
                m.d.sync += [k.eq(k + 1), row.upward_rank.eq(row.upward_rank + 1)]
                with m.If(k + 1 == response.payload.total):
                    m.d.sync += row.upward[chunk].eq(0)
                    m.next = "CHUNK"


class _Row:
    """Registers of the row that is walked."""

    def __init__(self) -> None:
        self.place = Signal(RowPlace, name="row")
        self.upward = Signal(data.ArrayLayout(COMPONENTS, CHUNKS))
        self.downward = Signal(data.ArrayLayout(COMPONENTS, CHUNKS))
        """Cubes that are not visited yet, from the camera's upwards and below it."""
        self.upward_rank = Signal(RANK_BITS)
        self.downward_rank = Signal(RANK_BITS)
        self.counts = Signal(data.ArrayLayout(COMPONENTS.bit_length(), CHUNKS))
        """Cubes in the downward chunks, where ``counted``."""
        self.counted = Signal(CHUNKS)
        self.falls = Signal()
        """The ``chunk`` at the tree is a downward one."""
        self.chunk = Signal(range(CHUNKS))
        self.k = Signal(range(COMPONENTS))
        """Which set bit of the chunk is searched."""


def _lowest(flags):
    """Return the index of the lowest set bit."""
    index = Const(0)
    for position in reversed(range(len(flags))):
        index = Mux(flags[position], position, index)
    return index


def _highest(flags):
    """Return the index of the highest set bit."""
    index = Const(0)
    for position in range(len(flags)):
        index = Mux(flags[position], position, index)
    return index
