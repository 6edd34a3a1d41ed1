"""Projector: a cube becomes the rectangle of window pixels that it may cover.

The cube's bounding ball in camera space, divided by its nearest or farthest depth, whichever widens the rectangle.
The equations are those of `nerf.golden.projector`.

Of a small part of a picture many cubes miss the window, so a test without division comes first: with ``near <= depth of
the ball <= far``, the ball's right edge ``high / near`` (or ``high / far`` if negative) is left of ``bound`` when
``high < bound * near``, and so for the other edges. The bound is widened by what rounding can add, so the test only
drops cubes that the division would drop too.
"""

from amaranth.hdl import Array, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import CUBE
from nerf.contract.formats import (
    DEPTH_FRACTION,
    INVERSE_DEPTH_FRACTION,
    ORIGIN,
    PIXEL,
    PROJECTION_DEPTH,
    PROJECTION_IMAGE,
    RELATIVE_FRACTION,
)
from nerf.contract.registers import AXES
from rtl.parts.divider import Divider
from rtl.payloads import CubeVisit, Footprint, ViewRegisters

IMAGE_FRACTION = PIXEL.fraction
NEAREST = 1 << DEPTH_FRACTION
"""Depth of the ball's nearest point, below which the rectangle is the whole window: one mean cell."""
DIVIDEND = 1 << INVERSE_DEPTH_FRACTION + DEPTH_FRACTION
BITS_PER_CYCLE = 2
"""Quotient bits found in one cycle."""

RELATIVE_BITS = ORIGIN.width + 1 - (ORIGIN.fraction - RELATIVE_FRACTION)
SUM_BITS = RELATIVE_BITS + PROJECTION_IMAGE.width + 2
DEPTH_BITS = SUM_BITS - (PROJECTION_DEPTH.fraction + RELATIVE_FRACTION - DEPTH_FRACTION) + 1
IMAGE_BITS = SUM_BITS - (PROJECTION_IMAGE.fraction + RELATIVE_FRACTION - IMAGE_FRACTION) + 1


class Projector(wiring.Component):
    """Project cubes one after the other; drop those that cannot cover a pixel of the window.

    ``last`` passes through.

    Latency: ``LATENCY`` cycles from an accepted visit to its footprint, ``LATENCY_TOUCHED`` where the ball touches the
    camera's plane, 1 for ``last``.
    Throughput: a dropped cube takes at most ``DROPPED_AFTER`` cycles if the test without division drops it (behind the
    camera, or clearly beside the window), any other cube ``LATENCY + 1``.

    Members
    -------
    view : In(ViewRegisters)
    i : In(stream)
        `CubeVisit`.
    o : Out(stream)
        `Footprint`.
    """

    LATENCY = 32
    LATENCY_TOUCHED = 6
    DROPPED_AFTER = 8

    view: In(ViewRegisters)
    i: In(stream.Signature(CubeVisit))
    o: Out(stream.Signature(Footprint))

    def elaborate(self, platform) -> Module:
        """Return the sequence of multiplications, the two dividers and the comparison with the window."""
        m = Module()
        ball = _Ball(self.view)
        dividers = {side: Divider(DIVIDEND.bit_length(), DEPTH_BITS, BITS_PER_CYCLE) for side in ("near", "far")}
        for side, divider in dividers.items():
            m.submodules[f"divider_{side}"] = divider
        m.d.sync += [ball.product[row].eq(ball.left[row] * ball.right[row]) for row in AXES]
        with m.FSM():
            with m.State("IDLE"):
                self._take(m, ball)
            with m.State("SUM"):
                self._sum(m, ball)
            with m.State("EDGES"):
                self._find_edges(m, ball)

            with m.State("TEST_BEFORE"):
                self._compare_before(m, ball)
            with m.State("TEST_BEHIND"):
                self._compare_behind(m, ball)
            with m.State("TEST"):
                m.next = "DIVIDE"
                with m.If(sum((ball.low[row] << DEPTH_FRACTION) >= ball.product[row] for row in "xy") != 0):
                    m.next = "IDLE"

            with m.State("DIVIDE"):
                # Both dividers are idle, and they finish together.
                for side, divider in dividers.items():
                    m.d.comb += [
                        divider.i.payload.dividend.eq(DIVIDEND),
                        divider.i.payload.divisor.eq(ball.depth[side]),
                        divider.i.valid.eq(1),
                    ]
                m.next = "INVERSE"
            with m.State("INVERSE"):
                for side, divider in dividers.items():
                    m.d.comb += divider.o.ready.eq(1)
                    m.d.sync += ball.inverse[side].eq(divider.o.payload)
                with m.If(dividers["near"].o.valid):
                    m.next = "LOW"
            self._cut(m, ball)
            with m.State("FOOTPRINT"):
                m.d.comb += self.o.valid.eq(~ball.misses)
                with m.If(self.o.ready | ball.misses):
                    m.next = "IDLE"
        return m

    def _take(self, m: Module, ball: "_Ball") -> None:
        """Take a cube: its middle relative to the camera."""
        visit, footprint = self.i.payload, self.o.payload
        m.d.comb += self.i.ready.eq(1)
        m.d.sync += [
            footprint.cube.eq(visit.cube),
            footprint.rank.eq(visit.rank),
            footprint.last.eq(visit.last),
            ball.axis.eq(0),
            ball.misses.eq(0),
        ]
        m.d.sync += [ball.sums[row].eq(0) for row in AXES]
        for n, name in enumerate(AXES):
            middle = (CUBE * visit.cube[name] + CUBE // 2) << ORIGIN.fraction
            m.d.sync += ball.relative[n].eq((middle - self.view.origin[name]) >> ORIGIN.fraction - RELATIVE_FRACTION)
        with m.If(self.i.valid):
            m.next = "SUM"
            with m.If(visit.last):
                m.next = "FOOTPRINT"

    def _sum(self, m: Module, ball: "_Ball") -> None:
        """Multiply by the three rows of the projection, an axis a cycle."""
        for row in AXES:
            projection = getattr(self.view, f"projection_{row}")
            m.d.comb += [
                ball.left[row].eq(ball.relative[ball.axis]),
                ball.right[row].eq(_of_axis(projection, ball.axis)),
            ]
            with m.If(ball.axis != 0):
                m.d.sync += ball.sums[row].eq(ball.total[row])
        m.d.sync += ball.axis.eq(ball.axis + 1)
        with m.If(ball.axis == len(AXES) - 1):
            m.next = "EDGES"

    def _find_edges(self, m: Module, ball: "_Ball") -> None:
        """Add and subtract the radii: the ball's nearest and farthest depth, its edges along x and y."""
        radius = {"x": self.view.image_radius_x, "y": self.view.image_radius_y}
        middle = ball.total["z"] >> PROJECTION_DEPTH.fraction + RELATIVE_FRACTION - DEPTH_FRACTION
        m.d.sync += [ball.depth["near"].eq(middle - self.view.radius), ball.depth["far"].eq(middle + self.view.radius)]
        for row in "xy":
            middle = ball.total[row] >> PROJECTION_IMAGE.fraction + RELATIVE_FRACTION - IMAGE_FRACTION
            m.d.sync += [ball.low[row].eq(middle - radius[row]), ball.high[row].eq(middle + radius[row])]
        m.next = "TEST_BEFORE"

    def _compare_before(self, m: Module, ball: "_Ball") -> None:
        """Multiply for the test of the right edges; leave the division out near the camera, and all behind it."""
        for row in "xy":
            rounding = Mux(ball.high[row] < 0, ball.high[row] >> INVERSE_DEPTH_FRACTION, 0)
            m.d.comb += [
                ball.left[row].eq(rounding - (1 << IMAGE_FRACTION) - ball.centre[row]),
                ball.right[row].eq(Mux(ball.high[row] < 0, ball.depth["far"], ball.depth["near"])),
            ]
            m.d.sync += [self._covered("first", row).eq(0), self._covered("last", row).eq(ball.end[row])]
        m.next = "TEST_BEHIND"
        with m.If(ball.depth["near"] < NEAREST):
            m.next = "FOOTPRINT"
        with m.If(ball.depth["far"] <= 0):
            m.next = "IDLE"

    def _compare_behind(self, m: Module, ball: "_Ball") -> None:
        """Multiply for the test of the left edges; drop what the test of the right edges drops."""
        for row in "xy":
            rounding = Mux(ball.low[row] < 0, 0, (ball.low[row] >> INVERSE_DEPTH_FRACTION) + 1)
            m.d.comb += [
                ball.left[row].eq(((ball.end[row] + 2) << IMAGE_FRACTION) - ball.centre[row] + rounding),
                ball.right[row].eq(Mux(ball.low[row] < 0, ball.depth["near"], ball.depth["far"])),
            ]
        m.next = "TEST"
        with m.If(sum((ball.high[row] << DEPTH_FRACTION) < ball.product[row] for row in "xy") != 0):
            m.next = "IDLE"

    def _cut(self, m: Module, ball: "_Ball") -> None:
        """Divide the edges by depth, in states `LOW` and `HIGH`, and cut them by the window, a state later each."""
        with m.State("LOW"):
            for row in "xy":
                m.d.comb += [
                    ball.left[row].eq(ball.low[row]),
                    ball.right[row].eq(Mux(ball.low[row] < 0, ball.inverse["near"], ball.inverse["far"])),
                ]
            m.next = "HIGH"
        with m.State("HIGH"):
            for row in "xy":
                edge = ball.image(row) - 1
                m.d.sync += self._covered("first", row).eq(Mux(edge > 0, edge, 0))
                with m.If(edge > ball.end[row]):
                    m.d.sync += ball.misses.eq(1)
                m.d.comb += [
                    ball.left[row].eq(ball.high[row]),
                    ball.right[row].eq(Mux(ball.high[row] < 0, ball.inverse["far"], ball.inverse["near"])),
                ]
            m.next = "CUT"
        with m.State("CUT"):
            for row in "xy":
                edge = ball.image(row) + 1
                m.d.sync += self._covered("last", row).eq(Mux(edge < ball.end[row], edge, ball.end[row]))
                with m.If(edge < self._covered("first", row)):
                    m.d.sync += ball.misses.eq(1)
            m.next = "FOOTPRINT"

    def _covered(self, edge: str, row: str):
        """Return the first or last covered pixel of the footprint along x or y."""
        return self.o.payload[f"{edge}_{row}"]


class _Ball:
    """A cube's bounding ball on its way to the footprint: registers, the multipliers, and what the view says."""

    def __init__(self, view: data.View) -> None:
        # One multiplier for each row of the projection; x and y serve again for the two image axes.
        self.left = {row: Signal(signed(IMAGE_BITS + 1), name=f"left_{row}") for row in AXES}
        self.right = {row: Signal(signed(DEPTH_BITS + 1), name=f"right_{row}") for row in AXES}
        self.product = {row: Signal(signed(IMAGE_BITS + DEPTH_BITS + 2), name=f"product_{row}") for row in AXES}

        self.axis = Signal(range(len(AXES)))
        self.relative = Signal(data.ArrayLayout(signed(RELATIVE_BITS), len(AXES)))
        self.sums = {row: Signal(signed(SUM_BITS), name=f"sum_{row}") for row in AXES}
        self.total = {row: self.sums[row] + self.product[row] for row in AXES}
        self.depth = {side: Signal(signed(DEPTH_BITS), name=side) for side in ("near", "far")}
        self.inverse = {side: Signal(INVERSE_DEPTH_FRACTION + 1, name=f"inverse_{side}") for side in ("near", "far")}
        self.low = {row: Signal(signed(IMAGE_BITS + 1), name=f"low_{row}") for row in "xy"}
        self.high = {row: Signal(signed(IMAGE_BITS + 1), name=f"high_{row}") for row in "xy"}
        self.misses = Signal()
        self.centre = {"x": view.centre_x, "y": view.centre_y}
        self.end = {"x": view.window_width - 1, "y": view.window_height - 1}
        """The last column and row of the window."""

    def image(self, row: str):
        """Return an edge in pixels: the product of the cycle before, moved to the window."""
        return ((self.product[row] >> INVERSE_DEPTH_FRACTION) + self.centre[row]) >> IMAGE_FRACTION


def _of_axis(vector, axis):
    return Array(vector[name] for name in AXES)[axis]
