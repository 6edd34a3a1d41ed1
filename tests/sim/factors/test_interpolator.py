"""The simulator's interpolator against the RTL's, cycle for cycle."""

import random
from dataclasses import replace

import numpy as np
import pytest
from amaranth.hdl import Const, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, run, shared
from nerf.contract.config import AcceleratorConfig
from rtl.factors.interpolator import Interpolator
from rtl.payloads import AXES, Cube, TileLayouts, product_vectors
from sim.factors import interpolator
from sim.parts.streams import CUBE, PRODUCTS, SAMPLE, STROBE, TREE_REQUEST, new
from tests.rtl.shading.helpers_shading import record
from tests.sim.replay import replay
from tests.sim.shading.helpers_shading import (
    MORE_STALLS,
    StrobeQueue,
    cubes_of,
    modelled,
    random_samples,
    sample_fields,
    watched,
)

CFG = AcceleratorConfig(tile=8)
LAYOUTS = TileLayouts(CFG)
KINDS = {
    "density": (1, LAYOUTS.Sample, TREE_REQUEST, 1, 16),
    "density in quarters": (1, LAYOUTS.Sample, TREE_REQUEST, 1, 4),
    "density one by one": (1, LAYOUTS.Sample, TREE_REQUEST, 1, 1),
    "appearance": (3, LAYOUTS.VisibleSample, PRODUCTS, 1, 16),
    "appearance in halves": (3, LAYOUTS.VisibleSample, PRODUCTS, 1, 8),
    "appearance at once": (3, LAYOUTS.VisibleSample, PRODUCTS, 3, 16),
}
"""Groups, samples, the simulator's record of vectors, lanes, and components at a time."""


class Bench(wiring.Component):
    """The interpolator, its strobe as a stream."""

    def __init__(self, groups, layout, lanes, components):
        cfg = replace(CFG, interpolated_components=components)
        self.dut = Interpolator(cfg, groups, layout, lanes)
        super().__init__(
            {
                "i": In(stream.Signature(layout)),
                "loaded": In(stream.Signature(Cube)),
                "o_sample": Out(stream.Signature(layout)),
                "o_vector": Out(stream.Signature(product_vectors(lanes))),
                "finished": Out(stream.Signature(1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        for name in ("i", "loaded"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(dut, name))
        for name in ("o_sample", "o_vector"):
            wiring.connect(m, getattr(dut, name), wiring.flipped(getattr(self, name)))
        record(m, "finished_queue", dut.finished, Const(0, 1), self.finished)
        return m


def check(kind, samples, tokens, finished, stalls, seed):
    groups, layout, vectors, lanes, components = KINDS[kind]
    counts = {
        "o_sample": len(samples),
        "o_vector": groups // lanes * sum(not sample["last"] for sample in samples),
        "finished": finished,
    }
    hardware = run(
        shared(Bench, groups, layout, lanes, components),
        {"i": samples, "loaded": tokens},
        counts,
        stalls=stalls,
        seed=seed,
    )
    activities: dict[bool, list[int]] = {False: [], True: []}
    for skip, activity in activities.items():
        state = interpolator.new(groups // lanes, 16 // components)
        i, loaded, o_sample, o_vector = new(SAMPLE), new(CUBE), new(SAMPLE), new(vectors)
        strobe, strobes = np.zeros(1, STROBE)[0], StrobeQueue()

        def step(now, state=state, i=i, loaded=loaded, o_sample=o_sample, o_vector=o_vector, strobe=strobe, q=strobes):
            wake = interpolator.step(now, state, i, loaded, strobe, o_sample, o_vector)
            if strobe["set"]:
                strobe["set"] = 0
                q.push(0)
            return wake

        cycles, payloads = replay(
            step,
            {
                "i": (i, [sample_fields(sample, "weight") for sample in samples]),
                "loaded": (loaded, [tuple(token[axis] for axis in AXES) for token in tokens]),
            },
            {
                "o_sample": (o_sample, counts["o_sample"]),
                "o_vector": (o_vector, counts["o_vector"]),
                "finished": (strobes.o, finished),
            },
            stalls=stalls,
            seed=seed,
            offer=watched(activity, state, lambda now, q=strobes: q.offer()),
            skip=skip,
        )
        assert [modelled(payload) for payload in payloads["o_sample"]] == [
            sample_fields(sample, "weight") for sample in samples
        ]
        assert cycles == hardware.cycles
    assert activities[False] == activities[True]


@pytest.mark.parametrize("stalls", [*STALLS, *MORE_STALLS])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("run_length", [1, 6])
def test_every_transfer_comes_in_the_same_cycle(kind, stalls, run_length):
    chance = random.Random(f"{kind} {stalls} {run_length}")
    weight = {"weight": lambda: chance.randrange(99)} if "appearance" in kind else {}
    samples = random_samples(chance, 48 // KINDS[kind][0], run_length, cubes=160, lasts=0.2, **weight)
    tokens = cubes_of(samples)
    check(kind, samples, tokens, len(tokens) - 1, stalls, seed=run_length)


@pytest.mark.parametrize("stalls", STALLS)
def test_unwanted_tokens_are_finished(stalls):
    chance = random.Random(7)
    samples = random_samples(chance, 20, 3)
    tokens = cubes_of(samples)
    unwanted = dict.fromkeys(AXES, 99)
    tokens = [token for cube in tokens for token in (unwanted, cube)]
    check("density", samples, tokens, len(tokens) - 1, stalls, seed=1)


@pytest.mark.parametrize("stalls", STALLS)
def test_markers_need_no_cube(stalls):
    check("appearance", [{"last": 1}] * 9, [dict.fromkeys(AXES, 1)] * 1, 0, stalls, seed=2)
