"""`rtl.parts.checksum` against `nerf.contract.blocks.crc8`."""

import random

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from nerf.contract.blocks import crc8
from rtl.parts.checksum import crc8_of


@pytest.mark.parametrize("bits", [1, 8, 56, 120, 248])
def test_checksum(bits):
    word, checksum = Signal(bits), Signal(8)
    m = Module()
    m.d.comb += checksum.eq(crc8_of(word))
    chance = random.Random(bits)
    words = [0, (1 << bits) - 1, *(chance.getrandbits(bits) for _ in range(30))]
    simulator = Simulator(m)

    async def bench(ctx):
        for value in words:
            ctx.set(word, value)
            assert ctx.get(checksum) == crc8(value, bits)

    simulator.add_testbench(bench)
    simulator.run()
