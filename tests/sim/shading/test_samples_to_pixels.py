"""All blocks from the sample queue to the finished pixels, wired, in the simulator against the RTL, cycle for cycle."""

import random

import numpy as np
import pytest
from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from cosim.unit import run, shared
from nerf.contract.config import COMPONENTS, AcceleratorConfig
from nerf.contract.formats import ALPHA_ENTRIES, UNIT
from nerf.contract.scene_image import PAIRS
from nerf.golden.compositor import composite
from nerf.golden.density import alpha, table_position
from nerf.golden.frame import density_sum
from rtl.factors.cube_sequencer import CubeSequencer
from rtl.factors.interpolator import Interpolator
from rtl.factors.tree_server import TreeServer
from rtl.parts.queue import Queue
from rtl.payloads import AXES, Cube, SceneRegisters, TileLayouts, ViewRegisters
from rtl.shading.appearance import Appearance
from rtl.shading.compositor import Compositor
from rtl.shading.density import Density
from rtl.shading.mlp_engine import MlpEngine
from rtl.shading.tile_buffer import TileBuffer
from sim.control.registers import VIEW
from sim.factors import cube_sequencer, interpolator, tree_server
from sim.parts import queue
from sim.parts.streams import (
    BLANK,
    COLOURED,
    CUBE,
    PIXEL,
    PRODUCTS,
    SAMPLE,
    SHADE_JOB,
    STROBE,
    TILE,
    TREE_REQUEST,
    TREE_RESPONSE,
    copy_sample,
    new,
)
from sim.shading import appearance, compositor, density, mlp_engine, tile_buffer
from tests.rtl.factors.helpers_blocks import memory_rows
from tests.rtl.shading.helpers_shading import record
from tests.sim.replay import replay
from tests.sim.shading.helpers_shading import StrobeQueue, cubes_of, random_samples, registers, sample_fields
from tests.sim.shading.test_density import BEATS, CUBES, random_factors, table_beats

CFG = AcceleratorConfig(tile=4, mlp_lanes=32, hidden=32, features=32, mlp_batch=2, sample_queue=4)
LAYOUTS = TileLayouts(CFG)
PIXELS = CFG.tile * CFG.tile
DEAD = 5
ONE = 1 << UNIT
SCENE_WORDS = {"density_multiplier": 1 << 19, "density_offset": 500 << 8}
VIEW_WORDS = {"termination": ONE // 3, "shading_threshold": ONE // 10}
TILE_WORDS = {"x": 8, "y": 4, "last_x": 3, "last_y": 2}
PLANE, LINE = 16, 64
FACTORS = random_factors(np.random.default_rng(3))


def alpha_table():
    """Return an alpha table, int64 (entries, 2): nothing, then a slope up to 1.0."""
    entries = np.arange(ALPHA_ENTRIES, dtype=np.int64)
    return np.stack([np.maximum(entries - 500, 0) * (ONE // 600), np.where(entries >= 500, ONE // 600, 0)], axis=1)


class Bench(wiring.Component):
    """The blocks of `rtl.accelerator`; dense density factors instead of a cube buffer, cubes loaded from outside.

    A tile's pixels are initialised, the first's when the alpha table has passed; its samples are let in up to the
    marker; the next tile begins when the last pixel has left.
    """

    def __init__(self):
        self.table = alpha_table()
        self.planes, self.lines = FACTORS
        super().__init__(
            {
                "samples": In(stream.Signature(LAYOUTS.Sample)),
                "density_cubes": In(stream.Signature(Cube)),
                "appearance_cubes": In(stream.Signature(Cube)),
                "visible_cubes": Out(stream.Signature(Cube)),
                "pixels": Out(stream.Signature(LAYOUTS.PixelWrite)),
                "density_finished": Out(stream.Signature(1)),
                "appearance_finished": Out(stream.Signature(1)),
                "scene": In(SceneRegisters),
                "view": In(ViewRegisters),
                "tile": In(LAYOUTS.Tile),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.queued = queued = Queue(LAYOUTS.Sample, CFG.sample_queue)
        m.submodules.interpolator = interpolates = Interpolator(CFG, 1, LAYOUTS.Sample)
        m.submodules.density = dense = Density(CFG)
        m.submodules.tree = tree = TreeServer(clients=3)
        m.submodules.compositor = composites = Compositor(CFG)
        m.submodules.sequencer = sequences = CubeSequencer(LAYOUTS.VisibleSample)
        m.submodules.queued_visible = queued_visible = Queue(LAYOUTS.VisibleSample, CFG.sample_queue)
        m.submodules.appearance_interpolator = interpolates_visible = Interpolator(CFG, 3, LAYOUTS.VisibleSample)
        m.submodules.appearance = appears = Appearance(CFG)
        m.submodules.mlp_engine = shades = MlpEngine(CFG)
        m.submodules.tile_buffer = buffers = TileBuffer(CFG)
        for producer, consumer in (
            (queued.o, interpolates.i),
            (interpolates.o_sample, dense.i_sample),
            (interpolates.o_vector, dense.i_vector),
            (dense.tree, tree.client_0),
            (dense.o, composites.i),
            (composites.o, sequences.i),
            (sequences.o, queued_visible.i),
            (queued_visible.o, interpolates_visible.i),
            (interpolates_visible.o_sample, appears.i_sample),
            (interpolates_visible.o_vector, appears.i_vector),
            (appears.o_job, shades.i_job),
            (appears.o_products, shades.i_products),
            (shades.o, buffers.i),
            (buffers.final, composites.final),
            (wiring.flipped(self.density_cubes), interpolates.loaded),
            (wiring.flipped(self.appearance_cubes), interpolates_visible.loaded),
            (sequences.o_cube, wiring.flipped(self.visible_cubes)),
            (buffers.o, wiring.flipped(self.pixels)),
        ):
            wiring.connect(m, producer, consumer)
        record(m, "density_queue", interpolates.finished, Const(0, 1), self.density_finished)
        record(m, "appearance_queue", interpolates_visible.finished, Const(0, 1), self.appearance_finished)
        m.d.comb += [
            dense.scene.eq(self.scene),
            composites.view.eq(self.view),
            buffers.view.eq(self.view),
            buffers.tile.eq(self.tile),
        ]
        self._factors(m, interpolates)
        self._sequence(m, queued, dense, composites, buffers)
        return m

    def _factors(self, m, interpolates):
        """Planes and lines, addressed as they are."""
        address, enable = interpolates.factors.address, interpolates.factors.enable
        for pair, axes in enumerate(PAIRS):
            first, second, along = (address.cell[AXES[axis]] for axis in axes)
            rows, columns, _ = self.planes[pair].shape
            plane = np.zeros((PLANE, PLANE, COMPONENTS), int)
            plane[:rows, :columns] = self.planes[pair]
            line = np.zeros((LINE, COMPONENTS), int)
            line[: len(self.lines[pair])] = self.lines[pair]
            corners, ends = interpolates.factors.data[pair].corners, interpolates.factors.data[pair].ends
            places = [
                *((plane, [(first, corner & 1), (second, corner >> 1)], corners[corner]) for corner in range(4)),
                *((line, [(along, end)], ends[end]) for end in range(2)),
            ]
            for number, (values, ats, vector) in enumerate(places):
                init = memory_rows(values)
                m.submodules[f"factors_{pair}_{number}"] = memory = Memory(
                    shape=8 * COMPONENTS, depth=len(init), init=init
                )
                read = memory.read_port()
                bits = len(values).bit_length() - 1
                m.d.comb += [
                    read.addr.eq(Cat((at + offset)[:bits] for at, offset in ats)),
                    read.en.eq(enable),
                    vector.as_value().eq(read.data),
                ]

    def _sequence(self, m, queued, dense, composites, buffers):
        m.submodules.table = table = Memory(shape=128, depth=BEATS, init=table_beats(self.table))
        read = table.read_port()
        index, playing = Signal(range(BEATS + 1)), Signal()
        pixel, opens = Signal(range(PIXELS)), Signal()
        m.d.sync += playing.eq(index < BEATS)
        m.d.comb += [
            read.addr.eq(index),
            dense.table.valid.eq(playing),
            dense.table.payload.beat.eq(index - 1),
            dense.table.payload.data.eq(read.data),
            queued.i.payload.eq(self.samples.payload),
            queued.i.valid.eq(self.samples.valid & opens),
            self.samples.ready.eq(queued.i.ready & opens),
        ]
        for block in (composites, buffers):
            m.d.comb += block.initialise_pixel.eq(pixel)
        m.d.comb += composites.initialise_live.eq(pixel != DEAD)
        with m.FSM():
            with m.State("table"):
                m.d.sync += index.eq(index + 1)
                with m.If(index == BEATS):
                    m.next = "initialise"
                    m.d.sync += index.eq(BEATS)
            with m.State("initialise"):
                m.d.comb += [composites.initialise.eq(1), buffers.initialise.eq(1)]
                m.d.sync += pixel.eq(pixel + 1)
                with m.If(pixel == PIXELS - 1):
                    m.next = "samples"
            with m.State("samples"):
                m.d.comb += opens.eq(1)
                with m.If(queued.i.valid & queued.i.ready & self.samples.payload.last):
                    m.next = "empty"
            with m.State("empty"), m.If(buffers.done):
                m.next = "initialise"


class Twin:
    """The same bench in the simulator."""

    def __init__(self):
        view = registers(VIEW, **VIEW_WORDS)
        tile = registers(TILE, **TILE_WORDS)
        self.samples, self.queue_i, queued, interpolated, opaque, visible, sequenced, queued_visible, to_appearance = (
            new(SAMPLE) for _ in range(9)
        )
        self.density_cubes, self.appearance_cubes, self.visible_cubes = (new(CUBE) for _ in range(3))
        requests, responses = np.zeros(3, TREE_REQUEST), np.zeros(3, TREE_RESPONSE)
        vector = new(TREE_REQUEST)
        products, jobs, coloured, self.pixels = new(PRODUCTS), new(SHADE_JOB), new(COLOURED), new(PIXEL)
        self.done, density_strobe, appearance_strobe = np.zeros(3, STROBE)
        self.transmittance, self.terminated_from = np.zeros(PIXELS, np.int64), np.zeros(PIXELS, np.int64)
        of_pixels = (self.transmittance, self.terminated_from)
        self.strobes = [(density_strobe, StrobeQueue()), (appearance_strobe, StrobeQueue())]
        tree, composites, sequences = tree_server.new(), compositor.new(), cube_sequencer.new()
        self.offers = [
            (tree_server.offer_all, (tree, responses)),
            (cube_sequencer.offer, (sequences, visible, sequenced, self.visible_cubes)),
        ]
        steps = [
            (tree_server, (tree, requests, responses)),
            (tile_buffer, (tile_buffer.new(), tile, new(BLANK), coloured, self.pixels, self.done)),
            (mlp_engine, (mlp_engine.new(CFG), jobs, products, coloured)),
            (appearance, (appearance.new(), to_appearance, jobs)),
            (
                interpolator,
                (
                    interpolator.new(3),
                    queued_visible,
                    self.appearance_cubes,
                    appearance_strobe,
                    to_appearance,
                    products,
                ),
            ),
            (queue, (queue.new(CFG.sample_queue), sequenced, queued_visible)),
            (cube_sequencer, (sequences, visible, sequenced, self.visible_cubes)),
            (compositor, (composites, view, opaque, visible, *of_pixels)),
            (
                density,
                (
                    density.new(CFG),
                    interpolated,
                    vector,
                    requests[0],
                    responses[0],
                    opaque,
                ),
            ),
            (
                interpolator,
                (interpolator.new(1), queued, self.density_cubes, density_strobe, interpolated, vector),
            ),
            (queue, (queue.new(CFG.sample_queue), self.queue_i, queued)),
        ]

        def bind(step, arguments):
            def bound(now):
                return step(now, *arguments)

            return bound

        self.steps = [bind(block.step, arguments) for block, arguments in steps]
        self.phase, self.phase_from = "initialise", BEATS + 1

    def offer(self, now):
        for _, its_queue in self.strobes:
            its_queue.offer()
        for offer, arguments in self.offers:
            offer(now, *arguments)

    def step(self, now):
        opens = self.phase == "samples" and now >= self.phase_from
        last = self.samples["last"]
        if opens and self.samples["valid"]:
            copy_sample(self.samples, self.queue_i)
            self.queue_i["valid"] = 1
        for step in self.steps:
            step(now)
        if opens and self.samples["valid"]:
            self.samples["valid"] = self.queue_i["valid"]
            self.queue_i["valid"] = 0
            if last and not self.samples["valid"]:
                self.phase = "empty"
        if self.phase == "initialise" and now >= self.phase_from:
            for pixel in range(PIXELS):
                compositor.initialise(self.transmittance, self.terminated_from, pixel, pixel != DEAD)
            self.phase, self.phase_from = "samples", now + PIXELS
        if self.done["set"]:
            assert self.phase == "empty"
            self.phase, self.phase_from = "initialise", now + 1
        for strobe, its_queue in (*self.strobes, (self.done, None)):
            if strobe["set"] and its_queue is not None:
                its_queue.push(0)
            strobe["set"] = 0
        return now + 1


def alpha_of(sample, table, planes, lines):
    """Return the alpha of a sample."""
    total = density_sum(planes, lines, *sample_fields(sample)[1:4])
    at = table_position(total, SCENE_WORDS["density_multiplier"], SCENE_WORDS["density_offset"])
    return int(alpha(at, *table[at >> 8].tolist()))


def visible_samples(samples, table, planes, lines):
    """Return the samples and markers that the compositor passes on."""
    visible, remaining = [], {}
    for sample in samples:
        if sample["last"]:
            visible.append(sample)
            remaining = {}
            continue
        transmittance = remaining.get(sample["pixel"], ONE)
        if sample["pixel"] == DEAD or transmittance < VIEW_WORDS["termination"]:
            continue
        weight, remaining[sample["pixel"]] = composite(transmittance, alpha_of(sample, table, planes, lines))
        if weight > VIEW_WORDS["shading_threshold"]:
            visible.append(sample)
    return visible


@pytest.mark.parametrize(("stalls", "tiles"), [((1.0, 1.0), (32, 0, 6)), ((0.2, 1.0), (10, 4)), ((0.6, 0.1), (0, 16))])
def test_every_transfer_comes_in_the_same_cycle(stalls, tiles):
    """``tiles``: samples of each. Those of the first case fill every queue up to the first."""
    chance = random.Random(f"chain {stalls}")
    (planes, lines), table = FACTORS, alpha_table()
    samples = []
    for count in tiles:
        samples += random_samples(chance, count, 4, pixels=12, cubes=CUBES, lasts=0)
        samples.append({"pixel": 0, "last": 1})
    visible = visible_samples(samples, table, planes, lines)
    shaded = sum(not sample["last"] for sample in visible)
    assert 3 <= shaded <= 15
    density_cubes, appearance_cubes = cubes_of(samples), cubes_of(visible)
    inputs = {"samples": samples, "density_cubes": density_cubes, "appearance_cubes": appearance_cubes}
    counts = {
        "visible_cubes": len(appearance_cubes),
        "pixels": len(tiles) * (TILE_WORDS["last_x"] + 1) * (TILE_WORDS["last_y"] + 1),
        "density_finished": len(density_cubes) - 1,
        "appearance_finished": len(appearance_cubes) - 1,
    }
    constants = {"scene": SCENE_WORDS, "view": VIEW_WORDS, "tile": TILE_WORDS}
    hardware = run(shared(Bench), inputs, counts, constants, stalls=stalls, seed=9)
    twin = Twin()
    offered = [
        sample if sample["last"] else sample | {"alpha": alpha_of(sample, table, planes, lines)} for sample in samples
    ]
    cycles, payloads = replay(
        twin.step,
        {
            "samples": (twin.samples, [sample_fields(sample, "alpha") for sample in offered]),
            "density_cubes": (twin.density_cubes, [tuple(cube[axis] for axis in AXES) for cube in density_cubes]),
            "appearance_cubes": (
                twin.appearance_cubes,
                [tuple(cube[axis] for axis in AXES) for cube in appearance_cubes],
            ),
        },
        {
            "visible_cubes": (twin.visible_cubes, counts["visible_cubes"]),
            "pixels": (twin.pixels, counts["pixels"]),
            "density_finished": (twin.strobes[0][1].o, counts["density_finished"]),
            "appearance_finished": (twin.strobes[1][1].o, counts["appearance_finished"]),
        },
        offer=twin.offer,
        stalls=stalls,
        seed=9,
    )
    assert payloads["visible_cubes"] == [tuple(cube[axis] for axis in AXES) for cube in appearance_cubes]
    assert payloads["pixels"] == [(one.x, one.y, one.ends_row) for one in hardware.outputs["pixels"]]
    assert cycles == hardware.cycles
