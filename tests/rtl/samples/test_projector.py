"""`rtl.samples.projector` against `nerf.golden.projector`, bit for bit."""

import random
from itertools import pairwise

import pytest

from cosim.unit import STALLS, run, shared
from nerf.contract.config import CUBE
from nerf.contract.formats import ORIGIN
from nerf.contract.registers import AXES, IMAGE_RADIUS, PIXEL, PROJECTION_DEPTH, PROJECTION_IMAGE, RADIUS, View
from nerf.golden.projector import project
from rtl.samples.projector import Projector
from tests.rtl.samples.helpers_rays import camera, scene_stub, view_constants

BOUNDS = ("first_x", "first_y", "last_x", "last_y")


def usual_view(seed: int) -> View:
    chance = random.Random(seed)
    scene = scene_stub(tuple(chance.randint(20, 384) for _ in AXES), seed)
    return camera(scene, seed, chance.randint(30, 100), chance.randint(30, 100))


def extreme_view(seed: int) -> View:
    chance = random.Random(seed)

    def pick(fmt) -> int:
        near_zero = chance.randint(0, 99)
        return chance.choice((fmt.low, fmt.high, 0, chance.randint(fmt.low, fmt.high), near_zero))

    values = {f"origin_{axis}": pick(ORIGIN) for axis in AXES}
    values |= {f"projection_{row}_{axis}": pick(PROJECTION_IMAGE) for row in "xy" for axis in AXES}
    values |= {f"projection_z_{axis}": pick(PROJECTION_DEPTH) for axis in AXES}
    values |= {"centre_x": pick(PIXEL), "centre_y": pick(PIXEL)}
    values |= {"radius": pick(RADIUS), **{f"image_radius_{axis}": pick(IMAGE_RADIUS) for axis in "xy"}}
    return View(values | {"window_width": chance.randint(1, 8192), "window_height": chance.randint(1, 8192)})


def cropped(view: View, x: int, y: int, width: int, height: int) -> View:
    """Return the view of a part of the window."""
    centre = {
        f"centre_{axis}": view.values[f"centre_{axis}"] - (at << PIXEL.fraction) for axis, at in (("x", x), ("y", y))
    }
    return View(view.values | centre | {"window_width": width, "window_height": height})


def expected(visits: list[dict], view: View) -> list[dict]:
    footprints = []
    for visit in visits:
        if visit["last"]:
            footprints.append({"last": 1})
        elif (covered := project(tuple(visit["cube"].values()), view)) is not None:
            fields = {"last": 0, "rank": visit["rank"], "cube": visit["cube"]}
            footprints.append(fields | dict(zip(BOUNDS, covered, strict=True)))
    return footprints


def random_visits(chance: random.Random, count: int) -> list[dict]:
    cubes = [dict(zip(AXES, cube, strict=True)) for cube in ((0, 0, 0), (95, 159, 159))]
    cubes += [{axis: chance.randrange(chance.choice((8, 96))) for axis in AXES} for _ in range(count)]
    visits = [{"cube": cube, "rank": chance.getrandbits(24), "last": 0} for cube in cubes]
    return [*visits, {"cube": cubes[0], "rank": 0, "last": 1}, visits[0], {"cube": cubes[0], "rank": 0, "last": 1}]


def compare(view: View, visits: list[dict], stalls=STALLS[0], seed: int = 0):
    wanted = expected(visits, view)
    constants = {"view": view_constants(view)}
    result = run(shared(Projector), {"i": visits}, {"o": len(wanted)}, constants=constants, stalls=stalls, seed=seed)
    for footprint, want in zip(result.outputs["o"], wanted, strict=True):
        for name, value in want.items():
            if name == "cube":
                assert {axis: footprint.cube[axis] for axis in AXES} == value
            else:
                assert getattr(footprint, name) == value
    return result, wanted


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("stalls", [STALLS[0], STALLS[3]])
def test_usual_views(seed, stalls):
    _, wanted = compare(usual_view(seed), random_visits(random.Random(seed), 60), stalls, seed)
    assert [footprint["last"] for footprint in wanted].count(1) == 2


@pytest.mark.parametrize("seed", range(12))
def test_extreme_registers(seed):
    compare(extreme_view(seed), random_visits(random.Random(seed), 40), seed=seed)


@pytest.mark.parametrize("seed", range(8))
def test_footprints_that_just_touch_the_window(seed):
    """The window is put so that each cube's rectangle ends at its edge, or a pixel or a few from it."""
    chance = random.Random(f"touch {seed}")
    view = camera(scene_stub((160, 120, 200), seed), seed, 90, 80, "outside")
    size = 16
    kept = []
    while len(kept) < 12:
        cube = {axis: chance.randrange(30) for axis in AXES}
        covered = project(tuple(cube.values()), view)
        if covered is None or covered == (0, 0, view.window_width - 1, view.window_height - 1):
            continue
        x = chance.choice((covered[0] - size, covered[2])) + chance.randint(-2, 3)
        y = chance.choice((covered[1] - size, covered[3], covered[1])) + chance.randint(-2, 3)
        visits = [{"cube": cube, "rank": 1, "last": 0}, {"cube": cube, "rank": 0, "last": 1}]
        kept.append(len(compare(cropped(view, x, y, size, size), visits)[1]) - 1)
    assert 0 < sum(kept) < 12


@pytest.mark.parametrize("radius", [0, 1])
def test_a_ball_just_behind_and_just_in_front_of_the_camera(radius):
    """With no depth at all, a ball without radius is behind the camera; the smallest radius makes it touch it."""
    view = usual_view(1)
    view = View(view.values | {f"projection_z_{axis}": 0 for axis in AXES} | {"radius": radius})
    _, wanted = compare(view, random_visits(random.Random(1), 4))
    assert len(wanted) == (2 if radius == 0 else 9)


def test_latency_and_throughput():
    scene = scene_stub((128, 128, 128), 5)
    view = cropped(camera(scene, 3, 64, 64, "outside"), 16, 32, 16, 16)
    cubes = [(x, y, z) for x in range(0, 32, 5) for y in range(0, 32, 5) for z in range(0, 32, 5)]
    visits = [{"cube": dict(zip(AXES, cube, strict=True)), "rank": n, "last": 0} for n, cube in enumerate(cubes)]
    result, wanted = compare(view, visits)
    taken = [b - a for a, b in pairwise(result.cycles["i"])]
    given = result.cycles["o"]
    latencies = [cycle - result.cycles["i"][want["rank"]] for want, cycle in zip(wanted, given, strict=True)]
    assert min(latencies) == Projector.LATENCY
    assert min(b - a for a, b in pairwise(given)) == Projector.CYCLES_DIVIDED
    assert min(taken) == Projector.CYCLES
    assert max(taken) == Projector.CYCLES_DIVIDED
    assert taken.count(Projector.CYCLES) > 0.7 * len(cubes), "the test without division drops nearly all"


def test_latency_when_the_ball_touches_the_camera_plane_and_of_last():
    scene = scene_stub((64, 64, 64), 5)
    view = camera(scene, 1, 64, 64, "inside")
    start = {axis: (view.values[f"origin_{axis}"] >> 16) // CUBE for axis in AXES}
    visits = [{"cube": start, "rank": 7, "last": 0}, {"cube": start, "rank": 7, "last": 1}]
    result, _ = compare(view, visits)
    taken, given = result.cycles["i"], result.cycles["o"]
    assert [b - a for a, b in zip(taken, given, strict=True)] == [Projector.LATENCY_TOUCHED] * 2
