"""A memory with several bursts on their way, and scenes, for the benches of the blocks that fetch and decode."""

import numpy as np
import torch
from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory, MemoryData
from amaranth.lib.wiring import In

from nerf.contract.config import PRESETS
from nerf.contract.registers import AXES
from nerf.contract.scene_image import Scene
from nerf.encode import encode_model
from rtl.parts.queue import Queue
from rtl.payloads import ReadPort, read_request
from tests.golden.models import small_model

CONFIG = PRESETS["tiny"]
BASE = 4096
"""Where benches put a scene image: not at address 0, to see that the base is added."""


def image_words(image: bytes) -> list[int]:
    """Return what a `BurstMemory` holds of a scene image."""
    padded = bytes(BASE) + image + bytes(64)
    return [int.from_bytes(padded[n : n + 16], "little") for n in range(0, len(padded) - 15, 16)]


class BurstMemory(wiring.Component):
    """Serve a `ReadPort` without gaps: up to ``bursts`` wait; ``pauses``: a beat comes in about every second cycle."""

    def __init__(self, cfg, words: list[int], bursts: int = 4) -> None:
        self.words = MemoryData(shape=128, depth=len(words), init=words)
        self._cfg, self._bursts = cfg, bursts
        super().__init__({"port": In(ReadPort(cfg)), "pauses": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(self.words)
        m.submodules.bursts = bursts = Queue(read_request(self._cfg), self._bursts)
        read = memory.read_port(domain="comb")
        noise = Signal(16, init=0xACE1)
        m.d.sync += noise.eq((noise >> 1) ^ ((-noise[0]) & 0xB400))
        beat = Signal(5)
        beats = self.port.beats
        wiring.connect(m, wiring.flipped(self.port.request), bursts.i)
        offered = Signal()
        m.d.sync += offered.eq(beats.valid & ~beats.ready)
        m.d.comb += [
            read.addr.eq((bursts.o.payload.address >> 4) + beat),
            beats.valid.eq(bursts.o.valid & (offered | noise[3] | ~self.pauses)),
            beats.payload.data.eq(read.data),
            beats.payload.last.eq(beat == bursts.o.payload.last_beat),
            bursts.o.ready.eq(beats.valid & beats.ready & beats.payload.last),
        ]
        with m.If(beats.valid & beats.ready):
            m.d.sync += beat.eq(beat + 1)
            with m.If(beats.payload.last):
                m.d.sync += beat.eq(0)
        return m


def vectors(ctx, member) -> list[list[int]]:
    """Return the values of the vectors of a member: from its bits, as Amaranth's views of them are slow."""
    value = Value.cast(member)
    return np.frombuffer(ctx.get(value).to_bytes(len(value) // 8, "little"), np.int8).reshape(len(member), -1).tolist()


def memory_rows(vectors: np.ndarray) -> list[int]:
    """Return vectors of int8 (..., components) as the rows of a memory of integers."""
    return [
        int.from_bytes(vector.tobytes(), "little") for vector in vectors.reshape(-1, vectors.shape[-1]).astype(np.int8)
    ]


def scene_constants(scene: Scene) -> dict:
    """Return what the blocks that fetch and load need of `rtl.payloads.SceneRegisters`."""
    factors = [(factor, pair) for factor in ("plane", "line") for pair in range(3)]
    headers = {f"{kind}_headers": [scene.headers_offset(kind, *factor) for factor in factors] for kind in CONFIG.groups}
    return headers | {
        "grid": dict(zip(AXES, scene.grid, strict=True)),
        "cubes": dict(zip(AXES, scene.cubes, strict=True)),
        "payload_offset": scene.payload_offset,
        "payload_bytes": scene.payload_bytes,
    }


def mixed_scene(grid=(13, 9, 20), seed=0) -> Scene:
    """Return a small scene whose blocks have every form, and some no payload."""
    model = small_model(grid, seed, components=(16, 48), mask="full")
    noise = np.random.default_rng(seed)
    for factors in (model.density_planes, model.density_lines, model.app_planes, model.app_lines):
        for factor in factors:
            # The share of non-zeros changes from block to block and from one component group to the next.
            blocks = [-(-size // (4 if axis else 16)) for axis, size in enumerate(factor.shape)]
            share = noise.choice([0.0, 0.02, 0.08, 0.4, 1.0], blocks)
            for axis, size in enumerate(factor.shape):
                share = share.repeat(4 if axis else 16, axis).take(range(size), axis)
            factor += (factor == 0) * torch.from_numpy(share == 1)
            factor *= torch.from_numpy(noise.random(factor.shape) < share)
    return encode_model(model, CONFIG).scene
