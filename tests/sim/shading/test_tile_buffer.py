"""The simulator's tile buffer against the RTL's, cycle for cycle."""

import random

import numpy as np
import pytest

from cosim.unit import STALLS, run, shared
from nerf.contract.config import AcceleratorConfig
from rtl.shading.tile_buffer import TileBuffer
from sim.parts.streams import BLANK, COLOURED, PIXEL, STROBE, TILE, new
from sim.shading import tile_buffer
from tests.sim.replay import replay
from tests.sim.shading.helpers_shading import MORE_STALLS, registers, watched

SIDE = 4


class Twin:
    """The simulator's tile buffer; ``done`` must come with the acceptance of a tile's last pixel."""

    def __init__(self, tile):
        self.tile = registers(TILE, **tile)
        self.state, self.i, self.blank, self.o = tile_buffer.new(), new(COLOURED), new(BLANK), new(PIXEL)
        self.done = np.zeros(1, STROBE)[0]

    def step(self, now):
        scans = self.state["waits"] and now >= self.state["reads_from"] and not self.state["fills"]
        at_last = scans and not (self.state["to_read"] or self.state["stages"] or self.o["valid"])
        wake = tile_buffer.step(now, self.state, self.tile, self.blank, self.i, self.o, self.done)
        assert self.done["set"] == at_last
        self.done["set"] = 0
        return wake


@pytest.mark.parametrize("stalls", [*STALLS, *MORE_STALLS])
@pytest.mark.parametrize("blanks", [0, 8])
@pytest.mark.parametrize(("last_x", "last_y"), [(3, 3), (0, 0), (0, 3), (3, 0), (2, 1)])
def test_every_transfer_comes_in_the_same_cycle(stalls, last_x, last_y, blanks):
    chance = random.Random(f"{stalls} {last_x} {last_y}")
    lasts = [0, 0, 0, 1, 1, *(int(chance.random() < 0.2) for _ in range(30)), 1]
    tile = {"x": 8188, "y": 40, "last_x": last_x, "last_y": last_y}
    samples = [{"pixel": chance.randrange(SIDE * SIDE), "weight": 1, "last": last} for last in lasts]
    empty = [{"x": 4 * n, "y": 0, "last_x": n % 4, "last_y": (n + 1) % 4} for n in range(blanks)]
    count = sum(lasts) * (last_x + 1) * (last_y + 1) + sum((b["last_x"] + 1) * (b["last_y"] + 1) for b in empty)
    hardware = run(
        shared(TileBuffer, AcceleratorConfig(tile=SIDE)),
        {"i": samples, "blank": empty},
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
            {
                "i": (twin.i, [tuple(sample.values()) for sample in samples]),
                "blank": (twin.blank, [(*tile.values(), 0, 0) for tile in empty]),
            },
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
