"""The simulator's MLP engine against the RTL's, cycle for cycle."""

import random
from functools import partial

import pytest

from cosim.unit import STALLS, run, shared
from nerf.contract.config import COMPONENTS, AcceleratorConfig
from nerf.contract.scene_image import PAIRS
from rtl.shading.mlp_engine import MlpEngine
from sim.parts.streams import COLOURED, PRODUCTS, SHADE_JOB, new
from sim.shading import mlp_engine
from tests.sim.replay import replay
from tests.sim.shading.helpers_shading import watched

SMALLEST = {"hidden": 32, "features": 32}
"""A network whose simulation takes half as long."""


def step(state, i_job, i_products, o, now):
    return mlp_engine.step(now, state, i_job, i_products, o)


def check(lanes, batch, lasts, stalls, seed, **network):
    """Compare the jobs of ``lasts``: 1 for a marker, 0 for a sample."""
    cfg = AcceleratorConfig(tile=8, mlp_lanes=lanes, mlp_batch=batch, **network)
    chance = random.Random(seed)
    jobs = [
        {"last": 1} if last else {"pixel": chance.randrange(64), "weight": n, "last": 0} for n, last in enumerate(lasts)
    ]
    count = cfg.groups["appearance"] * lasts.count(0)
    hardware = run(
        shared(MlpEngine, cfg),
        {"i_job": jobs, "i_products": [[[0] * COMPONENTS] * len(PAIRS)] * count},
        {"o": len(jobs)},
        stalls=stalls,
        seed=seed,
        settle=40,
    )
    expected = [(job.get("pixel", 0), job.get("weight", 0), job["last"]) for job in jobs]
    assert [(out.pixel, out.weight, 0) if not out.last else (0, 0, 1) for out in hardware.outputs["o"]] == expected
    activities: dict[bool, list[int]] = {False: [], True: []}
    for skip, activity in activities.items():
        state, i_job, i_products, o = mlp_engine.new(cfg), new(SHADE_JOB), new(PRODUCTS), new(COLOURED)
        cycles, payloads = replay(
            partial(step, state, i_job, i_products, o),
            {"i_job": (i_job, expected), "i_products": (i_products, [(n,) for n in range(count)])},
            {"o": (o, len(jobs))},
            offer=watched(activity, state),
            stalls=stalls,
            seed=seed,
            skip=skip,
            settle=40,
        )
        assert [payload if not payload[-1] else (0, 0, 1) for payload in payloads["o"]] == expected
        assert cycles == hardware.cycles
    assert activities[False] == activities[True]


@pytest.mark.parametrize("stalls", [(1.0, 1.0), (0.3, 0.02)])
@pytest.mark.parametrize(
    ("lanes", "batch", "hidden", "features"),
    [(128, 2, 128, 27), (64, 1, 128, 27), (64, 2, 64, 25), (16, 1, 64, 27), (32, 2, 32, 32), (128, 1, 256, 24)],
)
def test_lanes_and_networks(lanes, batch, hidden, features, stalls):
    check(lanes, batch, [1, 0, 1, *[0] * (2 * batch + 1), 1, 1], stalls, 1, hidden=hidden, features=features)


MANY = (*STALLS[1:], (0.02, 1.0), (1.0, 0.002), (0.05, 0.002), (0.01, 0.01))


@pytest.mark.parametrize("stalls", MANY)
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_every_transfer_comes_in_the_same_cycle(batch, stalls):
    check(32, batch, [1, 0, 0, 0, 1, 0, 1], stalls, 2, **SMALLEST)


@pytest.mark.parametrize("stalls", [(0.03, 1.0), (0.2, 0.003)])
def test_few_lanes_with_stalls(stalls):
    check(16, 2, [0, 1, 0, 0, 0, 1], stalls, 4, **SMALLEST)


@pytest.mark.parametrize("stalls", [(1.0, 1.0), (1.0, 0.004)])
@pytest.mark.parametrize(("batch", "count"), [(1, 14), (3, 13)])
def test_batch_behind_batch_until_all_places_are_taken(batch, count, stalls):
    check(32, batch, [*[0] * count, 1, *[0] * 2, 1], stalls, 5, **SMALLEST)
