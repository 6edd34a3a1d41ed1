"""The simulator's tile scheduler against the RTL's, cycle for cycle."""

from types import SimpleNamespace

import numpy as np
import pytest

from nerf.contract.config import AcceleratorConfig
from nerf.contract.registers import View
from sim.control import tile_scheduler
from sim.parts.activity import NEVER
from sim.parts.streams import BLANK, STROBE, TILE, new
from sim.parts.streams import stream as record_of
from sim.samples.cube_list import new_lists
from tests.rtl.control.test_tile_scheduler import CONFIG, MET, schedule
from tests.sim.replay import put, replay
from tests.sim.samples.helpers_front_end import sleeper, view_record

STROBES = ("start", "set_up", "walk", "rays_ready", "walked", "tile_done", "done")
REPORTS = {"set_up": "rays_ready", "walk": "walked", "walked": "tile_done"}
"""What begins a work, and what ends it."""


def simulate(view, inputs, counts, rows, stalls, seed, skip, cfg):
    state = tile_scheduler.new(cfg)
    lists = new_lists(1, len(rows))
    for number, row in enumerate(rows):
        lists.counts[number], lists.first[number], lists.last[number] = row["entries"], row["first"], row["last"]
    rays_from = np.full(cfg.tiles, NEVER, np.int64)
    tiles = {name: new(TILE) for name in ("set_up", "walk", "put_out")}
    blank = new(BLANK)
    strobes = SimpleNamespace(**{name: new(STROBE) for name in STROBES})
    sources = {name: new(record_of("nothing")) for name in inputs}
    fields = {"o_done": ("nothing",), "o_rays": ("rays",)}
    sinks = {name: new(record_of(*fields.get(name, TILE.names))) for name in counts}
    work = dict.fromkeys(REPORTS, 0)
    late: list[tuple[str, tuple[int, ...] | None]] = []
    registers = view_record(view)

    def step_scheduler(now):
        s = strobes
        return tile_scheduler.step(
            now, state, s.start, registers, lists, *tiles.values(), blank, s.set_up, s.walk, s.rays_ready, s.walked,
            s.tile_done, s.done, rays_from,
        )  # fmt: skip

    maybe = sleeper(step_scheduler, [blank, *vars(strobes).values()]) if skip else step_scheduler
    begins: list[str] = []

    def offer(now):
        """Show the strobes of this cycle, and what a report has led to in the one before."""
        for name, payload in late:
            rays = sum(1 << place for place in range(cfg.tiles) if rays_from[place] <= now)
            put(sinks[name], rays if payload is None else payload)
        late.clear()
        for name in ("set_up", "walk"):
            strobe = getattr(strobes, name)
            if strobe["set"]:
                strobe["set"] = 0
                put(sinks[f"o_{name}"], tuple(tiles[name]))
                begins.append(name)
        if "set_up" in begins:
            rays_from[tiles["set_up"]["place"]] = NEVER
        if strobes.done["set"]:
            strobes.done["set"] = 0
            put(sinks["o_done"], 0)
        if blank["valid"] and sources["i_blank"]["valid"]:
            put(sinks["o_blank"], tuple(blank[name] for name in TILE.names))

    def step(now):
        for name, report in REPORTS.items():
            source = sources[f"i_{report}"]
            if work[name] and source["valid"]:
                source["valid"] = 0
                work[name] -= 1
                getattr(strobes, report)["set"] = 1
                begins.append(report)
        if strobes.tile_done["set"]:
            late.append(("o_put_out", tuple(tiles["put_out"])))
        if strobes.rays_ready["set"]:
            late.append(("o_rays", None))
        if blank["valid"] and sources["i_blank"]["valid"]:
            blank["valid"], sources["i_blank"]["valid"] = 0, 0
        strobes.start["set"], sources["i"]["valid"] = int(sources["i"]["valid"]), 0
        maybe(now)
        for name in begins:
            if name in work:
                work[name] += 1
        begins.clear()
        return now + 1

    return replay(
        step,
        {name: (sources[name], given) for name, given in inputs.items()},
        {name: (sinks[name], count) for name, count in counts.items()},
        stalls=stalls,
        seed=seed,
        offer=offer,
    )


@pytest.mark.parametrize("tiles", [2, 4])
@pytest.mark.parametrize("chance", [1.0, 0.3, 0.05])
@pytest.mark.parametrize("met", MET)
@pytest.mark.parametrize(("width", "height"), [(1, 1), (4, 4), (5, 8), (14, 23)])
def test_every_strobe_comes_in_the_same_cycle(width, height, met, chance, tiles):
    cfg = AcceleratorConfig(tile=CONFIG.tile, tiles=tiles)
    inputs, counts, rows, hardware = schedule(width, height, chance, width, met, cfg)
    view = View({"window_width": width, "window_height": height})
    for skip in (False, True):
        cycles, payloads = simulate(view, inputs, counts, rows, (chance, 1.0), width, skip, cfg)
        assert cycles == hardware.cycles
        for name in ("o_set_up", "o_walk", "o_put_out", "o_blank"):
            assert payloads[name] == [tuple(tile[field] for field in TILE.names) for tile in hardware.outputs[name]]
        assert [rays for (rays,) in payloads["o_rays"]] == hardware.outputs["o_rays"]
