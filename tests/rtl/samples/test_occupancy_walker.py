"""`rtl.samples.occupancy_walker` against `nerf.golden.occupancy_walker`: same cubes, same ranks, same order."""

import random
from itertools import pairwise
from types import SimpleNamespace

import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, run, shared
from nerf.contract.config import AcceleratorConfig
from nerf.contract.registers import AXES
from nerf.contract.scene_image import BEAT, pack_row
from nerf.golden.occupancy_walker import axis_order, walk
from rtl.factors.tree_server import TreeServer
from rtl.payloads import CubeVisit, SceneRegisters, ViewRegisters
from rtl.samples.occupancy_walker import OccupancyWalker
from tests.rtl.memory.helpers_memory import ReadMemory

CONFIG = AcceleratorConfig()
BASE, ROWS_OFFSET = 0x120000, 512
BEATS = 256
"""Of the largest scene."""


class Bench(wiring.Component):
    """The walker with a memory and a tree. ``i`` starts it; each wrong row gives a payload on ``o_error``."""

    def __init__(self):
        self.rows = ReadMemory(CONFIG, BEATS, BASE)
        super().__init__(
            {
                "i": In(stream.Signature(1)),
                "scene": In(SceneRegisters),
                "view": In(ViewRegisters),
                "o": Out(stream.Signature(CubeVisit)),
                "o_error": Out(stream.Signature(1)),
                "o_memory_error": Out(stream.Signature(1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.walker = walker = OccupancyWalker(CONFIG)
        m.submodules.memory = rows = self.rows
        m.submodules.tree = tree = TreeServer(clients=2)
        wiring.connect(m, walker.rows, rows.port)
        wiring.connect(m, walker.tree, tree.client_1)
        wiring.connect(m, walker.o, wiring.flipped(self.o))
        m.d.comb += [
            self.i.ready.eq(1),
            walker.start.eq(self.i.valid),
            walker.scene.eq(self.scene),
            walker.view.eq(self.view),
            walker.scene_base.eq(BASE),
            self.o_error.valid.eq(walker.error_row),
            self.o_memory_error.valid.eq(rows.error),
        ]
        return m


def make_scene(cubes: tuple[int, int, int], density: float, seed: int) -> SimpleNamespace:
    """Return a scene with random occupancy: what `walk` needs."""
    chance = random.Random(f"occupancy {seed}")
    rank, image = 0, bytearray(ROWS_OFFSET)
    for _ in range(cubes[1] * cubes[2]):
        of_row = chance.choice((0.0, density, density, 1.0))
        bits = sum(1 << x for x in range(cubes[0]) if chance.random() < of_row)
        image += pack_row(bits, rank).to_bytes(BEAT, "little")
        rank += bits.bit_count()
    return SimpleNamespace(cubes=cubes, rows_offset=ROWS_OFFSET, data=bytes(image))


def start_walker(scene, start, stalls=STALLS[0], seed=0, latency=0, errors=0, count=None):
    visits = list(walk(scene, start)) if count is None else [None] * count
    constants = {
        "scene": {"cubes": dict(zip(AXES, scene.cubes, strict=True)), "rows_offset": ROWS_OFFSET},
        "view": {"start_cube": dict(zip(AXES, start, strict=True))},
    }
    outputs = {"o": len(visits) + 1, "o_error": errors, "o_memory_error": 0}
    memories = ReadMemory.contents("rows", scene.data, seed, latency)
    return visits, run(shared(Bench), {"i": [0]}, outputs, constants, stalls, seed, memories=memories)


def compare(scene, start, **options):
    visits, result = start_walker(scene, start, **options)
    *found, last = result.outputs["o"]
    assert [(*(visit.cube[axis] for axis in AXES), visit.rank) for visit in found] == visits
    assert not any(visit.last for visit in found)
    assert last.last
    return result


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize("seed", range(4))
def test_visits_equal_the_golden_walk(seed, stalls):
    chance = random.Random(seed)
    cubes = tuple(chance.randint(1, limit) for limit in (96, 5, 4))
    start = tuple(chance.randint(-1, n) for n in cubes)
    compare(make_scene(cubes, 0.2, seed), start, stalls=stalls, seed=seed, latency=chance.choice((0, 6, 30)))


@pytest.mark.parametrize("start", [(-1, -1, -1), (96, 3, 2), (0, 0, 0), (95, 2, 1), (16, 1, 0), (47, -1, 2)])
def test_edges_of_the_start_cube(start):
    compare(make_scene((96, 3, 2), 0.3, 1), start)


@pytest.mark.parametrize("cubes", [(1, 1, 1), (1, 160, 1), (1, 1, 160), (96, 1, 1)])
def test_extents(cubes):
    chance = random.Random(sum(cubes))
    for density in (0.0, 1.0):
        compare(make_scene(cubes, density, 2), tuple(chance.randint(-1, n) for n in cubes))


def test_a_scene_without_live_cubes_gives_only_last():
    scene = make_scene((5, 3, 3), 0.0, 3)
    empty = b"".join(pack_row(0, 0).to_bytes(BEAT, "little") for _ in range(9))
    scene = SimpleNamespace(cubes=scene.cubes, rows_offset=ROWS_OFFSET, data=bytes(ROWS_OFFSET) + empty)
    compare(scene, (2, 1, 1))


def test_throughput():
    """A visit takes a cycle and a round through the tree; an empty row takes a cycle."""
    full = pack_row((1 << 96) - 1, 0).to_bytes(BEAT, "little")
    empty = pack_row(0, 96).to_bytes(BEAT, "little")
    data = bytes(ROWS_OFFSET) + full + 50 * empty + full
    scene = SimpleNamespace(cubes=(96, 52, 1), rows_offset=ROWS_OFFSET, data=data)
    result = compare(scene, (-1, -1, 0))
    cycles = result.cycles["o"]
    # The stub memory answers 2 cycles after a request.
    assert cycles[0] - result.cycles["i"][0] == OccupancyWalker.LATENCY + 2 + TreeServer.LATENCY
    gaps = [b - a for a, b in pairwise(cycles[:96])]
    per_visit = TreeServer.LATENCY + 1
    assert gaps == [per_visit + (x % 16 == 15) for x in range(95)]
    assert cycles[96] - cycles[95] <= 50 + 5 + 2 * CONFIG.row_queue


@pytest.mark.parametrize("bit", [0, 95, 96, 119, 120, 127])
def test_a_wrong_bit_in_a_row_is_reported(bit):
    scene = make_scene((96, 2, 1), 0.0, 1)
    rows = [pack_row(0, 0), pack_row(0, 0) ^ 1 << bit]
    image = bytes(ROWS_OFFSET) + b"".join(row.to_bytes(BEAT, "little") for row in rows)
    scene = SimpleNamespace(cubes=scene.cubes, rows_offset=ROWS_OFFSET, data=image)
    start_walker(scene, (0, 0, 0), errors=1, count=int(bit < 96))


def test_order_along_an_axis_is_the_golden_one():
    """Every start of a small axis, in one walk each: one cube a row along y."""
    for count in (1, 2, 5):
        for start in range(-1, count + 1):
            rows = b"".join(pack_row(1, rank).to_bytes(BEAT, "little") for rank in range(count))
            scene = SimpleNamespace(cubes=(1, count, 1), rows_offset=ROWS_OFFSET, data=bytes(ROWS_OFFSET) + rows)
            result = compare(scene, (0, start, 0))
            assert [visit.cube.y for visit in result.outputs["o"][:-1]] == axis_order(start, count)
