"""The tile buffer against its integer model."""

import random

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, run
from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import COLOUR_BITS, UNIT
from nerf.golden.tile_buffer import output_pixel, weighted_colour
from rtl.payloads import TileLayouts, ViewRegisters
from rtl.tile_buffer import TileBuffer
from tests.rtl.helpers_shading import fields, record

SIDE = 4
CFG = AcceleratorConfig(tile=SIDE)
LAYOUTS = TileLayouts(CFG)
PIXELS = SIDE * SIDE
ONE = 1 << UNIT


class Bench(wiring.Component):
    """Initialise all pixels before each tile; transmittances come from a memory."""

    def __init__(self, transmittance):
        self.transmittance = transmittance
        self.dut = TileBuffer(CFG)
        super().__init__(
            {
                "i": In(stream.Signature(LAYOUTS.ColouredSample)),
                "o": Out(stream.Signature(LAYOUTS.PixelWrite)),
                "tile": In(LAYOUTS.Tile),
                "view": In(ViewRegisters),
                "strobes": Out(stream.Signature(2)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        m.submodules.transmittance = memory = Memory(shape=UNIT + 1, depth=PIXELS, init=self.transmittance)
        read = memory.read_port()
        pixel, ready = Signal(LAYOUTS.pixel), Signal()
        m.d.comb += [
            read.addr.eq(dut.final.address),
            read.en.eq(dut.final.enable),
            dut.final.data.eq(read.data),
            dut.tile.eq(self.tile),
            dut.view.eq(self.view),
            dut.initialise.eq(~ready),
            dut.initialise_pixel.eq(pixel),
            dut.i.payload.eq(self.i.payload),
            dut.i.valid.eq(self.i.valid & ready),
            self.i.ready.eq(dut.i.ready & ready),
        ]
        with m.If(~ready):
            m.d.sync += pixel.eq(pixel + 1)
            with m.If(pixel == PIXELS - 1):
                m.d.sync += ready.eq(1)
        with m.If(dut.done):
            m.d.sync += ready.eq(0)
        wiring.connect(m, dut.o, wiring.flipped(self.o))
        strobes = Signal(2)
        m.d.comb += strobes.eq(dut.done << 1 | dut.shaded)
        record(m, "strobe_queue", dut.done | dut.shaded, strobes, self.strobes)
        return m


def model(samples, tile, transmittance, background):
    """Pixel writes of all tiles, in order."""
    writes, colours = [], np.zeros((PIXELS, 3), np.int64)
    for sample in samples:
        if not sample["last"]:
            colours[sample["pixel"]] += weighted_colour(sample["weight"], np.array(sample["colour"], np.int64))
            continue
        for row in range(tile["last_y"] + 1):
            for column in range(tile["last_x"] + 1):
                pixel = row * SIDE + column
                channels = output_pixel(colours[pixel], np.array(transmittance[pixel]), background)
                writes.append({"x": tile["x"] + column, "y": tile["y"] + row, "channels": channels.tolist()})
        colours[:] = 0
    return writes


def make_samples(generator, tiles, count, pixels, transmittance):
    """Samples whose weights and the pixel's transmittance add up to at most 1.0."""
    samples = []
    for _ in range(tiles):
        left = [ONE - value for value in transmittance]
        for _ in range(count):
            pixel = generator.randrange(pixels)
            weight = generator.choice((0, 1, left[pixel], generator.randint(0, left[pixel]), left[pixel] // 7))
            weight = min(weight, left[pixel])
            left[pixel] -= weight
            colour = [generator.choice((0, 4095, generator.randrange(1 << COLOUR_BITS))) for _ in range(3)]
            samples.append({"pixel": pixel, "weight": weight, "colour": colour, "last": 0})
        samples.append({"last": 1})
    return samples


def check(samples, tile, transmittance, background, **options):
    writes = model(samples, tile, transmittance, background)
    result = run(
        Bench(transmittance),
        {"i": samples},
        {"o": len(writes), "strobes": len(samples)},
        {"tile": tile, "view": {"background": background}},
        **options,
    )
    assert [fields(write) for write in result.outputs["o"]] == writes
    assert result.outputs["strobes"] == [1 + sample["last"] for sample in samples]
    return result


def make_transmittance(generator):
    edges = [0, ONE, 1, ONE - 1]
    return edges + [generator.randrange(ONE + 1) for _ in range(PIXELS - len(edges))]


@pytest.mark.parametrize(("pixels", "background"), [(1, 1), (3, 0), (PIXELS, 1)])
@pytest.mark.parametrize("stalls", STALLS)
def test_pixels_equal_the_model(stalls, pixels, background):
    generator = random.Random(f"{stalls} {pixels}")
    transmittance = make_transmittance(generator)
    samples = make_samples(generator, 3, 40, pixels, transmittance)
    check(samples, {"x": 8188, "y": 40, "last_x": 3, "last_y": 3}, transmittance, background, stalls=stalls, seed=1)


@pytest.mark.parametrize(("last_x", "last_y"), [(0, 0), (0, 3), (3, 0), (2, 1)])
def test_part_of_a_tile(last_x, last_y):
    generator = random.Random(last_x)
    transmittance = make_transmittance(generator)
    samples = make_samples(generator, 2, 20, PIXELS, transmittance)
    check(samples, {"x": 0, "y": 5, "last_x": last_x, "last_y": last_y}, transmittance, 1)


def test_white_on_white_is_white():
    """Roundings up must not wrap."""
    transmittance = [ONE // 2 + n for n in range(PIXELS)]
    samples = [{"pixel": n, "weight": 1, "colour": [4095] * 3, "last": 0} for n in range(PIXELS) for _ in range(8)]
    samples += [{"pixel": n, "weight": ONE // 2 - n - 8, "colour": [4095] * 3, "last": 0} for n in range(PIXELS)]
    result = check([*samples, {"last": 1}], {"x": 0, "y": 0, "last_x": 3, "last_y": 3}, transmittance, 1)
    assert all(write.channels[0] > 65500 for write in result.outputs["o"])


def test_more_than_white_is_limited():
    """The compositor never makes it, but the limit is part of the model."""
    samples = [{"pixel": 5, "weight": ONE, "colour": [4095, 2048, 16], "last": 0}]
    samples += [{"pixel": 6, "weight": 16, "colour": [4095] * 3, "last": 0}, {"last": 1}]
    result = check(samples, {"x": 0, "y": 0, "last_x": 3, "last_y": 3}, [ONE] * PIXELS, 1)
    assert [list(result.outputs["o"][n].channels) for n in (5, 6)] == [[65535, 65535, 65535, 0]] * 2


def test_latency_and_throughput():
    generator = random.Random(4)
    transmittance = make_transmittance(generator)
    samples = make_samples(generator, 1, 6, PIXELS, transmittance)
    result = check(samples, {"x": 0, "y": 0, "last_x": 3, "last_y": 3}, transmittance, 0)
    taken, given = result.cycles["i"], result.cycles["o"]
    assert taken[:6] == list(range(PIXELS, PIXELS + 6))
    offered = taken[5] + 1
    assert given == list(range(offered + TileBuffer.LATENCY, offered + TileBuffer.LATENCY + PIXELS))
    assert taken[6] == given[-1]
