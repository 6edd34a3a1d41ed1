"""The simulator's occupancy walker against the RTL's, cycle for cycle."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, run, shared
from nerf.contract.config import COMPONENTS
from nerf.contract.registers import AXES, View
from nerf.contract.scene_image import BEAT, pack_row, unpack_row
from nerf.golden.occupancy_walker import axis_order, walk
from rtl.payloads import CubeVisit, Mode, SceneRegisters, TreeRequest, TreeResponse, ViewRegisters
from rtl.samples.occupancy_walker import OccupancyWalker
from sim.parts.streams import READ_BEAT, READ_REQUEST, STROBE, TREE_REQUEST, TREE_RESPONSE, VISIT, new
from sim.parts.streams import stream as record_of
from sim.samples import occupancy_walker
from tests.rtl.memory.helpers_memory import ReadMemory as HardwareMemory
from tests.rtl.samples.test_occupancy_walker import BASE, BEATS, CONFIG, ROWS_OFFSET, make_scene
from tests.sim.replay import replay
from tests.sim.samples.helpers_front_end import ReadMemory, scene_record, sleeper, view_record
from tests.sizes import SIZES


class Bench(wiring.Component):
    """The walker with a memory; the tree is outside. A 1 on ``i`` starts a walk."""

    def __init__(self, config):
        self.config = config
        self.rows = HardwareMemory(CONFIG, BEATS, BASE)
        super().__init__(
            {
                "i": In(stream.Signature(1)),
                "scene": In(SceneRegisters),
                "view": In(ViewRegisters),
                "o": Out(stream.Signature(CubeVisit)),
                "o_tree": Out(stream.Signature(TreeRequest)),
                "i_tree": In(stream.Signature(TreeResponse)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.walker = walker = OccupancyWalker(self.config)
        m.submodules.memory = rows = self.rows
        wiring.connect(m, walker.rows, rows.port)
        wiring.connect(m, walker.tree.request, wiring.flipped(self.o_tree))
        wiring.connect(m, wiring.flipped(self.i_tree), walker.tree.response)
        wiring.connect(m, walker.o, wiring.flipped(self.o))
        m.d.comb += [
            self.i.ready.eq(1),
            walker.start.eq(self.i.valid & self.i.payload),
            walker.scene.eq(self.scene),
            walker.view.eq(self.view),
            walker.scene_base.eq(BASE),
        ]
        return m


def tree_traffic(scene, start):
    """Return what a walk asks of the tree, (mode, bits, k), and what the tree answers, (total, index)."""
    requests, responses = [], []
    cubes_x, cubes_y, cubes_z = scene.cubes
    for z in axis_order(start[2], cubes_z):
        for y in axis_order(start[1], cubes_y):
            at = scene.rows_offset + (z * cubes_y + y) * BEAT
            row, _ = unpack_row(int.from_bytes(scene.data[at : at + BEAT], "little"))
            below = (1 << max(start[0], 0)) - 1
            chunks = range(0, cubes_x, COMPONENTS)
            down, up = (
                {chunk: bits >> chunk & 0xFFFF for chunk in chunks if bits >> chunk & 0xFFFF}
                for bits in (row & below, row & ~below)
            )
            for bits in down.values():
                requests.append((Mode.PREFIX, bits, None))
                responses.append((bits.bit_count(), 0))
            for part, falls in ((up, False), (dict(reversed(down.items())), True)):
                for bits in part.values():
                    places = [place for place in range(COMPONENTS) if bits >> place & 1]
                    for k in sorted(range(len(places)), reverse=falls):
                        requests.append((Mode.SEARCH, bits, k))
                        responses.append((len(places), places[k]))
    return requests, responses


def simulate(scene, start, starts, responses, counts, stalls, seed, latency, skip, config):
    state = occupancy_walker.new(config)
    request, beat, o, i = new(READ_REQUEST), new(READ_BEAT), new(VISIT), new(record_of("starts"))
    strobe, tree_request, response = np.zeros(1, STROBE)[0], new(TREE_REQUEST), new(TREE_RESPONSE)
    registers = scene_record(cubes=scene.cubes, rows_offset=ROWS_OFFSET)
    view = view_record(View({f"start_cube_{axis}": at for axis, at in zip(AXES, start, strict=True)}))
    image = np.frombuffer(scene.data, np.uint8)
    store = ReadMemory(request, beat, occupancy_walker.CLIENT, seed, latency)

    def step_walker(now):
        return occupancy_walker.step(
            now, state, strobe, registers, view, BASE, request, beat, tree_request, response, o, image
        )

    maybe = sleeper(step_walker, [strobe, request, beat, tree_request, response, o]) if skip else step_walker

    def step(now):
        if i["valid"]:
            i["valid"], strobe["set"] = 0, i["starts"]
        store.take()
        maybe(now)
        store.finish()
        return now + 1

    def offer(now):
        store.offer(now)
        occupancy_walker.offer(now, state, response, o)

    return replay(
        step,
        {"i": (i, starts), "i_tree": (response, responses)},
        {"o": (o, counts["o"]), "o_tree": (tree_request, counts["o_tree"])},
        stalls=stalls,
        seed=seed,
        offer=offer,
    )


def compare(scene, start, stalls=STALLS[0], seed=0, latency=0, starts=(1,), config=CONFIG):
    """Walk on both; compare all transfers."""
    visits = [*map(list, walk(scene, start)), None] * sum(starts)
    requests, responses = (sum(starts) * part for part in tree_traffic(scene, start))
    counts = {"o": len(visits), "o_tree": len(requests)}
    hardware = run(
        shared(Bench, config),
        {"i": starts, "i_tree": [{"total": total, "index": index} for total, index in responses]},
        counts,
        constants={
            "scene": {"cubes": dict(zip(AXES, scene.cubes, strict=True)), "rows_offset": ROWS_OFFSET},
            "view": {"start_cube": dict(zip(AXES, start, strict=True))},
        },
        memories=HardwareMemory.contents("rows", scene.data, seed, latency),
        stalls=stalls,
        seed=seed,
    )
    for skip in (False, True):
        cycles, payloads = simulate(scene, start, starts, responses, counts, stalls, seed, latency, skip, config)
        assert cycles == hardware.cycles
        assert [None if last else visit for *visit, last in payloads["o"]] == visits
        for (mode, _, bits, k), wanted in zip(payloads["o_tree"], requests, strict=True):
            assert (mode, bits, k if mode == Mode.SEARCH else None) == wanted


@pytest.mark.parametrize("stalls", [*STALLS, (0.1, 0.9), (0.9, 0.1)])
@pytest.mark.parametrize("seed", range(3))
def test_random_scenes(seed, stalls):
    chance = random.Random(f"{seed} {stalls}")
    cubes = tuple(chance.randint(1, limit) for limit in (96, 5, 4))
    start = tuple(chance.randint(-1, n) for n in cubes)
    compare(make_scene(cubes, 0.1, seed), start, stalls, seed, chance.choice((0, 6, 30)))


@pytest.mark.parametrize("start", [(-1, -1, -1), (96, 3, 2), (0, 0, 0), (95, 2, 1), (16, 1, 0), (47, -1, 2)])
def test_edges_of_the_start_cube(start):
    compare(make_scene((96, 3, 2), 0.1, 1), start, latency=2)


@pytest.mark.parametrize("latency", [0, 40])
@pytest.mark.parametrize("cubes", [(1, 1, 1), (1, 70, 1), (1, 1, 160), (2, 7, 9)])
def test_many_empty_rows(cubes, latency):
    """The memory is ahead of the walk, or behind it."""
    chance = random.Random(sum(cubes))
    start = tuple(chance.randint(-1, n) for n in cubes)
    compare(make_scene(cubes, 0.05, 2), start, chance.choice(STALLS), latency=latency)


@pytest.mark.parametrize("latency", [2, 12])
@pytest.mark.parametrize("config", SIZES)
def test_how_far_rows_are_read_ahead(config, latency):
    """While a full row is walked the queues fill; then the memory must bring the rest of the empty rows."""
    full, empty = (pack_row(bits, rank).to_bytes(BEAT, "little") for bits, rank in ((0xFFFF, 0), (0, 16)))
    rows = 2 * (full + 30 * empty)
    compare(
        SimpleNamespace(cubes=(16, 62, 1), rows_offset=ROWS_OFFSET, data=bytes(ROWS_OFFSET) + rows),
        (0, 0, 0),
        latency=latency,
        config=config,
    )


@pytest.mark.parametrize("stalls", [STALLS[0], STALLS[3]])
def test_one_walk_after_the_other(stalls):
    """Nothing is reset between two tiles."""
    starts = (1, *[0] * 1000, 1, *[0] * 1000, 1)
    compare(make_scene((40, 3, 5), 0.1, 5), (20, 1, 2), stalls, starts=starts)
