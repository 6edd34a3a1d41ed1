"""The scene loader on whole and corrupt images."""

import struct

import numpy as np
import pytest
from amaranth.hdl import Module, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect

from cosim.unit import play
from nerf.contract.config import AcceleratorConfig, load_config
from nerf.contract.scene_image import HEADER_WORDS, HOST_FIELDS, WORDS, assemble
from rtl.control.scene_loader import SceneLoader
from rtl.payloads import SceneRegisters, TableWrite
from tests.rtl.memory.memory_stub import ReadPortMemory

CFG = load_config("tiny")
TABLE_BEATS = 37


def scene(cfg=CFG):
    places = iter(range(1, 1000, 3))
    words = {word.name: [next(places) for _ in range(word.count)] for word in WORDS}
    words |= {"config_digest": cfg.digest_word, "density_offset": -5, "mask_offset": [7, -70000, 8], "grid": [13, 3, 9]}
    words |= {"sine_shift": 5}
    tables = bytes(n * 7 % 256 for n in range(16 * TABLE_BEATS))
    sections = [("rows_offset", bytes(48)), ("tables_offset", tables), ("payload_offset", bytes(64))]
    return assemble(words, dict.fromkeys(HOST_FIELDS, 0.0), sections), tables


class Bench(wiring.Component):
    def __init__(self, image):
        self.image = image
        super().__init__(
            {"start": In(1), "scene": Out(SceneRegisters), "table": Out(stream.Signature(TableWrite)), "done": Out(1)}
            | {f"error_{name}": Out(1) for name in ("header", "config", "tables")}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.loader = loader = SceneLoader(CFG)
        m.submodules.memory = memory = ReadPortMemory(CFG, self.image, interval=2)
        connect(m, loader.memory, memory.port)
        m.d.comb += loader.start.eq(self.start)
        for name in ("scene", "done", "error_header", "error_config", "error_tables"):
            m.d.comb += Value.cast(getattr(self, name)).eq(Value.cast(getattr(loader, name)))
        m.d.comb += [self.table.valid.eq(loader.table.valid), self.table.payload.eq(loader.table.payload)]
        return m


def load(image):
    """Return (which strobe ended the load, table beats, scene registers)."""
    bench = Bench(image)
    outcome = {}

    async def drive(ctx):
        ctx.set(bench.start, 1)
        await ctx.tick()
        ctx.set(bench.start, 0)
        beats = []
        strobes = ("done", "error_header", "error_config", "error_tables")
        for _ in range(1000):
            if ctx.get(bench.table.valid):
                payload = ctx.get(bench.table.payload)
                beats.append((payload.beat, payload.data))
            fired = [name for name in strobes if ctx.get(getattr(bench, name))]
            if fired:
                outcome.update(strobes=fired, beats=beats, scene=ctx.get(bench.scene))
                return
            await ctx.tick()
        raise AssertionError("watchdog: the loader neither finished nor failed")

    play(bench, drive)
    return outcome["strobes"], outcome["beats"], outcome["scene"]


def test_loads_header_and_tables():
    whole, tables = scene()
    strobes, beats, registers = load(whole.data)
    assert strobes == ["done"]
    expected = [int.from_bytes(tables[n : n + 16], "little") for n in range(0, len(tables), 16)]
    assert beats == list(enumerate(expected))
    assert registers.cubes.x == 4
    for word in WORDS:
        if word.held:
            held, value = registers[word.name], getattr(whole, word.name)
            parts = [held[key] for key, _ in held.shape()] if word.count > 1 else [held]
            assert parts == list(np.atleast_1d(value)), word.name


@pytest.mark.parametrize("word", [0, 1, 5, 36, HEADER_WORDS - 1])
def test_a_corrupt_header_word_is_an_error(word):
    image = bytearray(scene()[0].data)
    image[4 * word + 2] ^= 0x40
    assert load(bytes(image))[0] == ["error_header"]


def test_another_configuration_is_an_error():
    assert load(scene(AcceleratorConfig(tile=16))[0].data)[0] == ["error_config"]


def test_corrupt_tables_are_an_error():
    whole = scene()[0]
    image = bytearray(whole.data)
    image[whole.tables_offset + 100] ^= 1
    assert load(bytes(image))[0] == ["error_tables"]


def test_magic_is_checked_even_if_the_sum_is_right():
    image = bytearray(scene()[0].data)
    magic, check = struct.unpack_from("<I", image)[0], struct.unpack_from("<I", image, 252)[0]
    struct.pack_into("<I", image, 0, (magic + 1) & 0xFFFFFFFF)
    struct.pack_into("<I", image, 252, (check - 1) & 0xFFFFFFFF)
    assert load(bytes(image))[0] == ["error_header"]
