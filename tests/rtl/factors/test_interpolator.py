"""The interpolator against its integer model, with a stub cube buffer that forgets a cube once it is finished."""

import random
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, run, shared
from nerf.contract.config import COMPONENTS, AcceleratorConfig
from nerf.contract.scene_image import PAIRS
from nerf.golden.interpolator import product
from rtl.factors.interpolator import Interpolator
from rtl.parts.lanes import each, samples_of
from rtl.payloads import AXES, Cube, TileLayouts
from tests.rtl.factors.helpers_blocks import memory_rows
from tests.rtl.shading.helpers_shading import fields, in_lanes, record, samples_in

CFG = AcceleratorConfig(tile=8)
LAYOUTS = TileLayouts(CFG)
PLANE, LINE = 4 * CFG.buffer_window, 16 * CFG.buffer_window


LARGEST = -1
"""The seed of factors that are as large as can be."""


@cache
def factors(groups, seed=1):
    """Planes (pair, group, second, first, component) and lines (pair, group, position, component)."""
    generator = np.random.default_rng(abs(seed))
    planes = generator.integers(-127, 128, (3, groups, PLANE, PLANE, COMPONENTS))
    lines = generator.integers(-127, 128, (3, groups, LINE, COMPONENTS))
    planes[:, :, :5, :5] = np.where(planes[:, :, :5, :5] < 0, -127, 127)
    lines[:, :, :5] = np.where(lines[:, :, :5] < 0, -127, 127)
    if seed == LARGEST:
        planes[:], lines[:] = -127, 127
    return planes, lines


def side_by_side(values, lanes):
    """Values (group, ..., component) with the components of so many groups one behind the other."""
    return np.concatenate(np.split(values, len(values)), axis=-1) if lanes > 1 else values


class Bench(wiring.Component):
    """The interpolator with a buffer whose answer is wrong if no cube is current when it is read."""

    def __init__(self, kind, seed=1):
        groups, layout, _, lanes = KINDS[kind]
        cfg = replace(CFG, interpolated_components=COMPONENTS // PARTS.get(kind, 1))
        self.planes, self.lines = factors(groups, seed)
        self.lanes, self.parts = lanes, cfg.vector_parts
        self.samples = 2 if kind == "two samples" else 1
        self.dut = Interpolator(cfg, groups, layout, lanes, self.samples)
        super().__init__(
            {
                "i": In(stream.Signature(layout)),
                "loaded": In(stream.Signature(Cube)),
                "o_sample": Out(stream.Signature(layout)),
                "o_vector": Out(self.dut.o_vector.signature),
                "finished": Out(stream.Signature(Cube)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        for name in ("i", "loaded", "o_sample", "o_vector"):
            outer, inner = getattr(self, name), getattr(dut, name)
            if name.startswith("o"):
                wiring.connect(m, inner, wiring.flipped(outer))
            else:
                wiring.connect(m, wiring.flipped(outer), inner)
        live, cube = Signal(), Signal(Cube)
        becomes_current = dut.loaded.valid & dut.loaded.ready
        with m.If(becomes_current):
            m.d.sync += [live.eq(1), cube.eq(dut.loaded.payload)]
        with m.If(dut.finished):
            m.d.sync += live.eq(0)
        for number, port in enumerate(each(dut.factors, self.samples)):
            right = Signal(name=f"right_{number}")
            with m.If(port.enable):
                m.d.sync += right.eq((live | becomes_current) & ~dut.finished)
            for pair in range(len(PAIRS)):
                self.factors(m, port, f"{number}_{pair}", pair, right)
        record(m, "finished_queue", dut.finished, cube.as_value(), self.finished)
        return m

    def factors(self, m, port, name, pair, right):
        """The vectors of a pair round the cell that is asked for."""
        address, factors = port.address, port.data[pair]
        first, second, along = (address.cell[AXES[axis]] for axis in PAIRS[pair])
        for corner in range(4):
            at = ((first + corner % 2)[: PLANE.bit_length() - 1], (second + corner // 2)[: PLANE.bit_length() - 1])
            vector = self.memory(m, port, f"plane_{name}_{corner}", self.planes[pair], *at)
            m.d.comb += factors.corners[corner].as_value().eq(Mux(right, vector, -1))
        for end in range(2):
            vector = self.memory(
                m, port, f"line_{name}_{end}", self.lines[pair], (along + end)[: LINE.bit_length() - 1]
            )
            m.d.comb += factors.ends[end].as_value().eq(Mux(right, vector, -1))

    def memory(self, m, reader, name, values, *at):
        """What a memory of parts of vectors (group, ..., component) answers to the read."""
        together = side_by_side(values, self.lanes)
        init = memory_rows(together.reshape(*together.shape[:-1], self.parts, -1))
        m.submodules[name] = memory = Memory(
            shape=8 * COMPONENTS * self.lanes // self.parts, depth=len(init), init=init
        )
        port = memory.read_port()
        place = Cat(*at, reader.address.group)
        m.d.comb += [port.addr.eq(Cat(reader.part, place) if self.parts > 1 else place), port.en.eq(reader.enable)]
        return port.data


def make_samples(layout, extra, count, seed, per_cube=5):
    """Random samples in runs of one cube, edges first, ``last`` in between and at the end."""
    generator = random.Random(seed)
    samples, tokens = [], []
    cube = None
    for index in range(count):
        if index % per_cube == 0:
            previous = cube
            while cube == previous:
                cube = {axis: generator.randrange(96) for axis in AXES}
            tokens.append(cube)
        local = {axis: generator.choice((0, 1023, 255, 256, generator.randrange(1024))) for axis in AXES}
        samples.append(
            {"pixel": generator.randrange(64), "cube": cube, "local": local, extra[0]: extra[1](generator), "last": 0}
        )
        if index % 7 == 6 or index == count - 1:
            samples.append({"pixel": 0, "cube": {a: generator.randrange(96) for a in AXES}, "last": 1})
    return samples, tokens


def expected_vectors(sample, planes, lines, lanes=1):
    """Golden vectors of a sample, in order."""
    if sample["last"]:
        return []
    vectors = [[] for _ in range(planes.shape[1])]
    for pair, axes in enumerate(PAIRS):
        where = []
        for axis, modulus in zip(axes, (PLANE, PLANE, LINE), strict=True):
            name = AXES[axis]
            where.append((((sample["cube"][name] * 4) % modulus) << 16) + (sample["local"][name] << 8) + 77)
        for group, vector in enumerate(vectors):
            plane = np.pad(planes[pair, group], ((0, 1), (0, 1), (0, 0)), mode="wrap")
            line = np.pad(lines[pair, group], ((0, 1), (0, 0)), mode="wrap")
            vector.append([int(product(plane, line, *where, n)) for n in range(COMPONENTS)])
    return [side_by_side(np.array(vectors), lanes)[0].tolist()] if lanes > 1 else vectors


WEIGHT = ("weight", lambda generator: generator.randrange((1 << 20) + 1))
KINDS = {
    "density": (1, LAYOUTS.Sample, ("pixel", lambda generator: generator.randrange(64)), 1),
    "appearance": (3, LAYOUTS.VisibleSample, WEIGHT, 1),
    "density in quarters": (1, LAYOUTS.Sample, ("pixel", lambda generator: generator.randrange(64)), 1),
    "density one by one": (1, LAYOUTS.Sample, ("pixel", lambda generator: generator.randrange(64)), 1),
    "appearance in halves": (3, LAYOUTS.VisibleSample, WEIGHT, 1),
    "appearance at once": (3, LAYOUTS.VisibleSample, WEIGHT, 3),
    "two samples": (2, samples_of(LAYOUTS.Sample, 2), ("pixel", lambda generator: generator.randrange(64)), 1),
}
"""Groups, samples, what else they have, and lanes."""
PARTS = {"density in quarters": 4, "density one by one": 16, "appearance in halves": 2}
"""Steps of a vector."""


ONE_SAMPLE = [kind for kind in KINDS if kind != "two samples"]


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize("kind", ONE_SAMPLE)
def test_products_equal_the_model(kind, stalls):
    groups, layout, extra, lanes = KINDS[kind]
    planes, lines = factors(groups)
    samples, tokens = make_samples(layout, extra, 24 if groups == 1 else 12, 2)
    expected = [vector for sample in samples for vector in expected_vectors(sample, planes, lines, lanes)]
    result = run(
        shared(Bench, kind),
        {"i": samples, "loaded": tokens},
        {"o_sample": len(samples), "o_vector": len(expected), "finished": len(tokens) - 1},
        stalls=stalls,
        seed=3,
    )
    assert [[list(pair) for pair in vector] for vector in result.outputs["o_vector"]] == expected
    assert [fields(sample) for sample in result.outputs["o_sample"]] == [
        fields(layout.const(sample)) for sample in samples
    ]
    assert [fields(cube) for cube in result.outputs["finished"]] == tokens[:-1]
    # A sample is never behind its vectors.
    behind, vectors = 0, result.cycles["o_vector"]
    if stalls == (1.0, 1.0):
        for sample, cycle in zip(samples, result.cycles["o_sample"], strict=True):
            count = len(expected_vectors(sample, planes, lines, lanes))
            assert count == 0 or cycle < vectors[behind]
            behind += count


@pytest.mark.parametrize("stalls", STALLS)
def test_two_samples_at_a_time(stalls):
    """Each has its vectors; what is not there may have any. All of a transfer wait for its cube."""
    groups, layout, extra, _ = KINDS["two samples"]
    planes, lines = factors(groups)
    samples, tokens = make_samples(layout, extra, 40, 4, per_cube=8)
    transfers = in_lanes(by_cube := list(samples), random.Random(1))
    for one in transfers:
        assert one["last"] or all(sample["cube"] == one["cube"] for sample in by_cube if sample in samples_in(one))
    count = groups * sum(not one["last"] for one in transfers)
    result = run(
        shared(Bench, "two samples"),
        {"i": transfers, "loaded": tokens},
        {"o_sample": len(transfers), "o_vector": count, "finished": len(tokens) - 1},
        stalls=stalls,
        seed=3,
    )
    assert [fields(one) for one in result.outputs["o_sample"]] == [fields(layout.const(one)) for one in transfers]
    found = iter(result.outputs["o_vector"])
    for one in transfers:
        if not one["last"]:
            vectors = [next(found) for _ in range(groups)]
            for number, lane in enumerate(one["lanes"]):
                if lane["present"]:
                    sample = {"cube": one["cube"], "local": lane["local"], "last": 0}
                    mine = [[list(pair) for pair in vector[number]] for vector in vectors]
                    assert mine == expected_vectors(sample, planes, lines)
    if stalls == (1.0, 1.0):
        assert result.cycles["o_vector"][0] == result.cycles["loaded"][0] + Interpolator.LATENCY
        assert np.diff(result.cycles["o_vector"]).tolist().count(1) >= count - 2 * len(transfers) // groups


def test_largest_products_fit():
    sample = {"pixel": 1, "cube": dict.fromkeys(AXES, 3), "local": dict.fromkeys(AXES, 1023), "last": 0}
    result = run(
        shared(Bench, "density", LARGEST),
        {"i": [sample], "loaded": [sample["cube"]]},
        {"o_vector": 1, "o_sample": 1},
    )
    assert [list(pair) for pair in result.outputs["o_vector"][0]] == [[-127 * 127 * 256] * COMPONENTS] * len(PAIRS)


@pytest.mark.parametrize("kind", ONE_SAMPLE)
def test_latency_and_one_step_a_cycle(kind):
    groups, layout, extra, lanes = KINDS[kind]
    samples, tokens = make_samples(layout, extra, 6, 5, per_cube=6)
    del samples[-1]
    count, parts = 6 * groups // lanes, PARTS.get(kind, 1)
    result = run(shared(Bench, kind), {"i": samples, "loaded": tokens}, {"o_sample": 6, "o_vector": count})
    vectors = result.cycles["o_vector"]
    assert vectors == list(range(vectors[0], vectors[0] + parts * count, parts))
    first_read = result.cycles["loaded"][0]
    assert result.cycles["o_sample"][0] == first_read + 1
    assert vectors[0] == first_read + Interpolator.LATENCY + parts - 1


def test_change_of_cube_costs_a_cycle():
    samples, tokens = make_samples(LAYOUTS.Sample, KINDS["density"][2], 6, 7, per_cube=2)
    del samples[-1]
    result = run(shared(Bench, "density"), {"i": samples, "loaded": tokens}, {"o_sample": 6, "o_vector": 6})
    assert np.diff(result.cycles["o_vector"]).tolist() == [1, 2, 1, 2, 1]


def test_unwanted_token_is_finished():
    samples, tokens = make_samples(LAYOUTS.Sample, KINDS["density"][2], 2, 9, per_cube=1)
    tokens.insert(1, {"x": 95, "y": 95, "z": 95})
    result = run(
        shared(Bench, "density"),
        {"i": samples, "loaded": tokens},
        {"o_vector": 2, "o_sample": 3, "finished": 2},
    )
    assert [fields(cube) for cube in result.outputs["finished"]] == tokens[:2]
