"""One unit of the ray set-up: a pixel becomes a ray in the factor grid.

``length = sqrt(1 + slope_x**2 + slope_y**2)``, ``step = direction / length``, ``inverse = 1 / |step|``, then the
first sample: where the ray enters the box, between near and far. The equations are those of `nerf.golden.ray_setup`.
"""

from amaranth.hdl import Elaboratable, Module, Mux, ResetInserter, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import (
    DIRECTION,
    DISTANCE,
    INVERSE,
    NORM,
    ORIGIN,
    POSITION,
    RECIPROCAL_DIVIDEND,
    SINE_FRACTION,
    SLOPE,
    STEP,
    VIEW_SCALE,
)
from nerf.contract.registers import AXES
from rtl.parts.divider import Divider
from rtl.parts.multiply_add import MultiplyAdd
from rtl.parts.square_root import SquareRoot
from rtl.payloads import SceneRegisters, TileLayouts, ViewRegisters, shape_of

BITS_PER_CYCLE = 2
"""Quotient bits found in one cycle."""
SATURATES = RECIPROCAL_DIVIDEND >> INVERSE.width
"""Up to this step along an axis the inverse does not fit its format."""
SLOPE_LIMIT = NORM.high + 1
"""A slope beyond this makes the length saturate, whatever the other slope is."""
RAW_BITS = STEP.integer + NORM.integer + DIRECTION.fraction + 1
"""Bits of a direction before normalisation; with more, its step would not fit its format."""
FACE_BITS = ORIGIN.width + 2
"""Bits of the distance along an axis from the camera to a face of the box, in the format of ORIGIN."""
CELLS_BITS = FACE_BITS + INVERSE.width - INVERSE.fraction
"""Bits of the same distance in steps, in the format of DISTANCE."""


class RayUnit(wiring.Component):
    """Compute the ray of one pixel after the other.

    All multiplications, and what is added to the products, share one unit. A ray is a fixed schedule: what happens in
    which cycle after its pixel does not depend on it.

    Latency: ``LATENCY`` cycles from a pixel to its ray.
    Throughput: one ray in ``LATENCY`` cycles.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    run : In(1)
        While it is 0 the unit is reset.
    i : In(stream)
        Index of a pixel of the tile. The next one is taken in the cycle in which the ray before is accepted.
    tile : In(Tile)
    grid, view : In
        Of the registers of the frame; these and the tile must stay from a pixel to its ray.
    o : Out(stream)
        `RayWrite`. A ray whose first sample lies outside the format of a position is not ``live``; ``position`` means
        something for live rays only.
    """

    LATENCY = 119

    def __init__(self, cfg: AcceleratorConfig) -> None:
        layouts = TileLayouts(cfg)
        self._coordinate = layouts.coordinate
        super().__init__(
            {
                "run": In(1),
                "i": In(stream.Signature(layouts.pixel)),
                "tile": In(layouts.Tile),
                "grid": In(SceneRegisters["grid"].shape),
                "view": In(ViewRegisters),
                "o": Out(stream.Signature(layouts.RayWrite)),
            }
        )

    def elaborate(self, platform) -> Elaboratable:
        """Return the multiplication, the divider, the square root and the schedule that they share."""
        m = Module()
        m.submodules.divider = divider = Divider(
            RECIPROCAL_DIVIDEND.bit_length(), STEP.width, BITS_PER_CYCLE, INVERSE.width
        )
        m.submodules.square_root = square_root = SquareRoot(SLOPE_LIMIT.bit_length())
        schedule = _Schedule(m)
        m.d.comb += [
            divider.i.payload.dividend.eq(RECIPROCAL_DIVIDEND),
            divider.o.ready.eq(1),
            square_root.o.ready.eq(1),
        ]
        x, y = (Signal(len(self.tile.x) + 1, name=name) for name in "xy")
        bits = self._coordinate
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                self.o.payload.pixel.eq(self.i.payload),
                x.eq(self.tile.x + self.i.payload[:bits]),
                y.eq(self.tile.y + self.i.payload[bits : 2 * bits]),
            ]
        rooted = self._find_length(m, schedule, square_root, x, y)
        raw = self._find_direction(m, schedule, x, y)
        inverses = self._normalise(m, schedule, square_root, divider, rooted, raw)
        ends = self._find_first_sample(m, schedule, *self._meet_box(m, schedule, inverses))
        assert ends == self.LATENCY

        m.d.comb += [
            self.o.valid.eq(schedule.cycle == ends),
            self.i.ready.eq((schedule.cycle == 0) | (self.o.valid & self.o.ready)),
        ]
        with m.If(self.i.ready):
            m.d.sync += schedule.cycle.eq(self.i.valid)
        with m.Elif(~self.o.valid):
            m.d.sync += schedule.cycle.eq(schedule.cycle + 1)
        schedule.close()
        return ResetInserter(~self.run)(m)

    def _find_length(self, m: Module, schedule: "_Schedule", square_root: SquareRoot, x: Signal, y: Signal) -> int:
        """Find the slopes and the sum of their squares; return the cycle in which its root is there."""
        view, total = self.view, schedule.total
        slope = Signal(signed(SLOPE_LIMIT.bit_length() + 1))
        first = schedule.multiply(1, view.slope_column, x, view.slope_x)
        second = schedule.multiply(2, view.slope_row, y, view.slope_y)
        for there in (first, second):
            with schedule.at(there):
                m.d.sync += slope.eq(_slope(total))
        squared = schedule.multiply(first + 1, slope, slope, 1 << 2 * SLOPE.fraction)
        summed = schedule.multiply(squared, slope, slope, total)
        with schedule.at(summed):
            m.d.comb += square_root.i.valid.eq(1)
        m.d.comb += square_root.i.payload.eq(total)
        return summed + square_root.LATENCY

    def _find_direction(self, m: Module, schedule: "_Schedule", x: Signal, y: Signal) -> data.View:
        """Find the direction before normalisation, while the root is taken."""
        view = self.view
        raw = Signal(data.ArrayLayout(signed(RAW_BITS), len(AXES)))
        for n, axis in enumerate(AXES, 3):
            column = schedule.multiply(n, view.direction_column[axis], x, view.direction[axis])
            row = schedule.multiply(column, view.direction_row[axis], y, schedule.total)
            with schedule.at(row):
                m.d.sync += raw[n - 3].eq(schedule.total)
        return raw

    def _normalise(self, m: Module, schedule, square_root: SquareRoot, divider: Divider, rooted: int, raw) -> list[int]:
        """Find the steps along the axes, then their inverses; return the cycles in which these are there."""
        ray, direction = self.o.payload.ray, self.o.payload.direction
        step = Signal(shape_of(STEP))
        divisor = Signal(STEP.width)
        saturates = Signal()
        root = square_root.o.payload
        with schedule.at(rooted):
            m.d.sync += divisor.eq(Mux(root > NORM.high, NORM.high, root))
        with m.Else():
            m.d.sync += divisor.eq(abs(step))
        m.d.comb += divider.i.payload.divisor.eq(divisor)
        with schedule.at(rooted + 1):
            m.d.comb += divider.i.valid.eq(1)

        known = rooted + 1 + divider.LATENCY
        for n, axis in enumerate(AXES):
            there = schedule.multiply(known + n, raw[n], divider.o.payload)
            with schedule.at(there):
                m.d.sync += ray.step[axis].eq(schedule.total >> DIRECTION.fraction)
            there = schedule.multiply(there + 1, ray.step[axis], self.view.view_scale[axis])
            with schedule.at(there):
                m.d.sync += direction[axis].eq(schedule.total >> STEP.fraction + VIEW_SCALE.fraction - SINE_FRACTION)

        begin = known + MultiplyAdd.LATENCY + 4
        inverses = [begin + divider.LATENCY * (n + 1) for n in range(len(AXES))]
        for axis, there in zip(AXES, inverses, strict=True):
            with schedule.at(there - divider.LATENCY - 2):
                m.d.sync += step.eq(ray.step[axis])
            with schedule.at(there - divider.LATENCY):
                m.d.comb += divider.i.valid.eq(1)
                m.d.sync += saturates.eq(divisor <= SATURATES)
            with schedule.at(there):
                m.d.sync += ray.inverse[axis].eq(Mux(saturates, INVERSE.high, divider.o.payload))
        return inverses

    def _meet_box(self, m: Module, schedule: "_Schedule", inverses: list[int]) -> tuple[int, Signal, Signal]:
        """Find how far it is to the box, and to where the ray leaves it; return the cycle in which both are there."""
        ray, view = self.o.payload.ray, self.view
        forward = Signal()
        origin = Signal(shape_of(ORIGIN))
        top = Signal(shape_of(ORIGIN))
        near_face, far_face = (Signal(signed(FACE_BITS), name=f"{name}_face") for name in ("near", "far"))
        cells, entry, leave = (Signal(signed(CELLS_BITS), name=name) for name in ("cells", "entry", "leave"))
        m.d.comb += cells.eq(schedule.total >> INVERSE.fraction)
        for n, (axis, there) in enumerate(zip(AXES, inverses, strict=True)):
            with schedule.at(there - 2):
                m.d.sync += [
                    forward.eq(ray.step[axis] >= 0),
                    origin.eq(view.origin[axis]),
                    top.eq((self.grid[axis] - 1) << ORIGIN.fraction),
                ]
            with schedule.at(there - 1):
                m.d.sync += [
                    near_face.eq(Mux(forward, 0, origin) - Mux(forward, origin, top)),
                    far_face.eq(Mux(forward, top, origin) - Mux(forward, origin, 0)),
                ]
            met = schedule.multiply(there + 1, near_face, ray.inverse[axis])
            with schedule.at(met):
                m.d.sync += entry.eq(Mux(cells > entry, cells, entry) if n else cells)
            left = schedule.multiply(there + 2, far_face, ray.inverse[axis])
            with schedule.at(left):
                m.d.sync += leave.eq(Mux(cells < leave, cells, leave) if n else cells)
        return left, entry, leave

    def _find_first_sample(self, m: Module, schedule: "_Schedule", met: int, entry: Signal, leave: Signal) -> int:
        """Find the distance of the first sample, between near and far, then its position; return the ray's cycle."""
        view, output = self.view, self.o.payload
        distance = Signal(shape_of(DISTANCE))
        reach = Signal(signed(CELLS_BITS + 1))
        after_near = Signal.like(entry)
        with schedule.at(met):
            m.d.sync += after_near.eq(Mux(entry > view.near, entry, view.near))
        with schedule.at(met + 1):
            m.d.sync += [
                distance.eq(Mux(after_near > view.far, view.far, after_near)),
                reach.eq(leave + (1 << DISTANCE.fraction)),
            ]
        with schedule.at(met + 2):
            m.d.sync += output.live.eq(reach >= distance)
        position = schedule.total >> STEP.fraction
        for n, axis in enumerate(AXES, met + 2):
            there = schedule.multiply(n, output.ray.step[axis], distance, view.origin[axis] << STEP.fraction)
            with schedule.at(there):
                m.d.sync += output.ray.position[axis].eq(position)
                # Beyond the format no ray can reach the box; cut off, it could seem to be inside.
                with m.If((position > POSITION.high) | (position < POSITION.low)):
                    m.d.sync += output.live.eq(0)
        return there + 1


class _Schedule:
    """What happens in which cycle after a pixel was taken, and the multiplication that everything shares."""

    def __init__(self, m: Module) -> None:
        self._m = m
        self._operands: dict[int, tuple[Value, Value, Value | int]] = {}
        m.submodules.multiply_add = self._unit = MultiplyAdd(RAW_BITS, INVERSE.width + 1, ORIGIN.width + STEP.fraction)
        self.cycle = Signal(range(RayUnit.LATENCY + 1))
        """0: there is no pixel."""
        self.total = self._unit.total

    def at(self, cycle: int):
        """Return the condition that it is a cycle."""
        return self._m.If(self.cycle == cycle)

    def multiply(self, cycle: int, left: Value, right: Value, addend: Value | int = 0) -> int:
        """Have ``left * right + addend`` computed from a cycle on; return that in which it is the ``total``."""
        assert cycle not in self._operands
        self._operands[cycle] = left, right, addend
        return cycle + 1 + MultiplyAdd.LATENCY

    def close(self) -> None:
        """Choose the operands, a cycle before they are multiplied."""
        m = self._m
        operands = self._unit.left, self._unit.right, self._unit.addend
        with m.Switch(self.cycle):
            for cycle, chosen in self._operands.items():
                with m.Case(cycle):
                    m.d.sync += [held.eq(value) for held, value in zip(operands, chosen, strict=True)]


def _slope(value):
    """Return a slope of format DIRECTION in format SLOPE, limited to `SLOPE_LIMIT`."""
    slope = value >> DIRECTION.fraction - SLOPE.fraction
    return Mux(slope > SLOPE_LIMIT, SLOPE_LIMIT, Mux(slope < -SLOPE_LIMIT, -SLOPE_LIMIT, slope))
