"""The pixel memory: two tiles, of which one is initialised while the other is in use."""

import random

import pytest
from amaranth.lib import data

from cosim.unit import play
from rtl.parts.pixel_memory import PixelMemory

PIXEL_BITS = 4
PIXELS = 1 << PIXEL_BITS
TILE = PIXELS // 2


@pytest.mark.parametrize("shape", [5, data.ArrayLayout(5, 1)])
@pytest.mark.parametrize("look_ups", [1, 3])
@pytest.mark.parametrize("meets_updates", [False, True])
def test_reads_see_an_update_of_their_cycle_and_look_ups_do_not(meets_updates, look_ups, shape):
    memory = PixelMemory(PIXEL_BITS, shape, look_ups, meets_updates=meets_updates)
    chance = random.Random(f"pixels {look_ups}")
    plain = isinstance(shape, int)

    async def bench(ctx):
        held = [0] * PIXELS
        expected = [None] * (1 + look_ups)
        for _ in range(600):
            of_update = chance.randrange(2)
            written = []
            for port, tile in ((memory.update, of_update), (memory.initialise, 1 - of_update)):
                pixel, value, enable = tile * TILE + chance.randrange(3), chance.randrange(32), chance.randrange(2)
                ctx.set(port.address, pixel)
                ctx.set(port.data, value if plain else [value])
                ctx.set(port.enable, enable)
                if enable:
                    written.append((pixel, value))
            after = held.copy()
            for pixel, value in written:
                after[pixel] = value
            for number, port in enumerate((memory.read, *memory.look_ups)):
                # What is being initialised is in nobody's use.
                pixel, enable = of_update * TILE + chance.randrange(3), chance.randrange(4) > 0
                ctx.set(port.address, pixel)
                ctx.set(port.enable, enable)
                if enable:
                    promised = number == 0 or meets_updates or held[pixel] == after[pixel]
                    expected[number] = (after if number == 0 else held)[pixel] if promised else None
            held = after
            await ctx.tick()
            for port, value in zip((memory.read, *memory.look_ups), expected, strict=True):
                assert value is None or (ctx.get(port.data) if plain else ctx.get(port.data)[0]) == value

    play(memory, bench)
