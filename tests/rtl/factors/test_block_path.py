"""From cubes to cube buffers: loaders, fetch, decoder, tree and buffers together, on an encoded scene."""

import functools
import random

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from cosim.unit import play, shared
from nerf.contract.config import CUBE
from nerf.contract.registers import AXES
from nerf.contract.scene_image import PAIRS, Scene
from nerf.golden.hybrid_decoder import decode_factors
from rtl.factors.block_fetch import BlockFetch
from rtl.factors.cube_buffer import CubeBuffer
from rtl.factors.cube_loader import CubeLoader
from rtl.factors.hybrid_decoder import HybridDecoder
from rtl.factors.tree_server import TreeServer
from rtl.payloads import Cube, SceneRegisters
from tests.rtl.factors.helpers_blocks import (
    BASE,
    CONFIG,
    BurstMemory,
    image_words,
    mixed_scene,
    scene_constants,
    vectors,
)


class BlockPath(wiring.Component):
    """Both loaders with everything that they need, as the accelerator joins them."""

    def __init__(self, image: bytes):
        self.memories = {name: BurstMemory(CONFIG, image_words(image)) for name in ("headers", "payload")}
        self.buffers = {kind: CubeBuffer(CONFIG, kind) for kind in CONFIG.groups}
        super().__init__(
            {"scene": In(SceneRegisters), "scene_base": In(CONFIG.address_width), "pauses": In(1), "errors": Out(16)}
            | {f"i_{kind}": In(stream.Signature(Cube)) for kind in CONFIG.groups}
            | {f"o_{kind}": Out(stream.Signature(Cube)) for kind in CONFIG.groups}
            | {f"finished_{kind}": In(1) for kind in CONFIG.groups}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.fetch = fetch = BlockFetch(CONFIG)
        m.submodules.decoder = decoder = HybridDecoder(CONFIG)
        m.submodules.server = server = TreeServer(2)
        for name, memory in self.memories.items():
            m.submodules[name] = memory
            m.d.comb += memory.pauses.eq(self.pauses)
            wiring.connect(m, getattr(fetch, name), memory.port)
        wiring.connect(m, fetch.o_job, decoder.i_job)
        wiring.connect(m, fetch.o_payload, decoder.i_payload)
        wiring.connect(m, decoder.tree, server.client_1)
        vector = decoder.o
        m.d.comb += [fetch.scene.eq(self.scene), fetch.scene_base.eq(self.scene_base)]
        m.d.sync += self.errors.eq(self.errors + fetch.error_header + decoder.error_payload)
        for number, kind in enumerate(CONFIG.groups):
            loader, buffer = CubeLoader(CONFIG, kind), self.buffers[kind]
            m.submodules[f"{kind}_loader"], m.submodules[f"{kind}_buffer"] = loader, buffer
            wiring.connect(m, wiring.flipped(getattr(self, f"i_{kind}")), loader.i)
            wiring.connect(m, loader.o, wiring.flipped(getattr(self, f"o_{kind}")))
            wiring.connect(m, loader.o_request, getattr(fetch, f"i_{kind}"))
            mine = vector.valid & (vector.payload.appearance == number)
            m.d.comb += [
                loader.scene.eq(self.scene),
                loader.finished.eq(getattr(self, f"finished_{kind}")),
                loader.done.eq(mine & buffer.i.ready & vector.payload.block_last),
                buffer.i.valid.eq(mine),
                buffer.i.payload.eq(vector.payload.write),
            ]
            with m.If(mine):
                m.d.comb += vector.ready.eq(buffer.i.ready)
        return m


async def read(ctx, buffer, factors, scene, cube, group, chance):
    """Read a cell of a cube and compare its factors with the decoded ones, as far as the factors have blocks."""
    cell = [CUBE * start + chance.randrange(CUBE) for start in cube]
    port = buffer.factors
    ctx.set(port.enable, 1)
    held = 16 * CONFIG.buffer_window
    ctx.set(port.address, {"group": group, "cell": {axis: at % held for axis, at in zip(AXES, cell, strict=True)}})
    await ctx.tick()
    components = slice(16 * group, 16 * group + 16)
    for pair, axes in enumerate(PAIRS):
        corners, ends = vectors(ctx, port.data[pair].corners), vectors(ctx, port.data[pair].ends)
        first_axis, second_axis, line_axis = axes
        for corner in range(4):
            x, y = cell[first_axis] + corner % 2, cell[second_axis] + corner // 2
            if x < CUBE * scene.cubes[first_axis] and y < CUBE * scene.cubes[second_axis]:
                assert corners[corner] == factors.planes[pair][y, x, components].tolist()
        for end in range(2):
            at = cell[line_axis] + end
            if at < scene.grid[line_axis]:
                assert ends[end] == factors.lines[pair][at, components].tolist()


class Bench:
    """Sends cubes to both loaders and, at each token, reads the buffer and finishes the cube; ``image``: corrupt."""

    def __init__(self, scene: Scene, cubes, pauses=False, image: bytes | None = None, seed=0):
        self.scene, self.cubes, self.pauses, self.image = scene, cubes, pauses, image
        self.compare = image is None
        self.path = shared(BlockPath, scene.data)
        self.chance = random.Random(seed)
        self.tokens = dict.fromkeys(CONFIG.groups, 0)
        users = [functools.partial(user, kind) for kind in CONFIG.groups for user in (self.send, self.use)]
        play(self.path, self.constants, *users)

    async def constants(self, ctx):
        ctx.set(self.path.scene, scene_constants(self.scene))
        ctx.set(self.path.scene_base, BASE)
        ctx.set(self.path.pauses, self.pauses)
        if self.image is not None:
            changed = enumerate(zip(image_words(self.image), image_words(self.scene.data), strict=True))
            for address, word in ((address, word) for address, (word, whole) in changed if word != whole):
                for memory in self.path.memories.values():
                    ctx.set(memory.words[address], word)
        await ctx.tick().repeat(1)
        for _ in range(40_000):
            if all(count == len(self.cubes) for count in self.tokens.values()):
                break
            await ctx.tick()
        else:
            raise AssertionError(f"watchdog: {self.tokens} of {len(self.cubes)} tokens")
        self.errors = ctx.get(self.path.errors)

    async def send(self, kind, ctx):
        port = getattr(self.path, f"i_{kind}")
        await ctx.tick()
        for cube in self.cubes:
            ctx.set(port.payload, dict(zip(AXES, cube, strict=True)))
            ctx.set(port.valid, 1)
            accepted = 0
            while not accepted:
                _, _, accepted = await ctx.tick().sample(port.ready)
            ctx.set(port.valid, 0)

    async def use(self, kind, ctx):
        port, finished = getattr(self.path, f"o_{kind}"), getattr(self.path, f"finished_{kind}")
        buffer = self.path.buffers[kind]
        factors = decode_factors(self.scene, kind, CONFIG.groups[kind]) if self.compare else None
        for cube in self.cubes:
            ctx.set(port.ready, 1)
            valid = 0
            while not valid:
                _, _, valid, token = await ctx.tick().sample(port.valid, port.payload)
            ctx.set(port.ready, 0)
            assert (token.x, token.y, token.z) == cube
            if self.compare:
                for group in range(CONFIG.groups[kind]):
                    for _ in range(2):
                        await read(ctx, buffer, factors, self.scene, cube, group, self.chance)
            ctx.set(finished, 1)
            await ctx.tick()
            ctx.set(finished, 0)
            self.tokens[kind] += 1


@pytest.fixture(scope="module")
def scene():
    return mixed_scene()


def walk(scene):
    return [(x, y, z) for z in range(scene.cubes[2]) for y in range(scene.cubes[1]) for x in range(scene.cubes[0])]


@pytest.mark.parametrize("pauses", [False, True])
def test_buffers_hold_the_factors_of_each_cube(scene, pauses):
    cubes = random.Random(1).sample(walk(scene), 4) if pauses else walk(scene)[:14]
    bench = Bench(scene, cubes, pauses)
    assert bench.errors == 0


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.full)])
def test_corrupt_scenes_strobe_and_still_end(scene, seed):
    """Bits turned in the headers are all found; the blocks are taken as empty, and every cube gets its token."""
    chance = random.Random(seed)
    image = bytearray(scene.data)
    start = scene.density_headers[0]
    for _ in range(200):
        image[chance.randrange(start, scene.payload_offset)] ^= 1 << chance.randrange(8)
    bench = Bench(scene, walk(scene)[:: 26 + seed], image=bytes(image))
    assert bench.errors > 0


def test_corrupt_payloads_never_hang(scene):
    noise = np.random.default_rng(1)
    size = len(scene.data) - scene.payload_offset
    image = scene.data[: scene.payload_offset] + noise.bytes(size)
    bench = Bench(scene, walk(scene)[::31], image=image)
    assert bench.errors > 0
