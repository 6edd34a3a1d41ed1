"""The sparse search unit against a dictionary of entries."""

import random

import pytest

from cosim.unit import play, shared
from nerf.contract.blocks import COORDINATE_LIMIT
from nerf.contract.config import COMPONENTS
from rtl.factors.sparse_search import LOAD_ENTRIES, SparseSearch


async def load(ctx, unit, entries, gaps, together):
    """Clear, and load the entries eight at a time; ``together``: the first load in the cycle of the clear."""
    ctx.set(unit.clear, 1)
    if not together or not entries:
        await ctx.tick()
        ctx.set(unit.clear, 0)
    for start in range(0, len(entries), LOAD_ENTRIES):
        part = entries[start : start + LOAD_ENTRIES]
        ctx.set(unit.load, 1)
        ctx.set(unit.load_count, len(part))
        padded = part + [(gaps.randrange(256), gaps.randrange(-128, 128))] * (LOAD_ENTRIES - len(part))
        ctx.set(unit.entries, [{"component": i % 16, "position": i // 16, "value": value} for i, value in padded])
        await ctx.tick()
        ctx.set(unit.clear, 0)
        ctx.set(unit.load, 0)
        while gaps.random() < 0.3:
            await ctx.tick()


def entry_lists():
    generator = random.Random(3)
    yield []
    yield [(0, -128)]
    yield [(255, 127)]
    yield [(index, -1) for index in range(COORDINATE_LIMIT)]
    yield [(index, 1) for index in range(256 - COORDINATE_LIMIT, 256)]
    yield [(16 * index, index - 8) for index in range(16)]
    for _ in range(25):
        indices = sorted(generator.sample(range(256), generator.randint(1, COORDINATE_LIMIT)))
        yield [(index, generator.randint(-128, 127)) for index in indices]


@pytest.mark.parametrize("components", [COMPONENTS, 4, 1])
@pytest.mark.parametrize("together", [False, True])
def test_every_position_is_answered(together, components):
    unit = shared(SparseSearch, components)

    async def testbench(ctx):
        gaps = random.Random(1)
        for entries in entry_lists():
            await load(ctx, unit, entries, gaps, together)
            wanted = dict(entries)
            for position in range(16):
                ctx.set(unit.position, position)
                for part in range(COMPONENTS // components):
                    ctx.set(unit.part, part)
                    hits, values = ctx.get(unit.hits), ctx.get(unit.values)
                    first = position * COMPONENTS + part * components
                    indices = range(first, first + components)
                    assert [values[c] for c in range(components)] == [wanted.get(index, 0) for index in indices]
                    assert [hits >> c & 1 for c in range(components)] == [index in wanted for index in indices]

    play(unit, testbench)
