"""Sample generator: the lattice samples of a cube's pixels that fall in the cube and in an occupied mask cell.

A sample belongs to the cube that the top bits of its position name, so neighbouring cubes never repeat or lose one.
The first index to look at is an estimate that is never too late: ``inverse`` is rounded down, so
``floor(distance * inverse) <= distance / step``, and no sample before ``distance / step`` has reached the cube.
The functions are those of `nerf.golden.sample_generator`.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import CUBE, AcceleratorConfig
from nerf.contract.formats import FRACTION_BITS, INVERSE, POSITION, STEP
from nerf.contract.registers import AXES
from nerf.contract.scene_image import MASK_OFFSET_FRACTION, MASK_SCALE_FRACTION, MASK_WINDOW
from rtl.payloads import (
    GRID_BITS,
    LOCAL_BITS,
    Cube,
    LookUp,
    Ray,
    ReadPort,
    SceneRegisters,
    TileLayouts,
    ViewRegisters,
    shape_of,
)
from rtl.record_reader import RecordReader, masked_rectangle

CUBE_SHIFT = POSITION.fraction + CUBE.bit_length() - 1
"""Bit of a position where the cube coordinate begins."""
FINE = STEP.fraction - POSITION.fraction
"""Fraction bits that a step has more than a position: the lattice is exact in the step's format."""
POINT_BITS = STEP.width + 16 + 1
"""Bits of a lattice point in the step's format: any index times any step, plus the first position."""
PLACE_BITS = GRID_BITS + POSITION.fraction
"""Bits of a position in the box."""


class SampleGenerator(wiring.Component):
    """Enumerate the samples of a rectangle's pixels in a cube: pixels row by row, samples of a pixel ascending.

    ``last`` passes through after all samples before it.

    Latency: the record is requested in the cycle after its rectangle; ``LATENCY`` cycles from its second beat to the
    first sample, if the first pixel's ray starts in the cube; 3 cycles for ``last``.
    Throughput: a terminated pixel takes 1 cycle, another pixel ``PIXEL_CYCLES``; at the same time the samples of the
    pixel before: 1 cycle a lattice point from just before the cube to just behind it.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    scene, view : In
        Registers of the frame.
    scene_base : In
        Byte address of the scene image.
    i : In(stream)
        `Rectangle`.
    records : Out(ReadPort)
        Cube records.
    ray : Out(LookUp)
        The ray of a pixel.
    terminated : Out(LookUp)
        1: the pixel takes no more samples and is skipped.
    o_cube : Out(stream)
        `Cube`: each cube that has a sample, not later than the first of its samples.
    o : Out(stream)
        `Sample`.
    error_record : Out(1)
        Strobe: a record with a wrong checksum.
    """

    LATENCY = 11
    PIXEL_CYCLES = 4

    def __init__(self, cfg: AcceleratorConfig) -> None:
        self._cfg = cfg
        layouts = TileLayouts(cfg)
        super().__init__(
            {
                "scene": In(SceneRegisters),
                "view": In(ViewRegisters),
                "scene_base": In(cfg.address_width),
                "i": In(stream.Signature(layouts.Rectangle)),
                "records": Out(ReadPort(cfg)),
                "ray": Out(LookUp(layouts.pixel, Ray)),
                "terminated": Out(LookUp(layouts.pixel, 1)),
                "o_cube": Out(stream.Signature(Cube)),
                "o": Out(stream.Signature(layouts.Sample)),
                "error_record": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the record reader, the set-up of a ray, the march along it and the mask test."""
        m = Module()
        m.submodules.reader = reader = RecordReader(self._cfg)
        wiring.connect(m, wiring.flipped(self.i), reader.i)
        wiring.connect(m, reader.records, wiring.flipped(self.records))
        m.d.comb += [
            reader.scene.eq(self.scene),
            reader.scene_base.eq(self.scene_base),
            self.error_record.eq(reader.error_record),
        ]
        cube = Signal(masked_rectangle(self._cfg))
        march = _March(self._cfg)
        tested = self._test_mask(m, cube, march)
        self._march(m, cube.rectangle.cube, march, tested.moves)
        self._set_up(m, reader.o, cube, march, tested)
        return m

    def _set_up(self, m: Module, record, cube, march: "_March", tested: "_Tested") -> None:
        """Take cube after cube and pixel after pixel; hand each ray's first candidate over to the march."""
        rectangle = cube.rectangle
        column, row = (Signal(len(rectangle.first_x), name=name) for name in ("column", "row"))
        next_column, next_row = (Signal.like(column, name=f"next_{name}") for name in ("column", "row"))
        ends_row = column == rectangle.last_x
        is_last = ends_row & (row == rectangle.last_y)
        m.d.comb += [
            next_column.eq(Mux(ends_row, rectangle.first_x, column + 1)),
            next_row.eq(Mux(ends_row, row + 1, row)),
        ]
        looks = Signal()
        address = Signal(2 * len(column))
        for port in (self.ray, self.terminated):
            m.d.comb += [port.address.eq(Cat(address, rectangle.tile)), port.enable.eq(looks)]

        ray = Signal(Ray)
        distance = {axis: Signal(POSITION.width + 1, name=f"distance_{axis}") for axis in AXES}
        steps = {axis: Signal(len(distance[axis]), name=f"steps_{axis}") for axis in AXES}
        index = Signal(len(steps["x"]))

        def next_pixel():
            m.d.comb += [looks.eq(1), address.eq(Cat(next_column, next_row))]
            m.d.sync += [column.eq(next_column), row.eq(next_row)]
            m.next = "PIXEL"
            with m.If(is_last):
                m.next = "IDLE"

        with m.FSM():
            with m.State("IDLE"):
                # The mask of the cube before is in use until its last sample has been tested.
                m.d.comb += record.ready.eq(~march.active & tested.empty)
                m.d.sync += [
                    column.eq(record.payload.rectangle.first_x),
                    row.eq(record.payload.rectangle.first_y),
                ]
                with m.If(record.valid & record.ready):
                    m.d.sync += [cube.eq(record.payload), tested.announced.eq(0)]
                    m.next = "FIRST_PIXEL"
                    with m.If(record.payload.rectangle.last):
                        m.next = "LAST"
            with m.State("FIRST_PIXEL"):
                m.d.comb += [looks.eq(1), address.eq(Cat(column, row))]
                m.next = "PIXEL"
            with m.State("PIXEL"):
                m.d.sync += ray.eq(self.ray.data)
                for axis in AXES:
                    position, step = self.ray.data.position[axis], self.ray.data.step[axis]
                    low = rectangle.cube[axis] << CUBE_SHIFT
                    to_face = Mux(step > 0, low - position, position - low - (1 << CUBE_SHIFT))
                    m.d.sync += distance[axis].eq(Mux((step == 0) | (to_face < 0), 0, to_face))
                m.next = "STEPS"
                with m.If(self.terminated.data):
                    next_pixel()
            with m.State("STEPS"):
                fraction = POSITION.fraction + INVERSE.fraction
                m.d.sync += [steps[axis].eq((distance[axis] * ray.inverse[axis]) >> fraction) for axis in AXES]
                m.next = "INDEX"
            with m.State("INDEX"):
                m.d.sync += index.eq(_larger(steps["x"], _larger(steps["y"], steps["z"])))
                m.next = "POINT"
            with m.State("POINT"):
                reachable = index < self.view.sample_limit
                with m.If(march.free | ~reachable):
                    next_pixel()
                with m.If(march.free & reachable):
                    m.d.sync += [
                        march.active.eq(1),
                        march.pixel.eq(Cat(column, row, rectangle.tile)),
                        march.index.eq(index),
                    ]
                    for axis in AXES:
                        first = (ray.position[axis] << FINE) + index[:16] * ray.step[axis]
                        m.d.sync += [march.point[axis].eq(first), march.step[axis].eq(ray.step[axis])]
            with m.State("LAST"), m.If(~self.o.valid | self.o.ready):
                m.d.sync += [self.o.valid.eq(1), self.o.payload.last.eq(1)]
                m.next = "IDLE"

    def _march(self, m: Module, cube, march: "_March", moves) -> None:
        """Step along a ray until it has left the cube or the box for good."""
        enters, leaves = [], []
        for axis in AXES:
            point, step, of_cube = march.point[axis], march.step[axis], cube[axis]
            at = point >> FINE + CUBE_SHIFT
            beyond = (point >> FINE) > ((self.scene.grid[axis] - 1) << POSITION.fraction)
            inside = (at == of_cube) & ~beyond
            enters.append(inside)
            leaves.append(Mux(step == 0, ~inside, Mux(step > 0, (at > of_cube) | beyond, at < of_cube)))
        ends = Cat(leaves).any() | (march.index + 1 == self.view.sample_limit)
        m.d.comb += [
            march.hits.eq(march.active & Cat(enters).all()),
            march.free.eq(~march.active | (moves & ends)),
        ]
        with m.If(moves):
            m.d.sync += march.index.eq(march.index + 1)
            m.d.sync += [march.point[axis].eq(march.point[axis] + march.step[axis]) for axis in AXES]
            with m.If(ends):
                m.d.sync += march.active.eq(0)

    def _test_mask(self, m: Module, cube, march: "_March") -> "_Tested":
        """Three stages: scale the position, find the cell in the window, look at its bit."""
        tested = _Tested()
        sample = self.o.payload
        place = {axis: (march.point[axis] >> FINE)[:PLACE_BITS] for axis in AXES}

        scaled_valid = Signal()
        scaled_pixel = Signal.like(march.pixel)
        scaled = {axis: Signal(PLACE_BITS + 26, name=f"scaled_{axis}") for axis in AXES}
        scaled_local = Signal(sample.local.shape())
        cell_valid = Signal()
        cell_pixel = Signal.like(march.pixel)
        cell = {axis: Signal(range(MASK_WINDOW), name=f"cell_{axis}") for axis in AXES}
        cell_local = Signal(sample.local.shape())

        with m.If(tested.moves):
            m.d.sync += [scaled_valid.eq(march.hits), scaled_pixel.eq(march.pixel)]
            m.d.sync += [cell_pixel.eq(scaled_pixel), cell_local.eq(scaled_local)]
            in_window = []
            for axis in AXES:
                m.d.sync += [
                    scaled[axis].eq(place[axis] * self.scene.mask_scale[axis]),
                    scaled_local[axis].eq(place[axis][POSITION.fraction - FRACTION_BITS :][:LOCAL_BITS]),
                ]
                mask_position = (scaled[axis] >> MASK_SCALE_FRACTION) + self.scene.mask_offset[axis]
                from_base = (mask_position >> MASK_OFFSET_FRACTION) - cube.base[axis]
                in_window.append((from_base >= 0) & (from_base < MASK_WINDOW))
                m.d.sync += cell[axis].eq(from_base)
            m.d.sync += cell_valid.eq(scaled_valid & Cat(in_window).all())

        occupied = cube.window.bit_select(cell["x"] + MASK_WINDOW * (cell["y"] + MASK_WINDOW * cell["z"]), 1)
        found = Signal()
        m.d.comb += [
            found.eq(cell_valid & occupied),
            # The first sample of a cube waits for the place of its announcement.
            tested.moves.eq(
                (~self.o.valid | self.o.ready) & (~found | tested.announced | ~self.o_cube.valid | self.o_cube.ready)
            ),
            tested.empty.eq(~scaled_valid & ~cell_valid),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.o_cube.ready):
            m.d.sync += self.o_cube.valid.eq(0)
        with m.If(tested.moves):
            m.d.sync += self.o.valid.eq(found)
            with m.If(found):
                m.d.sync += [
                    sample.pixel.eq(cell_pixel),
                    sample.cube.eq(cube.rectangle.cube),
                    sample.local.eq(cell_local),
                    sample.last.eq(0),
                    tested.announced.eq(1),
                ]
                with m.If(~tested.announced):
                    m.d.sync += [self.o_cube.valid.eq(1), self.o_cube.payload.eq(cube.rectangle.cube)]
        return tested


class _March:
    """The ray that is marched along: registers, and what they say."""

    def __init__(self, cfg: AcceleratorConfig) -> None:
        self.active = Signal(name="march_active")
        self.pixel = Signal(TileLayouts(cfg).pixel, name="march_pixel")
        self.index = Signal(16, name="march_index")
        self.point = {axis: Signal(signed(POINT_BITS), name=f"march_point_{axis}") for axis in AXES}
        self.step = {axis: Signal(shape_of(STEP), name=f"march_step_{axis}") for axis in AXES}
        self.hits = Signal(name="march_hits")
        """The point lies in the cube."""
        self.free = Signal(name="march_free")
        """A new ray may be loaded in this cycle."""


class _Tested:
    """State of the mask test."""

    def __init__(self) -> None:
        self.moves = Signal(name="mask_moves")
        """All stages take their input in this cycle."""
        self.empty = Signal(name="mask_empty")
        self.announced = Signal(name="cube_announced")
        """The cube has had a sample."""


def _larger(one, other):
    return Mux(one > other, one, other)
