"""The way of a block, from the loaders to the cube buffers, against the RTL's, cycle for cycle.

First block fetch alone behind read master and memory, then all together, with another client at the tree.
"""

import functools
import random
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, run, shared
from nerf.contract.blocks import HEADER_BYTES, POINTER_UNIT, unpack_header
from nerf.contract.memory import MEMORY_TIMINGS, MemoryTiming
from nerf.contract.registers import AXES
from nerf.contract.scene_image import BEAT
from rtl.factors.block_fetch import BlockFetch
from rtl.factors.cube_loader import CubeLoader
from rtl.factors.hybrid_decoder import HybridDecoder
from rtl.factors.tree_server import TreeServer
from rtl.memory.read_master import ReadMaster
from rtl.payloads import BlockLayouts, Cube, ReadBeat, SceneRegisters, TreeRequest, TreeResponse
from sim.control.registers import scene_registers
from sim.factors import block_fetch, cube_loader, hybrid_decoder, tree_server
from sim.memory import memory, read_master
from sim.parts import streams
from sim.parts.streams import new
from tests.rtl.factors.helpers_blocks import mixed_scene, scene_constants
from tests.rtl.factors.test_block_path import walk
from tests.rtl.factors.test_cube_loader import expected_requests
from tests.rtl.factors.test_search_tree import random_requests
from tests.sim.memory.helpers_memory import AxiMemory, Timing, timing_words
from tests.sim.replay import replay
from tests.sizes import SMALL, TINY

CONFIGS = [TINY, replace(SMALL, payload_queue=32)]
KINDS = tuple(TINY.groups)
TIMINGS = [
    *MEMORY_TIMINGS.values(),
    MemoryTiming(latency=3, beat_interval=5),
    MemoryTiming(latency=7, pause=100 / 256, seed=3),
    MemoryTiming(latency=2, beat_interval=2, pause=230 / 256, seed=8),
]
HOLD = 40
"""Cycles from the token of a cube until it is done."""


class FetchPath(wiring.Component):
    """Block fetch, read master and memory."""

    def __init__(self, cfg, image):
        self._cfg, self._image = cfg, image
        layouts = BlockLayouts(cfg)
        super().__init__(
            {
                "i_density": In(stream.Signature(layouts.BlockRequest)),
                "i_appearance": In(stream.Signature(layouts.BlockRequest)),
                "scene": In(SceneRegisters),
                "timing": In(Timing),
                "o_job": Out(stream.Signature(layouts.DecodeJob)),
                "o_payload": Out(stream.Signature(ReadBeat)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.fetch = fetch = BlockFetch(self._cfg)
        m.submodules.master = master = ReadMaster(self._cfg, memory.CLIENTS)
        m.submodules.memory = store = AxiMemory(self._cfg, self._image)
        wiring.connect(m, master.axi, store.axi)
        wiring.connect(m, fetch.headers, master.client_3)
        wiring.connect(m, fetch.payload, master.client_4)
        for name in ("i_density", "i_appearance", "o_job", "o_payload"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(fetch, name))
        m.d.comb += [fetch.scene.eq(self.scene), store.timing.eq(self.timing)]
        return m


class BlockPath(wiring.Component):
    """Loaders, block fetch, read master, memory, decoder and tree; ``i_tree``, ``o_tree``: another client of it."""

    def __init__(self, cfg, image):
        self._cfg = cfg
        self._fetch = FetchPath(cfg, image)
        super().__init__(
            {
                "i_density": In(stream.Signature(Cube)),
                "i_appearance": In(stream.Signature(Cube)),
                "i_tree": In(stream.Signature(TreeRequest)),
                "scene": In(SceneRegisters),
                "timing": In(Timing),
                "o_density": Out(stream.Signature(Cube)),
                "o_appearance": Out(stream.Signature(Cube)),
                "o_tree": Out(stream.Signature(TreeResponse)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.fetch = fetch = self._fetch
        m.submodules.decoder = decoder = HybridDecoder(self._cfg)
        m.submodules.server = server = TreeServer(tree_server.CLIENTS)
        wiring.connect(m, fetch.o_job, decoder.i_job)
        wiring.connect(m, fetch.o_payload, decoder.i_payload)
        wiring.connect(m, decoder.tree, server.client_1)
        wiring.connect(m, wiring.flipped(self.i_tree), server.client_0.request)
        wiring.connect(m, server.client_0.response, wiring.flipped(self.o_tree))
        m.d.comb += [fetch.scene.eq(self.scene), fetch.timing.eq(self.timing), decoder.o.ready.eq(1)]
        for number, kind in enumerate(self._cfg.groups):
            m.submodules[kind] = loader = CubeLoader(self._cfg, kind)
            source, token = getattr(self, f"i_{kind}"), getattr(self, f"o_{kind}")
            wiring.connect(m, wiring.flipped(source), loader.i)
            wiring.connect(m, loader.o, wiring.flipped(token))
            wiring.connect(m, loader.o_request, getattr(fetch, f"i_{kind}"))
            late = Signal(HOLD, name=f"late_{kind}")
            m.d.sync += late.eq(Cat(token.valid & token.ready, late))
            vector = decoder.o
            m.d.comb += [
                loader.scene.eq(self.scene),
                loader.done.eq(vector.valid & (vector.payload.appearance == number) & vector.payload.block_last),
                loader.finished.eq(late[-1]),
            ]
        return m


class Memory:
    """The simulator's memory and read master, and the records between them and their clients."""

    def __init__(self, timing):
        self.memory, self.master = memory.new(timing), read_master.new()
        self.requests = np.zeros(memory.CLIENTS, streams.READ_REQUEST)
        self.beat, self.burst = new(streams.READ_BEAT), new(streams.BURST)
        self.write = [new(kind) for kind in (streams.WRITE, streams.WRITE_DATA, streams.ANSWER)]

    def offer(self, now):
        memory.offer(now, self.memory, self.beat, self.write[-1])

    def step(self, now):
        return min(
            memory.step(now, self.memory, self.burst, *self.write),
            read_master.step(now, self.master, self.requests, self.burst),
        )


def simulate_fetch(cfg, scene, timing, requests, counts, stalls, seed, skip):
    bus, state, registers = Memory(timing), block_fetch.new(cfg), scene_registers(scene)
    image = np.frombuffer(scene.data, np.uint8)
    inputs = {f"i_{kind}": (new(streams.BLOCK_REQUEST), requests[kind]) for kind in KINDS}
    job, payload = new(streams.DECODE_JOB), new(streams.READ_BEAT)

    def step(now):
        sources = [record for record, _ in inputs.values()]
        wake = bus.step(now)
        ports = (bus.requests[3], bus.requests[4], bus.beat)
        return min(wake, block_fetch.step(now, state, *sources, registers, *ports, job, payload, image))

    outputs = {"o_job": (job, counts["o_job"]), "o_payload": (payload, counts["o_payload"])}
    result = replay(step, inputs, outputs, stalls=stalls, seed=seed, offer=bus.offer, skip=skip)
    assert read_master.idle(bus.master, bus.memory, bus.burst)
    assert bus.memory["read_bytes"].tolist() == [0, 0, 0, BEAT * counts["o_job"], BEAT * counts["o_payload"], 0]
    return result


def simulate_path(cfg, scene, timing, cubes, asked, stalls, seed, skip):
    bus, fetch, server = Memory(timing), block_fetch.new(cfg), tree_server.new()
    decoder = hybrid_decoder.new(cfg.vector_parts)
    loaders = [cube_loader.new(cfg, bool(kind)) for kind in range(2)]
    image, registers = np.frombuffer(scene.data, np.uint8), scene_registers(scene)
    sources, tokens, block_requests, finished = (
        [new(record), new(record)] for record in (streams.CUBE, streams.CUBE, streams.BLOCK_REQUEST, streams.STROBE)
    )
    job, payload, vector = new(streams.DECODE_JOB), new(streams.READ_BEAT), new(streams.VECTOR)
    tree_requests, responses = np.zeros(3, streams.TREE_REQUEST), np.zeros(3, streams.TREE_RESPONSE)
    offered, ends = [0, 0], set()

    def offer(now):
        bus.offer(now)
        tree_server.offer_all(now, server, responses)
        hybrid_decoder.offer(now, decoder, vector)
        offered[:] = [token["valid"] for token in tokens]

    def step(now):
        for kind in range(2):
            if offered[kind] and not tokens[kind]["valid"]:
                ends.add((kind, now + HOLD))
        ports = (bus.requests[3], bus.requests[4], bus.beat)
        wakes = [
            bus.step(now),
            tree_server.step(now, server, tree_requests, responses),
            hybrid_decoder.step(now, decoder, job, payload, tree_requests[1], responses[1], image),
            block_fetch.step(now, fetch, *block_requests, registers, *ports, job, payload, image),
        ]
        for kind, loader in enumerate(loaders):
            finished[kind]["set"] = (kind, now) in ends
            strobes_and_streams = (sources[kind], tokens[kind], finished[kind], block_requests[kind], vector)
            wakes.append(cube_loader.step(now, loader, *strobes_and_streams, registers))
        return min(wakes + [cycle for _, cycle in ends if cycle > now])

    inputs = {f"i_{kind}": (sources[number], cubes[kind]) for number, kind in enumerate(KINDS)}
    inputs["i_tree"] = (tree_requests[0], [(one["mode"], sum(one["values"]), one["bits"], one["k"]) for one in asked])
    outputs = {f"o_{kind}": (tokens[number], len(cubes[kind])) for number, kind in enumerate(KINDS)}
    outputs["o_tree"] = (responses[0], len(asked))
    return replay(step, inputs, outputs, stalls=stalls, seed=seed, offer=offer, skip=skip)


@functools.cache
def scene():
    return mixed_scene()


def payload_beats(kind, request):
    """Return how many beats of memory the payload of a requested block is in."""
    line, pair, _, _, index = request
    place = scene().headers_offset(kind, "line" if line else "plane", pair) + HEADER_BYTES * index
    header = unpack_header(int.from_bytes(scene().data[place:][:HEADER_BYTES], "little"))
    if header.mask == 0:
        return 0
    start = scene().payload_offset + POINTER_UNIT * header.pointer
    return (start + header.payload_bytes - 1) // BEAT - start // BEAT + 1


def block(request):
    line, pair, group, slot, index = request
    return {"to": {"line": line, "pair": pair, "group": group, "slot": slot}, "index": index}


@pytest.mark.parametrize("timing", TIMINGS)
@pytest.mark.parametrize("cfg", CONFIGS)
def test_block_fetch_behind_the_memory(cfg, timing):
    number = TIMINGS.index(timing) + CONFIGS.index(cfg)
    stalls = [*STALLS, (1.0, 0.05), (0.9, 0.1)][number % 6]
    chance = random.Random(number)
    requests = {}
    for kind, groups in cfg.groups.items():
        wanted = expected_requests(chance.sample(walk(scene()), 12), scene().grid, groups, cfg.windows[kind])
        requests[kind] = [*chain.from_iterable(wanted)][: 12 * groups]
    counts = {
        "o_job": sum(map(len, requests.values())),
        "o_payload": sum(payload_beats(kind, one) for kind in KINDS for one in requests[kind]),
    }
    hardware = run(
        shared(FetchPath, cfg, scene().data),
        {f"i_{kind}": [block(one) for one in requests[kind]] for kind in KINDS},
        counts,
        {"scene": scene_constants(scene()), "timing": timing_words(timing)},
        stalls=stalls,
        seed=number,
    )
    for skip in (False, True):
        cycles, payloads = simulate_fetch(cfg, scene(), timing, requests, counts, stalls, number, skip)
        assert cycles == hardware.cycles
        for ours, theirs in zip(payloads["o_job"], hardware.outputs["o_job"], strict=True):
            to = theirs.to
            place = (theirs.appearance, to.line, to.pair, to.group, to.slot)
            assert ours == (*place, theirs.form, theirs.mask, theirs.count, theirs.skip)
        for (_, address, last), beat in zip(payloads["o_payload"], hardware.outputs["o_payload"], strict=True):
            assert last == beat.last
            assert int.from_bytes(scene().data[address:][:BEAT], "little") == beat.data


@pytest.mark.parametrize(
    "timing",
    [pytest.param(one, marks=pytest.mark.full) if number in (1, 3) else one for number, one in enumerate(TIMINGS)],
)
def test_from_cubes_to_tokens(timing):
    number = TIMINGS.index(timing)
    stalls = [*STALLS, (1.0, 0.05), (0.2, 0.9)][number % 6]
    cfg, chance = CONFIGS[number % 2], random.Random(number)
    cubes = {"density": walk(scene())[:4], "appearance": chance.sample(walk(scene()), 2)}
    asked = [*random_requests(30, number)]
    hardware = run(
        shared(BlockPath, cfg, scene().data),
        {f"i_{kind}": [dict(zip(AXES, cube, strict=True)) for cube in cubes[kind]] for kind in KINDS}
        | {"i_tree": asked},
        {f"o_{kind}": len(cubes[kind]) for kind in KINDS} | {"o_tree": len(asked)},
        {"scene": scene_constants(scene()), "timing": timing_words(timing)},
        stalls=stalls,
        seed=number,
    )
    for skip in (False, True):
        cycles, payloads = simulate_path(cfg, scene(), timing, cubes, asked, stalls, number, skip)
        assert cycles == hardware.cycles
        for kind in KINDS:
            assert payloads[f"o_{kind}"] == cubes[kind]
