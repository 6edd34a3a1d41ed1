"""Projector: a cube becomes the rectangle of window pixels that it may cover.

The cube's bounding ball in camera space, divided by its nearest or farthest depth, whichever widens the rectangle.
The equations are those of `nerf.golden.projector`.

Of a small part of a picture many cubes miss the window, so a test without division comes first: with ``near <= depth of
the ball <= far``, the ball's right edge ``high / near`` (or ``high / far`` if negative) is left of ``bound`` when
``high < bound * near``, and so for the other edges. The bound is widened by what rounding can add, so the test only
drops cubes that the division would drop too.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
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
from rtl.parts.multiply_add import MultiplyAdd
from rtl.payloads import CubeVisit, Footprint, ViewRegisters

IMAGE_FRACTION = PIXEL.fraction
NEAREST = 1 << DEPTH_FRACTION
"""Depth of the ball's nearest point, below which the rectangle is the whole window: one mean cell."""
DIVIDEND = 1 << INVERSE_DEPTH_FRACTION + DEPTH_FRACTION
BITS_PER_CYCLE = 2
"""Quotient bits found in one cycle."""

RELATIVE_BITS = ORIGIN.width + 1 - (ORIGIN.fraction - RELATIVE_FRACTION)
SUM_BITS = RELATIVE_BITS + PROJECTION_IMAGE.width + 2
IMAGE_BITS = SUM_BITS - (PROJECTION_IMAGE.fraction + RELATIVE_FRACTION - IMAGE_FRACTION) + 1
DEPTH_BITS = (
    RELATIVE_BITS + PROJECTION_DEPTH.width + 3 - (PROJECTION_DEPTH.fraction + RELATIVE_FRACTION - DEPTH_FRACTION)
)
INVERSE_BITS = INVERSE_DEPTH_FRACTION + 1
BOUND_BITS = PIXEL.width + 2
"""Bits of a bound of the test without division, in the format of PIXEL."""

Ball = data.StructLayout(
    {
        "visit": CubeVisit,
        "near": signed(DEPTH_BITS),
        "far": signed(DEPTH_BITS),
        **{f"{edge}_{row}": signed(IMAGE_BITS) for edge in ("low", "high") for row in "xy"},
    }
)
"""A cube's bounding ball in camera space: its nearest and farthest depth, its edges along x and y times depth."""
Divided = data.StructLayout({"ball": Ball, "whole": 1, "near": INVERSE_BITS, "far": INVERSE_BITS})
"""A ball and the reciprocals of its depths; ``whole``: it covers the whole window, they mean nothing."""
PRODUCT = 1 + MultiplyAdd.LATENCY
"""Cycles from the choice of operands to their product."""
BALL = 4 + PRODUCT
"""Step in which a visit has become a ball: three products a row, one a cycle."""
TESTED = 4 + PRODUCT
"""Step in which the last of four tests of a ball is done."""
DIVIDED = 15
"""Step in which a ball's depths have been divided."""
CUT = 5 + PRODUCT
"""Step in which its four edges have been, and are cut to the window."""


class Projector(wiring.Component):
    """Project cubes; drop those that cannot cover a pixel of the window.

    Four parts work on a cube each, in steps: from a visit to a ball, the test without division, the division, the cut
    to the window. ``last`` passes as a ball does that touches the camera's plane.

    Latency: ``LATENCY`` cycles from an accepted visit to its footprint, ``LATENCY_TOUCHED`` where the ball touches the
    camera's plane and for ``last``.
    Throughput: a cube in ``CYCLES`` if it is dropped without division (behind the camera, or clearly beside the window)
    or touches the camera's plane, in ``CYCLES_DIVIDED`` otherwise.

    Members
    -------
    view : In(ViewRegisters)
    i : In(stream)
        `CubeVisit`.
    o : Out(stream)
        `Footprint`.
    """

    LATENCY = BALL + TESTED + DIVIDED + CUT + 1
    LATENCY_TOUCHED = BALL + 4
    CYCLES = BALL
    CYCLES_DIVIDED = DIVIDED

    view: In(ViewRegisters)
    i: In(stream.Signature(CubeVisit))
    o: Out(stream.Signature(Footprint))

    def elaborate(self, platform) -> Module:
        """Return the four parts."""
        m = Module()
        ball = stream.Signature(Ball).create(path=("ball",))
        whole, divided = Signal(), Signal()
        """Strobes: the ball goes on, to the whole window or to the division; only while there is room."""
        room = Signal()
        depths = stream.Signature(Divided).create(path=("depths",))
        self._find_ball(m, ball)
        self._test(m, ball, whole, divided, room)
        self._divide(m, ball.payload, whole, divided, room, depths)
        self._cut(m, depths)
        return m

    def _find_ball(self, m: Module, ball: stream.Interface) -> None:
        """Multiply a cube's middle, relative to the camera, by the three rows of the projection; add the radii."""
        view, visit = self.view, Signal(CubeVisit)
        step = Signal(range(BALL + 1))
        relative = Signal(data.ArrayLayout(signed(RELATIVE_BITS), len(AXES)))
        sums = {row: Signal(signed(SUM_BITS), name=f"sum_{row}") for row in AXES}
        ends = Signal()
        m.d.comb += [
            ends.eq((step == BALL) & (~ball.valid | ball.ready)),
            self.i.ready.eq((step == 0) | ends),
        ]
        with m.If(self.i.ready):
            m.d.sync += [step.eq(self.i.valid), visit.eq(self.i.payload)]
            for n, name in enumerate(AXES):
                middle = (CUBE * self.i.payload.cube[name] + CUBE // 2) << ORIGIN.fraction
                m.d.sync += relative[n].eq((middle - view.origin[name]) >> ORIGIN.fraction - RELATIVE_FRACTION)
        with m.Elif(step != BALL):
            m.d.sync += step.eq(step + 1)

        for row, fmt in zip(AXES, (PROJECTION_IMAGE, PROJECTION_IMAGE, PROJECTION_DEPTH), strict=True):
            m.submodules[f"project_{row}"] = unit = MultiplyAdd(fmt.width, RELATIVE_BITS, 1)
            with m.Switch(step):
                for n, name in enumerate(AXES):
                    with m.Case(1 + n):
                        m.d.sync += [unit.left.eq(view[f"projection_{row}"][name]), unit.right.eq(relative[n])]
                    with m.Case(1 + n + PRODUCT):
                        m.d.sync += sums[row].eq((sums[row] if n else 0) + unit.total)

        with m.If(ball.ready):
            m.d.sync += ball.valid.eq(0)
        with m.If(ends):
            m.d.sync += [ball.valid.eq(1), ball.payload.visit.eq(visit)]
            depth = sums["z"] >> PROJECTION_DEPTH.fraction + RELATIVE_FRACTION - DEPTH_FRACTION
            m.d.sync += [ball.payload.near.eq(depth - view.radius), ball.payload.far.eq(depth + view.radius)]
            for row in "xy":
                middle = sums[row] >> PROJECTION_IMAGE.fraction + RELATIVE_FRACTION - IMAGE_FRACTION
                radius = view[f"image_radius_{row}"]
                m.d.sync += [
                    ball.payload[f"low_{row}"].eq(middle - radius),
                    ball.payload[f"high_{row}"].eq(middle + radius),
                ]

    def _test(self, m: Module, ball: stream.Interface, whole: Signal, divided: Signal, room: Signal) -> None:
        """Drop a ball that is behind the camera, or beside the window by the test without division.

        The window lies right of its edges, or below them, if ``high - bound * near < 0``; and so for the others.
        """
        held, width, height = ball.payload, self.view.window_width, self.view.window_height
        step = Signal(range(TESTED + 1))
        touches, hidden, outside, drops = (Signal(name=name) for name in ("touches", "hidden", "outside", "drops"))
        m.submodules.test = unit = MultiplyAdd(DEPTH_BITS, BOUND_BITS, IMAGE_BITS + DEPTH_FRACTION)
        before, behind = [], []
        for row, end, centre in (("x", width, self.view.centre_x), ("y", height, self.view.centre_y)):
            low, high = held[f"low_{row}"], held[f"high_{row}"]
            bounds = [Signal(signed(BOUND_BITS), name=f"{name}_{row}") for name in ("before", "behind")]
            rounding = (
                Mux(high < 0, high >> INVERSE_DEPTH_FRACTION, 0),
                Mux(low < 0, 0, (low >> INVERSE_DEPTH_FRACTION) + 1),
            )
            m.d.sync += [
                bounds[0].eq(centre + (1 << IMAGE_FRACTION) - rounding[0]),
                bounds[1].eq(centre - ((end + 1) << IMAGE_FRACTION) - rounding[1]),
            ]
            before.append((high, bounds[0], Mux(high < 0, held.far, held.near)))
            behind.append((low, bounds[1], Mux(low < 0, held.near, held.far)))
        with m.Switch(step):
            for at, (edge, bound, depth) in enumerate(before + behind, 1):
                with m.Case(at):
                    m.d.sync += [unit.left.eq(depth), unit.right.eq(bound), unit.addend.eq(edge << DEPTH_FRACTION)]

        m.d.sync += [touches.eq(held.visit.last | (held.near < NEAREST)), hidden.eq(~held.visit.last & (held.far <= 0))]
        m.d.comb += [
            outside.eq((step > PRODUCT) & ((unit.total < 0) ^ (step > PRODUCT + len(before)))),
            drops.eq(((step == 1) & hidden) | outside),
            whole.eq((step == 1) & touches & ~hidden & room),
            divided.eq((step == TESTED) & ~outside & room),
            ball.ready.eq(drops | whole | divided),
        ]
        with m.If(ball.ready):
            m.d.sync += step.eq(0)
        with m.Elif(ball.valid & (step != TESTED) & ~((step == 1) & touches)):
            m.d.sync += step.eq(step + 1)

    def _divide(
        self, m: Module, ball: data.View, whole: Signal, divided: Signal, room: Signal, depths: stream.Interface
    ) -> None:
        """Divide by a ball's depths; one that covers the whole window passes."""
        step = Signal(range(DIVIDED + 1))
        held = depths.payload
        for side in ("near", "far"):
            m.submodules[f"divider_{side}"] = divider = Divider(
                DIVIDEND.bit_length(), DEPTH_BITS, BITS_PER_CYCLE, INVERSE_BITS
            )
            m.d.comb += [
                divider.i.payload.dividend.eq(DIVIDEND),
                divider.i.payload.divisor.eq(held.ball[side]),
                divider.i.valid.eq(step == 1),
                divider.o.ready.eq(1),
                held[side].eq(divider.o.payload),
            ]
        m.d.comb += [depths.valid.eq(step == DIVIDED), room.eq((step == 0) | (depths.valid & depths.ready))]
        with m.If(whole | divided):
            m.d.sync += [step.eq(Mux(whole, DIVIDED, 1)), held.ball.eq(ball), held.whole.eq(whole)]
        with m.Elif(room):
            m.d.sync += step.eq(0)
        with m.Elif(step != DIVIDED):
            m.d.sync += step.eq(step + 1)

    def _cut(self, m: Module, depths: stream.Interface) -> None:
        """Multiply the edges by the reciprocals of depth, and cut them to the window."""
        view, footprint = self.view, self.o.payload
        step = Signal(range(CUT + 1))
        held = Signal(Divided)
        misses = Signal()
        m.submodules.multiply = unit = MultiplyAdd(
            IMAGE_BITS, INVERSE_BITS + 1, PIXEL.width + 1 + INVERSE_DEPTH_FRACTION
        )
        edge = Signal(signed(IMAGE_BITS))
        """With the margin of a pixel."""
        m.d.comb += edge.eq(unit.total >> INVERSE_DEPTH_FRACTION + IMAGE_FRACTION)
        with m.Switch(step):
            for n, row in enumerate("xy"):
                low, high, centre = held.ball[f"low_{row}"], held.ball[f"high_{row}"], view[f"centre_{row}"]
                end = (view.window_width, view.window_height)[n] - 1
                first, last = footprint[f"first_{row}"], footprint[f"last_{row}"]
                margin = 1 << IMAGE_FRACTION
                for at, value, sides, offset in (
                    (1 + 2 * n, low, ("near", "far"), centre - margin),
                    (2 + 2 * n, high, ("far", "near"), centre + margin),
                ):
                    with m.Case(at):
                        m.d.sync += [
                            unit.left.eq(value),
                            unit.right.eq(Mux(value < 0, held[sides[0]], held[sides[1]])),
                            unit.addend.eq(offset << INVERSE_DEPTH_FRACTION),
                        ]
                with m.Case(1 + 2 * n + PRODUCT):
                    m.d.sync += [first.eq(Mux(edge < 0, 0, edge)), misses.eq(misses | (edge > end))]
                with m.Case(2 + 2 * n + PRODUCT):
                    m.d.sync += [last.eq(Mux(edge < end, edge, end)), misses.eq(misses | (edge < first))]

        m.d.comb += [
            self.o.valid.eq((step == CUT) & ~misses),
            # Whether a footprint is taken is known a cycle later: no path goes from its taker to the division.
            depths.ready.eq(step == 0),
        ]
        with m.If(depths.valid & depths.ready):
            m.d.sync += [
                step.eq(Mux(depths.payload.whole, CUT, 1)),
                held.eq(depths.payload),
                misses.eq(0),
                Cat(footprint.cube, footprint.rank, footprint.last).eq(depths.payload.ball.visit),
                Cat(footprint.first_x, footprint.first_y).eq(0),
                footprint.last_x.eq(view.window_width - 1),
                footprint.last_y.eq(view.window_height - 1),
            ]
        with m.Elif((step == CUT) & (misses | self.o.ready)):
            m.d.sync += step.eq(0)
        with m.Elif((step != 0) & (step != CUT)):
            m.d.sync += step.eq(step + 1)
