"""The simulator's tile scheduler against the RTL's, cycle for cycle."""

from types import SimpleNamespace

import pytest

from nerf.contract.registers import View
from sim.control import tile_scheduler
from sim.parts.streams import STROBE, TILE, new
from sim.parts.streams import stream as record_of
from tests.rtl.control.test_tile_scheduler import CONFIG, schedule
from tests.sim.replay import put, replay
from tests.sim.samples.helpers_front_end import sleeper, view_record

STROBES = ("start", "set_up", "walk", "rays_ready", "walked", "tile_done", "done")
REPORTS = {"set_up": "rays_ready", "walk": "walked", "walked": "tile_done"}
"""What begins a work, and what ends it."""


def simulate(view, inputs, counts, stalls, seed, skip):
    state = tile_scheduler.new(CONFIG.tile)
    tiles = {name: new(TILE) for name in ("set_up", "walk", "put_out")}
    strobes = SimpleNamespace(**{name: new(STROBE) for name in STROBES})
    sources = {name: new(record_of("nothing")) for name in inputs}
    sinks = {name: new(record_of(*(("nothing",) if name == "o_done" else TILE.names))) for name in counts}
    work = dict.fromkeys(REPORTS, 0)
    put_out: list[tuple[int, ...]] = []
    registers = view_record(view)

    def step_scheduler(now):
        s = strobes
        return tile_scheduler.step(
            now, state, s.start, registers, *tiles.values(), s.set_up, s.walk, s.rays_ready, s.walked, s.tile_done,
            s.done,
        )  # fmt: skip

    maybe = sleeper(step_scheduler, list(vars(strobes).values())) if skip else step_scheduler
    begins: list[str] = []

    def offer(now):
        """Show the strobes of this cycle, and the tile put out in the one before."""
        for name in ("set_up", "walk"):
            strobe = getattr(strobes, name)
            if strobe["set"]:
                strobe["set"] = 0
                put(sinks[f"o_{name}"], tuple(tiles[name]))
                begins.append(name)
        if put_out:
            put(sinks["o_put_out"], put_out.pop())
        if strobes.done["set"]:
            strobes.done["set"] = 0
            put(sinks["o_done"], 0)

    def step(now):
        for name, report in REPORTS.items():
            source = sources[f"i_{report}"]
            if work[name] and source["valid"]:
                source["valid"] = 0
                work[name] -= 1
                getattr(strobes, report)["set"] = 1
                begins.append(report)
        if strobes.tile_done["set"]:
            put_out.append(tuple(tiles["put_out"]))
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


@pytest.mark.parametrize("chance", [1.0, 0.3, 0.05])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (4, 4), (5, 8), (14, 7)])
def test_every_strobe_comes_in_the_same_cycle(width, height, chance):
    inputs, counts, hardware = schedule(width, height, chance, seed=width)
    view = View({"window_width": width, "window_height": height})
    for skip in (False, True):
        cycles, payloads = simulate(view, inputs, counts, (chance, 1.0), width, skip)
        assert cycles == hardware.cycles
        for name in ("o_set_up", "o_walk", "o_put_out"):
            assert payloads[name] == [tuple(tile[field] for field in TILE.names) for tile in hardware.outputs[name]]
