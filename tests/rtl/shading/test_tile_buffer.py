"""The tile buffer against its integer model."""

import random

import numpy as np
import pytest
from amaranth.hdl import Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory, MemoryData
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, run, shared
from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import COLOUR_BITS, PLAIN_COLOUR, UNIT
from nerf.golden.tile_buffer import output_pixel, weighted_colour
from rtl.payloads import TileLayouts, ViewRegisters
from rtl.shading.tile_buffer import TileBuffer
from tests.rtl.shading.helpers_shading import fields, record

SIDE = 4
CFG = AcceleratorConfig(tile=SIDE)
PLAIN = AcceleratorConfig(tile=SIDE, colours="plain")
LAYOUTS = TileLayouts(CFG)
PIXELS = SIDE * SIDE
ONE = 1 << UNIT
WHITE = 0xFFFFFF


class Bench(wiring.Component):
    """Initialise tile after tile, two at a time, each before its samples are let in; transmittances from a memory."""

    def __init__(self, cfg):
        self.transmittance = MemoryData(shape=UNIT + 1, depth=2 * PIXELS, init=[])
        self.dut = TileBuffer(cfg)
        super().__init__(
            {
                "i": In(stream.Signature(TileLayouts(cfg).ColouredSample)),
                "o": Out(stream.Signature(LAYOUTS.PixelWrite)),
                "tile": In(LAYOUTS.Tile),
                "blank": In(stream.Signature(LAYOUTS.Tile)),
                "view": In(ViewRegisters),
                "shaded": Out(stream.Signature(1)),
                "done": Out(stream.Signature(1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        m.submodules.transmittance = memory = Memory(self.transmittance)
        read = memory.read_port()
        pixel = Signal(LAYOUTS.pixel)
        initialised, added, put_out = (Signal(8, name=name) for name in ("initialised", "added", "put_out"))
        opens = Signal()
        m.d.comb += [
            read.addr.eq(dut.final.address),
            read.en.eq(dut.final.enable),
            dut.final.data.eq(read.data),
            dut.tile.eq(self.tile),
            dut.tile.place.eq(put_out[0]),
            dut.view.eq(self.view),
            dut.initialise.eq(initialised != put_out + 2),
            dut.initialise_pixel.eq(pixel),
            opens.eq(added != initialised),
            dut.i.payload.eq(self.i.payload),
            dut.i.valid.eq(self.i.valid & opens),
            self.i.ready.eq(dut.i.ready & opens),
        ]
        m.d.sync += [pixel.eq(pixel + dut.initialise), put_out.eq(put_out + dut.done)]
        with m.If(dut.initialise & (pixel[:-1] == PIXELS - 1)):
            m.d.sync += initialised.eq(initialised + 1)
        with m.If(self.i.valid & self.i.ready & self.i.payload.last):
            m.d.sync += added.eq(added + 1)
        wiring.connect(m, dut.o, wiring.flipped(self.o))
        wiring.connect(m, wiring.flipped(self.blank), dut.blank)
        for name in ("shaded", "done"):
            record(m, f"{name}_queue", getattr(dut, name), Const(1, 1), getattr(self, name))
        return m


def model(samples, tile, transmittance, background):
    """Pixel writes of all tiles, in order."""
    writes, colours, on_chip = [], np.zeros((2 * PIXELS, 3), np.int64), 0
    for sample in samples:
        if not sample["last"]:
            colours[sample["pixel"]] += weighted_colour(sample["weight"], np.array(sample["colour"], np.int64))
            continue
        for row in range(tile["last_y"] + 1):
            for column in range(tile["last_x"] + 1):
                pixel = on_chip * PIXELS + row * SIDE + column
                channels = output_pixel(colours[pixel], np.array(transmittance[pixel]), background)
                place = {"x": tile["x"] + column, "y": tile["y"] + row}
                writes.append({**place, "channels": channels.tolist(), "ends_row": int(column == tile["last_x"])})
        colours[:] = 0
        on_chip = 1 - on_chip
    return writes


def make_samples(generator, tiles, count, pixels, transmittance, low=0, high=(1 << COLOUR_BITS) - 1):
    """Samples whose weights and the pixel's transmittance add up to at most 1.0; lowest and highest colour."""
    samples = []
    for tile in range(tiles):
        left = [ONE - value for value in transmittance]
        for _ in range(count):
            pixel = tile % 2 * PIXELS + generator.randrange(pixels)
            weight = generator.choice((0, 1, left[pixel], generator.randint(0, left[pixel]), left[pixel] // 7))
            weight = min(weight, left[pixel])
            left[pixel] -= weight
            colour = [generator.choice((low, high, generator.randint(low, high))) for _ in range(3)]
            samples.append({"pixel": pixel, "weight": weight, "colour": colour, "last": 0})
        samples.append({"last": 1})
    return samples


def check(samples, tile, transmittance, background, cfg=CFG, **options):
    writes = model(samples, tile, transmittance, background)
    tiles = sum(sample["last"] for sample in samples)
    result = run(
        shared(Bench, cfg),
        {"i": samples},
        {"o": len(writes), "shaded": len(samples) - tiles, "done": tiles},
        {"tile": tile, "view": {"background": background}},
        memories={"transmittance": transmittance},
        **options,
    )
    assert [fields(write) for write in result.outputs["o"]] == writes
    return result


def make_transmittance(generator):
    edges = [0, ONE, 1, ONE - 1]
    return edges + [generator.randrange(ONE + 1) for _ in range(2 * PIXELS - len(edges))]


@pytest.mark.parametrize(("pixels", "background"), [(1, WHITE), (3, 0), (PIXELS, 0x80FF01)])
@pytest.mark.parametrize("stalls", STALLS)
def test_pixels_equal_the_model(stalls, pixels, background):
    generator = random.Random(f"{stalls} {pixels}")
    transmittance = make_transmittance(generator)
    samples = make_samples(generator, 3, 40, pixels, transmittance)
    check(samples, {"x": 8188, "y": 40, "last_x": 3, "last_y": 3}, transmittance, background, stalls=stalls, seed=1)


@pytest.mark.parametrize("size", [PLAIN_COLOUR.high, 6000])
def test_plain_colours_are_limited_in_the_end(size):
    generator = random.Random(size)
    transmittance = make_transmittance(generator)
    samples = make_samples(generator, 3, 40, PIXELS, transmittance, -size, size)
    # Sums at both ends.
    samples = [
        {"pixel": n, "weight": ONE // 4, "colour": [size, -size, 4096], "last": 0} for n in (0, 0, 0, 0)
    ] + samples
    result = check(samples, {"x": 0, "y": 0, "last_x": 3, "last_y": 3}, transmittance, 0x80FF01, PLAIN)
    channels = {channel for write in result.outputs["o"] for channel in list(write.channels)[:3]}
    assert {0, 65535} < channels


@pytest.mark.parametrize(("last_x", "last_y"), [(0, 0), (0, 3), (3, 0), (2, 1)])
def test_part_of_a_tile(last_x, last_y):
    generator = random.Random(last_x)
    transmittance = make_transmittance(generator)
    samples = make_samples(generator, 2, 20, PIXELS, transmittance)
    check(samples, {"x": 0, "y": 5, "last_x": last_x, "last_y": last_y}, transmittance, WHITE)


def test_white_on_white_is_white():
    """Roundings up must not wrap."""
    transmittance = [ONE // 2 + n for n in range(PIXELS)] * 2
    samples = [{"pixel": n, "weight": 1, "colour": [4095] * 3, "last": 0} for n in range(PIXELS) for _ in range(8)]
    samples += [{"pixel": n, "weight": ONE // 2 - n - 8, "colour": [4095] * 3, "last": 0} for n in range(PIXELS)]
    result = check([*samples, {"last": 1}], {"x": 0, "y": 0, "last_x": 3, "last_y": 3}, transmittance, WHITE)
    assert all(write.channels[0] > 65500 for write in result.outputs["o"])


def test_more_than_white_is_limited():
    """The compositor never makes it, but the limit is part of the model."""
    samples = [{"pixel": 5, "weight": ONE, "colour": [4095, 2048, 16], "last": 0}]
    samples += [{"pixel": 6, "weight": 16, "colour": [4095] * 3, "last": 0}, {"last": 1}]
    result = check(samples, {"x": 0, "y": 0, "last_x": 3, "last_y": 3}, [ONE] * 2 * PIXELS, WHITE)
    assert [list(result.outputs["o"][n].channels) for n in (5, 6)] == [[65535, 65535, 65535, 0]] * 2


def test_latency_and_throughput():
    generator = random.Random(4)
    transmittance = make_transmittance(generator)
    samples = make_samples(generator, 1, 6, PIXELS, transmittance)
    result = check(samples, {"x": 0, "y": 0, "last_x": 3, "last_y": 3}, transmittance, 0)
    # The bench lets the first sample in when all pixels of the tile have been initialised.
    taken, given = result.cycles["i"], result.cycles["o"]
    assert taken == list(range(PIXELS, PIXELS + len(samples)))
    assert given == list(range(taken[-1] + TileBuffer.LATENCY, taken[-1] + TileBuffer.LATENCY + PIXELS))
    assert result.cycles["done"] == [given[-1] + 1]


@pytest.mark.parametrize("distance", range(1, TileBuffer.ADDING + 2))
def test_a_sum_is_read_as_it_was_left(distance):
    """Whether the sample before is in a step still or written, in the same cycle or long ago."""
    others = [{"pixel": 8 + n, "weight": 5, "colour": [9, 8, 7], "last": 0} for n in range(distance - 1)]
    samples = [
        sample
        for weight in (ONE // 3, 1, ONE // 5, ONE // 7)
        for sample in ({"pixel": 4, "weight": weight, "colour": [4095, 2049, 1], "last": 0}, *others)
    ]
    tile = {"x": 0, "y": 0, "last_x": 3, "last_y": 3}
    check([*samples, {"last": 1}], tile, [0] * 2 * PIXELS, WHITE)


def test_a_tile_is_put_out_while_the_next_one_is_added_up():
    generator = random.Random(5)
    transmittance = make_transmittance(generator)
    samples = make_samples(generator, 3, 20, PIXELS, transmittance)
    tile = {"x": 0, "y": 0, "last_x": 3, "last_y": 3}
    taken, given = (check(samples, tile, transmittance, WHITE, stalls=(1.0, 0.2)).cycles[name] for name in "io")
    assert taken[21 + 19] < given[PIXELS - 1] < taken[21 + 20] < given[PIXELS]


def blank_writes(tile, background):
    """Pixel writes of a blank tile: the background, transparent."""
    clear = output_pixel(np.zeros(3, np.int64), np.array(ONE), background).tolist()
    return [
        {
            "x": tile["x"] + column,
            "y": tile["y"] + row,
            "channels": clear,
            "ends_row": int(column == tile["last_x"]),
        }
        for row in range(tile["last_y"] + 1)
        for column in range(tile["last_x"] + 1)
    ]


@pytest.mark.parametrize("stalls", STALLS)
def test_blank_tiles_are_put_out_while_none_waits(stalls):
    generator = random.Random(f"{stalls}")
    transmittance = make_transmittance(generator)
    samples = make_samples(generator, 4, 20, PIXELS, transmittance)
    tile, background = {"x": 40, "y": 8, "last_x": 3, "last_y": 3}, 0x80FF01
    blanks = [{"x": 4 * n, "y": 0, "last_x": n % 4, "last_y": (n + 1) % 4} for n in range(9)]
    groups = [model(samples, tile, transmittance, background)[n * PIXELS :][:PIXELS] for n in range(4)]
    empty = [blank_writes(blank, background) for blank in blanks]
    result = run(
        shared(Bench, CFG),
        {"i": samples, "blank": blanks},
        {"o": sum(map(len, groups + empty)), "shaded": len(samples) - 4, "done": 4},
        {"tile": tile, "view": {"background": background}},
        memories={"transmittance": transmittance},
        stalls=stalls,
        seed=2,
    )
    written = [fields(write) for write in result.outputs["o"]]
    order = []
    while written:
        kind = groups if written[0]["x"] >= tile["x"] else empty
        wanted = kind.pop(0)
        assert written[: len(wanted)] == wanted, "whole tiles, each kind in its order"
        del written[: len(wanted)]
        order.append(kind is groups)
    assert groups == empty == []
    assert order.index(True) < len(order) - 1 - order[::-1].index(False), "they take turns"


def test_a_blank_tile_is_at_the_output_at_once_and_taken_with_its_last_pixel():
    blanks = [{"x": 0, "y": 0, "last_x": 3, "last_y": 3}, {"x": 4, "y": 0, "last_x": 3, "last_y": 0}]
    result = run(shared(Bench, CFG), {"blank": blanks}, {"o": PIXELS + 4}, {"view": {"background": WHITE}})
    first = list(range(TileBuffer.BLANK_LATENCY, TileBuffer.BLANK_LATENCY + PIXELS))
    assert result.cycles["o"][:PIXELS] == first
    assert result.cycles["blank"] == [first[-1], result.cycles["o"][-1]]
    assert result.cycles["o"][PIXELS] == first[-1] + 1 + TileBuffer.BLANK_LATENCY
