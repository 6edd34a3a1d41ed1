"""The cube list: what it writes, and what it makes of what it reads."""

import random

import pytest
from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from cosim.unit import STALLS, run
from nerf.contract.blocks import crc8
from nerf.contract.config import AcceleratorConfig
from nerf.contract.registers import AXES, LIST_ENTRY_BYTES
from nerf.contract.scene_image import PAGE
from rtl.cube_list import BURST, CRC_AT, CubeList
from rtl.payloads import Footprint, TileLayouts, beat_write
from tests.rtl.helpers_memory import ReadMemory
from tests.rtl.helpers_shading import record

CFG = AcceleratorConfig(tile=16)
BASE = 3 * PAGE
ANSWERED_AFTER = 5
"""Cycles from a write to its answer."""
BOUNDS = ("first_x", "first_y", "last_x", "last_y")
END = {"last": 1}


class Bench(wiring.Component):
    """The list, its tiles in a stream, and a memory that holds what ought to be written.

    ``o_errors`` tells of wrong checksums, ``o_breach`` of breaches of the rules of `ReadPort`.
    """

    def __init__(self, image: bytes, latency: int = 0, seed: int = 0) -> None:
        self._memory = ReadMemory(CFG, image, BASE, seed, latency)
        layouts = TileLayouts(CFG)
        super().__init__(
            {
                "i": In(stream.Signature(Footprint)),
                "i_tile": In(stream.Signature(layouts.Tile)),
                "o_writes": Out(stream.Signature(beat_write(CFG))),
                "o": Out(stream.Signature(layouts.Rectangle)),
                "o_errors": Out(stream.Signature(1)),
                "o_breach": Out(stream.Signature(1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.cubes = cubes = CubeList(CFG)
        m.submodules.memory = memory = self._memory
        connect(m, flipped(self.i), cubes.i)
        connect(m, cubes.writes, flipped(self.o_writes))
        connect(m, cubes.entries, memory.port)
        connect(m, cubes.o, flipped(self.o))
        record(m, "errors", cubes.error, Value.cast(1), self.o_errors)
        record(m, "breaches", memory.error, Value.cast(1), self.o_breach)
        tile, busy, unanswered = Signal.like(self.i_tile.payload), Signal(), Signal(ANSWERED_AFTER)
        m.d.comb += [
            cubes.list_base.eq(BASE),
            cubes.tile.eq(tile),
            cubes.written.eq(unanswered == 0),
            self.i_tile.ready.eq(~busy),
        ]
        m.d.sync += [
            unanswered.eq(Cat(cubes.writes.valid & cubes.writes.ready, unanswered)),
            cubes.start.eq(self.i_tile.valid & ~busy),
        ]
        with m.If(self.i_tile.valid & ~busy):
            m.d.sync += [busy.eq(1), tile.eq(self.i_tile.payload)]
        with m.If(cubes.done):
            m.d.sync += busy.eq(0)
        return m


def random_footprints(chance: random.Random, count: int) -> list[dict]:
    """Return footprints in a window of 64 pixels a side, many of them small."""
    footprints = []
    for rank in range(count):
        first = [chance.randrange(64) for _ in "xy"]
        last = [min(at + chance.choice((0, 3, 20, 64)), 63) for at in first]
        cube = {axis: chance.getrandbits(7) for axis in AXES}
        footprints.append({"cube": cube, "rank": rank, **dict(zip(BOUNDS, (*first, *last), strict=True)), "last": 0})
    return footprints


def tiles_of(count: int) -> list[dict]:
    """Return tiles of that window, the first ones of it, then the last ones, cut to 60 pixels."""
    every = [(x, y) for y in range(0, 64, 16) for x in range(0, 64, 16)]
    chosen = (every[: count // 2 + 1] + every[::-1])[:count]
    return [
        {"x": x, "y": y, "last_x": min(16, 60 - x) - 1, "last_y": min(16, 60 - y) - 1, "parity": n % 2}
        for n, (x, y) in enumerate(chosen)
    ]


def image_of(footprints: list[dict]) -> bytes:
    """Return the list as it lies in memory."""
    entries = []
    for footprint in footprints:
        bits = Footprint.const(footprint).as_value().value
        entries.append((bits | crc8(bits, CRC_AT) << CRC_AT).to_bytes(LIST_ENTRY_BYTES, "little"))
    return b"".join(entries)


def rectangles_of(footprints: list[dict], tiles: list[dict]) -> list[dict]:
    """Return what the tiles see of the footprints, in order; `END` behind each tile."""
    rectangles = []
    for tile in tiles:
        for footprint in footprints:
            first = {axis: max(footprint[f"first_{axis}"] - tile[axis], 0) for axis in "xy"}
            last = {axis: min(footprint[f"last_{axis}"] - tile[axis], tile[f"last_{axis}"]) for axis in "xy"}
            if all(first[axis] <= last[axis] for axis in "xy"):
                bounds = dict(zip(BOUNDS, (*first.values(), *last.values()), strict=True))
                fields = {"cube": footprint["cube"], "rank": footprint["rank"], "tile": tile["parity"], "last": 0}
                rectangles.append(fields | bounds)
        rectangles.append(END)
    return rectangles


def hardware(footprints, tiles, stalls=STALLS[0], seed=0, latency=0, image=None, errors=0):
    """Run the bench; return its run and the rectangles that it must put out."""
    wanted = rectangles_of(footprints, tiles)
    bench = Bench(image or image_of(footprints) or bytes(LIST_ENTRY_BYTES), latency, seed)
    inputs = {"i": [*footprints, END], "i_tile": tiles}
    counts = {"o_writes": len(footprints), "o": len(wanted), "o_errors": errors, "o_breach": 0}
    return run(bench, inputs, counts, stalls=stalls, seed=seed), wanted


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize(("count", "latency"), [(70, 0), (37, 30), (0, 0), (16, 4)])
def test_what_is_listed_comes_back_cut_to_the_tile(count, latency, stalls):
    chance = random.Random(count)
    footprints, tiles = random_footprints(chance, count), tiles_of(5)
    result, wanted = hardware(footprints, tiles, stalls, count, latency)
    image = image_of(footprints)
    for n, write in enumerate(result.outputs["o_writes"]):
        assert write.address == BASE + LIST_ENTRY_BYTES * n
        assert write.data.to_bytes(LIST_ENTRY_BYTES, "little") == image[LIST_ENTRY_BYTES * n :][:LIST_ENTRY_BYTES]
    for rectangle, want in zip(result.outputs["o"], wanted, strict=True):
        for name, value in want.items():
            found = rectangle[name]
            assert ({axis: found[axis] for axis in AXES} if name == "cube" else found) == value
    assert result.cycles["o"][0] > result.cycles["i"][-1], "reads when the list is whole"
    if count:
        assert result.cycles["i"][-1] > result.cycles["o_writes"][-1] + ANSWERED_AFTER


def test_an_entry_a_cycle():
    """Entries that miss the tile cost a cycle each, and so do those that meet it."""
    footprints = random_footprints(random.Random(1), 40 * BURST)
    small = {"first_x": 0, "first_y": 0, "last_x": 3, "last_y": 3}
    for footprint in footprints:
        footprint |= small
    tiles = [{"x": x, "y": 0, "last_x": 15, "last_y": 15, "parity": 0} for x in (0, 16)]
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
    assert second - result.cycles["i_tile"][1] == third - result.cycles["i_tile"][2] == 2
    footprint = random_footprints(random.Random(2), 1)[0] | {"first_x": 0, "first_y": 0, "last_x": 9, "last_y": 9}
    result, _ = hardware([footprint], 2 * tiles_of(1))
    *_, rectangle, last = result.cycles["o"]
    assert last == rectangle + 1
    # A cycle from the tile to its start, one to the request, two through the queue of the memory.
    assert rectangle - result.cycles["i_tile"][1] == 1 + 1 + 2 + CubeList.LATENCY


def test_a_wrong_checksum_is_an_error():
    footprints = random_footprints(random.Random(3), 20)
    image = bytearray(image_of(footprints))
    image[LIST_ENTRY_BYTES * 7 + 15] ^= 4
    hardware(footprints, tiles_of(3), image=bytes(image), errors=3)
