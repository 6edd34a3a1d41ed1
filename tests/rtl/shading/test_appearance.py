"""The appearance block: jobs carry the direction of their pixel, products are rounded."""

import random

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, run, shared
from nerf.contract.config import COMPONENTS, AcceleratorConfig
from nerf.contract.formats import PRODUCT, round_shift
from nerf.contract.scene_image import PAIRS
from rtl.payloads import Direction, ProductVector, TileLayouts
from rtl.shading.appearance import Appearance, RoundedVector
from tests.rtl.shading.helpers_shading import fields

CFG = AcceleratorConfig(tile=4)
LAYOUTS = TileLayouts(CFG)
DIRECTIONS = [{"x": 16384 - n, "y": -16384 + 7 * n, "z": 1000 * n - 8000} for n in range(16)]
EDGES = [0, 127, 128, 129, 255, 383, 384, PRODUCT.high, PRODUCT.low, -127, -128, -129, -255, -383, -384, -385]


class Bench(wiring.Component):
    """The block with a memory of directions."""

    def __init__(self):
        self.dut = Appearance(CFG)
        super().__init__(
            {
                "i_sample": In(stream.Signature(LAYOUTS.VisibleSample)),
                "i_vector": In(stream.Signature(ProductVector)),
                "o_job": Out(stream.Signature(LAYOUTS.ShadeJob)),
                "o_products": Out(stream.Signature(RoundedVector)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        m.submodules.directions = memory = Memory(shape=Direction, depth=len(DIRECTIONS), init=DIRECTIONS)
        port = memory.read_port()
        m.d.comb += [
            port.addr.eq(dut.direction.address),
            port.en.eq(dut.direction.enable),
            dut.direction.data.eq(port.data),
        ]
        wiring.connect(m, wiring.flipped(self.i_sample), dut.i_sample)
        wiring.connect(m, wiring.flipped(self.i_vector), dut.i_vector)
        wiring.connect(m, dut.o_job, wiring.flipped(self.o_job))
        wiring.connect(m, dut.o_products, wiring.flipped(self.o_products))
        return m


def random_vector(generator):
    return [[generator.randint(PRODUCT.low, PRODUCT.high) for _ in range(COMPONENTS)] for _ in PAIRS]


def make_case(seed, count):
    generator = random.Random(seed)
    samples, vectors = [], []
    for _ in range(count):
        weight = generator.randrange((1 << 20) + 1)
        samples.append({"pixel": generator.randrange(16), "weight": weight, "last": 0})
        if generator.random() < 0.2:
            samples.append({"pixel": generator.randrange(16), "weight": 0, "last": 1})
        vectors += [random_vector(generator) for _ in range(CFG.groups["appearance"])]
    vectors[0][1] = EDGES
    return samples, vectors


@pytest.mark.parametrize("stalls", STALLS)
def test_jobs_and_rounding(stalls):
    samples, vectors = make_case(str(stalls), 20)
    result = run(
        shared(Bench),
        {"i_sample": samples, "i_vector": vectors},
        {"o_job": len(samples), "o_products": len(vectors)},
        stalls=stalls,
        seed=1,
    )
    rounded = [[list(pair) for pair in vector] for vector in result.outputs["o_products"]]
    assert rounded == round_shift(np.array(vectors), 8).tolist()
    for sample, job in zip(samples, map(fields, result.outputs["o_job"]), strict=True):
        assert job["last"] == sample["last"]
        if not sample["last"]:
            assert job == {**sample, "direction": DIRECTIONS[sample["pixel"]]}


def test_latency_and_throughput():
    samples, vectors = make_case("throughput", 6)
    result = run(
        shared(Bench), {"i_sample": samples, "i_vector": vectors}, {"o_job": len(samples), "o_products": len(vectors)}
    )
    assert result.cycles["o_job"] == [Appearance.LATENCY + n for n in range(len(samples))]
    assert result.cycles["o_products"] == list(range(len(vectors)))
