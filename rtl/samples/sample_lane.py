"""Sample lane: the part of the sample generator that takes every ``sample_lanes``-th column of a cube's pixels.

The first index to look at is an estimate that is never too late: ``inverse`` is rounded down, so
``floor(distance * inverse) <= distance / step``, and no sample before ``distance / step`` has reached the cube. It is
mostly one too early, so one point is passed over without a cycle.
The functions are those of `nerf.golden.sample_generator`.
"""

from functools import reduce

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import CUBE, AcceleratorConfig
from nerf.contract.formats import FINE_BITS, FRACTION_BITS, INVERSE, MASK_OFFSET, MASK_SCALE, POSITION, STEP
from nerf.contract.registers import AXES
from nerf.contract.scene_image import MASK_WINDOW
from rtl.parts.queue import Queue
from rtl.payloads import (
    GRID_BITS,
    LOCAL_BITS,
    LookUp,
    Ray,
    SceneRegisters,
    TileLayouts,
    ViewRegisters,
    shape_of,
    vector3,
)
from rtl.samples.record_reader import masked_rectangle

CUBE_SHIFT = POSITION.fraction + CUBE.bit_length() - 1
"""Bit of a position where the cube coordinate begins."""
INDEX_BITS = 16
POINT_BITS = STEP.width + INDEX_BITS + 1
"""Bits of a lattice point in the step's format: any index times any step, plus the first position."""
DISTANCE_BITS = POSITION.width + 1
PLACE_BITS = GRID_BITS + POSITION.fraction
"""Bits of a position in the box."""

Point = vector3(signed(POINT_BITS))
Steps = vector3(shape_of(STEP))
SLOTS = 2
"""Cubes that are worked on at a time."""
Start = data.StructLayout({"position": vector3(shape_of(POSITION)), "step": Steps})
"""What is needed of a ray when its distance to the cube is known."""


def lane_sample(cfg: AcceleratorConfig) -> data.StructLayout:
    """Return the layout of a sample, or ``ends``: the lane has no more samples of the cube (``last``: of the tile)."""
    return data.StructLayout({"sample": TileLayouts(cfg).Sample, "ends": 1})


class SampleLane(wiring.Component):
    """Enumerate the samples of a lane's pixels in a cube: pixels row by row, samples of a pixel ascending.

    A pixel passes through a pipeline without fixed stalls (look-up, distance, steps, index, point) into a queue of rays
    for the march, which steps along one at a time; a pixel that is terminated or misses the cube leaves it on the way.
    Behind the last pixel of a cube comes its end, and the first pixel of the next cube right behind that.

    Latency: ``LATENCY`` cycles from ``load`` to the first sample, if the first pixel's ray starts in the cube.
    Throughput: one pixel a cycle, and 2 cycles more for a cube; at the same time one lattice point a cycle, from the
    first in the cube to the last, and one cycle more for a cube.

    Parameters
    ----------
    cfg : AcceleratorConfig
    lane : int
        Number of the lane: its pixels' column modulo ``cfg.sample_lanes``.

    Members
    -------
    scene, view : In
        Registers of the frame.
    cubes : In
        `masked_rectangle` by slot; the slots are worked on in turn.
    load : In(SLOTS)
        Strobes: a slot holds a cube from the next cycle on.
    ended : Out(SLOTS)
        By slot: the lane has ended its cube.
    ray : Out(LookUp)
        The ray of a pixel.
    terminated : Out(LookUp)
        1: the pixel takes no more samples and is skipped.
    o : Out(stream)
        `lane_sample`.
    """

    LATENCY = 10 + Queue.LATENCY

    def __init__(self, cfg: AcceleratorConfig, lane: int) -> None:
        self._lane = lane
        self._rays_ahead = cfg.ray_queue
        self._lane_bits = cfg.sample_lanes.bit_length() - 1
        layouts = TileLayouts(cfg)
        super().__init__(
            {
                "scene": In(SceneRegisters),
                "view": In(ViewRegisters),
                "cubes": In(data.ArrayLayout(masked_rectangle(cfg), SLOTS)),
                "load": In(SLOTS),
                "ended": Out(SLOTS, init=(1 << SLOTS) - 1),
                "ray": Out(LookUp(layouts.pixel, Ray)),
                "terminated": Out(LookUp(layouts.pixel, 1)),
                "o": Out(stream.Signature(lane_sample(cfg))),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the walk over the pixels, the set-up of a ray, the march along it and the mask test."""
        m = Module()
        item = {"item": data.StructLayout({"pixel": len(self.ray.address), "slot": range(SLOTS), "ends": 1})}
        looked = Stage(m, "looked", item)
        far = Stage(m, "far", item | {"ray": Ray, "distance": vector3(DISTANCE_BITS)})
        counted = Stage(m, "counted", item | {"start": Start, "steps": vector3(DISTANCE_BITS)})
        indexed = Stage(m, "indexed", item | {"start": Start, "index": DISTANCE_BITS})
        ray = item | {"index": INDEX_BITS, "point": Point, "step": Steps}
        begun = Stage(m, "begun", ray | {"reachable": 1})
        m.submodules.rays = rays = Queue(data.StructLayout(ray), self._rays_ahead)
        march = Stage(m, "march", ray)
        scaled = Stage(m, "scaled", item | {"scaled": vector3(PLACE_BITS + 26), "local": vector3(LOCAL_BITS)})
        cell = Stage(m, "cell", item | {"cell": vector3(range(MASK_WINDOW)), "local": vector3(LOCAL_BITS)})
        self._walk(m, looked)
        self._set_up(m, looked, far, counted, indexed, begun)
        self._begin(m, begun, rays.i)
        self._march(m, rays.o, march, scaled)
        self._test_mask(m, scaled, cell)
        self._hand_over(m, cell)
        return m

    def _walk(self, m: Module, looked: "Stage") -> None:
        """Look up pixel after pixel of cube after cube."""
        slot, walks, left, pending = Signal(range(SLOTS)), Signal(), Signal(), Signal(SLOTS)
        rectangle, lane, bits = self._in_slot(slot, "rectangle"), self._lane, self._lane_bits
        # The lane's first column from one on, and its last up to one.
        first = (rectangle.first_x + ((1 << bits) - 1 - lane)) >> bits
        last = (rectangle.last_x + (1 << bits) - lane >> bits) - 1
        column, row = Signal(len(rectangle.first_x) - bits), Signal.like(rectangle.first_y)
        ends_row = column == last
        pixel = Cat(Const(lane, bits), column, row, rectangle.tile)
        for port in (self.ray, self.terminated):
            m.d.comb += [port.address.eq(pixel), port.enable.eq(left & looked.free)]
        m.d.sync += pending.eq(pending | self.load)
        with m.If(~walks & pending.bit_select(slot, 1)):
            m.d.sync += [
                walks.eq(1),
                left.eq(~rectangle.last & (first <= last)),
                column.eq(first),
                row.eq(rectangle.first_y),
            ]
        with looked.enter(m, walks):
            m.d.sync += [
                looked.item.pixel.eq(pixel),
                looked.item.slot.eq(slot),
                looked.item.ends.eq(~left),
                column.eq(Mux(ends_row, first, column + 1)),
                row.eq(row + ends_row),
            ]
            with m.If(ends_row & (row == rectangle.last_y)):
                m.d.sync += left.eq(0)
            with m.If(~left):
                m.d.sync += [walks.eq(0), slot.eq(slot + 1), pending.bit_select(slot, 1).eq(0)]

    def _set_up(self, m: Module, looked, far, counted, indexed, begun) -> None:
        """Find the first candidate of each ray, in four stages."""
        skips = self.terminated.data & ~looked.item.ends
        m.d.comb += looked.leaves.eq(skips | far.free)
        with far.enter(m, looked.valid & ~skips):
            m.d.sync += [far.item.eq(looked.item), far.ray.eq(self.ray.data)]
            for axis in AXES:
                position, step = self.ray.data.position[axis], self.ray.data.step[axis]
                low = self._cube(looked)[axis].shift_left(CUBE_SHIFT)
                to_face = Mux(step > 0, low - position, position - low - (1 << CUBE_SHIFT))
                m.d.sync += far.distance[axis].eq(Mux((step == 0) | (to_face < 0), 0, to_face))

        m.d.comb += far.leaves.eq(counted.free)
        with counted.enter(m, far.valid):
            m.d.sync += [
                counted.item.eq(far.item),
                counted.start.position.eq(far.ray.position),
                counted.start.step.eq(far.ray.step),
            ]
            for axis in AXES:
                steps = (far.distance[axis] * far.ray.inverse[axis]).shift_right(POSITION.fraction + INVERSE.fraction)
                m.d.sync += counted.steps[axis].eq(steps)

        m.d.comb += counted.leaves.eq(indexed.free)
        with indexed.enter(m, counted.valid):
            steps = counted.steps
            m.d.sync += [
                indexed.item.eq(counted.item),
                indexed.start.eq(counted.start),
                indexed.index.eq(_larger(steps.x, _larger(steps.y, steps.z))),
            ]

        m.d.comb += indexed.leaves.eq(begun.free)
        with begun.enter(m, indexed.valid):
            index, start = indexed.index[:INDEX_BITS], indexed.start
            m.d.sync += [
                begun.item.eq(indexed.item),
                begun.index.eq(index),
                begun.step.eq(start.step),
                begun.reachable.eq(indexed.index < self.view.sample_limit),
            ]
            for axis in AXES:
                m.d.sync += begun.point[axis].eq(start.position[axis].shift_left(FINE_BITS) + index * start.step[axis])

    def _begin(self, m: Module, begun, rays) -> None:
        """Drop the rays that are behind the cube already; pass over one point before it."""
        before = ~self._inside(begun.point, self._cube(begun))
        is_last = begun.index + 1 == self.view.sample_limit
        misses = ~begun.reachable | self._left(begun.point, begun.step, self._cube(begun)) | (before & is_last)
        drops = misses & ~begun.item.ends
        m.d.comb += [
            begun.leaves.eq(drops | rays.ready),
            rays.valid.eq(begun.valid & ~drops),
            rays.payload.item.eq(begun.item),
            rays.payload.index.eq(begun.index + before),
            rays.payload.step.eq(begun.step),
        ]
        for axis in AXES:
            m.d.comb += rays.payload.point[axis].eq(begun.point[axis] + Mux(before, begun.step[axis], 0))

    def _march(self, m: Module, rays, march, scaled) -> None:
        """Step along a ray until its next point has left the cube or the box for good; scale the positions inside."""
        m.d.comb += rays.ready.eq(march.free)
        with march.enter(m, rays.valid):
            m.d.sync += [getattr(march, field).eq(rays.payload[field]) for field in ("item", "index", "point", "step")]
        following = Signal(Point)
        m.d.comb += [following[axis].eq(march.point[axis] + march.step[axis]) for axis in AXES]
        is_last = march.index + 1 == self.view.sample_limit
        ends = march.item.ends | is_last | self._left(following, march.step, self._cube(march))
        m.d.comb += march.leaves.eq(scaled.free & ends)
        with m.If(march.valid & scaled.free & ~ends):
            m.d.sync += [march.index.eq(march.index + 1), march.point.eq(following)]
        with scaled.enter(m, march.valid & (march.item.ends | self._inside(march.point, self._cube(march)))):
            m.d.sync += scaled.item.eq(march.item)
            for axis in AXES:
                place = march.point[axis].shift_right(FINE_BITS)[:PLACE_BITS]
                m.d.sync += [
                    scaled.scaled[axis].eq(place * self.scene.mask_scale[axis]),
                    scaled.local[axis].eq(place[POSITION.fraction - FRACTION_BITS :][:LOCAL_BITS]),
                ]

    def _test_mask(self, m: Module, scaled, cell) -> None:
        """Find the cell in the window; drop the positions beside it."""
        cells = {}
        for axis in AXES:
            position = scaled.scaled[axis].shift_right(MASK_SCALE.fraction) + self.scene.mask_offset[axis]
            cells[axis] = position.shift_right(MASK_OFFSET.fraction) - self._in_slot(scaled.item.slot, "base")[axis]
        goes_on = scaled.item.ends | Cat((cells[axis] >= 0) & (cells[axis] < MASK_WINDOW) for axis in AXES).all()
        m.d.comb += scaled.leaves.eq(~goes_on | cell.free)
        with cell.enter(m, scaled.valid & goes_on):
            m.d.sync += [cell.item.eq(scaled.item), cell.local.eq(scaled.local)]
            m.d.sync += [cell.cell[axis].eq(cells[axis]) for axis in AXES]

    def _hand_over(self, m: Module, cell) -> None:
        """Offer the occupied positions, and the end of a cube."""
        sample, item = self.o.payload.sample, cell.item
        rectangle, window = (self._in_slot(item.slot, field) for field in ("rectangle", "window"))
        occupied = window.bit_select(cell.cell.x + MASK_WINDOW * (cell.cell.y + MASK_WINDOW * cell.cell.z), 1)
        goes_on = item.ends | occupied
        m.d.comb += [
            self.o.valid.eq(cell.valid & goes_on),
            cell.leaves.eq(~goes_on | self.o.ready),
            self.o.payload.ends.eq(item.ends),
            sample.pixel.eq(item.pixel),
            sample.cube.eq(rectangle.cube),
            sample.local.eq(cell.local),
            sample.last.eq(rectangle.last),
        ]
        m.d.sync += self.ended.eq(self.ended & ~self.load)
        with m.If(self.o.valid & self.o.ready & item.ends):
            m.d.sync += self.ended.bit_select(item.slot, 1).eq(1)

    def _cube(self, stage):
        """Return the coordinates of the cube that a stage works for."""
        return self._in_slot(stage.item.slot, "rectangle", "cube")

    def _in_slot(self, slot, *fields):
        """Return a field of the cube in a slot, by a multiplexer; an index into ``cubes`` would shift all of them."""
        first, second = (reduce(getattr, fields, cube) for cube in self.cubes)
        chosen = Mux(slot, second, first)
        return data.View(first.shape(), chosen) if isinstance(first, data.View) else chosen

    def _inside(self, point, cube):
        """Return whether a point lies in the cube and in the box."""
        return Cat(
            (point[axis].shift_right(FINE_BITS + CUBE_SHIFT) == cube[axis]) & ~self._beyond(point, axis)
            for axis in AXES
        ).all()

    def _left(self, point, step, cube):
        """Return whether a ray has left the cube or the box for good when it is at a point."""
        left = []
        for axis in AXES:
            at = point[axis].shift_right(FINE_BITS + CUBE_SHIFT)
            after, before = (at > cube[axis]) | self._beyond(point, axis), at < cube[axis]
            left.append(Mux(step[axis] == 0, after | before, Mux(step[axis] > 0, after, before)))
        return Cat(left).any()

    def _beyond(self, point, axis: str):
        return point[axis].shift_right(FINE_BITS) > (self.scene.grid[axis] - 1).shift_left(POSITION.fraction)


class Stage:
    """A place of a pipeline: registers, and whether they hold something.

    ``leaves``: what is held goes on, or is dropped, in this cycle; ``free``: something new may enter; ``item``: what it
    is, in every stage.
    """

    item: data.View

    def __init__(self, m: Module, name: str, fields: dict) -> None:
        self.valid = Signal(name=f"{name}_valid")
        self.leaves = Signal(name=f"{name}_leaves")
        self.free = Signal(name=f"{name}_free")
        for field, shape in fields.items():
            setattr(self, field, Signal(shape, name=f"{name}_{field}"))
        m.d.comb += self.free.eq(~self.valid | self.leaves)

    def enter(self, m: Module, valid):
        """Return the context in which something enters the stage."""
        with m.If(self.free):
            m.d.sync += self.valid.eq(valid)
        return m.If(self.free & valid)


def _larger(one, other):
    return Mux(one > other, one, other)
