# amaranth: UnusedElaboratable=no
"""The cube loader against a model of the window: requests, their order around the cubes in use, tokens and rates."""

import random
from itertools import chain, pairwise

import pytest

from cosim.unit import play, shared
from nerf.contract.scene_image import PAIRS, cubes_of
from rtl.factors.cube_loader import CubeLoader
from tests.sizes import SIZES, TINY


def needed(cube, grid, window):
    """Return the blocks that a cube needs, in order: (line, pair, slot, index without groups)."""
    cubes, blocks = cubes_of(grid), []
    for pair, (first, second, line) in enumerate(PAIRS):
        for b in range(2):
            for a in range(2):
                x, y = cube[first] + a, cube[second] + b
                if x < cubes[first] and y < cubes[second]:
                    blocks.append((0, pair, x % window + window * (y % window), y * cubes[first] + x))
        for block in dict.fromkeys((cube[line] >> 2, cube[line] + 1 >> 2)):
            if 16 * block < grid[line]:
                blocks.append((1, pair, block % window, block))
    return blocks


def expected_requests(cubes, grid, groups, window=TINY.buffer_window):
    """Return per cube the requests (line, pair, group, slot, index) that a window with tags gives."""
    held, per_cube = {}, []
    for cube in cubes:
        requests = []
        for line, pair, slot, index in needed(cube, grid, window):
            if held.get((line, pair, slot)) != index:
                held[line, pair, slot] = index
                requests += [(line, pair, group, slot, index * groups + group) for group in range(groups)]
        per_cube.append(requests)
    return per_cube


def vector(cube):
    return dict(zip("xyz", cube, strict=True))


class Bench:
    """Drives a loader: requests are done after a random delay, each token is held a while, then finished.

    ``alone``: a cube comes only when the one before is finished.
    """

    def __init__(self, grid, kind, cubes, chance, hold, seed=0, delay=12, alone=False, cfg=TINY):
        self.cfg, self.kind = cfg, kind
        self.loader = shared(CubeLoader, cfg, kind)
        self.grid, self.cubes, self.chance, self.hold = grid, cubes, chance, hold
        self.delay, self.alone = delay, alone
        self.per_cube = expected_requests(cubes, grid, cfg.groups[kind], cfg.windows[kind])
        self.random = random.Random(seed)
        self.requests, self.tokens, self.accepted, self.finished, self.done = [], [], [], [], []
        self.cycle = 0
        play(self.loader, self.drive)

    async def drive(self, ctx):
        loader = self.loader
        ctx.set(loader.scene.grid, vector(self.grid))
        ctx.set(loader.scene.cubes, vector(cubes_of(self.grid)))
        waiting, delays, release = list(self.cubes), [], None
        while len(self.finished) < len(self.cubes):
            assert self.cycle < 50_000, "watchdog"
            comes = waiting and not (self.alone and len(self.accepted) > len(self.finished))
            ctx.set(loader.i.valid, bool(comes) and self.random.random() < self.chance)
            if waiting:
                ctx.set(loader.i.payload, vector(waiting[0]))
            ctx.set(loader.o.ready, release is None and self.random.random() < self.chance)
            ctx.set(loader.o_request.ready, self.random.random() < self.chance)
            ctx.set(loader.done, bool(delays) and delays[0] <= self.cycle)
            ctx.set(loader.finished, release == self.cycle)
            took = ctx.get(loader.i.valid & loader.i.ready)
            token = ctx.get(loader.o.valid & loader.o.ready)
            asked = ctx.get(loader.o_request.valid & loader.o_request.ready)
            if ctx.get(loader.o.valid):
                number = len(self.tokens)
                assert len(self.done) >= self.blocks(number + 1), "a token before all its blocks are there"
            if asked:
                request = ctx.get(loader.o_request.payload)
                to = request.to
                self.requests.append((self.cycle, (to.line, to.pair, to.group, to.slot, request.index)))
                delays.append(max(delays[-1] if delays else 0, self.cycle + self.random.randint(1, self.delay)))
            if ctx.get(loader.done):
                delays.pop(0)
                self.done.append(self.cycle)
            if release == self.cycle:
                release = None
                self.finished.append(self.cycle)
            if token:
                cube = ctx.get(loader.o.payload)
                self.tokens.append((self.cycle, (cube.x, cube.y, cube.z)))
                release = self.cycle + 1 + (self.random.randint(0, self.hold) if self.hold else 0)
            if took:
                waiting.pop(0)
                self.accepted.append(self.cycle)
            await ctx.tick()
            self.cycle += 1

    def blocks(self, cubes):
        """Return how many blocks are requested for the first cubes."""
        return sum(map(len, self.per_cube[:cubes]))

    def check(self):
        assert [cube for _, cube in self.tokens] == self.cubes
        assert [request for _, request in self.requests] == [*chain.from_iterable(self.per_cube)]
        # No request for a slot of a cube that is not finished.
        at = 0
        for number, requests in enumerate(self.per_cube):
            for cycle, (line, pair, _, slot, _) in self.requests[at : at + len(requests)]:
                for earlier in range(number):
                    if self.finished[earlier] >= cycle:
                        used = {
                            block[:3] for block in needed(self.cubes[earlier], self.grid, self.cfg.windows[self.kind])
                        }
                        assert (line, pair, slot) not in used
            at += len(requests)
        for number in range(self.cfg.cube_queue, len(self.cubes)):
            assert self.accepted[number] > self.finished[number - self.cfg.cube_queue]


def walk(grid):
    return [
        (x, y, z) for z in range(cubes_of(grid)[2]) for y in range(cubes_of(grid)[1]) for x in range(cubes_of(grid)[0])
    ]


def jumps(grid, count, seed):
    generator = random.Random(seed)
    return [tuple(generator.randrange(n) for n in cubes_of(grid)) for _ in range(count)]


@pytest.mark.parametrize(("chance", "hold"), [(1.0, 0), (1.0, 60), (0.4, 20)])
@pytest.mark.parametrize("kind", TINY.groups)
def test_requests_and_tokens(kind, chance, hold):
    largest = (384, 640, 640)
    for grid, cubes in (
        ((13, 9, 20), walk((13, 9, 20))),
        (largest, [(95, 159, 159), (0, 0, 0), (94, 158, 3), (0, 127, 4), (31, 63, 95), *jumps(largest, 15, 1)]),
        ((70, 65, 64), jumps((70, 65, 64), 15, TINY.groups[kind])),
        ((2, 2, 2), [(0, 0, 0)] * 3),
    ):
        bench = Bench(grid, kind, cubes, chance, hold, seed=f"{kind} {hold}")
        bench.check()


def test_cubes_are_loaded_while_one_is_read():
    """Those that have place in the window beside it; the fourth takes a slot of the first, when that is finished."""
    cubes = [(0, 0, 0), (1, 0, 0), (2, 0, 0), (TINY.buffer_window, 0, 0)]
    bench = Bench((40, 40, 40), "density", cubes, 1.0, 600, seed=3)
    bench.check()
    assert bench.done[bench.blocks(3) - 1] < bench.finished[0] < bench.requests[bench.blocks(3)][0]
    assert bench.requests[-1][0] < bench.finished[2]


def test_a_token_does_not_wait_for_blocks_of_later_cubes():
    bench = Bench((40, 40, 40), "appearance", [(0, 0, 0), (1, 0, 0), (2, 0, 0)], 1.0, 0, delay=400)
    bench.check()
    for number, (token, _) in enumerate(bench.tokens):
        assert token == bench.done[bench.blocks(number + 1) - 1] + 1
    assert bench.requests[-1][0] < bench.tokens[0][0]


@pytest.mark.parametrize("cfg", SIZES)
def test_as_many_cubes_as_stated_are_held(cfg):
    bench = Bench((16, 16, 16), "density", [(1, 1, 1)] * 20, 1.0, 600, seed=5, cfg=cfg)
    bench.check()
    assert sum(cycle <= bench.finished[0] for cycle in bench.accepted) == cfg.cube_queue


@pytest.mark.parametrize("kind", TINY.groups)
def test_cubes_without_requests_take_the_stated_cycles(kind):
    bench = Bench((16, 16, 16), kind, [(1, 1, 1)] * 12, 1.0, 0)
    tokens = [cycle for cycle, _ in bench.tokens]
    assert [b - a for a, b in pairwise(tokens[1:])] == [CubeLoader.CYCLES] * 10
    bench = Bench((16, 16, 16), kind, [(1, 1, 1)] * 4, 1.0, 0, alone=True)
    delays = [token - accepted for (token, _), accepted in zip(bench.tokens, bench.accepted, strict=True)]
    assert delays[1:] == [CubeLoader.LATENCY] * 3
