"""The RTL's products are products, at widths at which they are used.

A product is a sum of rows, one for a digit of a factor. What is proved: each row is its digit's multiple, the digits
make the factor, and three rows become two of the same sum. That a sum of the digits' multiples is the product then, is
the distributive law. No step looks at a multiplier, so none is too wide.
"""

import pytest
from amaranth.hdl import Cat, Const, Mux, Shape, Signal, signed, unsigned

from rtl.parts.carry_save import ProductRows, _FullAdders, product_rows
from rtl.parts.multiply_add import MultiplyAdd
from rtl.parts.square_root import SquareRoot
from tests.formal.products import Products
from tests.formal.prove import Bench

USED = {
    "interpolator: along the first axis": (signed(9), unsigned(8), 16),
    "interpolator: across": (signed(17), unsigned(8), 24),
    "interpolator: plane times line": (signed(12), signed(12), 23),
    "density: scale": (signed(31), unsigned(24), 55),
    "density: table": (unsigned(21), unsigned(8), 30),
    "network: requantisation": (signed(33), unsigned(16), 49),
}


def rows_bench(left: Shape, right: Shape, width: int, fault: int = 0) -> Bench:
    """Compare the rows with the digits, in radix 4, of the narrower factor: two bits each, and a carry between them."""
    bench = Bench()
    factors = [bench.free("left", left), bench.free("right", right)]
    *rows, last = product_rows(bench.m, *factors, width)
    wide, narrow = factors if left.width >= right.width else factors[::-1]
    wide, narrow = (one if one.shape().signed else Cat(one, Const(0, 1)).as_signed() for one in (wide, narrow))
    sign = narrow[-1]
    bits = [Const(0, 1), *narrow, sign, sign]
    digits, lacks = 0, 0
    for place, row in enumerate(rows):
        below, low, high = bits[2 * place : 2 * place + 3]
        digits += (below + low - 2 * high) << 2 * place
        multiple = Mux(high, -2 * wide, 0) + Mux(below, wide, 0) + Mux(low, wide, 0)
        lack = (1 << len(wide) + 2 * place) - (high << 2 * place)
        lacks += lack
        wanted = (multiple << 2 * place) + lack + (fault << 2 * place)
        bench.claim(f"row {place} is its digit's multiple", (row - wanted)[:width] == 0)
    bench.claim("the digits make the factor", digits == narrow)
    bench.claim("the last row makes good what the others lack", (last + lacks)[:width] == 0)
    bench.goal("all bits are set", Cat(*factors).all())
    return bench


@pytest.mark.parametrize(
    "use",
    [use if use == "interpolator: along the first axis" else pytest.param(use, marks=pytest.mark.full) for use in USED],
)
def test_rows_of_a_product(use):
    bench = rows_bench(*USED[use])
    assert bench.prove(apart=True, induction=True, cycles=1) is None
    assert bench.unreached(1) == []


@pytest.mark.full
def test_a_wrong_row_is_found():
    assert (
        rows_bench(signed(9), unsigned(8), 16, fault=1).prove(apart=True, induction=True).claim
        == "row 0 is its digit's multiple"
    )


def adders_bench(width: int, fault: int = 0) -> Bench:
    """Each bit of three rows is a sum and a carry to the next; what leaves at the top is beyond the rows."""
    bench = Bench()
    rows = [bench.free(name, width) for name in "abc"]
    unit = _FullAdders(rows)
    bench.m.submodules.adders = unit
    for bit in range(width):
        carry = unit.carries[bit + 1] if bit + 1 < width else None
        ones = rows[0][bit] + rows[1][bit] + rows[2][bit]
        holds = ones[0] == unit.sums[bit] if carry is None else ones == Cat(unit.sums[bit] ^ (fault >> bit & 1), carry)
        bench.claim(f"bit {bit}", holds)
    bench.claim("no carry comes from below", ~unit.carries[0])
    return bench


@pytest.mark.parametrize("width", [16, pytest.param(60, marks=pytest.mark.full)])
def test_three_rows_become_two(width):
    assert adders_bench(width).prove() is None


def test_a_wrong_sum_is_found():
    assert adders_bench(16, fault=8).prove().claim == "bit 3"


def small_bench(left: Shape, right: Shape, addends: int, count: int, fault: int = 0) -> Bench:
    bench = Bench()
    width = left.width + right.width + 1
    unit = bench.add("rows", ProductRows(left, right, addends, width, count))
    exact = sum((addend.as_signed() for addend in unit.addends), unit.left * unit.right)
    bench.claim("product", (sum(unit.rows) - exact - (fault & unit.left[0]))[:width] == 0)
    return bench


@pytest.mark.full
@pytest.mark.parametrize("left", [signed(5), unsigned(4)])
@pytest.mark.parametrize("right", [signed(4), unsigned(5)])
@pytest.mark.parametrize(("addends", "count"), [(0, 2), (1, 2), (1, 3), (2, 4)])
def test_small_products(left, right, addends, count):
    """Small ones are compared with the product itself, to the last bit."""
    assert small_bench(left, right, addends, count).prove() is None


def test_a_wrong_product_is_found():
    assert small_bench(signed(4), unsigned(4), 1, 2, fault=1).prove().claim == "product"


def multiply_add_bench(latency: int) -> Bench:
    bench = Bench()
    unit = bench.add("unit", MultiplyAdd(5, 4, 7))
    exact = unit.left * unit.right + unit.addend
    for step in range(latency):
        held = Signal.like(exact, name=f"exact_{step}")
        bench.m.d.sync += held.eq(exact)
        exact = held
    bench.claim("total", unit.total == exact)
    bench.goal("lowest", unit.total == -(1 << 6) - 8 * 15)
    return bench


def test_multiply_add():
    """For operands that change in every cycle."""
    bench = multiply_add_bench(MultiplyAdd.LATENCY)
    assert bench.prove() is None
    assert bench.unreached(8) == []


@pytest.mark.full
def test_a_total_that_comes_late_is_found():
    assert multiply_add_bench(MultiplyAdd.LATENCY - 1).prove().claim == "total"


def root_bench(bits: int, fault: int = 0) -> Bench:
    bench = Bench()
    unit = bench.add("unit", SquareRoot(bits))
    asked = Signal.like(unit.i.payload)
    with bench.m.If(unit.i.valid & unit.i.ready):
        bench.m.d.sync += asked.eq(unit.i.payload)
    root = unit.o.payload + (fault & asked[0])
    bench.claim("root", ~unit.o.valid | ((root * root <= asked) & (asked < (root + 1) * (root + 1))))
    bench.claim_stream("o", unit.o)
    bench.goal("largest", unit.o.valid & unit.o.payload.all())
    return bench


@pytest.mark.full
@pytest.mark.parametrize("bits", [2, 4, 5])
def test_square_root(bits):
    bench = root_bench(bits)
    assert bench.prove() is None
    assert bench.unreached() == []


@pytest.mark.full
def test_a_wrong_root_is_found():
    assert root_bench(4, fault=1).prove().claim == "root"


@pytest.mark.full
def test_what_is_assumed_of_products_is_true_of_them():
    """The bounds that a proof may use, of every shape of factors that has some."""
    for left, right in ((signed(4), unsigned(4)), (unsigned(4), unsigned(3)), (unsigned(3), signed(5))):
        bench = Bench()
        factors = [bench.free("a", left), bench.free("b", right)]
        free = Products(bench).of(*factors)
        assumed, bench._assumptions = bench._assumptions, []
        bench.assume(free == factors[0] * factors[1])
        bench.claim("bounds of a product", Cat(*assumed).all())
        bench.goal("a product", free == 6)
        assert bench.prove() is None
        assert bench.unreached(1) == []
