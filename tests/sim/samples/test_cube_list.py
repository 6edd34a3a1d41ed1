"""The simulator's cube list against the RTL's, cycle for cycle."""

import random
from dataclasses import replace

import pytest

from cosim.unit import STALLS
from nerf.contract.registers import AXES
from sim.parts.streams import FOOTPRINT, READ_BEAT, READ_REQUEST, RECTANGLE, STROBE, TILE, WRITE, new
from sim.parts.streams import stream as record_of
from sim.samples import cube_list
from tests.rtl.samples.test_cube_list import (
    ANSWERED_AFTER,
    BASE,
    BOUNDS,
    CFG,
    HEIGHT,
    MORE_CUBES,
    hardware,
    random_footprints,
    tiles_of,
    writes_of,
)
from tests.sim.replay import replay
from tests.sim.samples.helpers_front_end import ReadMemory, sleeper
from tests.sim.shading.helpers_shading import watched

FIELDS = ("rank", *BOUNDS)


def simulate(footprints, tiles, counts, stalls, seed, latency, skip, activity, cfg=CFG):
    state = cube_list.new(cfg, BASE)
    lists = cube_list.new_lists(len(footprints) + MORE_CUBES, -(-HEIGHT // CFG.tile))
    i, write, o, tile = new(FOOTPRINT), new(WRITE), new(RECTANGLE), new(TILE)
    request, beat, listed, start, done = new(READ_REQUEST), new(READ_BEAT), *(new(STROBE) for _ in range(3))
    given = new(record_of(*TILE.names))
    memory = ReadMemory(request, beat, cube_list.CLIENT, seed, latency)
    bench = {"busy": True, "answered": 0, "written": True}

    def step_list(now):
        return cube_list.step(
            now, state, i, write, bench["written"], listed, start, tile, request, beat, o, done, lists
        )  # fmt: skip

    maybe = sleeper(step_list, [i, write, o, request, beat, start]) if skip else step_list

    def offer(now):
        bench["written"] = now >= bench["answered"] and not write["valid"]
        bench["writes"] = bool(write["valid"])
        memory.offer(now)

    def step(now):
        if bench["writes"] and not write["valid"]:
            bench["answered"] = now + ANSWERED_AFTER + 1
        memory.take()
        asks = given["valid"] and not bench["busy"]
        if skip and now == bench["answered"]:
            step_list(now)
        else:
            maybe(now)
        memory.finish()
        if done["set"] or listed["set"]:
            done["set"], listed["set"], bench["busy"] = 0, 0, False
        if asks:
            for name in TILE.names:
                tile[name] = given[name]
            tile["entries"] = lists.counts[tile["y"] // CFG.tile]
            given["valid"], start["set"], bench["busy"] = 0, 1, True
        return now + 1

    end = (0,) * (len(FOOTPRINT.names) - 2) + (1,)
    inputs = [(*f["cube"].values(), f["rank"], *(f[bound] for bound in BOUNDS), 0) for f in footprints]
    return replay(
        step,
        {
            "i": (i, [*inputs, end]),
            "i_tile": (given, [tuple(one.get(name, 0) for name in TILE.names) for one in tiles]),
        },
        {"o_writes": (write, counts["o_writes"]), "o": (o, counts["o"])},
        offer=watched(activity, state, offer),
        stalls=stalls,
        seed=seed,
    )


@pytest.mark.parametrize("stalls", [*STALLS, (0.9, 0.1), (0.1, 0.9)])
@pytest.mark.parametrize(("count", "latency"), [(70, 0), (300, 40), (37, 30), (0, 0), (16, 4)])
def test_every_transfer_comes_in_the_same_cycle(count, latency, stalls):
    compare(count, latency, stalls, CFG)


@pytest.mark.parametrize("stalls", [STALLS[0], (0.9, 0.3)])
@pytest.mark.parametrize("list_queue", [32, 512])
def test_other_queues(list_queue, stalls):
    compare(300, 40, stalls, replace(CFG, list_queue=list_queue))


def compare(count, latency, stalls, cfg):
    footprints, tiles = random_footprints(random.Random(count), count), tiles_of(7)
    result, wanted = hardware(footprints, tiles, stalls, count, latency, cfg=cfg)
    activities = {False: [], True: []}
    for skip, activity in activities.items():
        cycles, payloads = simulate(
            footprints, tiles, {name: len(found) for name, found in result.outputs.items()}, stalls, count, latency,
            skip, activity, cfg,
        )  # fmt: skip
        for name in cycles:
            assert cycles[name] == result.cycles[name], name
        assert [address for (address,) in payloads["o_writes"]] == [place for place, _ in writes_of(footprints)]
        for found, want in zip(payloads["o"], wanted, strict=True):
            if not want["last"]:
                place = tuple(want["cube"][axis] for axis in AXES)
                assert found == (*place, *(want[name] for name in FIELDS), want["tile"], 0)
    assert activities[False] == activities[True]
