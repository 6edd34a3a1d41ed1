"""The simulator's scene loader against the RTL's, cycle for cycle."""

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from cosim.unit import STALLS, run, shared
from nerf.contract.config import load_config
from nerf.contract.scene_image import BEAT, HEADER_WORDS, HOST_FIELDS, PAGE, WORDS, assemble
from rtl.control.scene_loader import SceneLoader
from rtl.payloads import ReadBeat, read_request
from sim.control import scene_loader
from sim.control.registers import scene_registers
from sim.parts.streams import READ_BEAT, READ_REQUEST, STROBE, new
from sim.parts.streams import stream as record_of
from tests.sim.replay import replay
from tests.sim.samples.helpers_front_end import sleeper

CONFIG = load_config("tiny")
BASE = 5 * PAGE


def make_scene(rows_beats: int, table_beats: int):
    """Return a scene with some beats before and in its tables."""
    words = {word.name: [1] * word.count for word in WORDS} | {"config_digest": CONFIG.digest_word}
    tables = bytes(n * 7 % 256 for n in range(BEAT * table_beats))
    sections = [("rows_offset", bytes(BEAT * rows_beats)), ("tables_offset", tables), ("payload_offset", bytes(64))]
    return assemble(words, dict.fromkeys(HOST_FIELDS, 0.0), sections)


class Bench(wiring.Component):
    """The loader, its memory outside; ``i`` starts it, ``o_done`` follows its strobe by a cycle."""

    i: In(stream.Signature(1))
    o_request: Out(stream.Signature(read_request(CONFIG)))
    i_beats: In(stream.Signature(ReadBeat))
    o_done: Out(stream.Signature(1))

    def elaborate(self, platform):
        m = Module()
        m.submodules.loader = loader = SceneLoader(CONFIG)
        connect(m, loader.memory.request, flipped(self.o_request))
        connect(m, flipped(self.i_beats), loader.memory.beats)
        m.d.comb += [self.i.ready.eq(1), loader.start.eq(self.i.valid), loader.scene_base.eq(BASE)]
        with m.If(self.o_done.ready):
            m.d.sync += self.o_done.valid.eq(0)
        with m.If(loader.done):
            m.d.sync += self.o_done.valid.eq(1)
        return m


def bursts_of(scene) -> list[tuple[int, int]]:
    """Return offset and beats of all reads."""
    bursts, at, left = [(0, 4 * HEADER_WORDS // BEAT)], scene.tables_offset // BEAT, scene.tables_beats
    while left:
        beats = min(16 - at % 16, left)
        bursts.append((BEAT * at, beats))
        at, left = at + beats, left - beats
    return bursts


def simulate(scene, beats, bursts, stalls, seed, skip):
    state, i, request, beat = scene_loader.new(), new(record_of("nothing")), new(READ_REQUEST), new(READ_BEAT)
    start, done = (np.zeros(1, STROBE)[0] for _ in range(2))
    o_done = new(record_of("nothing"))
    registers = scene_registers(scene)

    def step_loader(now):
        return scene_loader.step(now, state, start, registers, BASE, request, beat, done)

    maybe = sleeper(step_loader, [start, request, beat]) if skip else step_loader

    def step(now):
        if i["valid"]:
            i["valid"], start["set"] = 0, 1
        maybe(now)
        if done["set"]:
            done["set"], o_done["valid"] = 0, 1
        return now + 1

    return replay(
        step,
        {"i": (i, [0]), "i_beats": (beat, [(scene_loader.CLIENT, 0, last) for last in beats])},
        {"o_request": (request, len(bursts)), "o_done": (o_done, 1)},
        stalls=stalls,
        seed=seed,
    )


@pytest.mark.parametrize("stalls", [*STALLS, (0.9, 0.1)])
@pytest.mark.parametrize(("rows_beats", "table_beats"), [(3, 37), (0, 1), (1, 15), (2, 14), (16, 64)])
def test_every_transfer_comes_in_the_same_cycle(rows_beats, table_beats, stalls):
    scene = make_scene(rows_beats, table_beats)
    bursts = bursts_of(scene)
    places = [(offset + BEAT * n, n == beats - 1) for offset, beats in bursts for n in range(beats)]
    hardware = run(
        shared(Bench),
        {
            "i": [0],
            "i_beats": [
                {"data": int.from_bytes(scene.data[at : at + BEAT], "little"), "last": last} for at, last in places
            ],
        },
        {"o_request": len(bursts), "o_done": 1},
        stalls=stalls,
        seed=table_beats,
    )
    for skip in (False, True):
        cycles, payloads = simulate(scene, [last for _, last in places], bursts, stalls, table_beats, skip)
        assert cycles == hardware.cycles
        assert payloads["o_request"] == [(BASE + offset, beats - 1) for offset, beats in bursts]
        assert payloads["o_request"] == [(read.address, read.last_beat) for read in hardware.outputs["o_request"]]
