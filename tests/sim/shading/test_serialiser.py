"""The serialiser, RTL and simulator: every visible sample in the order of the lanes, in the same cycle."""

import random

import pytest

from cosim.unit import STALLS, run, shared
from nerf.contract.config import AcceleratorConfig
from rtl.payloads import TileLayouts
from rtl.shading.serialiser import Serialiser
from sim.parts.streams import SAMPLE, new
from sim.shading import serialiser
from tests.rtl.shading.helpers_shading import fields, in_lanes, samples_in
from tests.sim.replay import replay
from tests.sim.shading.helpers_shading import MORE_STALLS, modelled, random_samples, sample_fields, watched

LAYOUTS = TileLayouts(AcceleratorConfig(tile=8))


@pytest.mark.parametrize("stalls", [*STALLS, *MORE_STALLS])
def test_every_sample_comes_alone_in_the_same_cycle(stalls):
    chance = random.Random(str(stalls))
    transfers = in_lanes(
        random_samples(chance, 200, 3, cubes=128, lasts=0.1, weight=lambda: chance.randrange(99)), chance
    )
    samples = [one for transfer in transfers for one in samples_in(transfer)]
    assert len(transfers) < len(samples)
    hardware = run(
        shared(Serialiser, LAYOUTS.VisibleSample, 2), {"i": transfers}, {"o": len(samples)}, stalls=stalls, seed=1
    )
    for sample, out in zip(samples, map(fields, hardware.outputs["o"]), strict=True):
        assert out["last"] == sample["last"]
        assert sample["last"] or out == sample
    activities: dict[bool, list[int]] = {False: [], True: []}
    for skip, activity in activities.items():
        state, i, o = serialiser.new(), new(SAMPLE), new(SAMPLE)
        cycles, payloads = replay(
            lambda now, state=state, i=i, o=o: serialiser.step(now, state, i, o),
            {"i": (i, [sample_fields(transfer, "weight") for transfer in transfers])},
            {"o": (o, len(samples))},
            offer=watched(activity, state),
            stalls=stalls,
            seed=1,
            skip=skip,
        )
        assert [modelled(payload) for payload in payloads["o"]] == [sample_fields(one, "weight") for one in samples]
        assert cycles == hardware.cycles
    assert activities[False] == activities[True]
    if stalls == (1.0, 1.0):
        assert hardware.cycles["o"] == list(range(1, 1 + len(samples)))


def test_latency():
    samples = [{"pixel": 1, "cube": dict.fromkeys("xyz", 1), "local": dict.fromkeys("xyz", 2), "weight": 3, "last": 0}]
    result = run(shared(Serialiser, LAYOUTS.VisibleSample, 2), {"i": in_lanes(samples, random.Random(1))}, {"o": 1})
    assert result.cycles["o"][0] - result.cycles["i"][0] == 1
