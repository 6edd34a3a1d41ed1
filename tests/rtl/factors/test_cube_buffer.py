# amaranth: UnusedElaboratable=no
"""The cube buffer against plain arrays: every write mapping, every read with its wrap, and holding the answer."""

import random
from dataclasses import replace

import numpy as np
import pytest
from amaranth.hdl import Value

from cosim.unit import pack, play
from nerf.contract.registers import AXES
from nerf.contract.scene_image import PAIRS
from rtl.factors.cube_buffer import CubeBuffer
from rtl.parts.lanes import each
from tests.rtl.factors.helpers_blocks import vectors
from tests.sizes import SMALL, TINY


@pytest.mark.parametrize(
    ("cfg", "kind", "lanes", "copies"),
    [
        (TINY, "density", 1, 1),
        (SMALL, "appearance", 1, 1),
        (SMALL, "appearance", 3, 1),
        (SMALL, "density", 1, 2),
        (replace(SMALL, density_window_scale=2), "density", 1, 2),
        (replace(SMALL, density_window_scale=2), "appearance", 1, 1),
        (replace(SMALL, interpolated_components=4), "appearance", 1, 1),
    ],
)
def test_reads_return_the_corners_of_what_was_written(cfg, kind, lanes, copies):
    window, groups = cfg.windows[kind], cfg.groups[kind]
    plane_size, line_size = 4 * window, 16 * window
    buffer = CubeBuffer(cfg, kind, lanes, copies)
    generator = random.Random(groups)
    noise = np.random.default_rng(groups)
    planes = noise.integers(-128, 128, (3, groups, plane_size, plane_size, 16), np.int8)
    lines = noise.integers(-128, 128, (3, groups, line_size, 16), np.int8)

    layout, payload = buffer.i.payload.shape(), Value.cast(buffer.i.payload)

    async def write(ctx, line, pair, group, slot, vectors):
        to = pack(layout, {"to": {"line": line, "pair": pair, "group": group, "slot": slot}})
        for position, vector in enumerate(vectors):
            for part, components in enumerate(vector.reshape(cfg.vector_parts, -1)):
                place = to | position << layout["position"].offset | part << layout["part"].offset
                values = int.from_bytes(components.tobytes(), "little")
                ctx.set(payload, place | values << layout["values"].offset)
                assert ctx.get(buffer.i.ready)
                await ctx.tick()

    async def testbench(ctx):
        ctx.set(buffer.i.valid, 1)
        for pair in range(3):
            for group in range(groups):
                for slot in range(window**2):
                    rows, columns = (slice(4 * at, 4 * at + 4) for at in divmod(slot, window))
                    await write(ctx, 0, pair, group, slot, planes[pair, group, rows, columns].reshape(16, 16))
                for slot in range(window):
                    await write(ctx, 1, pair, group, slot, lines[pair, group, 16 * slot : 16 * slot + 16])
        ctx.set(buffer.i.valid, 0)
        edges = [(0, 0, 0), (127, 127, 127), (31, 32, 63), (64, 31, 95), (126, 1, 31), (63, 126, 0), (31, 31, 32)]
        edges = [tuple(at % line_size for at in edge) for edge in edges]
        reads = groups // lanes
        cases = [(read, *edge) for read in range(reads) for edge in edges]
        cases += [
            tuple(generator.randrange(size) for size in (reads, line_size, line_size, line_size)) for _ in range(200)
        ]
        ports = each(buffer.factors, copies)
        for number, (read, *cell) in enumerate(cases):
            port = ports[number % copies]
            of_read = slice(read * lanes, (read + 1) * lanes)
            part = generator.randrange(cfg.vector_parts)
            ctx.set(port.enable, 1)
            ctx.set(port.part, part)
            ctx.set(port.address, {"group": read, "cell": dict(zip(AXES, cell, strict=True))})
            await ctx.tick()
            assert buffer.LATENCY == 1
            for hold in range(2):
                shown = slice(part * 16 // cfg.vector_parts, (part + 1) * 16 // cfg.vector_parts)
                for pair, axes in enumerate(PAIRS):
                    first, second, along = (cell[axis] for axis in axes)
                    corners, ends = vectors(ctx, port.data[pair].corners), vectors(ctx, port.data[pair].ends)
                    for corner in range(4):
                        at = (second + corner // 2) % plane_size, (first + corner % 2) % plane_size
                        assert corners[corner] == planes[pair, of_read, *at, shown].ravel().tolist()
                    for end in range(2):
                        at = (along + end) % line_size
                        assert ends[end] == lines[pair, of_read, at, shown].ravel().tolist()
                if hold == 0 and generator.random() < 0.3:
                    ctx.set(port.enable, 0)
                    for other in ports:
                        ctx.set(other.enable, other is not port)
                    ctx.set(port.address.cell, {axis: generator.randrange(line_size) for axis in AXES})
                    ctx.set(port.part, generator.randrange(cfg.vector_parts))
                    await ctx.tick()

    play(buffer, testbench)
