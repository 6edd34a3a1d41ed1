"""The simulator's appearance block against the RTL's, cycle for cycle."""

import random

import pytest

from cosim.unit import STALLS, run, shared
from nerf.contract.config import AcceleratorConfig
from rtl.shading.appearance import Appearance
from sim.parts.streams import SAMPLE, SHADE_JOB, new
from sim.shading import appearance
from tests.sim.replay import replay
from tests.sim.shading.helpers_shading import MORE_STALLS, random_samples, sample_fields, watched


@pytest.mark.parametrize("stalls", [*STALLS, *MORE_STALLS])
def test_every_transfer_comes_in_the_same_cycle(stalls):
    chance = random.Random(str(stalls))
    samples = random_samples(chance, 100, 3, lasts=0.2, weight=lambda: chance.randrange(99))
    count = len(samples)
    hardware = run(
        shared(Appearance, AcceleratorConfig(tile=8)), {"i_sample": samples}, {"o_job": count}, stalls=stalls, seed=1
    )
    activities: dict[bool, list[int]] = {False: [], True: []}
    for skip, activity in activities.items():
        state, i_sample, o_job = appearance.new(), new(SAMPLE), new(SHADE_JOB)
        cycles, payloads = replay(
            lambda now, state=state, i_sample=i_sample, o_job=o_job: appearance.step(now, state, i_sample, o_job),
            {"i_sample": (i_sample, [sample_fields(sample, "weight") for sample in samples])},
            {"o_job": (o_job, count)},
            offer=watched(activity, state),
            stalls=stalls,
            seed=1,
            skip=skip,
        )
        assert payloads["o_job"] == [(job.pixel, job.weight, job.last) for job in hardware.outputs["o_job"]]
        assert cycles == hardware.cycles
    assert activities[False] == activities[True]
