"""The simulator's projector against the RTL's, cycle for cycle."""

import random

import numpy as np
import pytest

from cosim.unit import STALLS, run
from nerf.contract.registers import AXES
from sim import projector
from sim.streams import RECTANGLE, STROBE, VISIT, new
from tests.rtl.helpers_rays import camera, scene_stub, view_constants
from tests.rtl.test_projector import Bench, extreme_view, random_tile, random_visits, usual_view
from tests.sim.helpers_front_end import tile_record, view_record
from tests.sim.helpers_shading import StrobeQueue
from tests.sim.replay import put, replay

FIELDS = ("rank", "first_x", "first_y", "last_x", "last_y", "tile")


def place_of(visit: dict) -> tuple[int, ...]:
    return tuple(visit["cube"][axis] for axis in AXES)


def fate_of(view, tile, visit) -> tuple[int, int]:
    """Return the cycles that a visit takes, and whether it has a rectangle."""
    i = new(VISIT)
    put(i, (*place_of(visit), visit["rank"], visit["last"]))
    return projector.fate(view_record(view), tile_record(tile), i, new(RECTANGLE))


def simulate(view, tile, visits, count, stalls, seed, skip):
    state, i, o = projector.new(), new(VISIT), new(RECTANGLE)
    view, tile, done, dones = view_record(view), tile_record(tile), np.zeros(1, STROBE)[0], StrobeQueue()

    def step(now):
        wake = projector.step(now, state, view, tile, i, o, done)
        if done["set"]:
            done["set"] = 0
            dones.push(1)
        return wake

    return replay(
        step,
        {"i": (i, [(*place_of(visit), visit["rank"], visit["last"]) for visit in visits])},
        {"o": (o, count), "o_done": (dones.o, sum(visit["last"] for visit in visits))},
        offer=lambda now: dones.offer(),
        stalls=stalls,
        seed=seed,
        skip=skip,
    )


def compare(view, tile, visits, stalls=STALLS[0], seed=0):
    """Run both and return how many rectangles there were."""
    # How many there are, the simulator tells; one too many or too few makes the RTL's run fail.
    count = sum(fate_of(view, tile, visit)[1] for visit in visits)
    constants = {"view": view_constants(view), "tile": tile}
    counts = {"o": count, "o_done": sum(visit["last"] for visit in visits)}
    hardware = run(Bench(), {"i": visits}, counts, constants=constants, stalls=stalls, seed=seed)
    expected = [
        (*(r.cube[axis] for axis in AXES), *(getattr(r, name) for name in FIELDS), 0) for r in hardware.outputs["o"]
    ]
    for skip in (False, True):
        cycles, payloads = simulate(view, tile, visits, count, stalls, seed, skip)
        assert cycles == hardware.cycles
        for found, wanted, rectangle in zip(payloads["o"], expected, hardware.outputs["o"], strict=True):
            assert found[-1] == rectangle.last
            assert rectangle.last or found == wanted
    return count


@pytest.mark.parametrize("stalls", [*STALLS, (0.9, 0.02)])
@pytest.mark.parametrize("seed", range(3))
def test_usual_views(seed, stalls):
    chance = random.Random(seed)
    view = usual_view(seed)
    compare(view, random_tile(view, chance), random_visits(chance, 40), stalls, seed)


@pytest.mark.parametrize("seed", range(8))
def test_extreme_registers(seed):
    chance = random.Random(seed)
    view = extreme_view(seed)
    compare(view, random_tile(view, chance), random_visits(chance, 40), STALLS[seed % 4], seed)


def test_cubes_around_a_tile_are_dropped_in_every_way():
    """All four ends of a cube: after its depth, after each test, after the division; and those that are kept."""
    view = camera(scene_stub((128, 128, 128), 5), 3, 64, 64, "outside")
    tile = {"x": 16, "y": 32, "last_x": 15, "last_y": 15}
    cubes = [(x, y, z) for x in range(0, 32, 4) for y in range(0, 32, 4) for z in range(0, 32, 4)]
    visits = [{"cube": dict(zip(AXES, cube, strict=True)), "rank": n, "last": 0} for n, cube in enumerate(cubes)]
    fates = {fate_of(view, tile, visit) for visit in visits}
    assert fates >= {(7, 0), (8, 0), (32, 1), (33, 0)}
    assert 0 < compare(view, tile, visits) < len(visits)
