"""The write master: what reaches the memory, in which bursts, and by the rules of the bus."""

import random
from collections import Counter

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from cosim.unit import STALLS, play, run, shared
from nerf.contract.config import load_config
from nerf.contract.memory import PIXEL_BYTES
from nerf.contract.scene_image import BEAT, PAGE
from rtl.memory.write_master import BURST, OUTSTANDING_LIMIT, WriteMaster
from rtl.payloads import TileLayouts, beat_write

CFG = load_config("tiny")
BLOCK = BURST * BEAT
Address = data.StructLayout({"address": CFG.address_width, "beats": 8})
Data = data.StructLayout({"word": 8 * BEAT, "enabled": BEAT, "last": 1})


class Bench(wiring.Component):
    """The channels of the bus as streams; an answer comes when a burst is owed one."""

    i: In(stream.Signature(TileLayouts(CFG).PixelWrite))
    beats: In(stream.Signature(beat_write(CFG)))
    frame_base: In(CFG.address_width)
    width: In(14)
    address: Out(stream.Signature(Address))
    data: Out(stream.Signature(Data))
    answers: In(stream.Signature(2))

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = WriteMaster(CFG)
        axi = dut.axi
        connect(m, flipped(self.i), dut.i)
        connect(m, flipped(self.beats), dut.beats)
        taken, whole, answered = Signal(16), Signal(16), Signal(16)
        owed = (taken != answered) & (whole != answered)
        m.d.comb += [
            dut.frame_base.eq(self.frame_base),
            dut.width.eq(self.width),
            self.address.valid.eq(axi.awvalid),
            self.address.payload.address.eq(axi.awaddr),
            self.address.payload.beats.eq(axi.awlen + 1),
            axi.awready.eq(self.address.ready),
            self.data.valid.eq(axi.wvalid),
            self.data.payload.word.eq(axi.wdata),
            self.data.payload.enabled.eq(axi.wstrb),
            self.data.payload.last.eq(axi.wlast),
            axi.wready.eq(self.data.ready),
            axi.bvalid.eq(self.answers.valid & owed),
            axi.bresp.eq(self.answers.payload),
            self.answers.ready.eq(axi.bready & owed),
        ]
        m.d.sync += [
            taken.eq(taken + (axi.awvalid & axi.awready)),
            whole.eq(whole + (axi.wvalid & axi.wready & axi.wlast)),
            answered.eq(answered + (axi.bvalid & axi.bready)),
        ]
        return m


def tile(chance, x, y, columns, rows):
    """The pixels of a tile, in order."""
    return [
        {
            "x": x + column,
            "y": y + row,
            "channels": [chance.getrandbits(16) for _ in range(4)],
            "ends_row": column == columns - 1,
        }
        for row in range(rows)
        for column in range(columns)
    ]


def expected(pixels, beats, frame_base, width):
    """Return the bytes that are written, by address, and the bursts: address and beats of each."""
    written, bursts, first = {}, [], None
    for pixel in pixels:
        address = frame_base + PIXEL_BYTES * (pixel["y"] * width + pixel["x"])
        first = address if first is None else first
        for channel, value in enumerate(pixel["channels"]):
            written[address + 2 * channel], written[address + 2 * channel + 1] = value & 255, value >> 8
        if pixel["ends_row"] or (address + PIXEL_BYTES) % BLOCK == 0:
            bursts.append((first & -BEAT, address // BEAT - first // BEAT + 1))
            first = None
    for beat in beats:
        written |= {beat["address"] + lane: beat["data"] >> 8 * lane & 255 for lane in range(BEAT)}
        bursts.append((beat["address"], 1))
    return written, bursts


def check(pixels, beats, frame_base, width, **options):
    written, bursts = expected(pixels, beats, frame_base, width)
    result = run(
        shared(Bench),
        {"i": pixels, "beats": beats, "answers": [0] * len(bursts)},
        {"address": len(bursts), "data": sum(length for _, length in bursts)},
        {"frame_base": frame_base, "width": width},
        **options,
    )
    got, found, words = {}, [], iter(result.outputs["data"])
    for burst in result.outputs["address"]:
        assert burst.address // PAGE == (burst.address + BEAT * burst.beats - 1) // PAGE
        found.append((burst.address, burst.beats))
        for number in range(burst.beats):
            word = next(words)
            assert word.last == (number == burst.beats - 1)
            address = burst.address + BEAT * number
            bytes_ = {address + lane: word.word >> 8 * lane & 255 for lane in range(BEAT) if word.enabled >> lane & 1}
            assert not bytes_.keys() & got.keys()
            got |= bytes_
    assert got == written
    assert Counter(found) == Counter(bursts)
    return result


CASES = {
    "blocks that begin in an upper half": (0x1008, 63, 0, 0, 63, 3),
    "one pixel": (0x1000, 16, 0, 0, 1, 1),
    "upper half": (0x1008, 16, 0, 0, 1, 2),
    "right edge of an odd width": (0x1000, 65, 64, 0, 1, 8),
    "odd width": (0x1008, 13, 5, 2, 7, 5),
    "even width": (0x1000, 20, 4, 1, 8, 4),
    "aligned blocks": (0x1000, 64, 0, 0, 64, 3),
    "a page's end in a row": (0x1000 - 8 * 21, 40, 3, 0, 33, 2),
    "the row ends with the block": (0x1000, 40, 8, 0, 24, 2),
}


@pytest.mark.parametrize("stalls", [*STALLS, (1.0, 0.1)])
@pytest.mark.parametrize("case", CASES)
def test_a_tile_is_written_in_bursts(case, stalls):
    frame_base, width, x, y, columns, rows = CASES[case]
    pixels = tile(random.Random(case), x, y, columns, rows)
    check(pixels, [], frame_base, width, stalls=stalls, seed=2)


@pytest.mark.parametrize("stalls", STALLS)
def test_beats_come_between_bursts(stalls):
    chance = random.Random(5)
    pixels = [pixel for x in (0, 7, 14) for pixel in tile(chance, x, 0, min(7, 15 - x), 9)]
    places = chance.sample(range(500), 40)
    beats = [{"address": 0x8000 + BEAT * place, "data": chance.getrandbits(8 * BEAT)} for place in places]
    check(pixels, beats, 0x1008, 15, stalls=stalls, seed=3)


def test_latency_and_throughput():
    pixels = tile(random.Random(1), 0, 0, 64, 4)
    result = check(pixels, [], 0x1000, 64)
    row = WriteMaster.ROW_CYCLES
    assert result.cycles["i"] == [n + row * (n // 64 + 1) for n in range(len(pixels))]
    wholes = [at + WriteMaster.LATENCY for at in result.cycles["i"][31::32]]
    assert result.cycles["address"] == wholes
    assert result.cycles["data"] == [at + beat for at in wholes for beat in range(BURST)]

    beats = [{"address": BEAT * number, "data": number} for number in range(10)]
    result = check([], beats, 0x1000, 64)
    assert result.cycles["address"] == [WriteMaster.LATENCY + 2 * number for number in range(10)]
    assert result.cycles["data"] == result.cycles["address"]


def test_so_many_bursts_are_unanswered_and_no_more():
    run(
        shared(Bench),
        {"i": tile(random.Random(1), 0, 0, 2, 30)},
        {"address": OUTSTANDING_LIMIT, "data": OUTSTANDING_LIMIT},
        {"frame_base": 0x1000, "width": 2},
        settle=100,
    )


def simulate(bench):
    """Run a bench whose memory takes everything; it gets the context and the master."""
    master = shared(WriteMaster, CFG)

    async def prepared(ctx):
        ctx.set(master.axi.awready, 1)
        ctx.set(master.axi.wready, 1)
        ctx.set(master.width, 40)
        await bench(ctx, master)

    play(master, prepared)


async def put(ctx, master, x, ends_row=0):
    ctx.set(master.i.payload, {"x": x, "ends_row": ends_row})
    ctx.set(master.i.valid, 1)
    await ctx.tick().until(master.i.ready)
    ctx.set(master.i.valid, 0)


def test_it_is_idle_when_all_has_been_answered():
    async def bench(ctx, master):
        assert ctx.get(master.idle)
        await put(ctx, master, 0)
        for _ in range(10):
            assert not ctx.get(master.idle)
            assert not ctx.get(master.axi.awvalid)
            await ctx.tick()
        await put(ctx, master, 1, ends_row=1)
        for _ in range(10):
            assert not ctx.get(master.idle)
            await ctx.tick()
        ctx.set(master.axi.bvalid, 1)
        await ctx.tick()
        ctx.set(master.axi.bvalid, 0)
        assert ctx.get(master.idle)

    simulate(bench)


@pytest.mark.parametrize("collected", [0, 1, 2, 31])
def test_an_abort_drops_what_is_collected_and_no_more(collected):
    """A burst is whole and waits for the bus, pixels of the next are collected; one comes with the abort."""

    async def bench(ctx, master):
        axi = master.axi
        ctx.set(axi.wready, 0)
        await put(ctx, master, 0, ends_row=1)
        for x in range(collected):
            await put(ctx, master, x)
        ctx.set(master.abort, 1)
        await put(ctx, master, collected, ends_row=1)
        await put(ctx, master, 3)
        ctx.set(master.abort, 0)
        assert ctx.get(axi.wvalid)
        assert ctx.get(axi.wlast)
        ctx.set(axi.wready, 1)
        await ctx.tick()
        ctx.set(axi.bvalid, 1)
        await ctx.tick()
        ctx.set(axi.bvalid, 0)
        for _ in range(10):
            assert ctx.get(master.idle)
            assert not ctx.get(axi.awvalid)
            assert not ctx.get(axi.wvalid)
            await ctx.tick()
        await put(ctx, master, 5, ends_row=1)
        await ctx.tick().until(axi.awvalid)
        assert ctx.get(axi.awaddr) == 5 * PIXEL_BYTES // BEAT * BEAT
        assert ctx.get(axi.awlen) == 0

    simulate(bench)


@pytest.mark.parametrize("response", range(4))
def test_an_error_of_the_memory_is_told(response):
    async def bench(ctx, master):
        await put(ctx, master, 0, ends_row=1)
        await ctx.tick().repeat(5)
        ctx.set(master.axi.bresp, response)
        ctx.set(master.axi.bvalid, 1)
        assert ctx.get(master.error) == (response != 0)

    simulate(bench)
