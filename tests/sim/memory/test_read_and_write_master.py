"""The simulator's bus masters and memory against the RTL's, cycle for cycle."""

import random

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, run, shared
from nerf.contract.config import PRESETS
from nerf.contract.memory import MEMORY_TIMINGS, MemoryTiming
from nerf.contract.scene_image import BEAT
from rtl.memory.read_master import ReadMaster
from rtl.memory.write_master import WriteMaster
from rtl.payloads import ReadPort, TileLayouts, beat_write
from sim.memory import memory, read_master, write_master
from sim.parts import streams
from sim.parts.streams import ANSWER, BURST, PIXEL, READ_BEAT, READ_REQUEST, WRITE, WRITE_DATA, new
from tests.sim.memory.helpers_memory import AxiMemory, Timing, timing_words
from tests.sim.replay import put, replay
from tests.sizes import LARGE, SMALL

CFG = PRESETS["tiny"]
TIMINGS = [
    *MEMORY_TIMINGS.values(),
    MemoryTiming(latency=1, beat_interval=3),
    MemoryTiming(latency=100, beat_interval=1, pause=40 / 256, seed=5),
    MemoryTiming(latency=5, beat_interval=4, pause=200 / 256, seed=77),
]
IMAGE = np.random.default_rng(0).bytes(1 << 13)
FRAME = (1 << 12) + 8
WIDTH = 67
TILES = ((0, 64, 3), (64, 3, 4), (66, 1, 6))
"""First column, columns and rows; the last one again, of the pixels at the right edge alone."""


class Reader(wiring.Component):
    def __init__(self):
        super().__init__({"timing": In(Timing)} | {f"client_{n}": In(ReadPort(CFG)) for n in range(memory.CLIENTS)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.master = master = ReadMaster(CFG, memory.CLIENTS)
        m.submodules.memory = store = AxiMemory(CFG, IMAGE)
        m.d.comb += store.timing.eq(self.timing)
        wiring.connect(m, master.axi, store.axi)
        for n in range(memory.CLIENTS):
            wiring.connect(m, wiring.flipped(getattr(self, f"client_{n}")), getattr(master, f"client_{n}"))
        return m


def read(bursts, counts, timing, stalls, skip):
    store, master, burst, beat = memory.new(timing), read_master.new(), new(BURST), new(READ_BEAT)
    write = [new(kind) for kind in (WRITE, WRITE_DATA, ANSWER)]
    requests = np.zeros(memory.CLIENTS, READ_REQUEST)
    beats = np.zeros(memory.CLIENTS, READ_BEAT)

    def offer(now):
        memory.offer(now, store, beat, write[-1])
        if beat["valid"]:
            beats[beat["client"]] = beat

    def step(now):
        if beat["valid"] and not beats[beat["client"]]["valid"]:
            beat["valid"] = 0
        wake = memory.step(now, store, burst, *write)
        return min(wake, read_master.step(now, master, requests, burst))

    result = replay(
        step,
        {f"client_{n}.request": (requests[n], bursts[n]) for n in range(memory.CLIENTS)},
        {f"client_{n}.beats": (beats[n], counts[n]) for n in range(memory.CLIENTS)},
        stalls=stalls,
        seed=4,
        offer=offer,
        skip=skip,
    )
    assert read_master.idle(master, store, burst)
    assert store["read_bytes"].tolist() == [BEAT * count for count in counts]
    return result


@pytest.mark.parametrize("timing", TIMINGS)
def test_read_bursts_and_beats(timing):
    stalls = [*STALLS, (1.0, 0.1), (0.1, 1.0)][TIMINGS.index(timing)]
    chance = random.Random(1)
    # One client without any; many short bursts, so that the memory's queue is full.
    lengths = [(0, 1, 15), (0,), (0, 1), (), (0, 0, 0, 17), (15,)]
    bursts = [
        [(chance.randrange(0, 1 << 12), chance.choice(length)) for _ in range(15 if length else 0)]
        for length in lengths
    ]
    counts = [sum(last + 1 for _, last in client) for client in bursts]
    hardware = run(
        shared(Reader),
        {
            f"client_{n}.request": [{"address": address, "last_beat": last} for address, last in bursts[n]]
            for n in range(memory.CLIENTS)
        },
        {f"client_{n}.beats": counts[n] for n in range(memory.CLIENTS)},
        {"timing": timing_words(timing)},
        stalls=stalls,
        seed=4,
    )
    for skip in (False, True):
        cycles, payloads = read(bursts, counts, timing, stalls, skip)
        assert cycles == hardware.cycles
        for n in range(memory.CLIENTS):
            for (client, address, last), theirs in zip(
                payloads[f"client_{n}.beats"], hardware.outputs[f"client_{n}.beats"], strict=True
            ):
                assert (client, last) == (n, theirs.last)
                assert int.from_bytes(IMAGE[address:][:BEAT], "little") == theirs.data


Written = StructLayout({"address": 32, "bytes": 8, "last": 1})


class Writer(wiring.Component):
    """A write master with its memory; a cycle later, each beat of the bus (burst, bytes) and change of ``idle``."""

    i: In(stream.Signature(TileLayouts(CFG).PixelWrite))
    i_beats: In(stream.Signature(beat_write(CFG)))
    o_written: Out(stream.Signature(Written))
    o_idle: Out(stream.Signature(1))
    timing: In(Timing)

    def __init__(self, cfg):
        self._cfg = cfg
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.master = master = WriteMaster(self._cfg)
        m.submodules.memory = store = AxiMemory(CFG, bytes(BEAT))
        wiring.connect(m, master.axi, store.axi)
        wiring.connect(m, wiring.flipped(self.i), master.i)
        wiring.connect(m, wiring.flipped(self.i_beats), master.beats)
        m.d.comb += [master.frame_base.eq(FRAME), master.width.eq(WIDTH), store.timing.eq(self.timing)]
        m.d.sync += [
            self.o_written.valid.eq(store.axi.wvalid & store.axi.wready),
            self.o_written.payload.address.eq(store.axi.awaddr),
            self.o_written.payload.bytes.eq(sum(store.axi.wstrb)),
            self.o_written.payload.last.eq(store.axi.wlast),
            self.o_idle.payload.eq(~master.idle),
        ]
        m.d.comb += self.o_idle.valid.eq(self.o_idle.payload == master.idle)
        return m


def write(pixels, beats, count, timing, stalls, skip, cfg):
    store, master = memory.new(timing), write_master.new(cfg, FRAME, WIDTH)
    i, address, data, answer, burst, beat = (new(kind) for kind in (PIXEL, WRITE, WRITE_DATA, ANSWER, BURST, READ_BEAT))
    whole = new(WRITE)
    written, idle = new(streams.stream("address", "bytes", "last")), new(streams.stream("idle"))
    before = [True]

    def offer(now):
        memory.offer(now, store, beat, answer)
        present = bool(write_master.idle(master))
        idle["valid"], idle["idle"] = present != before[0], present
        before[0] = present

    def step(now):
        waiting = data["valid"]
        wake = memory.step(now, store, burst, address, data, answer)
        if waiting and not data["valid"]:
            put(written, (address["address"], data["bytes"], data["last"]))
        return min(wake, write_master.step(now, master, i, whole, address, data, answer))

    result = replay(
        step,
        {"i": (i, pixels), "i_beats": (whole, beats)},
        {"o_written": (written, count), "o_idle": (idle, None)},
        stalls=stalls,
        seed=4,
        offer=offer,
        skip=skip,
    )
    assert store["written_bytes"] == 8 * len(pixels) + BEAT * len(beats)
    return result


@pytest.mark.parametrize("timing", TIMINGS)
@pytest.mark.parametrize("source", [1.0, 0.5, 0.05])
def test_written_pixels_and_beats(source, timing):
    compare_writes(source, timing, CFG)


@pytest.mark.parametrize("timing", TIMINGS)
@pytest.mark.parametrize("cfg", [SMALL, LARGE])
def test_more_bursts_held(cfg, timing):
    compare_writes(1.0, timing, cfg)


def compare_writes(source, timing, cfg):
    beats = [BEAT * (7 * index % 32) for index in range(25)]
    pixels, count = [], len(beats)
    for first, columns, rows in TILES:
        for row in range(rows):
            pixels += [(first + column, row, int(column == columns - 1)) for column in range(columns)]
            half = FRAME // 8 + row * WIDTH + first
            count += (half + columns + 1) // 2 - half // 2
    results = [write(pixels, beats, count, timing, (source, 1.0), skip, cfg) for skip in (False, True)]
    hardware = run(
        shared(Writer, cfg),
        {
            "i": [{"x": x, "y": y, "channels": [1, 2, 3, 4], "ends_row": ends_row} for x, y, ends_row in pixels],
            "i_beats": [{"address": address, "data": address} for address in beats],
        },
        {name: len(results[0][1][name]) for name in ("o_written", "o_idle")},
        {"timing": timing_words(timing)},
        stalls=(source, 1.0),
        seed=4,
    )
    for cycles, payloads in results:
        assert cycles == hardware.cycles
        assert payloads["o_written"] == [(one.address, one.bytes, one.last) for one in hardware.outputs["o_written"]]
        assert [payload for (payload,) in payloads["o_idle"]] == hardware.outputs["o_idle"]
