"""The simulator's queue against the RTL's, cycle for cycle."""

import pytest

from cosim.unit import STALLS, run, shared
from rtl.parts.queue import Queue
from sim.parts import queue
from sim.parts.streams import SAMPLE, new
from tests.sim.replay import replay


@pytest.mark.parametrize("stalls", [*STALLS, (0.9, 0.1)])
@pytest.mark.parametrize("depth", [2, 4, 16])
@pytest.mark.parametrize("skip", [False, True])
def test_every_transfer_comes_in_the_same_cycle(stalls, depth, skip):
    count = 200
    hardware = run(shared(Queue, 8, depth), {"i": range(count)}, {"o": count}, stalls=stalls, seed=depth)
    state, i, o = queue.new(depth), new(SAMPLE), new(SAMPLE)
    samples = [(pixel, 1, 2, 3, 4, 0) for pixel in range(count)]
    cycles, payloads = replay(
        lambda now: queue.step(now, state, i, o),
        {"i": (i, samples)},
        {"o": (o, count)},
        stalls=stalls,
        seed=depth,
        skip=skip,
    )
    assert payloads["o"] == samples
    assert cycles == hardware.cycles
