"""The cube list: what it writes, and what it makes of what it reads."""

import random
from itertools import pairwise

import pytest
from amaranth.hdl import Cat, Module, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from cosim.unit import STALLS, run, shared
from nerf.contract.blocks import crc8
from nerf.contract.config import AcceleratorConfig
from nerf.contract.registers import AXES, LIST_ENTRY_BYTES, list_stride
from nerf.contract.scene_image import PAGE
from rtl.payloads import Footprint, TileLayouts, beat_write
from rtl.samples.cube_list import BURST, CRC_AT, CubeList
from tests.rtl.memory.helpers_memory import ReadMemory
from tests.rtl.shading.helpers_shading import record

CFG = AcceleratorConfig(tile=16)
BASE = 3 * PAGE
BEATS = 4096
"""Of the longest lists."""
ROWS = 1024
"""Rows of tiles of the highest window: cycles until the counters are cleared."""
WIDTH, HEIGHT = 64, 60
"""Of the window: the tiles of the last row are cut."""
MORE_CUBES = 200
"""Live cubes that miss the window: a list may end anywhere in its pages."""
ANSWERED_AFTER = 5
"""Cycles from a write to its answer."""
BOUNDS = ("first_x", "first_y", "last_x", "last_y")
END = {"last": 1}


class Bench(wiring.Component):
    """The lists, the tiles in a stream, and a memory that holds what ought to be written.

    A frame begins with a reset when all tiles of the one before are done; its footprints wait for it. Each row of tiles
    is looked up when a tile of it is taken, and its entries go to the tile.
    ``o_errors`` tells of wrong checksums, ``o_breach`` of breaches of the rules of `ReadPort`.
    """

    def __init__(self, cfg=CFG) -> None:
        self.memory = ReadMemory(CFG, BEATS, BASE)
        self._cfg = cfg
        layouts = TileLayouts(CFG)
        super().__init__(
            {
                "i": In(stream.Signature(Footprint)),
                "i_tile": In(stream.Signature(layouts.Tile)),
                "live_cubes": In(32),
                "frame_tiles": In(8),
                "o_writes": Out(stream.Signature(beat_write(CFG))),
                "o": Out(stream.Signature(layouts.Rectangle)),
                "o_rows": Out(stream.Signature(layouts.TileRow)),
                "o_errors": Out(stream.Signature(1)),
                "o_breach": Out(stream.Signature(1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        cubes, restarts, listing = CubeList(self._cfg), Signal(), Signal(init=1)
        m.submodules.cubes = ResetInserter(restarts)(cubes)
        m.submodules.memory = memory = self.memory
        connect(m, cubes.writes, flipped(self.o_writes))
        connect(m, cubes.entries, memory.port)
        connect(m, cubes.o, flipped(self.o))
        record(m, "errors", cubes.error, Value.cast(1), self.o_errors)
        record(m, "breaches", memory.error, Value.cast(1), self.o_breach)
        tile, busy, unanswered = Signal.like(self.i_tile.payload), Signal(), Signal(ANSWERED_AFTER)
        asks, found, whole = Signal(), Signal(), Signal()
        m.d.comb += [
            cubes.i.payload.eq(self.i.payload),
            cubes.i.valid.eq(self.i.valid & listing),
            self.i.ready.eq(cubes.i.ready & listing),
            cubes.list_base.eq(BASE),
            cubes.live_cubes.eq(self.live_cubes),
            cubes.tile.eq(tile),
            cubes.tile.entries.eq(cubes.tile_rows.data.entries),
            cubes.tile_rows.address.eq(self.i_tile.payload.y >> CFG.tile_bits),
            cubes.tile_rows.enable.eq(asks),
            asks.eq(self.i_tile.valid & self.i_tile.ready),
            cubes.written.eq(unanswered == 0),
            self.i_tile.ready.eq(~busy & whole),
        ]
        m.d.sync += [
            unanswered.eq(Cat(cubes.writes.valid & cubes.writes.ready, unanswered)),
            cubes.start.eq(asks),
            found.eq(asks),
        ]
        record(m, "rows", found, cubes.tile_rows.data.as_value(), self.o_rows)
        with m.If(cubes.listed):
            m.d.sync += whole.eq(1)
        with m.If(asks):
            m.d.sync += [busy.eq(1), tile.eq(self.i_tile.payload)]
        tiles = Signal(8)
        with m.If(cubes.done):
            m.d.sync += [busy.eq(0), tiles.eq(tiles + 1)]
        with m.If(self.i.valid & self.i.ready & self.i.payload.last):
            m.d.sync += listing.eq(0)
        m.d.comb += restarts.eq(tiles == self.frame_tiles)
        with m.If(restarts):
            m.d.sync += [tiles.eq(0), listing.eq(1), whole.eq(0)]
        return m


def footprint(rank: int, bounds: tuple[int, int, int, int], cube: tuple[int, int, int] = (1, 2, 3)) -> dict:
    """Return a footprint of a rectangle in the order of `BOUNDS`."""
    cube = dict(zip(AXES, cube, strict=True))
    return {"cube": cube, "rank": rank, **dict(zip(BOUNDS, bounds, strict=True)), "last": 0}


def random_footprints(chance: random.Random, count: int) -> list[dict]:
    """Return footprints in the window, many of them small: they meet one to four rows of tiles."""
    footprints = []
    for rank in range(count):
        first = [chance.randrange(side) for side in (WIDTH, HEIGHT)]
        last = [
            min(at + chance.choice((0, 3, 20, 64)), side - 1) for at, side in zip(first, (WIDTH, HEIGHT), strict=True)
        ]
        footprints.append(footprint(rank, (*first, *last), tuple(chance.getrandbits(7) for _ in AXES)))
    return footprints


def tiles_of(count: int) -> list[dict]:
    """Return tiles of the window, the first ones of it, then the last ones."""
    every = [(x, y) for y in range(0, HEIGHT, CFG.tile) for x in range(0, WIDTH, CFG.tile)]
    chosen = (every[: count // 2 + 1] + every[::-1])[:count]
    return [
        {"x": x, "y": y, "last_x": CFG.tile - 1, "last_y": min(CFG.tile, HEIGHT - y) - 1, "place": n % 2}
        for n, (x, y) in enumerate(chosen)
    ]


def rows_of(footprints: list[dict], tiles: list[dict]) -> list[dict]:
    """Return what is known of the rows of some tiles, where any cube meets them; else no entries."""
    rows = []
    for tile in tiles:
        met = [one for one in footprints if one["first_y"] < tile["y"] + CFG.tile and one["last_y"] >= tile["y"]]
        row = {"entries": len(met)}
        if met:
            row["first"] = min(one["first_x"] for one in met) // CFG.tile
            row["last"] = max(one["last_x"] for one in met) // CFG.tile
        rows.append(row)
    return rows


def writes_of(footprints: list[dict]) -> list[tuple[int, int]]:
    """Return byte address and content of all writes, in order."""
    stride = list_stride(len(footprints) + MORE_CUBES)
    counts, writes = {}, []
    for one in footprints:
        bits = Footprint.const(one).as_value().value
        for row in range(one["first_y"] // CFG.tile, one["last_y"] // CFG.tile + 1):
            place = BASE + row * stride + LIST_ENTRY_BYTES * counts.get(row, 0)
            counts[row] = counts.get(row, 0) + 1
            writes.append((place, bits | crc8(bits, CRC_AT) << CRC_AT))
    return writes


def image_of(writes: list[tuple[int, int]]) -> bytearray:
    """Return the lists as they lie in memory."""
    image = bytearray(max((place for place, _ in writes), default=BASE) - BASE + LIST_ENTRY_BYTES)
    for place, content in writes:
        image[place - BASE : place - BASE + LIST_ENTRY_BYTES] = content.to_bytes(LIST_ENTRY_BYTES, "little")
    return image


def rectangles_of(footprints: list[dict], tiles: list[dict]) -> list[dict]:
    """Return what the tiles see of the footprints, in order; `END` behind each tile."""
    rectangles = []
    for tile in tiles:
        for footprint in footprints:
            first = {axis: max(footprint[f"first_{axis}"] - tile[axis], 0) for axis in "xy"}
            last = {axis: min(footprint[f"last_{axis}"] - tile[axis], tile[f"last_{axis}"]) for axis in "xy"}
            if all(first[axis] <= last[axis] for axis in "xy"):
                bounds = dict(zip(BOUNDS, (*first.values(), *last.values()), strict=True))
                fields = {"cube": footprint["cube"], "rank": footprint["rank"], "tile": tile["place"], "last": 0}
                rectangles.append(fields | bounds)
        rectangles.append(END | {"tile": tile["place"]})
    return rectangles


def hardware(footprints, tiles, stalls=STALLS[0], seed=0, latency=0, damage=None, errors=0, frames=1, cfg=CFG):
    """Run the bench; return its run and the rectangles that it must put out.

    ``damage``: byte of the memory with a wrong bit; ``frames``: how often the same is listed and read.
    """
    wanted, writes = frames * rectangles_of(footprints, tiles), frames * writes_of(footprints)
    image = image_of(writes)
    if damage is not None:
        image[damage] ^= 4
    constants = {"live_cubes": len(footprints) + MORE_CUBES, "frame_tiles": len(tiles)}
    memories = ReadMemory.contents("memory", bytes(image), seed, latency)
    inputs = {"i": frames * [*footprints, END], "i_tile": frames * tiles}
    counts = {"o_writes": len(writes), "o": len(wanted), "o_rows": frames * len(tiles)}
    counts |= {"o_errors": errors, "o_breach": 0}
    result = run(shared(Bench, cfg), inputs, counts, constants, stalls, seed, memories=memories)
    assert [(write.address, write.data) for write in result.outputs["o_writes"]] == writes
    for found, want in zip(result.outputs["o_rows"], frames * rows_of(footprints, tiles), strict=True):
        assert {name: found[name] for name in want} == want
    for rectangle, want in zip(result.outputs["o"], wanted, strict=True):
        for name, value in want.items():
            found = rectangle[name]
            assert ({axis: found[axis] for axis in AXES} if name == "cube" else found) == value
    return result, wanted


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize(("count", "latency"), [(70, 0), (37, 30), (0, 0), (16, 4)])
def test_what_is_listed_comes_back_cut_to_the_tile(count, latency, stalls):
    footprints, tiles = random_footprints(random.Random(count), count), tiles_of(7)
    result, _ = hardware(footprints, tiles, stalls, count, latency)
    assert result.cycles["o"][0] > result.cycles["i"][-1], "reads when the lists are whole"
    if count:
        assert result.cycles["i"][-1] > result.cycles["o_writes"][-1] + ANSWERED_AFTER


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize("missing", [(), (0,), (1, 2), (3,)])
def test_rows_of_one_cube_of_several_and_of_none(missing, stalls):
    """At the edges of rows: the first and the last of a row alone, two and three rows, the last row, which is cut."""
    rows = [(0, 0), (15, 15), (15, 16), (0, 47), (47, 47), (32, 47), (59, 59), (0, 59), (16, 16), (31, 32)]
    everywhere = [footprint(n, (0, first, WIDTH - 1, last)) for n, (first, last) in enumerate(rows)]
    footprints = [
        one
        for one in everywhere
        if not {row for row in missing if one["first_y"] // CFG.tile <= row <= one["last_y"] // CFG.tile}
    ]
    _, wanted = hardware(footprints, tiles_of(16), stalls, len(missing))
    assert sum(one["last"] for one in wanted) == 16


def test_the_lists_of_a_frame_do_not_know_those_of_the_one_before():
    hardware(random_footprints(random.Random(5), 40), tiles_of(8), STALLS[3], 5, 10, frames=2)


def test_the_lowest_row_of_the_highest_window():
    last = (1 << 14) - 2
    footprints = [footprint(0, (0, last - 1, 5, last)), footprint(1, (0, last - 16, 5, last))]
    writes = writes_of(footprints)
    assert [place - BASE for place, _ in writes] == [1023 * PAGE, 1022 * PAGE, 1023 * PAGE + LIST_ENTRY_BYTES]
    constants = {"live_cubes": len(footprints) + MORE_CUBES, "frame_tiles": 1}
    result = run(shared(Bench, CFG), {"i": footprints}, {"o_writes": 3, "o_errors": 0, "o_breach": 0}, constants)
    assert [(write.address, write.data) for write in result.outputs["o_writes"]] == writes


def test_an_entry_a_cycle_is_written():
    """One row after the other, the same one again, and those of one footprint; the first waits for the counters."""
    rows = [(0, 0), (0, 0), (0, 0), (20, 20), (0, 0), (0, 40), (40, 40), (0, 59)]
    footprints = [footprint(n, (3, first, 9, last)) for n, (first, last) in enumerate(rows)]
    result, _ = hardware(footprints, tiles_of(2))
    cycles = result.cycles["o_writes"]
    assert cycles == list(range(ROWS + 3, ROWS + 3 + len(cycles)))
    rows_met = [last // CFG.tile - first // CFG.tile + 1 for first, last in rows]
    accepted = result.cycles["i"][:-1]
    assert [later - earlier for earlier, later in pairwise([ROWS - 1, *accepted])] == rows_met


def test_an_entry_a_cycle_is_read():
    """Entries that miss the tile cost a cycle each, and so do those that meet it."""
    footprints = [footprint(n, (0, 0, 3, 3)) for n in range(40 * BURST)]
    tiles = [{"x": x, "y": 0, "last_x": 15, "last_y": 15, "place": 0} for x in (0, 16)]
    result, _ = hardware(footprints, tiles)
    ends = [n for n, rectangle in enumerate(result.outputs["o"]) if rectangle.last]
    times = [result.cycles["o"][n] for n in ends]
    begins = result.cycles["i_tile"]
    # The memory of the bench takes a cycle between bursts.
    cycles = len(footprints) + len(footprints) // BURST
    hits = result.cycles["o"][: ends[0]]
    assert hits[-1] - hits[0] < cycles
    assert times[1] - begins[1] < cycles + 20


def test_latency_of_last_and_of_a_rectangle():
    result, _ = hardware([], tiles_of(3))
    # The bench takes a cycle from the tile to its start.
    _, second, third = result.cycles["o"]
    assert second - result.cycles["i_tile"][1] == third - result.cycles["i_tile"][2] == 1 + 2
    result, _ = hardware([footprint(5, (0, 0, 9, 9))], 2 * tiles_of(1))
    *_, rectangle, last = result.cycles["o"]
    assert last == rectangle + 2
    # A cycle from the tile to its start, three to the request, two through the queue of the memory.
    assert rectangle - result.cycles["i_tile"][1] == 1 + 3 + 2 + CubeList.LATENCY


def test_a_wrong_checksum_is_an_error():
    """It is noticed by each tile of its row, and by no other."""
    footprints = [footprint(n, (60, 0, 63, 40)) for n in range(20)]
    damage = 1 * list_stride(len(footprints) + MORE_CUBES) + LIST_ENTRY_BYTES * 7 + 15
    tiles = tiles_of(16)
    hardware(footprints, tiles, damage=damage, errors=sum(tile["y"] == 16 for tile in tiles))
