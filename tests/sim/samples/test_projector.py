"""The simulator's projector against the RTL's, cycle for cycle."""

import random

import pytest

from cosim.unit import STALLS, run, shared
from nerf.contract.registers import AXES
from rtl.samples.projector import Projector
from sim.parts.streams import FOOTPRINT, VISIT, new
from sim.samples import projector
from tests.rtl.samples.helpers_rays import camera, scene_stub, view_constants
from tests.rtl.samples.test_projector import cropped, extreme_view, random_visits, usual_view
from tests.sim.replay import put, replay
from tests.sim.samples.helpers_front_end import view_record

FIELDS = ("rank", "first_x", "first_y", "last_x", "last_y")


def place_of(visit: dict) -> tuple[int, ...]:
    return tuple(visit["cube"][axis] for axis in AXES)


def fate_of(view, visit) -> tuple[int, int, int, int]:
    """Return the cycles that a visit takes in test, division and cut, and whether it has a footprint."""
    i = new(VISIT)
    put(i, (*place_of(visit), visit["rank"], visit["last"]))
    return projector.fate(view_record(view), i, new(FOOTPRINT))


def simulate(view, visits, count, stalls, seed, skip):
    state, i, o, view = projector.new(), new(VISIT), new(FOOTPRINT), view_record(view)
    return replay(
        lambda now: projector.step(now, state, view, i, o),
        {"i": (i, [(*place_of(visit), visit["rank"], visit["last"]) for visit in visits])},
        {"o": (o, count)},
        stalls=stalls,
        seed=seed,
        skip=skip,
    )


def compare(view, visits, stalls=STALLS[0], seed=0):
    """Run both and return how many footprints there were."""
    # How many there are, the simulator tells; one too many or too few makes the RTL's run fail.
    count = sum(fate_of(view, visit)[-1] for visit in visits)
    constants = {"view": view_constants(view)}
    hardware = run(shared(Projector), {"i": visits}, {"o": count}, constants=constants, stalls=stalls, seed=seed)
    expected = [
        (*(f.cube[axis] for axis in AXES), *(getattr(f, name) for name in FIELDS), 0) for f in hardware.outputs["o"]
    ]
    for skip in (False, True):
        cycles, payloads = simulate(view, visits, count, stalls, seed, skip)
        assert cycles == hardware.cycles
        for found, wanted, footprint in zip(payloads["o"], expected, hardware.outputs["o"], strict=True):
            assert found[-1] == footprint.last
            assert footprint.last or found == wanted
    return count


@pytest.mark.parametrize("stalls", [*STALLS, (0.9, 0.02)])
@pytest.mark.parametrize("seed", range(3))
def test_usual_views(seed, stalls):
    compare(usual_view(seed), random_visits(random.Random(seed), 40), stalls, seed)


@pytest.mark.parametrize("seed", range(8))
def test_extreme_registers(seed):
    compare(extreme_view(seed), random_visits(random.Random(seed), 40), STALLS[seed % 4], seed)


def test_cubes_around_a_window_are_dropped_in_every_way():
    """All ends of a cube: by each test, by the division; and those that are kept."""
    view = cropped(camera(scene_stub((128, 128, 128), 5), 3, 64, 64, "outside"), 16, 32, 16, 16)
    cubes = [(x, y, z) for x in range(0, 32, 4) for y in range(0, 32, 4) for z in range(0, 32, 4)]
    visits = [{"cube": dict(zip(AXES, cube, strict=True)), "rank": n, "last": 0} for n, cube in enumerate(cubes)]
    fates = {fate_of(view, visit) for visit in visits}
    assert fates >= {*((test, 0, 0, 0) for test in projector.TESTS), (8, 15, 9, 1), (8, 15, 9, 0)}
    assert 0 < compare(view, visits) < len(visits)
