"""Multiplications that a proof need not look into.

That two circuits multiply alike is hard to find out, and not the question: `tests/formal/test_products.py` proves of
the RTL's products that they are products. Here a product is any integer with what is true of all products: equal
factors have equal products, and a factor's range bounds the product. So the units' proofs hold for real ones too.
"""

from collections.abc import Callable, Sequence

from amaranth.hdl import Const, Module, Mux, Shape, Signal, Value

from tests.formal.prove import Bench


class Products:
    """The products of a bench.

    A `steady` one is that of factors that never change; what a unit multiplies in some cycle may be the same factors.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._known: list[tuple[Value, Value, Value]] = []

    def steady(self, left: Value, right: Value) -> Value:
        """Return the product of two values that never change."""
        return self._new(self._bench.constant, left, right)

    def of(self, left: Value, right: Value) -> Value:
        """Return the product of two values."""
        return self._new(self._bench.free, left, right)

    def _new(self, make: Callable[[str, Shape], Signal], left: Value, right: Value) -> Value:
        left, right = Value.cast(left), Value.cast(right)
        product = make(f"product_{len(self._known)}", (left * right).shape())
        for one, other, known in self._known:
            same = ((left == one) & (right == other)) | ((left == other) & (right == one))
            self._bench.assume(~same | (product == known))
        self._known.append((left, right, product))
        for factor, times in ((left, right), (right, left)):
            if not times.shape().signed:
                bits = len(times)
                for most, applies in (
                    ((factor << bits) - factor, Const(1)),
                    (factor << bits - 1, times <= 1 << bits - 1),
                ):
                    low, high = Mux(factor < 0, most, 0), Mux(factor < 0, 0, most)
                    self._bench.assume(~applies | ((product >= low) & (product <= high)))
        return product

    def few_rows(self, m: Module, left, right, width: int, addends: Sequence = (), count: int = 2) -> list[Value]:
        """Take the place of `rtl.parts.carry_save.few_rows`: one row has it all."""
        return only_row(m, sum(addends, self.of(left, right)), width, count)


def only_row(m: Module, total: Value, width: int, count: int = 2) -> list[Value]:
    """Return a value modulo ``2**width``, and rows of 0."""
    rows = [Signal(width, name=f"only_row_{number}") for number in range(count)]
    m.d.comb += rows[0].eq(total)
    return rows
