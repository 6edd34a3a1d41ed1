"""Queue, cube sequencer and round robin."""

import random

import pytest

from cosim.unit import STALLS, play, run, shared
from nerf.contract.config import load_config
from rtl.factors.cube_sequencer import CubeSequencer
from rtl.parts.queue import Queue
from rtl.parts.round_robin import RoundRobin
from rtl.payloads import TileLayouts

LAYOUTS = TileLayouts(load_config("tiny"))


@pytest.mark.parametrize("stalls", STALLS)
def test_queue_keeps_order(stalls):
    got = run(shared(Queue, 8, 4), {"i": range(100)}, {"o": 100}, stalls=stalls)
    assert got.outputs["o"] == list(range(100))
    if stalls == (1.0, 1.0):
        assert got.cycles["o"] == list(range(Queue.LATENCY, 100 + Queue.LATENCY))


@pytest.mark.parametrize("stalls", STALLS)
def test_sequencer_announces_each_change_once(stalls):
    chance = random.Random(3)
    samples, cubes, current = [], [], None
    for number in range(80):
        if number % 17 == 16:
            samples.append({"pixel": 0, "cube": dict.fromkeys("xyz", 0), "local": dict.fromkeys("xyz", 0), "last": 1})
            continue
        cube = (chance.randrange(2), 0, chance.choice([0, 0, 127]))
        if cube != current:
            cubes.append(cube)
            current = cube
        fields = dict(zip("xyz", cube, strict=True))
        samples.append({"pixel": number, "cube": fields, "local": dict.fromkeys("xyz", number), "last": 0})
    got = run(
        shared(CubeSequencer, LAYOUTS.Sample), {"i": samples}, {"o": len(samples), "o_cube": len(cubes)}, stalls=stalls
    )
    assert [sample.pixel for sample in got.outputs["o"]] == [sample["pixel"] for sample in samples]
    assert [(cube.x, cube.y, cube.z) for cube in got.outputs["o_cube"]] == cubes


@pytest.mark.parametrize("count", [1, 3, 5])
def test_round_robin_starts_after_the_last_granted(count):
    arbiter = RoundRobin(count)

    async def check(ctx):
        last = count - 1
        for requests in random.Random(count).choices(range(1 << count), k=200):
            ctx.set(arbiter.requests, requests)
            ctx.set(arbiter.next, 1)
            await ctx.delay(1e-9)
            assert ctx.get(arbiter.valid) == (requests != 0)
            if requests:
                turns = [(last + 1 + n) % count for n in range(count)]
                last = next(turn for turn in turns if requests >> turn & 1)
                assert ctx.get(arbiter.grant) == last
            await ctx.tick()

    play(arbiter, check)
