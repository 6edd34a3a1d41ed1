"""A ray unit equals the golden ray set-up, for all pixels, views and grids whose rays fit their formats.

The unit is a fixed schedule: each register has a value of the golden model between two cycles after the pixel. These
are the claims, and the proof is by induction from one cycle to the next. Multiplications, quotients and roots are any
(`tests/formal/products.py`; `test_arithmetic` and `test_products` prove what theirs are).
"""

import random
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.hdl import Cat, Mux, Signal, Value, signed

from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import (
    INVERSE,
    NORM,
    ORIGIN,
    POSITION,
    RECIPROCAL_DIVIDEND,
    SLOPE,
    STEP,
)
from nerf.contract.registers import AXES
from nerf.golden.ray_setup import ONE_STEP, set_up
from rtl.parts.multiply_add import MultiplyAdd
from rtl.payloads import SceneRegisters, TileLayouts, ViewRegisters
from rtl.samples import ray_unit
from rtl.samples.ray_unit import RayUnit
from tests.formal import golden_ray
from tests.formal.golden import evaluate
from tests.formal.products import Products
from tests.formal.prove import Bench
from tests.formal.stand_ins import StandIns

CFG = AcceleratorConfig(tile=4)
PATIENCE = 900
"""Seconds for a question: a minute of a quiet processor."""
LIMIT = NORM.high + 1
SATURATES = RECIPROCAL_DIVIDEND >> INVERSE.width


def test_the_restatement_is_the_golden_ray_set_up():
    """On random registers of random sizes, for which int64 suffices."""
    chance = random.Random(1)

    def value(most: int, signed: bool) -> int:
        bits = chance.randrange(2, most)
        return chance.randrange(-(1 << bits) if signed else 0, 1 << bits)

    lives = 0
    for _ in range(400):
        view = {}
        for name, shape in ViewRegisters.members.items():
            most = 17 if name.endswith(("_column", "_row")) else 27
            parts = shape.members.values() if hasattr(shape, "members") else [shape]
            values = [value(most, Value.cast(Signal(part)).shape().signed) for part in parts]
            view[name] = values if hasattr(shape, "members") else values[0]
        grid = [chance.randrange(2, 600) for _ in AXES]
        x, y = (np.array([chance.randrange(1 << 14) for _ in range(8)]) for _ in "xy")
        golden = SimpleNamespace(**view, vector=lambda name, view=view: np.array(view[name]))
        rays = set_up(x, y, golden, tuple(grid))
        for n in range(8):
            expected = golden_ray.restated(int(x[n]), int(y[n]), view, grid)
            one = rays.part(slice(n, n + 1))
            found = (one.position[0], one.step[0], one.inverse[0], one.direction[0], one.live[0])
            assert all(np.array_equal(*both) for both in zip(found, expected, strict=True))
            lives += bool(expected[-1])
    assert 100 < lives < 3000


def noting(schedule: type, operations: list[int]) -> type:
    """Return a schedule that notes in which cycles it has something multiplied."""

    class Noted(schedule):
        def multiply(self, cycle, left, right, addend=0):
            operations.append(cycle)
            return super().multiply(cycle, left, right, addend)

    return Noted


class GoldenRay:
    """What the golden model computes of a pixel, in the order of its dependences, from registers that never change."""

    def __init__(self, bench: Bench, products: Products, known: dict[str, list[tuple[Value, Value]]]) -> None:
        self._bench, self._products, self._known = bench, products, known
        self.view = view = {name: bench.constant(name, shape) for name, shape in ViewRegisters.members.items()}
        self.grid = bench.constant("grid", SceneRegisters["grid"].shape)
        layouts = TileLayouts(CFG)
        self.pixel, self.tile = bench.constant("pixel", layouts.pixel), bench.constant("tile", layouts.Tile)
        bits = CFG.tile_bits
        self.x, self.y = self.tile.x + self.pixel[:bits], self.tile.y + self.pixel[bits : 2 * bits]
        self.products: dict[str, list[Value]] = {}
        """By what they are for."""
        self._find_norm()
        self._find_steps()
        self.origins = [view["origin"][axis] for axis in AXES]
        self.tops = [(self.grid[axis] - 1) << ORIGIN.fraction for axis in AXES]
        bench.assume(Cat(self.grid[axis] != 0 for axis in AXES).all())
        self.entries, self.leaves = self._meet_box()
        self.distance = self._of("distance", golden_ray.first_distance, self.entries[-1], view["near"], view["far"])
        self.positions, self.sines = (
            [self._of(f"{name} {axis}", *of(n, axis)) for n, axis in enumerate(AXES)]
            for name, of in (
                ("position", lambda n, axis: (golden_ray.place, self.origins[n], self.distance, self.steps[n])),
                ("sine", lambda n, axis: (golden_ray.sine_of, self.steps[n], view["view_scale"][axis])),
            )
        )
        self.reach = self.leaves[-1] + ONE_STEP
        self.fits = [(position <= POSITION.high) & (position >= POSITION.low) for position in self.positions]

    def _of(self, name: str, function, *arguments):
        """Return what a function gives, whose products are kept under a name."""
        self.products[name] = []

        def multiply(one, other):
            product = self._products.steady(one, other)
            self.products[name].append(product)
            if one is other:
                # What is true of squares.
                size = abs(one)
                self._bench.assume((product >= 0) & ((size < LIMIT) | (product >= LIMIT**2)))
                self._bench.assume((size > LIMIT) | (product <= LIMIT**2))
            return product

        return evaluate(function, *arguments, multiply=multiply)

    def _find_norm(self) -> None:
        """With limited slopes, as the unit has them, a length differs only beyond the norm's format."""
        bench, view = self._bench, self.view
        slopes = [
            self._of(f"slope {row}", golden_ray.slope, view[f"slope_{row}"], at, view[f"slope_{along}"])
            for row, along, at in (("x", "column", self.x), ("y", "row", self.y))
        ]
        square = self._of("square", golden_ray.squared_length, *slopes)
        self.slopes = [Signal(signed(LIMIT.bit_length() + 1), name=f"limited_{n}") for n in range(2)]
        for limited, value in zip(self.slopes, slopes, strict=True):
            bench.m.d.comb += limited.eq(Mux(value > LIMIT, LIMIT, Mux(value < -LIMIT, -LIMIT, value)))
        self.square = self._of("limited", golden_ray.squared_length, *self.slopes)
        root, self.root = bench.constant("root", len(square)), bench.constant("root_within", LIMIT.bit_length())
        bench.assume((square != self.square) | (root == self.root))
        for one, of in ((root, square), (self.root, self.square)):
            bench.assume((of < LIMIT**2) | (one >= LIMIT))
        self._known["root"].append((self.square, self.root))
        self.norm = Mux(root > NORM.high, NORM.high, root)
        self.inverse_norm = bench.constant("inverse_norm", INVERSE.width)
        self._known["quotient"].append((self.norm, self.inverse_norm))

    def _find_steps(self) -> None:
        """Steps along the axes and their inverses, of rays that fit the formats of raw directions and of steps."""
        bench, of_quotients = self._bench, self._known["quotient"]
        self.raws, self.steps, self.inverses = [], [], []
        for axis in AXES:
            first, column, row = (self.view[f"direction{of}"][axis] for of in ("", "_column", "_row"))
            raw = self._of(f"raw {axis}", golden_ray.raw_direction, self.x, self.y, first, column, row)
            step = self._of(f"step {axis}", golden_ray.scaled, raw, self.inverse_norm)
            bench.assume(raw == raw[: ray_unit.RAW_BITS].as_signed())
            bench.assume(step == step[: STEP.width].as_signed())
            quotient = bench.constant(f"quotient_{axis}", RECIPROCAL_DIVIDEND.bit_length())
            size = abs(step)
            bench.assume((size <= SATURATES) == (quotient > INVERSE.high))
            of_quotients.append((size[: STEP.width], quotient[: INVERSE.width]))
            inverse = self._of(f"inverse {axis}", golden_ray.inverse_of, step, quotient)
            bench.claim(f"inverse {axis} fits", inverse == inverse[: INVERSE.width])
            self.raws.append(raw)
            self.steps.append(step)
            self.inverses.append(inverse[: INVERSE.width])
        # Equal divisors have equal quotients.
        for at, (one, quotient) in enumerate(of_quotients):
            bench.assume(Cat((one != other) | (quotient == result) for other, result in of_quotients[:at]).all())

    def _meet_box(self) -> tuple[list[Value], list[Value]]:
        """Return the latest entry and the soonest leave of the first axis, of the first two, and of all three."""
        entries, leaves = [], []
        for n, axis in enumerate(AXES):
            box = (self.steps[n], self.inverses[n], self.origins[n], self.tops[n])
            entry = self._of(f"near face {axis}", golden_ray.met, *box)
            leave = self._of(f"far face {axis}", golden_ray.left, *box)
            entries.append(Mux(entry > entries[-1], entry, entries[-1]) if n else entry)
            leaves.append(Mux(leave < leaves[-1], leave, leaves[-1]) if n else leave)
        return entries, leaves


class Claims:
    """What is claimed of the unit's registers in the cycles of a pixel's schedule."""

    def __init__(
        self, bench: Bench, stand_ins: StandIns, operations: list[int], unit: RayUnit, golden: GoldenRay
    ) -> None:
        self._bench, self._stand_ins = bench, stand_ins
        self.golden, self.output = golden, unit.o.payload
        self.inside = bench.add_open("unit", unit)
        bench.assume(unit.run & (unit.grid == golden.grid) & (unit.tile == golden.tile))
        bench.assume(Cat(unit.view[name] == value for name, value in golden.view.items()).all())
        self.cycle = self.inside["cycle"]
        self.mine = (self.output.pixel == golden.pixel) & (self.cycle != 0)
        self._operands = iter(operations)
        self.quotients = stand_ins.known["quotient"]
        self.latency = {name: serial.latency for name, (serial,) in stand_ins.serial.items()}

    def holds(self, name: str, value, expected, begin: int, end: int = RayUnit.LATENCY + 1) -> None:
        """Claim that a register has a value in the cycles from ``begin`` to before ``end``."""
        during = self.mine & (self.cycle >= begin) & (self.cycle < end)
        self._bench.claim(f"{name}, claim {len(self._bench.claims)}", ~during | (value == expected))

    def multiplied(self, name: str, one, other, addend=0, place_in: int = 0, made: str = "") -> int:
        """Claim that operands are multiplied, and that their total comes; return the cycle in which it is there."""
        begin = next(self._operands)
        product = self.golden.products[made or name][place_in]
        (pipeline,) = self._stand_ins.pipelines
        *latched, first, second, total = pipeline
        for held, value in zip(latched, (one, other, addend), strict=True):
            self.holds(f"operands of {name}", held, value, begin + 1, begin + 2)
        for step, held in enumerate((first, second, total), 2):
            self.holds(f"total of {name}", held, product + addend, begin + step, begin + step + 1)
        return begin + 1 + MultiplyAdd.LATENCY

    def one_by_one(self, name: str, accepts: list[tuple[int, Value, Value]]) -> None:
        """Claim that a divider or a root begins in these cycles, with these operands, and what it gives."""
        (unit,), remaining = self._stand_ins.serial[name], 0
        begins = [begin for begin, *_ in accepts]
        for n, (begin, operand, result) in enumerate(accepts):
            works = (self.cycle > begin) & (self.cycle < begin + unit.latency)
            remaining = Mux(works, begin + unit.latency - self.cycle, remaining)
            self.holds(f"operand of the {name}", unit.held, operand, begin + 1, begin + unit.latency)
            self.holds(f"the {name}", unit.found, result, begin + unit.latency, until_next(begins, n) + 1)
        self._bench.claim(f"time left of the {name}", unit.left == remaining)


def until_next(cycles: list[int], n: int) -> int:
    """Return the cycle behind a cycle of some, or that behind the schedule."""
    return cycles[n + 1] if n + 1 < len(cycles) else RayUnit.LATENCY + 1


def claim_norm(claims: Claims) -> int:
    """The slopes, their length and the directions before normalisation; return the cycle in which the root is there."""
    golden, inside, view = claims.golden, claims.inside, claims.golden.view
    claims.holds("column", inside["x"], golden.x, 1)
    claims.holds("row", inside["y"], golden.y, 1)
    first = claims.multiplied("slope x", view["slope_column"], golden.x, view["slope_x"])
    second = claims.multiplied("slope y", view["slope_row"], golden.y, view["slope_y"])
    claims.holds("slope", inside["slope"], golden.slopes[0], first + 1, second + 1)
    claims.holds("slope", inside["slope"], golden.slopes[1], second + 1)
    one, (x, y) = 1 << 2 * SLOPE.fraction, golden.slopes
    claims.multiplied("square x", x, x, one, made="limited")
    summed = claims.multiplied("square y", y, y, one + golden.products["limited"][0], 1, "limited")
    rooted = summed + claims.latency["root"]
    claims.one_by_one("root", [(summed, golden.square, golden.root)])
    for n, axis in enumerate(AXES):
        name, first, column = f"raw {axis}", view["direction"][axis], golden.products[f"raw {axis}"][0]
        claims.multiplied(f"column {axis}", view["direction_column"][axis], golden.x, first, made=name)
        there = claims.multiplied(f"row {axis}", view["direction_row"][axis], golden.y, first + column, 1, name)
        raw = inside["raw"].word_select(n, ray_unit.RAW_BITS).as_signed()
        claims.holds(name, raw, golden.raws[n], there + 1)
    claims.holds("norm", inside["divisor"], golden.norm, rooted + 1, rooted + 2)
    return rooted


def claim_steps(claims: Claims, rooted: int) -> list[int]:
    """Steps, directions and inverses; return the cycles in which the inverses are there."""
    golden, inside, output = claims.golden, claims.inside, claims.output
    division = claims.latency["quotient"]
    begin = rooted + 1 + division + MultiplyAdd.LATENCY + 4
    inverted = [begin + division * (n + 1) for n in range(len(AXES))]
    begins = [rooted + 1, *(there - division for there in inverted)]
    claims.one_by_one("quotient", [(at, *one) for at, one in zip(begins, claims.quotients, strict=True)])
    for n, axis in enumerate(AXES):
        step, sine, direction = golden.steps[n], golden.sines[n], output.direction[axis]
        there = claims.multiplied(f"step {axis}", golden.raws[n], golden.inverse_norm)
        claims.holds(f"step {axis}", output.ray.step[axis], step, there + 1)
        there = claims.multiplied(f"sine {axis}", step, golden.view["view_scale"][axis])
        claims.holds(f"direction {axis}", direction, sine[: len(direction)].as_signed(), there + 1)
    asked = [there - division - 1 for there in inverted]
    for n, (axis, there) in enumerate(zip(AXES, inverted, strict=True)):
        step, size = golden.steps[n], abs(golden.steps[n])
        claims.holds("step whose inverse is taken", inside["step"], step, asked[n], until_next(asked, n))
        claims.holds("size of it", inside["divisor"], size, asked[n] + 1, asked[n] + 2)
        claims.holds("no inverse", inside["saturates"], size <= SATURATES, there - division + 1, there + 1)
        claims.holds(f"inverse {axis}", output.ray.inverse[axis], golden.inverses[n], there + 1)
    return inverted


def claim_box(claims: Claims, inverted: list[int]) -> int:
    """Where the ray meets the box and leaves it; return the cycle in which both are known."""
    golden, inside = claims.golden, claims.inside
    for n, (axis, there) in enumerate(zip(AXES, inverted, strict=True)):
        forward, origin, top = golden.steps[n] >= 0, golden.origins[n], golden.tops[n]
        near_face, far_face = Mux(forward, -origin, origin - top), Mux(forward, top - origin, origin)
        next_one = until_next(inverted, n)
        for name, value in (("forward", forward), ("origin", origin), ("top", top)):
            claims.holds(name, inside[name], value, there - 1, next_one - 1)
        claims.holds("near face", inside["near_face"], near_face, there, next_one)
        claims.holds("far face", inside["far_face"], far_face, there, next_one)
        comes = claims.multiplied(f"near face {axis}", near_face, golden.inverses[n])
        goes = claims.multiplied(f"far face {axis}", far_face, golden.inverses[n])
        behind = min(next_one + comes - there, RayUnit.LATENCY)
        claims.holds("entry", inside["entry"], golden.entries[n], comes + 1, behind + 1)
        claims.holds("leave", inside["leave"], golden.leaves[n], goes + 1, behind + 2)
    return goes + 1


def claim_first_sample(claims: Claims, known: int) -> None:
    """Distance and position of the first sample, and whether there is one."""
    golden, inside, output = claims.golden, claims.inside, claims.output
    entry, near = golden.entries[-1], golden.view["near"]
    claims.holds("behind near", inside["after_near"], Mux(entry > near, entry, near), known, known + 1)
    claims.holds("distance", inside["distance"], golden.distance, known + 1)
    claims.holds("reach", inside["reach"], golden.reach, known + 1, known + 2)
    live, begins = golden.reach >= golden.distance, known + 2
    for n, axis in enumerate(AXES):
        origin = golden.origins[n] << STEP.fraction
        there = claims.multiplied(f"position {axis}", golden.steps[n], golden.distance, origin)
        claims.holds("live", output.live, live, begins, there + 1)
        live, begins = live & golden.fits[n], there + 1
        position = golden.positions[n][: POSITION.width].as_signed()
        claims.holds(f"position {axis}", output.ray.position[axis], position, there + 1)
    claims.holds("live", output.live, live, begins)


def ray_bench(monkeypatch) -> Bench:
    bench = Bench()
    products = Products(bench)
    stand_ins, operations = StandIns(bench, products), []
    golden = GoldenRay(bench, products, stand_ins.known)
    monkeypatch.setattr(ray_unit, "MultiplyAdd", stand_ins.multiply_add())
    monkeypatch.setattr(ray_unit, "Divider", stand_ins.divider())
    monkeypatch.setattr(ray_unit, "SquareRoot", stand_ins.square_root())
    monkeypatch.setattr(ray_unit, "_Schedule", noting(ray_unit._Schedule, operations))
    unit = RayUnit(CFG)
    claims = Claims(bench, stand_ins, operations, unit, golden)
    bench.claim("schedule", claims.cycle <= RayUnit.LATENCY)
    rooted = claim_norm(claims)
    claim_first_sample(claims, claim_box(claims, claim_steps(claims, rooted)))
    bench.claim("a ray in time", unit.o.valid == (claims.cycle == RayUnit.LATENCY))
    bench.claim("the ray waits", bench.held(unit.o.valid, unit.o.ready, unit.o.payload))
    ray, output = unit.o.valid & claims.mine, unit.o.payload
    live = (golden.reach >= golden.distance) & Cat(golden.fits).all()
    for name, part in (("step", golden.steps), ("inverse", golden.inverses)):
        same = Cat(output.ray[name][axis] == value for axis, value in zip(AXES, part, strict=True)).all()
        bench.claim(f"{name} of a ray", ~ray | same)
    bench.claim("whether it is alive", ~ray | (output.live == live))
    same = Cat(output.ray.position[axis] == golden.positions[n] for n, axis in enumerate(AXES)).all()
    bench.claim("position of a ray that is alive", ~(ray & output.live) | same)
    bench.goal("a ray that is alive", live & claims.mine & (golden.steps[0] < 0))
    return bench


@pytest.mark.full
def test_ray_unit(monkeypatch):
    bench = ray_bench(monkeypatch)
    assert bench.prove(induction=True, timeout=PATIENCE) is None
    assert bench.unreached(3) == []


@pytest.mark.full
def test_a_ray_of_another_limit_is_found(monkeypatch):
    """Induction finds no run that long: that it does not go through is what shows the fault."""
    monkeypatch.setattr(ray_unit, "SATURATES", ray_unit.SATURATES + 1)
    with pytest.raises(TimeoutError, match="no answer"):
        ray_bench(monkeypatch).prove(induction=True, timeout=PATIENCE)
