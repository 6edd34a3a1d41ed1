"""The simulator's MLP engine against the RTL's, cycle for cycle."""

import random
from functools import partial

import pytest

from cosim.unit import STALLS, run
from nerf.contract.config import COMPONENTS, AcceleratorConfig
from rtl.mlp_engine import VECTORS, MlpEngine
from sim import mlp_engine
from sim.streams import COLOURED, PRODUCTS, SHADE_JOB, new
from tests.sim.helpers_shading import watched
from tests.sim.replay import replay


def step(state, i_job, i_products, o, now):
    return mlp_engine.step(now, state, i_job, i_products, o)


def check(lanes, lasts, stalls, seed):
    """Compare the jobs of ``lasts``: 1 for a marker, 0 for a sample."""
    cfg = AcceleratorConfig(tile=8, mlp_lanes=lanes)
    chance = random.Random(seed)
    jobs = [
        {"last": 1} if last else {"pixel": chance.randrange(64), "weight": n, "last": 0} for n, last in enumerate(lasts)
    ]
    count = VECTORS * lasts.count(0)
    hardware = run(
        MlpEngine(cfg),
        {"i_job": jobs, "i_products": [[0] * COMPONENTS] * count},
        {"o": len(jobs)},
        stalls=stalls,
        seed=seed,
        settle=700,
    )
    expected = [(job.get("pixel", 0), job.get("weight", 0), job["last"]) for job in jobs]
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
            settle=700,
        )
        assert [payload if not payload[-1] else (0, 0, 1) for payload in payloads["o"]] == expected
        assert cycles == hardware.cycles
    assert activities[False] == activities[True]


@pytest.mark.parametrize("lanes", [16, 32, 64, 128])
def test_samples_and_markers_without_stalls(lanes):
    check(lanes, [0, 1, 0, 1, 1], (1.0, 1.0), 1)


@pytest.mark.parametrize("stalls", [*STALLS[1:], (0.02, 1.0), (1.0, 0.001), (0.05, 0.001), (0.01, 0.01)])
def test_every_transfer_comes_in_the_same_cycle(stalls):
    check(128, [1, 0, 0, 1, 0], stalls, 2)


@pytest.mark.parametrize("stalls", [(0.03, 1.0), (0.02, 0.0005)])
def test_few_lanes_with_stalls(stalls):
    check(16, [0, 1, 0], stalls, 4)
