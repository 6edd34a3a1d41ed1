"""`rtl.projector` against `nerf.golden.projector`, bit for bit."""

import random
from itertools import pairwise

import pytest
from amaranth.hdl import Const, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import Out

from cosim.unit import STALLS, run
from nerf.contract.config import CUBE, AcceleratorConfig
from nerf.contract.formats import ORIGIN
from nerf.contract.registers import AXES, IMAGE_RADIUS, PIXEL, PROJECTION_DEPTH, PROJECTION_IMAGE, RADIUS, View
from nerf.golden.projector import project
from rtl.projector import Projector
from tests.rtl.helpers_rays import camera, scene_stub, view_constants
from tests.rtl.helpers_shading import record

CONFIG = AcceleratorConfig(tile=16)


class Bench(wiring.Component):
    """The projector; what ``done`` tells comes out of ``o_done``."""

    def __init__(self):
        self.projector = Projector(CONFIG)
        members = {name: member for name, member in self.projector.signature.members.items() if name != "done"}
        super().__init__(members | {"o_done": Out(stream.Signature(1))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.projector = projector = self.projector
        m.d.comb += [projector.view.eq(self.view), projector.tile.eq(self.tile)]
        wiring.connect(m, wiring.flipped(self.i), projector.i)
        wiring.connect(m, projector.o, wiring.flipped(self.o))
        record(m, "done_queue", projector.done, Const(1, 1), self.o_done)
        return m


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
    values |= {"radius": pick(RADIUS), "image_radius": pick(IMAGE_RADIUS)}
    return View(values | {"window_width": chance.randint(1, 8192), "window_height": chance.randint(1, 8192)})


def random_tile(view: View, chance: random.Random) -> dict[str, int]:
    size = CONFIG.tile
    x, y = (size * chance.randrange(-(-n // size)) for n in (view.window_width, view.window_height))
    return {
        "x": x,
        "y": y,
        "last_x": min(size, view.window_width - x) - 1,
        "last_y": min(size, view.window_height - y) - 1,
        "parity": chance.getrandbits(1),
    }


def expected(visits: list[dict], view: View, tile: dict[str, int]) -> list[dict[str, int]]:
    rectangles = []
    for visit in visits:
        if visit["last"]:
            rectangles.append({"last": 1})
            continue
        covered = project(tuple(visit["cube"].values()), view)
        if covered is None:
            continue
        first = [max(covered[k] - tile[axis], 0) for k, axis in enumerate("xy")]
        last = [min(covered[k + 2] - tile[axis], tile[f"last_{axis}"]) for k, axis in enumerate("xy")]
        if first[0] <= last[0] and first[1] <= last[1]:
            bounds = {"first_x": first[0], "first_y": first[1], "last_x": last[0], "last_y": last[1]}
            fields = {"last": 0, "rank": visit["rank"], "cube": visit["cube"], "tile": tile.get("parity", 0)}
            rectangles.append(fields | bounds)
    return rectangles


def random_visits(chance: random.Random, count: int) -> list[dict]:
    cubes = [dict(zip(AXES, cube, strict=True)) for cube in ((0, 0, 0), (95, 127, 127))]
    cubes += [{axis: chance.randrange(chance.choice((8, 96))) for axis in AXES} for _ in range(count)]
    visits = [{"cube": cube, "rank": chance.getrandbits(24), "last": 0} for cube in cubes]
    return [*visits, {"cube": cubes[0], "rank": 0, "last": 1}, visits[0], {"cube": cubes[0], "rank": 0, "last": 1}]


def compare(view: View, tile: dict[str, int], visits: list[dict], stalls=STALLS[0], seed: int = 0):
    wanted = expected(visits, view, tile)
    constants = {"view": view_constants(view), "tile": tile}
    counts = {"o": len(wanted), "o_done": sum(rectangle["last"] for rectangle in wanted)}
    result = run(Bench(), {"i": visits}, counts, constants=constants, stalls=stalls, seed=seed)
    for rectangle, want in zip(result.outputs["o"], wanted, strict=True):
        for name, value in want.items():
            if name == "cube":
                assert {axis: rectangle.cube[axis] for axis in AXES} == value
            else:
                assert getattr(rectangle, name) == value
    return result, wanted


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("stalls", [STALLS[0], STALLS[3]])
def test_usual_views(seed, stalls):
    chance = random.Random(seed)
    view = usual_view(seed)
    _, wanted = compare(view, random_tile(view, chance), random_visits(chance, 60), stalls, seed)
    assert [rectangle["last"] for rectangle in wanted].count(1) == 2


@pytest.mark.parametrize("seed", range(12))
def test_extreme_registers(seed):
    chance = random.Random(seed)
    view = extreme_view(seed)
    compare(view, random_tile(view, chance), random_visits(chance, 40), seed=seed)


@pytest.mark.parametrize("seed", range(8))
def test_rectangles_that_just_touch_the_tile(seed):
    """The tile is put so that each cube's rectangle ends at its edge, or a pixel or a few from it."""
    chance = random.Random(f"touch {seed}")
    view = camera(scene_stub((160, 120, 200), seed), seed, 90, 80, "outside")
    size = CONFIG.tile
    kept = []
    for _ in range(2000):
        cube = {axis: chance.randrange(30) for axis in AXES}
        covered = project(tuple(cube.values()), view)
        if covered is None or covered == (0, 0, view.window_width - 1, view.window_height - 1):
            continue
        x = chance.choice((covered[0] - size, covered[2])) + chance.randint(-2, 3)
        y = chance.choice((covered[1] - size, covered[3], covered[1])) + chance.randint(-2, 3)
        if not (0 <= x < view.window_width and 0 <= y < view.window_height):
            continue
        tile = {
            "x": x,
            "y": y,
            "last_x": min(size, view.window_width - x) - 1,
            "last_y": min(size, view.window_height - y) - 1,
        }
        visits = [{"cube": cube, "rank": 1, "last": 0}, {"cube": cube, "rank": 0, "last": 1}]
        kept.append(len(compare(view, tile, visits)[1]) - 1)
        if len(kept) == 12:
            break
    assert len(kept) == 12
    assert 0 < sum(kept) < 12


@pytest.mark.parametrize("radius", [0, 1])
def test_a_ball_just_behind_and_just_in_front_of_the_camera(radius):
    """With no depth at all, a ball without radius is behind the camera; the smallest radius makes it touch it."""
    view = usual_view(1)
    view = View(view.values | {f"projection_z_{axis}": 0 for axis in AXES} | {"radius": radius})
    tile = {"x": 0, "y": 0, "last_x": 15, "last_y": 15}
    _, wanted = compare(view, tile, random_visits(random.Random(1), 4))
    assert len(wanted) == (2 if radius == 0 else 9)


def test_latency_and_throughput():
    scene = scene_stub((128, 128, 128), 5)
    view = camera(scene, 3, 64, 64, "outside")
    cubes = [(x, y, z) for x in range(0, 32, 5) for y in range(0, 32, 5) for z in range(0, 32, 5)]
    tile = {"x": 16, "y": 32, "last_x": 15, "last_y": 15}
    visits = [{"cube": dict(zip(AXES, cube, strict=True)), "rank": n, "last": 0} for n, cube in enumerate(cubes)]
    result, wanted = compare(view, tile, visits)
    taken = [b - a for a, b in pairwise(result.cycles["i"])]
    produced = dict(zip((rectangle["rank"] for rectangle in wanted), result.cycles["o"], strict=True))
    for rank, cycle in produced.items():
        assert cycle - result.cycles["i"][rank] == Projector.LATENCY
    dropped = [cycles for rank, cycles in enumerate(taken) if rank not in produced]
    quick = [cycles for cycles in dropped if cycles <= Projector.DROPPED_AFTER]
    assert set(dropped) - set(quick) <= {Projector.LATENCY + 1}
    assert len(quick) > 0.9 * len(dropped) > 0.5 * len(cubes), "the test without division drops nearly all"
    assert max(taken) == Projector.LATENCY + 1


def test_latency_when_the_ball_touches_the_camera_plane_and_of_last():
    scene = scene_stub((64, 64, 64), 5)
    view = camera(scene, 1, 64, 64, "inside")
    start = {axis: (view.values[f"origin_{axis}"] >> 16) // CUBE for axis in AXES}
    visits = [{"cube": start, "rank": 7, "last": 0}, {"cube": start, "rank": 7, "last": 1}]
    result, _ = compare(view, {"x": 0, "y": 0, "last_x": 15, "last_y": 15}, visits)
    taken, given = result.cycles["i"], result.cycles["o"]
    assert [b - a for a, b in zip(taken, given, strict=True)] == [Projector.LATENCY_TOUCHED, 1]
    assert result.cycles["o_done"] == [given[-1] + 1]
