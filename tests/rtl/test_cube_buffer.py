# amaranth: UnusedElaboratable=no
"""The cube buffer against plain arrays: every write mapping, every read with its wrap, and holding the answer."""

import random

import numpy as np
import pytest
from amaranth.sim import Simulator

from cosim.unit import PERIOD
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
        edges = [(0, 0, 0), (15, 15, 63), (15, 0, 31), (0, 15, 32), (7, 8, 1), (14, 3, 62)]
        cases = [(pair, group, *edge) for pair in range(3) for group in range(groups) for edge in edges]
        cases += [tuple(generator.randrange(size) for size in (3, groups, 16, 16, 64)) for _ in range(400)]
        for pair, group, first, second, along in cases:
            ctx.set(buffer.read_enable, 1)
            for port, value in (("pair", pair), ("group", group), ("first", first), ("second", second)):
                ctx.set(getattr(buffer, port), value)
            ctx.set(buffer.along, along)
            await ctx.tick()
            assert buffer.LATENCY == 1
            for hold in range(2):
                corners, ends = ctx.get(buffer.corners), ctx.get(buffer.ends)
                for corner in range(4):
                    at = planes[pair, group, (second + corner // 2) % 16, (first + corner % 2) % 16]
                    assert vector(corners[corner]) == vector(at)
                for end in range(2):
                    assert vector(ends[end]) == vector(lines[pair, group, (along + end) % 64])
                if hold == 0 and generator.random() < 0.3:
                    ctx.set(buffer.read_enable, 0)
                    for port in ("first", "second", "along"):
                        ctx.set(getattr(buffer, port), generator.randrange(16))
                    await ctx.tick()

    simulator.add_testbench(testbench)
    simulator.run()


def test_groups_outside_the_range_are_refused():
    with pytest.raises(ValueError, match="groups must be from 1 to 3, not 4"):
        CubeBuffer(4)
