"""The ends of a sample's way equal the functions of the golden model, for all values; as in `test_stages`."""

from types import SimpleNamespace

import pytest
from amaranth.hdl import Cat, Const, Mux, Signal, signed
from amaranth.lib import data

from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import BACKGROUND_UNIT, COLOUR_BITS, FINE_BITS, FRACTION_BITS, PLAIN_COLOUR, POSITION
from nerf.contract.scene_image import MASK_WINDOW
from nerf.golden.sample_generator import CUBE_SHIFT, mask_cell, occupied, sample_position
from nerf.golden.tile_buffer import output_channel, weighted_colour
from rtl.factors.hybrid_decoder import _pick
from rtl.parts.pixel_memory import PixelWrite
from rtl.payloads import AXES, LOCAL_BITS, UNIT_BITS, LookUp, SceneRegisters, TileLayouts
from rtl.samples import sample_lane
from rtl.shading import tile_buffer
from tests.formal.golden import evaluate, times
from tests.formal.products import Products, only_row
from tests.formal.prove import Bench
from tests.formal.test_stages import ALWAYS, CFG, ONE, assert_proved, part


class Passing(sample_lane.Stage):
    """A stage that something enters in every cycle."""

    def enter(self, m, valid):
        return m.If(ALWAYS)


ITEM = {
    "item": data.StructLayout({"pixel": TileLayouts(CFG).pixel, "slot": range(sample_lane.SLOTS), "ends": 1}),
}


@pytest.fixture
def lane(monkeypatch):
    bench = Bench()
    products = Products(bench)
    monkeypatch.setattr(sample_lane, "few_rows", products.few_rows)
    monkeypatch.setattr(sample_lane, "Stage", Passing)
    return bench, products


def point_bench(bench: Bench, products: Products) -> Bench:
    """A lattice point, from a ray's first sample, its step and an index."""
    index = bench.free("index", sample_lane.INDEX_BITS)
    start = bench.free("start", sample_lane.Start)
    point = Signal(sample_lane.Point)

    def aim(unit, m):
        fields = ITEM | {"index": sample_lane.INDEX_BITS, "step": sample_lane.Steps, "reachable": 1}
        indexed = Passing(m, "indexed", ITEM | {"start": sample_lane.Start, "index": sample_lane.STEPS_BITS})
        aimed = Passing(m, "aimed", fields | {"rows": sample_lane.rows(sample_lane.POINT_BITS)})
        begun = Passing(m, "begun", fields | {"point": sample_lane.Point})
        unit._aim(m, indexed, aimed, begun)
        m.d.comb += [indexed.index.eq(index), indexed.start.eq(start), point.eq(begun.point)]

    bench.add_wires("aim", part(sample_lane.SampleLane, aim, CFG, 0))
    for axis in AXES:
        golden = evaluate(sample_position, start.position[axis], start.step[axis], index, multiply=products.of)
        bench.claim(f"position along {axis}", point[axis] >> FINE_BITS == golden)
    bench.goal("a place", (point.x < 0) & (point.y > 0))
    return bench


def test_sample_position(lane):
    assert_proved(point_bench(*lane))


@pytest.mark.full
def test_a_position_of_other_bits_is_found(lane, monkeypatch):
    monkeypatch.setattr(sample_lane, "FINE_BITS", FINE_BITS - 1)
    assert point_bench(*lane).prove().claim == "position along x"


def occupancy_bench(bench: Bench, products: Products) -> Bench:
    """The first point of a ray in a cube: whether it lies in both cube and box, and in an occupied mask cell."""
    point = bench.free("point", sample_lane.Point)
    scene = {name: bench.free(name, SceneRegisters[name].shape) for name in ("grid", "mask_scale", "mask_offset")}
    cube = bench.free("cube", sample_lane.Cube)
    found, inside = {}, Signal()

    def march(unit, m):
        marching = ITEM | {
            "behind": sample_lane.INDEX_BITS, "point": sample_lane.Point, "following": sample_lane.Point,
            "step": sample_lane.Steps, "cube": sample_lane.Cube,
        }  # fmt: skip
        local, bits = {"local": sample_lane.Local}, signed(sample_lane.MASK_OFFSET.integer + 2)
        fields = {
            "ahead": marching,
            "march": marching | {"second": sample_lane.Point, "inside": 1, "ends": 1},
            "scaled": ITEM | local | {"rows": sample_lane.rows(sample_lane.CELL_BITS, 3)},
            "summed": ITEM | local | {"cell": sample_lane.vector3(bits)},
            "cell": ITEM | local | {"cell": sample_lane.vector3(range(MASK_WINDOW)), "within": 1},
            "found": ITEM | local | {"goes_on": 1},
        }
        stages = {name: Passing(m, name, layout) for name, layout in fields.items()}
        unit._march(m, *(stages[name] for name in ("ahead", "march", "scaled")))
        unit._test_mask(m, *(stages[name] for name in ("scaled", "summed", "cell", "found")))
        ahead = stages["ahead"]
        m.d.comb += [ahead.valid.eq(1), ahead.point.eq(point), ahead.cube.eq(cube), inside.eq(stages["march"].inside)]
        found["stage"] = stages["found"]

    unit = part(sample_lane.SampleLane, march, CFG, 0)
    bench.add_wires("march", unit)
    record = bench.free("record", unit.cubes[0].shape())
    bench.m.d.comb += [unit.cubes[0].eq(record), *(unit.scene[name].eq(value) for name, value in scene.items())]
    goes_on, local = found["stage"].goes_on, found["stage"].local
    positions = [point[axis] >> FINE_BITS for axis in AXES]
    lies_inside = Cat(
        (place >= 0) & (place <= (scene["grid"][axis] - 1) << POSITION.fraction) & (place >> CUBE_SHIFT == cube[axis])
        for axis, place in zip(AXES, positions, strict=True)
    ).all()
    cells = [
        evaluate(mask_cell, place, scene["mask_scale"][axis], scene["mask_offset"][axis], multiply=products.of)
        for axis, place in zip(AXES, [place[: sample_lane.PLACE_BITS] for place in positions], strict=True)
    ]
    places = range(MASK_WINDOW)
    window = [
        [[record.window[x + MASK_WINDOW * (y + MASK_WINDOW * z)] for x in places] for y in places] for z in places
    ]
    golden = evaluate(occupied, window, [record.base[axis] for axis in AXES], *cells)
    bench.claim("in cube and box", inside == lies_inside)
    bench.claim("occupied", ~lies_inside | (goes_on == golden))
    shift = POSITION.fraction - FRACTION_BITS
    for axis, place in zip(AXES, positions, strict=True):
        bench.claim(f"place in the cube along {axis}", ~lies_inside | (local[axis] == place[shift:][:LOCAL_BITS]))
    bench.goal("an occupied cell", lies_inside & golden)
    return bench


@pytest.mark.full
def test_occupancy(lane):
    assert_proved(occupancy_bench(*lane))


@pytest.mark.full
def test_a_cell_of_other_bits_is_found(lane, monkeypatch):
    monkeypatch.setattr(sample_lane, "MASK_WINDOW", MASK_WINDOW + 1)
    assert occupancy_bench(*lane).prove().claim == "occupied"


def colour_bench(monkeypatch, colours: str, fault: int = 0) -> Bench:
    """What a sample adds to the colour of its pixel, of whose samples none is on its way."""
    bench = Bench()
    products = Products(bench)
    monkeypatch.setattr(tile_buffer, "few_rows", products.few_rows)
    weight = bench.free("weight", UNIT_BITS)
    colour = bench.free("colour", signed(PLAIN_COLOUR.width) if colours == "plain" else COLOUR_BITS)
    cfg = AcceleratorConfig(tile=4, sample_lanes=2, colours=colours)
    memory = {}

    def add(unit, m):
        layout = data.ArrayLayout(unit._sum, tile_buffer.CHANNELS)
        memory["read"] = LookUp(unit._pixel_bits, layout).create(path=("read",))
        memory["update"] = PixelWrite(unit._pixel_bits, layout).create(path=("update",))
        unit._add(m, Const(0), SimpleNamespace(**memory))

    unit = part(tile_buffer.TileBuffer, add, cfg)
    bench.add_wires("add", unit)
    stored = bench.free("stored", unit._sum)
    bench.assume(weight <= ONE)
    bench.m.d.comb += [
        unit.i.payload.weight.eq(weight), unit.i.payload.colour[0].eq(colour), memory["read"].data[0].eq(stored),
    ]  # fmt: skip
    golden = stored + evaluate(weighted_colour, weight, colour, multiply=products.of) + fault
    bench.claim("a sum of weighted colours", (memory["update"].data[0] - golden)[: len(stored)] == 0)
    bench.goal("a sum", golden > ONE // 2)
    return bench


@pytest.mark.full
@pytest.mark.parametrize("colours", ["network", "plain"])
def test_weighted_colour(monkeypatch, colours):
    assert_proved(colour_bench(monkeypatch, colours))


@pytest.mark.full
def test_another_sum_is_found(monkeypatch):
    assert colour_bench(monkeypatch, "network", fault=1).prove().claim == "a sum of weighted colours"


def channel_bench(monkeypatch, colours: str, rounding: int = 0) -> Bench:
    """A finished pixel, of a tile with samples or of a blank one."""
    bench = Bench()
    products = Products(bench)

    def backing(m, through, background, width, addends):
        """The golden model multiplies a background of 8 bits, then by `BACKGROUND_UNIT`."""
        byte = background[:8]
        bench.claim("a background is its 8 bits, in a channel", background == times(byte, BACKGROUND_UNIT))
        return only_row(m, sum(addends, times(products.of(through, byte), BACKGROUND_UNIT)), width)

    monkeypatch.setattr(tile_buffer, "few_rows", backing)
    # That it keeps the sum is proved in `test_products`.
    monkeypatch.setattr(tile_buffer, "compress", lambda m, rows: only_row(m, sum(rows, rounding), len(rows[0])))
    through, fills = bench.free("through", UNIT_BITS), bench.free("fills")
    background = bench.free("background", 24)
    cfg = AcceleratorConfig(tile=4, sample_lanes=2, colours=colours)
    unit = part(tile_buffer.TileBuffer, lambda unit, m: unit._channels(m, ALWAYS, fills, stored), cfg)
    stored = bench.free("stored", data.ArrayLayout(unit._sum, tile_buffer.CHANNELS))
    bench.add_wires("channels", unit)
    bench.assume(through <= ONE)
    bench.m.d.comb += [
        unit.final.data.eq(through),
        unit.view.background.eq(background),
    ]
    seen = Mux(fills, ONE, through)
    channels = unit.o.payload.channels
    for number in range(tile_buffer.CHANNELS):
        value, behind = Mux(fills, 0, stored[number]), background.word_select(number, 8)
        golden = evaluate(output_channel, value, seen, behind, multiply=products.of)
        bench.claim(f"channel {number}", channels[number] == golden)
    bench.claim("opacity", channels[3] == evaluate(output_channel, ONE - seen, seen, 0))
    bench.goal("the largest", channels[0].all() & (through == ONE >> 1))
    return bench


@pytest.mark.full
@pytest.mark.parametrize("colours", ["network", "plain"])
def test_finished_pixel(monkeypatch, colours):
    assert_proved(channel_bench(monkeypatch, colours))


@pytest.mark.full
def test_a_channel_that_rounds_otherwise_is_found(monkeypatch):
    bench = channel_bench(monkeypatch, "network", rounding=-1)
    assert bench.prove().claim == "channel 0"


def pick_bench(fault: int = 0) -> Bench:
    """Of packed values each component's, by how many come before it."""
    bench = Bench()
    values = bench.free("values", data.ArrayLayout(8, 16))
    place = bench.free("place", 5)
    for component in range(16):
        wanted = 0
        for at in range(component + 1):
            wanted = Mux(place == at, values[at], wanted)
        bench.claim(
            f"value of component {component}",
            (place > component) | (_pick(values, place, component) == wanted + (fault & place)),
        )
    bench.goal("the last", (place == 15) & (values[15] == 255))
    return bench


def test_packed_values():
    assert_proved(pick_bench())


@pytest.mark.full
def test_another_place_is_found():
    assert pick_bench(fault=1).prove().claim == "value of component 1"
