"""The simulator's cube sequencer against the RTL's, cycle for cycle."""

import random

import pytest

from cosim.unit import STALLS, run, shared
from nerf.contract.config import AcceleratorConfig
from rtl.factors.cube_sequencer import CubeSequencer
from rtl.payloads import AXES, TileLayouts
from sim.factors import cube_sequencer
from sim.parts.streams import CUBE, SAMPLE, new
from tests.sim.replay import replay
from tests.sim.shading.helpers_shading import MORE_STALLS, cubes_of, modelled, random_samples, sample_fields, watched

LAYOUTS = TileLayouts(AcceleratorConfig(tile=8))


@pytest.mark.parametrize("stalls", [*STALLS, *MORE_STALLS])
@pytest.mark.parametrize("taken_first", [False, True])
def test_every_transfer_comes_in_the_same_cycle(stalls, taken_first):
    """Whoever takes the announcement may step before the sequencer or after it."""
    chance = random.Random(str(stalls))
    samples = random_samples(chance, 200, 3, cubes=160, lasts=0.2, weight=lambda: chance.randrange(99))
    cubes = cubes_of(samples)
    counts = {"o": len(samples), "o_cube": len(cubes)}
    hardware = run(shared(CubeSequencer, LAYOUTS.VisibleSample), {"i": samples}, counts, stalls=stalls, seed=1)
    activities: dict[bool, list[int]] = {False: [], True: []}
    for skip, activity in activities.items():
        state, i, o, o_cube = cube_sequencer.new(), new(SAMPLE), new(SAMPLE), new(CUBE)
        # What the reader of announcements takes; the sequencer hears of it before its step, or behind it.
        shown = o_cube if taken_first else new(CUBE)

        def offer(now, state=state, i=i, o=o, o_cube=o_cube, shown=shown):
            cube_sequencer.offer(now, state, i, o, o_cube)
            for name in CUBE.names:
                shown[name] = o_cube[name]

        def step(now, state=state, i=i, o=o, o_cube=o_cube, shown=shown):
            wake = cube_sequencer.step(now, state, i, o, o_cube)
            o_cube["valid"] = shown["valid"]
            return wake

        cycles, payloads = replay(
            step,
            {"i": (i, [sample_fields(sample, "weight") for sample in samples])},
            {"o": (o, counts["o"]), "o_cube": (shown, counts["o_cube"])},
            offer=watched(activity, state, offer),
            stalls=stalls,
            seed=1,
            skip=skip,
        )
        assert [modelled(payload) for payload in payloads["o"]] == [
            sample_fields(sample, "weight") for sample in samples
        ]
        assert payloads["o_cube"] == [tuple(cube[axis] for axis in AXES) for cube in cubes]
        assert cycles == hardware.cycles
    assert activities[False] == activities[True]
