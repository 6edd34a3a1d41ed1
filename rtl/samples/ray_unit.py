"""One unit of the ray set-up: a pixel becomes a ray in the factor grid.

``length = sqrt(1 + slope_x**2 + slope_y**2)``, ``step = direction / length``, ``inverse = 1 / |step|``, then the
first sample: where the ray enters the box, between near and far. The equations are those of `nerf.golden.ray_setup`.
"""

from amaranth.hdl import Array, Elaboratable, Module, Mux, ResetInserter, Signal, signed
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
from rtl.parts.square_root import SquareRoot
from rtl.payloads import SceneRegisters, TileLayouts, ViewRegisters, shape_of

BITS_PER_CYCLE = 3
"""Quotient and root bits found in one cycle."""
SLOPE_LIMIT = NORM.high + 1
"""A slope beyond this makes the length saturate, whatever the other slope is."""


class RayUnit(wiring.Component):
    """Compute the ray of one pixel after the other.

    All multiplications share one multiplier.

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

    LATENCY = 106

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
        """Return the sequence of multiplications, the divider and the square root."""
        m = Module()
        m.submodules.divider = divider = Divider(RECIPROCAL_DIVIDEND.bit_length(), STEP.width, BITS_PER_CYCLE)
        m.submodules.square_root = square_root = SquareRoot(SLOPE_LIMIT.bit_length(), BITS_PER_CYCLE)
        tile, pixel, bits = self.tile, self.o.payload.pixel, self._coordinate
        x, y = tile.x + pixel[:bits], tile.y + pixel[bits : 2 * bits]
        work = _Work(x, y, self.o.payload.ray, self.view.origin, self.grid)
        m.d.sync += work.product.eq(work.left * work.right)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += pixel.eq(self.i.payload)
        m.d.comb += [work.to_low.eq(-work.origin), work.to_high.eq(work.top - work.origin)]
        m.d.comb += divider.i.payload.dividend.eq(RECIPROCAL_DIVIDEND)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.next = "SLOPE_X"
            self._find_length(m, work, square_root)
            self._find_direction(m, work, square_root, divider)
            self._normalise(m, work, divider)
            self._meet_box(m, work)
            self._find_first_sample(m, work)
            with m.State("RAY"):
                m.d.comb += [self.o.valid.eq(1), self.i.ready.eq(self.o.ready)]
                with m.If(self.o.ready):
                    m.next = "IDLE"
                    with m.If(self.i.valid):
                        m.next = "SLOPE_X"
        return ResetInserter(~self.run)(m)

    def _find_length(self, m: Module, work: "_Work", square_root: SquareRoot) -> None:
        """Find the slopes and the sum of their squares, and begin its root."""
        view = self.view
        with m.State("SLOPE_X"):
            m.d.comb += [work.left.eq(view.slope_column), work.right.eq(work.x)]
            m.next = "SLOPE_Y"
        with m.State("SLOPE_Y"):
            m.d.sync += work.slope_x.eq(_slope(view.slope_x + work.product))
            m.d.comb += [work.left.eq(view.slope_row), work.right.eq(work.y)]
            m.next = "SQUARE_X"
        with m.State("SQUARE_X"):
            m.d.sync += work.slope_y.eq(_slope(view.slope_y + work.product))
            m.d.comb += [work.left.eq(work.slope_x), work.right.eq(work.slope_x)]
            m.next = "SQUARE_Y"
        with m.State("SQUARE_Y"):
            m.d.sync += work.square.eq(work.product + (1 << 2 * SLOPE.fraction))
            m.d.comb += [work.left.eq(work.slope_y), work.right.eq(work.slope_y)]
            m.next = "SQUARE"
        with m.State("SQUARE"):
            m.d.sync += [work.square.eq(work.square + work.product), work.axis.eq(0)]
            m.next = "ROOT"
        with m.State("ROOT"):
            m.d.comb += [square_root.i.payload.eq(work.square), square_root.i.valid.eq(1)]
            m.next = "COLUMN"

    def _find_direction(self, m: Module, work: "_Work", square_root: SquareRoot, divider: Divider) -> None:
        """Find the direction before normalisation while the root is taken, then the root's inverse."""
        view, raw, axis = self.view, work.raw, work.axis
        with m.State("COLUMN"):
            m.d.comb += [work.left.eq(work.of_axis(view.direction_column)), work.right.eq(work.x)]
            m.next = "ROW"
        with m.State("ROW"):
            m.d.sync += raw[axis].eq(work.of_axis(view.direction) + work.product)
            m.d.comb += [work.left.eq(work.of_axis(view.direction_row)), work.right.eq(work.y)]
            m.next = "RAW"
        with m.State("RAW"):
            m.d.sync += [raw[axis].eq(raw[axis] + work.product), axis.eq(work.next_axis())]
            m.next = "COLUMN"
            with m.If(work.last_axis):
                m.next = "LENGTH"
        with m.State("LENGTH"):
            root = square_root.o.payload
            m.d.comb += [
                divider.i.payload.divisor.eq(Mux(root > NORM.high, NORM.high, root)),
                divider.i.valid.eq(square_root.o.valid),
                square_root.o.ready.eq(divider.i.ready),
            ]
            with m.If(divider.i.valid & divider.i.ready):
                m.next = "INVERSE_LENGTH"
        with m.State("INVERSE_LENGTH"):
            m.d.comb += divider.o.ready.eq(1)
            m.d.sync += work.inverse_length.eq(divider.o.payload)
            with m.If(divider.o.valid):
                m.next = "SCALE"

    def _normalise(self, m: Module, work: "_Work", divider: Divider) -> None:
        """Find the step along an axis and its inverse, and meanwhile the direction for the network."""
        step = work.step
        with m.State("SCALE"):
            m.d.comb += [work.left.eq(work.raw[work.axis]), work.right.eq(work.inverse_length)]
            m.next = "STEP"
        with m.State("STEP"):
            m.d.sync += step.eq(work.product >> DIRECTION.fraction)
            m.next = "DIVIDE"
        with m.State("DIVIDE"):
            m.d.comb += [
                # A step of 0 gives a quotient of all ones, which saturates as it shall.
                divider.i.payload.divisor.eq(abs(step)),
                divider.i.valid.eq(1),
                work.left.eq(step),
                work.right.eq(work.of_axis(self.view.view_scale)),
            ]
            m.next = "DIRECTION"
        with m.State("DIRECTION"):
            m.d.sync += work.of_axis(self.o.payload.direction).eq(
                work.product >> STEP.fraction + VIEW_SCALE.fraction - SINE_FRACTION
            )
            m.next = "INVERSE"
        with m.State("INVERSE"):
            m.d.comb += divider.o.ready.eq(1)
            m.d.sync += work.inverse.eq(Mux(divider.o.payload > INVERSE.high, INVERSE.high, divider.o.payload))
            with m.If(divider.o.valid):
                m.next = "ENTRY"

    def _meet_box(self, m: Module, work: "_Work") -> None:
        """Find where the ray enters and leaves the box, axis by axis."""
        step, axis = work.step, work.axis
        cells = work.product >> INVERSE.fraction
        with m.State("ENTRY"):
            m.d.comb += [work.left.eq(Mux(step >= 0, work.to_low, -work.to_high)), work.right.eq(work.inverse)]
            m.next = "LEAVE"
        with m.State("LEAVE"):
            m.d.sync += work.entry.eq(Mux((axis == 0) | (cells > work.entry), cells, work.entry))
            m.d.comb += [work.left.eq(Mux(step >= 0, work.to_high, -work.to_low)), work.right.eq(work.inverse)]
            m.next = "NEXT_AXIS"
        with m.State("NEXT_AXIS"):
            m.d.sync += work.leave.eq(Mux((axis == 0) | (cells < work.leave), cells, work.leave))
            m.d.sync += axis.eq(work.next_axis())
            m.next = "SCALE"
            with m.If(work.last_axis):
                m.next = "DISTANCE"

    def _find_first_sample(self, m: Module, work: "_Work") -> None:
        """Find the distance of the first sample, between near and far, and its position axis by axis."""
        view, output, axis = self.view, self.o.payload, work.axis
        with m.State("DISTANCE"):
            after_near = Mux(work.entry > view.near, work.entry, view.near)
            m.d.sync += work.distance.eq(Mux(after_near > view.far, view.far, after_near))
            m.next = "ADVANCE"
        with m.State("ADVANCE"):
            with m.If(axis == 0):
                m.d.sync += output.live.eq(work.leave + (1 << DISTANCE.fraction) >= work.distance)
            m.d.comb += [work.left.eq(work.step), work.right.eq(work.distance)]
            m.next = "POSITION"
        with m.State("POSITION"):
            position = work.origin + (work.product >> STEP.fraction)
            m.d.sync += work.of_axis(output.ray.position).eq(position)
            # Beyond the format no ray can reach the box; cut off, it could seem to be inside.
            with m.If((position > POSITION.high) | (position < POSITION.low)):
                m.d.sync += output.live.eq(0)
            m.d.sync += axis.eq(work.next_axis())
            m.next = "ADVANCE"
            with m.If(work.last_axis):
                m.next = "RAY"


class _Work:
    """The multiplier, the registers of a ray on its way, and what is chosen by ``axis``."""

    def __init__(self, x, y, ray: data.View, origin: data.View, grid: data.View) -> None:
        self.x, self.y = x, y
        self.left = Signal(signed(48))
        self.right = Signal(signed(INVERSE.width + 1))
        self.product = Signal(signed(48 + INVERSE.width + 1))
        """Of the two, a cycle later."""

        self.slope_x, self.slope_y = (
            Signal(signed(SLOPE_LIMIT.bit_length() + 1), name=f"slope_{axis}") for axis in "xy"
        )
        self.square = Signal(2 * SLOPE_LIMIT.bit_length())
        self.raw = Signal(data.ArrayLayout(signed(48), 3))
        """The direction before normalisation."""
        self.inverse_length = Signal(SLOPE.fraction + STEP.fraction - NORM.fraction + 1)
        self.entry = Signal(signed(44))
        self.leave = Signal(signed(44))
        self.distance = Signal(shape_of(DISTANCE))

        self.axis = Signal(range(3))
        self.last_axis = self.axis == len(AXES) - 1
        self.step, self.inverse = self.of_axis(ray.step), self.of_axis(ray.inverse)
        self.origin = self.of_axis(origin)
        self.top = (self.of_axis(grid) - 1) << ORIGIN.fraction
        self.to_low = Signal(signed(ORIGIN.width + 1))
        self.to_high = Signal(signed(ORIGIN.width + 2))
        """Distances along the axis to the faces where the ray enters and leaves the box, in cells."""

    def of_axis(self, vector):
        """Return the component of a vector along the axis."""
        return Array(vector[name] for name in AXES)[self.axis]

    def next_axis(self):
        """Return the axis after this one, after the last the first."""
        return Mux(self.last_axis, 0, self.axis + 1)


def _slope(value):
    """Return a slope of format DIRECTION in format SLOPE, limited to `SLOPE_LIMIT`."""
    slope = value >> DIRECTION.fraction - SLOPE.fraction
    return Mux(slope > SLOPE_LIMIT, SLOPE_LIMIT, Mux(slope < -SLOPE_LIMIT, -SLOPE_LIMIT, slope))
