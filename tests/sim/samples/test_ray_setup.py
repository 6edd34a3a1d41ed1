"""The simulator's ray set-up against the RTL's, cycle for cycle."""

import numpy as np
import pytest

from cosim.unit import STALLS, run, shared
from nerf.contract.registers import AXES
from nerf.golden.ray_setup import set_up
from sim.parts.streams import RAY, STROBE, new, stream
from sim.samples import ray_setup
from tests.rtl.samples.helpers_rays import view_constants
from tests.rtl.samples.test_ray_setup import CONFIG, Tiles, config, usual_view
from tests.sim.replay import replay
from tests.sim.samples.helpers_front_end import sleeper, tile_record


def simulate(case, units, tiles, rays, stalls, seed, skip):
    state, o = ray_setup.new(config(units)), new(RAY)
    i, o_done = new(stream("nothing")), new(stream("nothing"))
    start, done = (np.zeros(1, STROBE)[0] for _ in range(2))
    tile = tile_record(case.tile)
    row, column = np.divmod(np.arange(CONFIG.tile**2), CONFIG.tile)
    live = set_up(column + case.tile["x"], row + case.tile["y"], case.view, case.grid).live
    of_both_tiles = np.tile(live, 2)

    def step_set_up(now):
        return ray_setup.step(now, state, start, tile, o, done, of_both_tiles)

    maybe = sleeper(step_set_up, [start, o]) if skip else step_set_up
    busy = reported = False

    def step(now):
        nonlocal busy, reported
        if i["valid"] and not busy:
            i["valid"], start["set"], busy = 0, 1, True
        if reported and not o_done["valid"]:
            busy = reported = False
        maybe(now)
        if done["set"]:
            done["set"], o_done["valid"], reported = 0, 1, True
        return now + 1

    return replay(
        step,
        {"i": (i, [0] * tiles)},
        {"o": (o, rays), "o_done": (o_done, tiles)},
        stalls=stalls,
        seed=seed,
    )


TILES = 2


@pytest.mark.parametrize("stalls", [*STALLS, (1.0, 0.01)])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("units", [1, 2, 8])
def test_every_ray_comes_in_the_same_cycle(units, seed, stalls):
    case = usual_view(seed)
    case.tile = case.tile | {"last_x": seed, "last_y": (seed + 1) % 4}
    rays = TILES * (case.tile["last_x"] + 1) * (case.tile["last_y"] + 1)
    constants = {
        "tile": case.tile,
        "view": view_constants(case.view),
        "scene": {"grid": dict(zip(AXES, case.grid, strict=True))},
    }
    outputs = {"o": rays, "o_done": TILES}
    hardware = run(
        shared(Tiles, config(units)), {"i": [0] * TILES}, outputs, constants=constants, stalls=stalls, seed=seed
    )
    for skip in (False, True):
        cycles, payloads = simulate(case, units, TILES, rays, stalls, seed, skip)
        assert cycles == hardware.cycles
        assert payloads["o"] == [(write.pixel, write.live) for write in hardware.outputs["o"]]
