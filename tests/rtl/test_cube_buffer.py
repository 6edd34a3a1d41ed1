# amaranth: UnusedElaboratable=no
"""The cube buffer against plain arrays: every write mapping, every read with its wrap, and holding the answer."""

import random

import numpy as np
import pytest
from amaranth.sim import Simulator

from cosim.unit import PERIOD
from nerf.contract.registers import AXES
from nerf.contract.scene_image import PAIRS
from rtl.cube_buffer import CubeBuffer


def vector(values):
    return [int(value) for value in values]


@pytest.mark.parametrize("groups", [1, 3])
def test_reads_return_the_corners_of_what_was_written(groups):
    buffer = CubeBuffer(groups)
    simulator = Simulator(buffer)
    simulator.add_clock(PERIOD)
    generator = random.Random(groups)
    noise = np.random.default_rng(groups)
    planes = noise.integers(-128, 128, (3, groups, 16, 16, 16))
    lines = noise.integers(-128, 128, (3, groups, 64, 16))

    async def write(ctx, line, pair, group, slot, position, values):
        to = {"line": line, "pair": pair, "group": group, "slot": slot}
        ctx.set(buffer.i.payload, {"to": to, "position": position, "values": vector(values)})
        ctx.set(buffer.i.valid, 1)
        await ctx.tick()
        ctx.set(buffer.i.valid, 0)

    async def testbench(ctx):
        for pair in range(3):
            for group in range(groups):
                for slot in range(16):
                    for p in range(16):
                        first, second = 4 * (slot % 4) + p % 4, 4 * (slot // 4) + p // 4
                        await write(ctx, 0, pair, group, slot, p, planes[pair, group, second, first])
                for slot in range(4):
                    for p in range(16):
                        await write(ctx, 1, pair, group, slot, p, lines[pair, group, 16 * slot + p])
        edges = [(0, 0, 0), (63, 63, 63), (15, 16, 31), (32, 15, 47), (62, 1, 15), (31, 62, 0), (15, 15, 16)]
        cases = [(group, *edge) for group in range(groups) for edge in edges]
        cases += [tuple(generator.randrange(size) for size in (groups, 64, 64, 64)) for _ in range(200)]
        port = buffer.factors
        for group, *cell in cases:
            ctx.set(port.enable, 1)
            ctx.set(port.address, {"group": group, "cell": dict(zip(AXES, cell, strict=True))})
            await ctx.tick()
            assert buffer.LATENCY == 1
            for hold in range(2):
                for pair, axes in enumerate(PAIRS):
                    first, second, along = (cell[axis] for axis in axes)
                    corners, ends = ctx.get(port.data[pair].corners), ctx.get(port.data[pair].ends)
                    for corner in range(4):
                        at = planes[pair, group, (second + corner // 2) % 16, (first + corner % 2) % 16]
                        assert vector(corners[corner]) == vector(at)
                    for end in range(2):
                        assert vector(ends[end]) == vector(lines[pair, group, (along + end) % 64])
                if hold == 0 and generator.random() < 0.3:
                    ctx.set(port.enable, 0)
                    ctx.set(port.address.cell, {axis: generator.randrange(64) for axis in AXES})
                    await ctx.tick()

    simulator.add_testbench(testbench)
    simulator.run()


def test_groups_outside_the_range_are_refused():
    with pytest.raises(ValueError, match="groups must be from 1 to 3, not 4"):
        CubeBuffer(4)
