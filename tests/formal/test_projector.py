"""The projector's parts equal the functions of the golden model, for all cubes, views and stalls.

A part works on one cube after another. The claims are about any one of them, and the proof is by induction over as many
cycles as the part spends on it. Multiplications are any (`tests/formal/products.py`).
"""

import pytest
from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.formats import INVERSE_DEPTH_FRACTION
from nerf.contract.registers import AXES
from nerf.golden import projector as golden
from rtl.payloads import CubeVisit, ViewRegisters
from rtl.samples import projector
from tests.formal.golden import evaluate
from tests.formal.products import Products
from tests.formal.prove import Bench
from tests.formal.stand_ins import StandIns

ROWS = "xy"


def assert_follows(bench: Bench, cycles: int) -> None:
    """Prove a part that spends so many cycles on a cube."""
    assert bench.prove(induction=cycles + 1, cycles=cycles + 3) is None
    assert bench.unreached() == []


@pytest.fixture
def made(monkeypatch):
    """Return a function that makes a bench of a part, with a view that stays."""

    def make(of):
        bench = Bench()
        products = Products(bench)
        view = {name: bench.constant(name, shape) for name, shape in ViewRegisters.members.items()}
        bench.assume((view["window_width"] != 0) & (view["window_height"] != 0))

        def add():
            monkeypatch.setattr(projector, "MultiplyAdd", StandIns(bench, products).multiply_add())

            class Part(wiring.Component):
                view: In(ViewRegisters)
                i: In(stream.Signature(CubeVisit))
                o: Out(stream.Signature(projector.Footprint))

                def elaborate(self, platform) -> Module:
                    m = Module()
                    of(self, m)
                    return m

            unit = Part()
            inside = bench.add_open("part", unit)
            for name, value in view.items():
                bench.assume(unit.view[name] == value)
            return unit, inside

        return bench, products, view, add

    return make


def ball_bench(made, fault: int = 0) -> Bench:
    ball = stream.Signature(projector.Ball).create(path=("ball",))
    bench, products, view, add = made(lambda unit, m: projector.Projector._find_ball(unit, m, ball))
    cube = bench.constant("cube", CubeVisit)
    rows = [[view[f"projection_{row}"][axis] for axis in AXES] for row in AXES]
    places, origin = [cube.cube[axis] for axis in AXES], [view["origin"][axis] for axis in AXES]
    *image, depth = evaluate(golden.centre, *places, origin, *rows, multiply=products.steady)
    _, inside = add()
    taken = bench.free("taken")
    bench.m.d.comb += ball.ready.eq(taken)
    bench.claim("step", inside["step"] <= projector.BALL)
    at_end = (inside["step"] == projector.BALL) & (inside["visit"] == cube.as_value())
    for row, middle in zip(AXES, (*image, depth), strict=True):
        shift = golden._TO_DEPTH if row == "z" else golden._TO_IMAGE
        bench.claim(f"sum {row}", ~at_end | (inside[f"sum_{row}"] >> shift == middle))
    mine = ball.valid & (ball.payload.visit == cube)
    expected = {"near": depth - view["radius"], "far": depth + view["radius"] + fault}
    for row, middle in zip(ROWS, image, strict=True):
        expected |= {f"low_{row}": middle - view[f"image_radius_{row}"]}
        expected |= {f"high_{row}": middle + view[f"image_radius_{row}"]}
    for name, value in expected.items():
        bench.claim(name.replace("_", " "), ~mine | (ball.payload[name] == value))
    bench.claim("the ball waits", bench.held(ball.valid, ball.ready, ball.payload))
    bench.goal("behind the camera", mine & (ball.payload.far < 0))
    return bench


def test_ball(made):
    assert_follows(ball_bench(made), projector.BALL)


@pytest.mark.full
def test_a_ball_whose_radius_is_another_is_found(made):
    bench = ball_bench(made, fault=1)
    assert bench.prove(induction=projector.BALL + 1, cycles=projector.BALL + 3).claim == "far"


def cut_bench(made) -> Bench:
    depths = stream.Signature(projector.Divided).create(path=("depths",))
    bench, products, view, add = made(lambda unit, m: projector.Projector._cut(unit, m, depths))
    mine = bench.constant("mine", projector.Divided)
    one = 1 << INVERSE_DEPTH_FRACTION
    bench.assume((mine.near <= one) & (mine.far <= one))
    firsts, lasts = [], []
    for n, row in enumerate(ROWS):
        limit = (view["window_width"], view["window_height"])[n] - 1
        edges = evaluate(
            golden.covered, mine.ball[f"low_{row}"], mine.ball[f"high_{row}"], mine.near, mine.far,
            view[f"centre_{row}"], multiply=products.steady,
        )  # fmt: skip
        firsts.append(Mux(mine.whole, 0, Mux(edges[0] > 0, edges[0], 0)))
        lasts.append(Mux(mine.whole, limit, Mux(edges[1] < limit, edges[1], limit)))
    seen = (firsts[0] <= lasts[0]) & (firsts[1] <= lasts[1])
    unit, inside = add()
    offered = bench.free("offered", projector.Divided)
    comes = bench.free("comes")
    bench.m.d.comb += [depths.valid.eq(comes), depths.payload.eq(offered)]
    bench.assume_stream(depths)
    step, held = inside["step"], inside["held"]
    bench.claim("step", step <= projector.CUT)
    at_end = (step == projector.CUT) & (held == mine.as_value())
    bench.claim("a footprint where the window is covered", ~at_end | (unit.o.valid == seen))
    footprint = unit.o.payload
    for name, value in zip(("first_x", "first_y", "last_x", "last_y"), (*firsts, *lasts), strict=True):
        bench.claim(name.replace("_", " "), ~(at_end & seen) | (footprint[name] == value))
    bench.claim("cube", ~at_end | (Cat(footprint.cube, footprint.rank, footprint.last) == mine.ball.visit.as_value()))
    bench.claim_stream("footprint", unit.o)
    bench.goal("cut on both sides", at_end & seen & ~mine.whole & (firsts[0] == 0) & (lasts[0] != firsts[0]))
    bench.goal("missed", at_end & ~seen)
    return bench


def test_cut(made):
    assert_follows(cut_bench(made), projector.CUT)


@pytest.mark.full
def test_a_margin_of_nothing_is_found(made, monkeypatch):
    monkeypatch.setattr(projector, "IMAGE_FRACTION", projector.IMAGE_FRACTION + 1)
    assert cut_bench(made).prove(induction=projector.CUT + 1, cycles=projector.CUT + 3) is not None


def divide_bench(made, monkeypatch) -> Bench:
    """A quotient is what `tests/formal/test_arithmetic.py` proves a divider's to be; before it is there, anything."""
    ball, whole, divided, room = Signal(projector.Ball), Signal(), Signal(), Signal()
    depths = stream.Signature(projector.Divided).create(path=("depths",))
    bench, products, _, add = made(
        lambda unit, m: projector.Projector._divide(unit, m, ball, whole, divided, room, depths)
    )
    mine = bench.constant("mine", projector.Ball)
    quotients = {side: bench.constant(f"quotient_{side}", projector.INVERSE_BITS) for side in ("near", "far")}
    bench.assume((mine.near != mine.far) | (quotients["near"] == quotients["far"]))
    stand_ins = StandIns(bench, products)
    stand_ins.known["quotient"] += [(mine[side].as_unsigned(), quotient) for side, quotient in quotients.items()]
    monkeypatch.setattr(projector, "Divider", stand_ins.divider())
    _, inside = add()
    offered, taken = bench.free("offered", projector.Ball), bench.free("taken")
    goes = [bench.free(name) for name in ("goes_whole", "goes_divided")]
    bench.m.d.comb += [ball.eq(offered), depths.ready.eq(taken)]
    bench.m.d.comb += [whole.eq(goes[0] & room), divided.eq(goes[1] & room & ~goes[0])]
    step = inside["step"]
    bench.claim("step", step <= projector.DIVIDED)
    for side, divider in zip(quotients, stand_ins.serial["quotient"], strict=True):
        left = Mux((step >= 2) & (step <= divider.latency), divider.latency + 1 - step, 0)
        bench.claim(f"the {side} depth divides from the second step on", divider.left == left)
    divides = depths.valid & ~depths.payload.whole & (depths.payload.ball == mine)
    for side, quotient in quotients.items():
        bench.claim(f"reciprocal of the {side} depth", ~divides | (depths.payload[side] == quotient))
    held, was_whole = Signal(), Signal()
    """A ball is inside, and whether it covers the whole window."""
    watched = (whole | divided) & (ball == mine)
    bench.m.d.sync += [held.eq(watched | (held & ~room)), was_whole.eq(Mux(whole | divided, whole, was_whole))]
    kept = (depths.payload.ball == mine) & (depths.payload.whole == was_whole)
    bench.claim("the ball stays", ~held | kept)
    bench.claim("it is there in the end", (step != 0) | ~held)
    bench.claim("the result waits", bench.held(depths.valid, depths.ready, depths.payload))
    bench.goal("divided", divides & (mine.near != mine.far))
    return bench


def test_divide(made, monkeypatch):
    assert_follows(divide_bench(made, monkeypatch), projector.DIVIDED)


@pytest.mark.full
def test_a_division_that_is_not_waited_for_is_found(made, monkeypatch):
    monkeypatch.setattr(projector, "DIVIDED", projector.DIVIDED - 1)
    fault = divide_bench(made, monkeypatch).prove(induction=projector.DIVIDED + 1, cycles=projector.DIVIDED + 3)
    assert fault is not None


def ways_bench(made) -> Bench:
    """Which of three ways a ball goes; that the test without division drops no other is not a claim here."""
    ball = stream.Signature(projector.Ball).create(path=("ball",))
    whole, divided, room = Signal(), Signal(), Signal()
    bench, _, _, add = made(lambda unit, m: projector.Projector._test(unit, m, ball, whole, divided, room))
    _, inside = add()
    offered, comes, there = (
        bench.free(name, shape) for name, shape in (("offered", projector.Ball), ("comes", 1), ("there", 1))
    )
    bench.m.d.comb += [ball.valid.eq(comes), ball.payload.eq(offered), room.eq(there)]
    bench.assume_stream(ball)
    it = ball.payload
    hidden = ~it.visit.last & (it.far <= 0)
    touches = it.visit.last | (it.near < golden.NEAREST)
    step = inside["step"]
    bench.claim("step", step <= projector.TESTED)
    bench.claim("what it takes is there", ~ball.ready | ball.valid)
    bench.claim("to the whole window", ~whole | (touches & ~hidden))
    bench.claim("to the division", ~divided | ~touches)
    bench.claim("one way", ~(whole & divided) & (~(whole | divided) | room))
    bench.claim("the end is not lost", ~(ball.ready & it.visit.last) | whole)
    bench.claim("touching, hidden or gone", ~(ball.ready & touches & ~hidden) | whole)
    bench.claim("before the test", (step == 0) | ball.valid)
    bench.claim("known", (step != 1) | ((inside["touches"] == touches) & (inside["hidden"] == hidden)))
    bench.claim("only what does not touch is tested", (step <= 1) | ~touches)
    bench.goal("divided", divided)
    bench.goal("dropped", ball.ready & ~whole & ~divided & ~touches)
    return bench


def test_ways(made):
    bench = ways_bench(made)
    assert bench.prove(induction=2) is None
    assert bench.unreached() == []


@pytest.mark.full
def test_a_ball_that_touches_from_further_away_is_found(made, monkeypatch):
    monkeypatch.setattr(projector, "NEAREST", projector.NEAREST + 1)
    assert ways_bench(made).prove(induction=2, cycles=8) is not None
