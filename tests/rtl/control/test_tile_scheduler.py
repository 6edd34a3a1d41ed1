"""The tile scheduler: every tile once, as early as the rules allow."""

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from cosim.unit import run, shared
from nerf.contract.config import AcceleratorConfig
from rtl.control.tile_scheduler import TileScheduler
from rtl.payloads import TileLayouts, ViewRegisters

CONFIG = AcceleratorConfig(tile=4)
TILES = TileLayouts(CONFIG).Tile


class Bench(wiring.Component):
    """The scheduler, and blocks that report when something arrives on their input stream.

    The outputs show the strobes with their tile, ``o_put_out`` a cycle late. No tile is put out before its walk has
    ended.
    """

    def __init__(self):
        super().__init__(
            {"view": In(ViewRegisters)}
            | {name: In(stream.Signature(1)) for name in ("i", "i_rays_ready", "i_walked", "i_tile_done")}
            | {name: Out(stream.Signature(TILES)) for name in ("o_set_up", "o_walk", "o_put_out")}
            | {"o_done": Out(stream.Signature(1))}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.scheduler = scheduler = TileScheduler(CONFIG)
        m.d.comb += [
            scheduler.view.eq(self.view),
            scheduler.start.eq(self.i.valid),
            self.i.ready.eq(1),
            self.o_done.valid.eq(scheduler.done),
        ]
        for start, output, tile, begins in (
            ("rays_ready", self.o_set_up, scheduler.set_up_tile, scheduler.set_up),
            ("walked", self.o_walk, scheduler.walk_tile, scheduler.walk),
            ("tile_done", None, None, scheduler.walked),
        ):
            work = Signal(2, name=f"{start}_work")
            reported, report = getattr(self, f"i_{start}"), getattr(scheduler, start)
            m.d.comb += [reported.ready.eq(work != 0), report.eq(reported.valid & reported.ready)]
            m.d.sync += work.eq(work + begins - report)
            if output is not None:
                m.d.comb += [output.valid.eq(begins), output.payload.eq(tile)]
        m.d.sync += [self.o_put_out.valid.eq(scheduler.tile_done), self.o_put_out.payload.eq(scheduler.put_out_tile)]
        return m


def schedule(width: int, height: int, chance: float, seed: int):
    """Return inputs, counts of outputs, and what the hardware does with a window."""
    tiles = -(-width // CONFIG.tile) * -(-height // CONFIG.tile)
    inputs = {"i": [0]} | {f"i_{name}": [0] * tiles for name in ("rays_ready", "walked", "tile_done")}
    counts = {"o_set_up": tiles, "o_walk": tiles, "o_put_out": tiles, "o_done": 1}
    constants = {"view": {"window_width": width, "window_height": height}}
    return inputs, counts, run(shared(Bench), inputs, counts, constants=constants, stalls=(chance, 1.0), seed=seed)


@pytest.mark.parametrize("chance", [1.0, 0.2])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (4, 4), (5, 8), (17, 15)])
def test_every_work_begins_the_cycle_after_what_it_waits_for(width, height, chance):
    _, counts, result = schedule(width, height, chance, seed=width)
    for name in ("o_set_up", "o_walk", "o_put_out"):
        tiles = result.outputs[name]
        assert [tile.parity for tile in tiles] == [n % 2 for n in range(len(tiles))]
        covered = [
            (tile.x + i, tile.y + j) for tile in tiles for j in range(tile.last_y + 1) for i in range(tile.last_x + 1)
        ]
        assert sorted(covered) == [(i, j) for i in range(width) for j in range(height)]
    cycles = result.cycles
    before = cycles["i"][0]
    rays_ready, walked, tile_done = ([before, *cycles[f"i_{name}"]] for name in ("rays_ready", "walked", "tile_done"))
    for n in range(counts["o_walk"]):
        assert cycles["o_set_up"][n] == max(rays_ready[n], tile_done[max(n - 1, 0)]) + 1
        assert cycles["o_walk"][n] == max(rays_ready[n + 1], walked[n]) + 1
    assert cycles["o_done"] == [tile_done[-1] + 1]
