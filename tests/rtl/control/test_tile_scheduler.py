"""The tile scheduler: every tile once, as early as the rules allow."""

import random

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory, MemoryData
from amaranth.lib.wiring import In, Out

from cosim.unit import run, shared
from nerf.contract.config import AcceleratorConfig
from rtl.control.tile_scheduler import TileScheduler
from rtl.payloads import TileLayouts, ViewRegisters

CONFIG = AcceleratorConfig(tile=4)
ROWS = 16
"""Of tiles, in the bench."""
REPORTS = "i_rays_ready", "i_walked", "i_tile_done", "i_blank"
SIZES = [(1, 1), (4, 4), (4, 16), (5, 8), (17, 15)]
MET = ("all", "none", "some", "last")
"""Rows that a cube meets. Before the last one, two sequences look rows up, and may do so in the same cycle."""


class Bench(wiring.Component):
    """The scheduler, and blocks that report when something arrives on their input stream, or take a blank tile then.

    The outputs show the strobes with their tile, ``o_put_out`` and ``o_rays`` a cycle late. No tile is put out before
    its walk has ended.
    """

    def __init__(self, cfg=CONFIG):
        self._cfg = cfg
        tiles = TileLayouts(cfg).Tile
        self.tile_rows = MemoryData(shape=TileLayouts(cfg).TileRow.size, depth=ROWS, init=[])
        super().__init__(
            {"view": In(ViewRegisters)}
            | {name: In(stream.Signature(1)) for name in ("i", *REPORTS)}
            | {name: Out(stream.Signature(tiles)) for name in ("o_set_up", "o_walk", "o_put_out", "o_blank")}
            | {"o_rays": Out(stream.Signature(cfg.tiles)), "o_done": Out(stream.Signature(1))}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.scheduler = scheduler = TileScheduler(self._cfg)
        m.submodules.tile_rows = memory = Memory(self.tile_rows)
        look_up = memory.read_port()
        m.d.comb += [
            scheduler.blank.ready.eq(self.i_blank.valid),
            self.i_blank.ready.eq(scheduler.blank.valid),
            self.o_blank.valid.eq(scheduler.blank.valid & scheduler.blank.ready),
            self.o_blank.payload.eq(scheduler.blank.payload),
            look_up.addr.eq(scheduler.tile_rows.address),
            look_up.en.eq(scheduler.tile_rows.enable),
            scheduler.tile_rows.data.eq(look_up.data),
            scheduler.view.eq(self.view),
            scheduler.start.eq(self.i.valid),
            self.i.ready.eq(1),
            self.o_done.valid.eq(scheduler.done),
            self.o_rays.payload.eq(scheduler.rays),
        ]
        for start, output, tile, begins in (
            ("rays_ready", self.o_set_up, scheduler.set_up_tile, scheduler.set_up),
            ("walked", self.o_walk, scheduler.walk_tile, scheduler.walk),
            ("tile_done", None, None, scheduler.walked),
        ):
            work = Signal(4, name=f"{start}_work")
            reported, report = getattr(self, f"i_{start}"), getattr(scheduler, start)
            m.d.comb += [reported.ready.eq(work != 0), report.eq(reported.valid & reported.ready)]
            m.d.sync += work.eq(work + begins - report)
            if output is not None:
                m.d.comb += [output.valid.eq(begins), output.payload.eq(tile)]
        m.d.sync += [
            self.o_put_out.valid.eq(scheduler.tile_done),
            self.o_put_out.payload.eq(scheduler.put_out_tile),
            self.o_rays.valid.eq(scheduler.rays_ready),
        ]
        return m


def rows_of(width: int, height: int, met: str, tile: int = CONFIG.tile) -> list[dict[str, int]]:
    """Return the rows of a window's tiles: ``met`` is one of `MET`."""
    chance = random.Random(f"{width} {height} {met}")
    across, down = -(-width // tile), -(-height // tile)
    rows = []
    for row in range(down):
        first = 0 if met == "all" else chance.randrange(across)
        last = across - 1 if met == "all" else chance.randrange(first, across)
        is_met = met == "all" or (met == "some" and chance.random() < 0.7) or (met == "last" and row == down - 1)
        rows.append({"entries": chance.randrange(1, 1 << 18) if is_met else 0, "first": first, "last": last})
    return rows


def tiles_of(width: int, height: int, rows: list[dict[str, int]], tile: int = CONFIG.tile) -> tuple[list, list]:
    """Return (column, row) of the tiles that are met, and of the others."""
    met, blank = [], []
    for y, row in enumerate(rows):
        for x in range(-(-width // tile)):
            (met if row["entries"] and row["first"] <= x <= row["last"] else blank).append((x, y))
    return met, blank


def schedule(width: int, height: int, chance: float, seed: int, met: str, cfg=CONFIG):
    """Return inputs, counts of outputs, rows, and what the hardware does with a window."""
    rows = rows_of(width, height, met)
    tiles, blanks = map(len, tiles_of(width, height, rows))
    inputs = {"i": [0]} | {name: [0] * (blanks if name == "i_blank" else tiles) for name in REPORTS}
    counts = {f"o_{name}": tiles for name in ("set_up", "walk", "put_out", "rays")} | {"o_blank": blanks, "o_done": 1}
    layout = TileLayouts(cfg).TileRow
    result = run(
        shared(Bench, cfg),
        inputs,
        counts,
        constants={"view": {"window_width": width, "window_height": height}},
        memories={"tile_rows": [layout.const(row).as_value().value for row in rows] + [0] * (ROWS - len(rows))},
        stalls=(chance, 1.0),
        seed=seed,
    )
    return inputs, counts, rows, result


@pytest.mark.parametrize("tiles", [2, 4])
@pytest.mark.parametrize("chance", [1.0, 0.2])
@pytest.mark.parametrize("met", MET)
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_every_work_begins_the_cycle_after_what_it_waits_for(width, height, met, chance, tiles):
    cfg = AcceleratorConfig(tile=4, tiles=tiles)
    _, _, rows, result = schedule(width, height, chance, width, met, cfg)
    wanted, blanks = tiles_of(width, height, rows)
    for name, places in (("set_up", wanted), ("walk", wanted), ("put_out", wanted), ("blank", blanks)):
        found = result.outputs[f"o_{name}"]
        assert [(tile.x // cfg.tile, tile.y // cfg.tile) for tile in found] == places
        for tile in found:
            assert tile.last_x == min(width - tile.x, cfg.tile) - 1
            assert tile.last_y == min(height - tile.y, cfg.tile) - 1
            assert tile.entries == rows[tile.y // cfg.tile]["entries"]
        if name != "blank":
            assert [tile.place for tile in found] == [n % tiles for n in range(len(found))]
    cycles = result.cycles
    start = cycles["i"][0]
    set_up, walk, tile_done = cycles["o_set_up"], cycles["o_walk"], cycles["i_tile_done"]
    for n, (_, y) in enumerate(wanted):
        # Rows are looked up behind the last set-up of the row before: two cycles each.
        rows_passed = y - (wanted[n - 1][1] if n else -1)
        ready = (cycles["i_rays_ready"][n - 1] if n else start) + 1 + 2 * rows_passed
        place = tile_done[n - tiles] + 1 if n >= tiles else 0
        assert set_up[n] == max(ready, place)
        assert walk[n] == max(set_up[n] + 1, cycles["i_walked"][n - 1] + 1 if n else 0)
    for n, (rays, cycle) in enumerate(zip(result.outputs["o_rays"], cycles["o_rays"], strict=True)):
        assert rays >> n % tiles & 1
        assert cycle == cycles["i_rays_ready"][n] + 1
    last = max([*tile_done, start])
    assert cycles["o_done"][0] >= last + 1
    if met == "all":
        assert cycles["o_done"] == [last + 1]
