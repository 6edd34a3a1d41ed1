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
        view, footprint = self.view, self.o.payload
        dividers = {side: Divider(DIVIDEND.bit_length(), DEPTH_BITS, BITS_PER_CYCLE) for side in ("near", "far")}
        for side, divider in dividers.items():
            m.submodules[f"divider_{side}"] = divider

        # One multiplier for each row of the projection; x and y serve again for the two image axes.
        left = {row: Signal(signed(IMAGE_BITS + 1), name=f"left_{row}") for row in AXES}
        right = {row: Signal(signed(DEPTH_BITS + 1), name=f"right_{row}") for row in AXES}
        product = {row: Signal(signed(IMAGE_BITS + DEPTH_BITS + 2), name=f"product_{row}") for row in AXES}
        m.d.sync += [product[row].eq(left[row] * right[row]) for row in AXES]

        axis = Signal(range(len(AXES)))
        relative = Signal(data.ArrayLayout(signed(RELATIVE_BITS), len(AXES)))
        sums = {row: Signal(signed(SUM_BITS), name=f"sum_{row}") for row in AXES}
        total = {row: sums[row] + product[row] for row in AXES}
        depth = {side: Signal(signed(DEPTH_BITS), name=side) for side in ("near", "far")}
        inverse = {side: Signal(INVERSE_DEPTH_FRACTION + 1, name=f"inverse_{side}") for side in ("near", "far")}
        low = {row: Signal(signed(IMAGE_BITS + 1), name=f"low_{row}") for row in "xy"}
        high = {row: Signal(signed(IMAGE_BITS + 1), name=f"high_{row}") for row in "xy"}
        centre = {"x": view.centre_x, "y": view.centre_y}
        radius = {"x": view.image_radius_x, "y": view.image_radius_y}
        end = {"x": view.window_width - 1, "y": view.window_height - 1}
        first_covered = {row: footprint[f"first_{row}"] for row in "xy"}
        last_covered = {row: footprint[f"last_{row}"] for row in "xy"}
        misses = Signal()

        def image(row):
            """Return an edge in pixels: the product of the cycle before, moved to the window."""
            return ((product[row] >> INVERSE_DEPTH_FRACTION) + centre[row]) >> IMAGE_FRACTION

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [
                    footprint.cube.eq(self.i.payload.cube),
                    footprint.rank.eq(self.i.payload.rank),
                    footprint.last.eq(self.i.payload.last),
                    axis.eq(0),
                    misses.eq(0),
                ]
                m.d.sync += [sums[row].eq(0) for row in AXES]
                for n, name in enumerate(AXES):
                    middle = (CUBE * self.i.payload.cube[name] + CUBE // 2) << ORIGIN.fraction
                    m.d.sync += relative[n].eq((middle - view.origin[name]) >> ORIGIN.fraction - RELATIVE_FRACTION)
                with m.If(self.i.valid):
                    m.next = "SUM"
                    with m.If(self.i.payload.last):
                        m.next = "FOOTPRINT"
            with m.State("SUM"):
                for row in AXES:
                    projection = getattr(view, f"projection_{row}")
                    m.d.comb += [left[row].eq(relative[axis]), right[row].eq(_of_axis(projection, axis))]
                    with m.If(axis != 0):
                        m.d.sync += sums[row].eq(total[row])
                m.d.sync += axis.eq(axis + 1)
                with m.If(axis == len(AXES) - 1):
                    m.next = "EDGES"
            with m.State("EDGES"):
                middle = total["z"] >> PROJECTION_DEPTH.fraction + RELATIVE_FRACTION - DEPTH_FRACTION
                m.d.sync += [depth["near"].eq(middle - view.radius), depth["far"].eq(middle + view.radius)]
                for row in "xy":
                    middle = total[row] >> PROJECTION_IMAGE.fraction + RELATIVE_FRACTION - IMAGE_FRACTION
                    m.d.sync += [low[row].eq(middle - radius[row]), high[row].eq(middle + radius[row])]
                m.next = "TEST_BEFORE"

            with m.State("TEST_BEFORE"):
                for row in "xy":
                    rounding = Mux(high[row] < 0, high[row] >> INVERSE_DEPTH_FRACTION, 0)
                    m.d.comb += [
                        left[row].eq(rounding - (1 << IMAGE_FRACTION) - centre[row]),
                        right[row].eq(Mux(high[row] < 0, depth["far"], depth["near"])),
                    ]
                    m.d.sync += [first_covered[row].eq(0), last_covered[row].eq(end[row])]
                m.next = "TEST_BEHIND"
                with m.If(depth["near"] < NEAREST):
                    m.next = "FOOTPRINT"
                with m.If(depth["far"] <= 0):
                    m.next = "IDLE"
            with m.State("TEST_BEHIND"):
                for row in "xy":
                    rounding = Mux(low[row] < 0, 0, (low[row] >> INVERSE_DEPTH_FRACTION) + 1)
                    m.d.comb += [
                        left[row].eq(((end[row] + 2) << IMAGE_FRACTION) - centre[row] + rounding),
                        right[row].eq(Mux(low[row] < 0, depth["near"], depth["far"])),
                    ]
                m.next = "TEST"
                with m.If(sum((high[row] << DEPTH_FRACTION) < product[row] for row in "xy") != 0):
                    m.next = "IDLE"
            with m.State("TEST"):
                m.next = "DIVIDE"
                with m.If(sum((low[row] << DEPTH_FRACTION) >= product[row] for row in "xy") != 0):
                    m.next = "IDLE"

            with m.State("DIVIDE"):
                # Both dividers are idle, and they finish together.
                for side, divider in dividers.items():
                    m.d.comb += [
                        divider.i.payload.dividend.eq(DIVIDEND),
                        divider.i.payload.divisor.eq(depth[side]),
                        divider.i.valid.eq(1),
                    ]
                m.next = "INVERSE"
            with m.State("INVERSE"):
                for side, divider in dividers.items():
                    m.d.comb += divider.o.ready.eq(1)
                    m.d.sync += inverse[side].eq(divider.o.payload)
                with m.If(dividers["near"].o.valid):
                    m.next = "LOW"
            with m.State("LOW"):
                for row in "xy":
                    m.d.comb += [
                        left[row].eq(low[row]),
                        right[row].eq(Mux(low[row] < 0, inverse["near"], inverse["far"])),
                    ]
                m.next = "HIGH"
            with m.State("HIGH"):
                for row in "xy":
                    edge = image(row) - 1
                    m.d.sync += first_covered[row].eq(Mux(edge > 0, edge, 0))
                    with m.If(edge > end[row]):
                        m.d.sync += misses.eq(1)
                    m.d.comb += [
                        left[row].eq(high[row]),
                        right[row].eq(Mux(high[row] < 0, inverse["far"], inverse["near"])),
                    ]
                m.next = "CUT"
            with m.State("CUT"):
                for row in "xy":
                    edge = image(row) + 1
                    m.d.sync += last_covered[row].eq(Mux(edge < end[row], edge, end[row]))
                    with m.If(edge < first_covered[row]):
                        m.d.sync += misses.eq(1)
                m.next = "FOOTPRINT"
            with m.State("FOOTPRINT"):
                m.d.comb += self.o.valid.eq(~misses)
                with m.If(self.o.ready | misses):
                    m.next = "IDLE"
        return m


def _of_axis(vector, axis):
    return Array(vector[name] for name in AXES)[axis]
