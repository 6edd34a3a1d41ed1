"""The simulator's tile buffer against the RTL's, cycle for cycle."""

import random

import numpy as np
import pytest

from cosim.unit import STALLS, run, shared
from nerf.contract.config import AcceleratorConfig
from rtl.shading.tile_buffer import TileBuffer
from sim.parts.streams import COLOURED, PIXEL, STROBE, TILE, new
from sim.shading import tile_buffer
from tests.sim.replay import replay
from tests.sim.shading.helpers_shading import MORE_STALLS, registers, watched

SIDE = 4


class Twin:
    """The simulator's tile buffer; ``done`` must come with the acceptance of a tile's last pixel."""

    def __init__(self, tile):
        self.tile = registers(TILE, **tile)
        self.state, self.i, self.o = tile_buffer.new(), new(COLOURED), new(PIXEL)
        self.done = np.zeros(1, STROBE)[0]

    def step(self, now):
        scans = self.state["waits"] and now >= self.state["reads_from"]
        at_last = scans and not (self.state["to_read"] or self.state["stages"] or self.o["valid"])
        wake = tile_buffer.step(now, self.state, self.tile, self.i, self.o, self.done)
        assert self.done["set"] == at_last
        self.done["set"] = 0
        return wake


@pytest.mark.parametrize("stalls", [*STALLS, *MORE_STALLS])
@pytest.mark.parametrize(("last_x", "last_y"), [(3, 3), (0, 0), (0, 3), (3, 0), (2, 1)])
def test_every_transfer_comes_in_the_same_cycle(stalls, last_x, last_y):
    chance = random.Random(f"{stalls} {last_x} {last_y}")
    lasts = [0, 0, 0, 1, 1, *(int(chance.random() < 0.2) for _ in range(30)), 1]
    tile = {"x": 8188, "y": 40, "last_x": last_x, "last_y": last_y}
    samples = [{"pixel": chance.randrange(SIDE * SIDE), "weight": 1, "last": last} for last in lasts]
    count = sum(lasts) * (last_x + 1) * (last_y + 1)
    hardware = run(
        shared(TileBuffer, AcceleratorConfig(tile=SIDE)),
        {"i": samples},
        {"o": count},
        {"tile": tile},
        stalls=stalls,
        seed=1,
    )
    activities: dict[bool, list[int]] = {False: [], True: []}
    for skip, activity in activities.items():
        twin = Twin(tile)
        cycles, payloads = replay(
            twin.step,
            {"i": (twin.i, [tuple(sample.values()) for sample in samples])},
            {"o": (twin.o, count)},
            offer=watched(activity, twin.state),
            stalls=stalls,
            seed=1,
            skip=skip,
        )
        assert payloads["o"] == [(pixel.x, pixel.y, pixel.ends_row) for pixel in hardware.outputs["o"]]
        assert cycles == hardware.cycles
        assert twin.state["shaded"] == lasts.count(0)
    assert activities[False] == activities[True]
