"""Sample lane: the part of the sample generator that takes every ``sample_lanes``-th column of a cube's pixels.

The first index to look at is an estimate that is never too late: ``inverse`` is rounded down, so
``floor(distance * inverse) <= distance / step``, and no sample before ``distance / step`` has reached the cube. It is
mostly one too early, so one point is passed over without a cycle.
The functions are those of `nerf.golden.sample_generator`.
"""

from functools import reduce

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import CUBE, AcceleratorConfig
from nerf.contract.formats import FINE_BITS, FRACTION_BITS, INVERSE, MASK_OFFSET, MASK_SCALE, POSITION, STEP
from nerf.contract.registers import AXES
from nerf.contract.scene_image import MASK_WINDOW
from rtl.parts.carry_save import compress, few_rows
from rtl.parts.queue import Queue
from rtl.payloads import (
    GRID_BITS,
    LOCAL_BITS,
    Cube,
    Local,
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
WHOLE_BITS = DISTANCE_BITS + INVERSE.width
STEPS_FRACTION = POSITION.fraction + INVERSE.fraction
STEPS_BITS = WHOLE_BITS - STEPS_FRACTION
"""Bits of a distance times an inverse step, and of the steps that it comes to."""
PLACE_BITS = GRID_BITS + POSITION.fraction
"""Bits of a position in the box."""
CELL_BITS = MASK_OFFSET.width + MASK_SCALE.fraction + 1
"""Bits of a mask cell, fractions of position, scale and offset included."""

Point = vector3(signed(POINT_BITS))
Steps = vector3(shape_of(STEP))
SLOTS = 4
"""Cubes that are worked on at a time."""
Start = data.StructLayout({"position": vector3(shape_of(POSITION)), "step": Steps})
"""What is needed of a ray when its distance to the cube is known."""


def rows(bits: int, count: int = 2) -> data.StructLayout:
    """Return the layout of some rows for each axis, whose sum is a result (`rtl.parts.carry_save`)."""
    return vector3(data.ArrayLayout(bits, count))


def lane_sample(cfg: AcceleratorConfig) -> data.StructLayout:
    """Return the layout of a sample, or ``ends``: the lane has no more samples of the cube (``last``: of the tile)."""
    return data.StructLayout({"sample": TileLayouts(cfg).Sample, "ends": 1})


class SampleLane(wiring.Component):
    """Enumerate the samples of a lane's pixels in a cube: pixels row by row, samples of a pixel ascending.

    A pixel passes through a pipeline without fixed stalls (look-up, distance, steps, index, point) into a queue of rays
    for the march, which steps along one at a time; a pixel that is terminated or misses the cube leaves it on the way.
    Behind the last pixel of a cube comes its end, and the first pixel of the next cube right behind that.
    A multiplication takes two stages: two rows with the sum, then the sum. The march knows two points beforehand, so
    that it is said of each a cycle ahead whether it lies in the cube.

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

    LATENCY = 18 + Queue.LATENCY

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
        fetched = Stage(m, "fetched", item | {"ray": Ray, "skips": 1})
        far = Stage(
            m, "far", item | {"start": Start, "distance": vector3(DISTANCE_BITS), "inverse": Ray["inverse"].shape}
        )
        rated = Stage(m, "rated", item | {"start": Start, "rows": rows(WHOLE_BITS, 3)})
        counted = Stage(m, "counted", item | {"start": Start, "steps": vector3(STEPS_BITS)})
        indexed = Stage(m, "indexed", item | {"start": Start, "index": STEPS_BITS})
        index = item | {"index": INDEX_BITS, "step": Steps}
        aimed = Stage(m, "aimed", index | {"rows": rows(POINT_BITS), "reachable": 1})
        begun = Stage(m, "begun", index | {"point": Point, "reachable": 1})
        ray = index | {"point": Point}
        placed = Stage(m, "placed", ray | {"following": Point, "before": 1, "misses": 1})
        m.submodules.rays = rays = Queue(data.StructLayout(ray), self._rays_ahead)
        drawn = Stage(m, "drawn", ray)
        marching = item | {"behind": INDEX_BITS, "point": Point, "following": Point, "step": Steps, "cube": Cube}
        ahead = Stage(m, "ahead", marching)
        march = Stage(m, "march", marching | {"second": Point, "inside": 1, "ends": 1})
        scaled = Stage(m, "scaled", item | {"rows": rows(CELL_BITS, 3), "local": Local})
        summed = Stage(m, "summed", item | {"cell": vector3(signed(MASK_OFFSET.integer + 2)), "local": Local})
        cell = Stage(m, "cell", item | {"cell": vector3(range(MASK_WINDOW)), "local": Local, "within": 1})
        found = Stage(m, "found", item | {"local": Local, "goes_on": 1})
        self._walk(m, looked)
        self._set_up(m, looked, fetched, far, rated, counted, indexed)
        self._aim(m, indexed, aimed, begun)
        self._begin(m, begun, placed, rays.i)
        self._look_ahead(m, rays.o, drawn, ahead)
        self._march(m, ahead, march, scaled)
        self._test_mask(m, scaled, summed, cell, found)
        self._hand_over(m, found)
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

    def _set_up(self, m: Module, looked, fetched, far, rated, counted, indexed) -> None:
        """Find the first candidate of each ray."""
        m.d.comb += looked.leaves.eq(fetched.free)
        with fetched.enter(m, looked.valid):
            m.d.sync += [
                fetched.item.eq(looked.item),
                fetched.ray.eq(self.ray.data),
                fetched.skips.eq(self.terminated.data & ~looked.item.ends),
            ]

        ray = fetched.ray
        m.d.comb += fetched.leaves.eq(fetched.skips | far.free)
        with far.enter(m, fetched.valid & ~fetched.skips):
            m.d.sync += [
                far.item.eq(fetched.item),
                far.start.position.eq(ray.position),
                far.start.step.eq(ray.step),
                far.inverse.eq(ray.inverse),
            ]
            for axis in AXES:
                position, step = ray.position[axis], ray.step[axis]
                low = self._cube(fetched)[axis].shift_left(CUBE_SHIFT)
                to_face = Mux(step > 0, low - position, position - low - (1 << CUBE_SHIFT))
                m.d.sync += far.distance[axis].eq(Mux((step == 0) | (to_face < 0), 0, to_face))

        m.d.comb += far.leaves.eq(rated.free)
        with rated.enter(m, far.valid):
            m.d.sync += [rated.item.eq(far.item), rated.start.eq(far.start)]
            for axis in AXES:
                product = few_rows(m, far.distance[axis], far.inverse[axis], WHOLE_BITS, count=3)
                m.d.sync += rated.rows[axis].eq(Cat(product))

        m.d.comb += rated.leaves.eq(counted.free)
        with counted.enter(m, rated.valid):
            m.d.sync += [counted.item.eq(rated.item), counted.start.eq(rated.start)]
            m.d.sync += [counted.steps[axis].eq(_sum(m, rated.rows[axis]) >> STEPS_FRACTION) for axis in AXES]

        m.d.comb += counted.leaves.eq(indexed.free)
        with indexed.enter(m, counted.valid):
            x, y, z = (counted.steps[axis] for axis in AXES)
            largest = Mux((x >= y) & (x >= z), x, Mux(y >= z, y, z))
            m.d.sync += [indexed.item.eq(counted.item), indexed.start.eq(counted.start), indexed.index.eq(largest)]

    def _aim(self, m: Module, indexed, aimed, begun) -> None:
        """Find the point of an index."""
        m.d.comb += indexed.leaves.eq(aimed.free)
        with aimed.enter(m, indexed.valid):
            index, start = indexed.index[:INDEX_BITS], indexed.start
            m.d.sync += [
                aimed.item.eq(indexed.item),
                aimed.index.eq(index),
                aimed.step.eq(start.step),
                aimed.reachable.eq(indexed.index < self.view.sample_limit),
            ]
            for axis in AXES:
                first = Signal(signed(POINT_BITS), name=f"first_{axis}")
                m.d.comb += first.eq(start.position[axis].shift_left(FINE_BITS))
                point = few_rows(m, start.step[axis], index, POINT_BITS, [first])
                m.d.sync += aimed.rows[axis].eq(Cat(point))

        m.d.comb += aimed.leaves.eq(begun.free)
        with begun.enter(m, aimed.valid):
            m.d.sync += [
                getattr(begun, field).eq(getattr(aimed, field)) for field in ("item", "index", "step", "reachable")
            ]
            m.d.sync += [begun.point[axis].eq(_sum(m, aimed.rows[axis])) for axis in AXES]

    def _begin(self, m: Module, begun, placed, rays) -> None:
        """Drop the rays that are behind the cube already; pass over one point before it."""
        before = ~self._inside(begun.point, self._cube(begun))
        is_last = begun.index + 1 == self.view.sample_limit
        m.d.comb += begun.leaves.eq(placed.free)
        with placed.enter(m, begun.valid):
            m.d.sync += [
                getattr(placed, field).eq(getattr(begun, field)) for field in ("item", "index", "step", "point")
            ]
            m.d.sync += [
                placed.before.eq(before),
                placed.misses.eq(
                    ~begun.reachable | self._left(begun.point, begun.step, self._cube(begun)) | (before & is_last)
                ),
                *(placed.following[axis].eq(begun.point[axis] + begun.step[axis]) for axis in AXES),
            ]
        drops = placed.misses & ~placed.item.ends
        m.d.comb += [
            placed.leaves.eq(drops | rays.ready),
            rays.valid.eq(placed.valid & ~drops),
            rays.payload.item.eq(placed.item),
            rays.payload.index.eq(placed.index + placed.before),
            rays.payload.step.eq(placed.step),
            rays.payload.point.eq(Mux(placed.before, placed.following, placed.point)),
        ]

    def _look_ahead(self, m: Module, rays, drawn, ahead) -> None:
        """Take a ray from the queue; find its second point, and how many there may be behind the first."""
        m.d.comb += rays.ready.eq(drawn.free)
        with drawn.enter(m, rays.valid):
            m.d.sync += [getattr(drawn, field).eq(rays.payload[field]) for field in ("item", "index", "point", "step")]
        m.d.comb += drawn.leaves.eq(ahead.free)
        with ahead.enter(m, drawn.valid):
            m.d.sync += [getattr(ahead, field).eq(getattr(drawn, field)) for field in ("item", "point", "step")]
            m.d.sync += [
                ahead.behind.eq(self.view.sample_limit + ~drawn.index),
                ahead.cube.eq(self._cube(drawn)),
                *(ahead.following[axis].eq(drawn.point[axis] + drawn.step[axis]) for axis in AXES),
            ]

    def _march(self, m: Module, ahead, march, scaled) -> None:
        """Step along a ray until its next point has left the cube or the box for good; scale the positions inside."""
        m.d.comb += [march.leaves.eq(scaled.free & march.ends), ahead.leaves.eq(march.free)]
        # The next point is a new ray's, or else this one's.
        fresh = Signal()
        point, following, step = Signal(Point), Signal(Point), Signal(Steps)
        cube, behind = Signal(Cube), Signal(INDEX_BITS)
        m.d.comb += [
            fresh.eq(~march.valid | march.ends),
            point.eq(Mux(fresh, ahead.point, march.following)),
            following.eq(Mux(fresh, ahead.following, march.second)),
            step.eq(Mux(fresh, ahead.step, march.step)),
            cube.eq(Mux(fresh, ahead.cube, march.cube)),
            behind.eq(Mux(fresh, ahead.behind, march.behind - 1)),
        ]
        # Both are found before it is known which is asked for: that is known late, and by nothing but itself.
        ends_fresh = ahead.item.ends | (ahead.behind == 0) | self._left(ahead.following, ahead.step, ahead.cube)
        ends_next = (march.behind == 1) | self._left(march.second, march.step, march.cube)
        with march.enter(m, ahead.valid):
            m.d.sync += [march.item.eq(ahead.item), march.step.eq(step), march.cube.eq(cube)]
        with m.If(Mux(fresh, march.free & ahead.valid, scaled.free)):
            m.d.sync += [
                march.point.eq(point),
                march.following.eq(following),
                march.behind.eq(behind),
                march.inside.eq(self._inside(point, cube)),
                march.ends.eq(Mux(fresh, ends_fresh, ends_next)),
                *(march.second[axis].eq(following[axis] + step[axis]) for axis in AXES),
            ]
        with scaled.enter(m, march.valid & (march.item.ends | march.inside)):
            m.d.sync += scaled.item.eq(march.item)
            for axis in AXES:
                place = march.point[axis].shift_right(FINE_BITS)[:PLACE_BITS]
                first = Signal(signed(CELL_BITS), name=f"first_{axis}")
                m.d.comb += first.eq(self.scene.mask_offset[axis] << MASK_SCALE.fraction)
                cell = few_rows(m, place, self.scene.mask_scale[axis], CELL_BITS, [first], 3)
                m.d.sync += [
                    scaled.rows[axis].eq(Cat(cell)),
                    scaled.local[axis].eq(place[POSITION.fraction - FRACTION_BITS :][:LOCAL_BITS]),
                ]

    def _test_mask(self, m: Module, scaled, summed, cell, found) -> None:
        """Find the cell in the window, and whether it is occupied."""
        m.d.comb += scaled.leaves.eq(summed.free)
        with summed.enter(m, scaled.valid):
            m.d.sync += [summed.item.eq(scaled.item), summed.local.eq(scaled.local)]
            for axis in AXES:
                position = Signal(signed(CELL_BITS), name=f"position_{axis}")
                m.d.comb += position.eq(_sum(m, scaled.rows[axis]))
                m.d.sync += summed.cell[axis].eq(position >> MASK_SCALE.fraction + MASK_OFFSET.fraction)

        m.d.comb += summed.leaves.eq(cell.free)
        with cell.enter(m, summed.valid):
            base = self._in_slot(summed.item.slot, "base")
            cells = {axis: summed.cell[axis] - base[axis] for axis in AXES}
            within = Cat((cells[axis] >= 0) & (cells[axis] < MASK_WINDOW) for axis in AXES).all()
            m.d.sync += [cell.item.eq(summed.item), cell.local.eq(summed.local), cell.within.eq(within)]
            m.d.sync += [cell.cell[axis].eq(cells[axis]) for axis in AXES]

        window = self._in_slot(cell.item.slot, "window")
        # With a power of two of places along each axis, an index is three coordinates side by side.
        places = Array(
            Array(window.word_select(row + MASK_WINDOW * layer, MASK_WINDOW) for row in range(MASK_WINDOW))
            for layer in range(MASK_WINDOW)
        )
        occupied = places[cell.cell.z][cell.cell.y].bit_select(cell.cell.x, 1)
        m.d.comb += cell.leaves.eq(found.free)
        with found.enter(m, cell.valid):
            m.d.sync += [
                found.item.eq(cell.item),
                found.local.eq(cell.local),
                found.goes_on.eq(cell.item.ends | (cell.within & occupied)),
            ]

    def _hand_over(self, m: Module, found) -> None:
        """Offer the occupied positions, and the end of a cube."""
        sample, item = self.o.payload.sample, found.item
        rectangle = self._in_slot(item.slot, "rectangle")
        m.d.comb += [
            self.o.valid.eq(found.valid & found.goes_on),
            found.leaves.eq(~found.goes_on | self.o.ready),
            self.o.payload.ends.eq(item.ends),
            sample.pixel.eq(item.pixel),
            sample.cube.eq(rectangle.cube),
            sample.local.eq(found.local),
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
        values = [reduce(getattr, fields, cube) for cube in self.cubes]
        chosen = Array(Value.cast(value) for value in values)[slot]
        return data.View(values[0].shape(), chosen) if isinstance(values[0], data.View) else chosen

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


def _sum(m: Module, rows) -> Value:
    """Return the sum of some rows, in as many bits."""
    return sum(compress(m, list(rows)))[: len(rows[0])]
