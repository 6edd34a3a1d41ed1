"""The read master against a memory that stalls at random and answers with its addresses."""

import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from cosim.unit import STALLS, play, run, shared
from nerf.contract.config import load_config
from rtl.memory.read_master import ReadMaster
from rtl.payloads import ReadPort
from tests.rtl.memory.memory_stub import AxiReadMemory

CFG = load_config("tiny")
CLIENTS = 3


class Bench(wiring.Component):
    def __init__(self):
        super().__init__(
            {f"client_{n}": In(ReadPort(CFG)) for n in range(CLIENTS)}
            | {"abort": In(1), "idle": Out(1), "error": Out(1)}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.master = master = ReadMaster(CFG, CLIENTS)
        m.submodules.memory = memory = AxiReadMemory(CFG)
        connect(m, master.axi, memory.axi)
        for n in range(CLIENTS):
            connect(m, flipped(getattr(self, f"client_{n}")), getattr(master, f"client_{n}"))
        m.d.comb += [master.abort.eq(self.abort), self.idle.eq(master.idle), self.error.eq(master.error)]
        return m


@pytest.mark.parametrize("stalls", STALLS)
def test_every_client_gets_its_beats_in_order(stalls):
    chance = random.Random(1)
    requests, expected = {}, {}
    for n in range(CLIENTS):
        bursts = [(chance.randrange(1 << 16), chance.choice([0, 1, 18, chance.randrange(19)])) for _ in range(12)]
        requests[f"client_{n}.request"] = [{"address": a, "last_beat": last} for a, last in bursts]
        expected[f"client_{n}.beats"] = [
            ((a & ~15) + 16 * beat, int(beat == last)) for a, last in bursts for beat in range(last + 1)
        ]
    got = run(shared(Bench), requests, {name: len(beats) for name, beats in expected.items()}, stalls=stalls)
    for name, beats in expected.items():
        assert [(beat.data, beat.last) for beat in got.outputs[name]] == beats


def test_abort_drains_and_error_is_reported():
    bench = shared(Bench)
    seen = {"errors": 0}

    async def drive(ctx):
        port = bench.client_0.request
        ctx.set(port.payload, {"address": AxiReadMemory.BAD, "last_beat": 15})
        ctx.set(port.valid, 1)
        await ctx.tick().until(port.ready)
        ctx.set(port.valid, 0)
        assert not ctx.get(bench.idle)
        await ctx.tick()
        assert not ctx.get(bench.idle), "it is on the bus"
        ctx.set(bench.abort, 1)
        for _ in range(200):
            _, _, error = await ctx.tick().sample(bench.error)
            seen["errors"] += error
        assert ctx.get(bench.idle)

    play(bench, drive)
    assert seen["errors"] == 16
