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
        view, ray = self.view, self.o.payload.ray
        m.submodules.divider = divider = Divider(RECIPROCAL_DIVIDEND.bit_length(), STEP.width, BITS_PER_CYCLE)
        m.submodules.square_root = square_root = SquareRoot(SLOPE_LIMIT.bit_length(), BITS_PER_CYCLE)

        left = Signal(signed(48))
        right = Signal(signed(INVERSE.width + 1))
        product = Signal(signed(48 + INVERSE.width + 1))
        m.d.sync += product.eq(left * right)

        pixel = self.o.payload.pixel
        x, y = self.tile.x + pixel[: self._coordinate], self.tile.y + pixel[self._coordinate : 2 * self._coordinate]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += pixel.eq(self.i.payload)

        slope_x, slope_y = (Signal(signed(SLOPE_LIMIT.bit_length() + 1), name=f"slope_{axis}") for axis in "xy")
        square = Signal(2 * SLOPE_LIMIT.bit_length())
        raw = Signal(data.ArrayLayout(signed(48), 3))
        inverse_length = Signal(SLOPE.fraction + STEP.fraction - NORM.fraction + 1)
        entry = Signal(signed(44))
        leave = Signal(signed(44))
        distance = Signal(shape_of(DISTANCE))

        axis = Signal(range(3))
        last_axis = axis == len(AXES) - 1

        def of_axis(vector):
            return Array(vector[name] for name in AXES)[axis]

        step, inverse = of_axis(ray.step), of_axis(ray.inverse)
        origin = of_axis(view.origin)
        top = (of_axis(self.grid) - 1) << ORIGIN.fraction
        # Distances along the axis to the faces where the ray enters and leaves the box, in cells.
        to_low = Signal(signed(ORIGIN.width + 1))
        to_high = Signal(signed(ORIGIN.width + 2))
        m.d.comb += [to_low.eq(-origin), to_high.eq(top - origin)]
        cells = product >> INVERSE.fraction

        m.d.comb += divider.i.payload.dividend.eq(RECIPROCAL_DIVIDEND)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.next = "SLOPE_X"
            with m.State("SLOPE_X"):
                m.d.comb += [left.eq(view.slope_column), right.eq(x)]
                m.next = "SLOPE_Y"
            with m.State("SLOPE_Y"):
                m.d.sync += slope_x.eq(_slope(view.slope_x + product))
                m.d.comb += [left.eq(view.slope_row), right.eq(y)]
                m.next = "SQUARE_X"
            with m.State("SQUARE_X"):
                m.d.sync += slope_y.eq(_slope(view.slope_y + product))
                m.d.comb += [left.eq(slope_x), right.eq(slope_x)]
                m.next = "SQUARE_Y"
            with m.State("SQUARE_Y"):
                m.d.sync += square.eq(product + (1 << 2 * SLOPE.fraction))
                m.d.comb += [left.eq(slope_y), right.eq(slope_y)]
                m.next = "SQUARE"
            with m.State("SQUARE"):
                m.d.sync += [square.eq(square + product), axis.eq(0)]
                m.next = "ROOT"
            with m.State("ROOT"):
                m.d.comb += [square_root.i.payload.eq(square), square_root.i.valid.eq(1)]
                m.next = "COLUMN"

            # The direction before normalisation, while the root is taken.
            with m.State("COLUMN"):
                m.d.comb += [left.eq(of_axis(view.direction_column)), right.eq(x)]
                m.next = "ROW"
            with m.State("ROW"):
                m.d.sync += raw[axis].eq(of_axis(view.direction) + product)
                m.d.comb += [left.eq(of_axis(view.direction_row)), right.eq(y)]
                m.next = "RAW"
            with m.State("RAW"):
                m.d.sync += [raw[axis].eq(raw[axis] + product), axis.eq(Mux(last_axis, 0, axis + 1))]
                m.next = "COLUMN"
                with m.If(last_axis):
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
                m.d.sync += inverse_length.eq(divider.o.payload)
                with m.If(divider.o.valid):
                    m.next = "SCALE"

            with m.State("SCALE"):
                m.d.comb += [left.eq(raw[axis]), right.eq(inverse_length)]
                m.next = "STEP"
            with m.State("STEP"):
                m.d.sync += step.eq(product >> DIRECTION.fraction)
                m.next = "DIVIDE"
            with m.State("DIVIDE"):
                m.d.comb += [
                    # A step of 0 gives a quotient of all ones, which saturates as it shall.
                    divider.i.payload.divisor.eq(abs(step)),
                    divider.i.valid.eq(1),
                    left.eq(step),
                    right.eq(of_axis(view.view_scale)),
                ]
                m.next = "DIRECTION"
            with m.State("DIRECTION"):
                m.d.sync += of_axis(self.o.payload.direction).eq(
                    product >> STEP.fraction + VIEW_SCALE.fraction - SINE_FRACTION
                )
                m.next = "INVERSE"
            with m.State("INVERSE"):
                m.d.comb += divider.o.ready.eq(1)
                m.d.sync += inverse.eq(Mux(divider.o.payload > INVERSE.high, INVERSE.high, divider.o.payload))
                with m.If(divider.o.valid):
                    m.next = "ENTRY"
            with m.State("ENTRY"):
                m.d.comb += [left.eq(Mux(step >= 0, to_low, -to_high)), right.eq(inverse)]
                m.next = "LEAVE"
            with m.State("LEAVE"):
                m.d.sync += entry.eq(Mux((axis == 0) | (cells > entry), cells, entry))
                m.d.comb += [left.eq(Mux(step >= 0, to_high, -to_low)), right.eq(inverse)]
                m.next = "NEXT_AXIS"
            with m.State("NEXT_AXIS"):
                m.d.sync += leave.eq(Mux((axis == 0) | (cells < leave), cells, leave))
                m.d.sync += axis.eq(Mux(last_axis, 0, axis + 1))
                m.next = "SCALE"
                with m.If(last_axis):
                    m.next = "DISTANCE"

            with m.State("DISTANCE"):
                after_near = Mux(entry > view.near, entry, view.near)
                m.d.sync += distance.eq(Mux(after_near > view.far, view.far, after_near))
                m.next = "ADVANCE"
            with m.State("ADVANCE"):
                with m.If(axis == 0):
                    m.d.sync += self.o.payload.live.eq(leave + (1 << DISTANCE.fraction) >= distance)
                m.d.comb += [left.eq(step), right.eq(distance)]
                m.next = "POSITION"
            with m.State("POSITION"):
                position = origin + (product >> STEP.fraction)
                m.d.sync += of_axis(ray.position).eq(position)
                # Beyond the format no ray can reach the box; cut off, it could seem to be inside.
                with m.If((position > POSITION.high) | (position < POSITION.low)):
                    m.d.sync += self.o.payload.live.eq(0)
                m.d.sync += axis.eq(Mux(last_axis, 0, axis + 1))
                m.next = "ADVANCE"
                with m.If(last_axis):
                    m.next = "RAY"
            with m.State("RAY"):
                m.d.comb += [self.o.valid.eq(1), self.i.ready.eq(self.o.ready)]
                with m.If(self.o.ready):
                    m.next = "IDLE"
                    with m.If(self.i.valid):
                        m.next = "SLOPE_X"
        return ResetInserter(~self.run)(m)


def _slope(value):
    """Return a slope of format DIRECTION in format SLOPE, limited to `SLOPE_LIMIT`."""
    slope = value >> DIRECTION.fraction - SLOPE.fraction
    return Mux(slope > SLOPE_LIMIT, SLOPE_LIMIT, Mux(slope < -SLOPE_LIMIT, -SLOPE_LIMIT, slope))
