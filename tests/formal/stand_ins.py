"""What takes the place of a unit's arithmetic in a proof: in the same time, results of which only some are known.

A product is what `tests/formal/products.py` says. A quotient or a root is what a bench says of known operands, else
anything, as it is before it is there; `test_arithmetic` and `test_products` prove what the real ones are.
"""

from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace

from amaranth.hdl import Module, Mux, Signal, Value, signed

from rtl.parts.divider import Divider
from rtl.parts.multiply_add import MultiplyAdd
from rtl.parts.square_root import SquareRoot
from tests.formal.products import Products
from tests.formal.prove import Bench


class StandIns:
    """The arithmetic of a bench.

    Attributes
    ----------
    known : dict of lists of (operand, result)
        Of ``quotient`` (by the divisor) and ``root``.
    pipelines : list of lists of Signal
        Of each multiply-add: its three operands, and its totals in each step.
    serial : dict of lists
        Of each divider and square root: cycles ``left``, the operand that is ``held``, what is ``found``, ``latency``.
    """

    def __init__(self, bench: Bench, products: Products) -> None:
        self._bench, self._products = bench, products
        self.known: defaultdict[str, list[tuple[Value, Value]]] = defaultdict(list)
        self.pipelines: list[list[Signal]] = []
        self.serial: defaultdict[str, list[SimpleNamespace]] = defaultdict(list)

    def multiply_add(self) -> type:
        """Return what takes the place of `MultiplyAdd`."""
        products, pipelines = self._products, self.pipelines

        class AnyMultiplyAdd(MultiplyAdd):
            def elaborate(self, platform) -> Module:
                m = Module()
                total = products.of(self.left, self.right) + self.addend
                steps = [Signal(signed(len(self.total)), name=f"held_{step}") for step in range(self.LATENCY)]
                m.d.sync += [held.eq(before) for held, before in zip(steps, [total, *steps], strict=False)]
                m.d.comb += self.total.eq(steps[-1])
                pipelines.append([self.left, self.right, self.addend, *steps])
                return m

        return AnyMultiplyAdd

    def divider(self) -> type:
        """Return what takes the place of `Divider`."""
        return self._one_by_one(Divider, "quotient", lambda payload: payload.divisor)

    def square_root(self) -> type:
        """Return what takes the place of `SquareRoot`."""
        return self._one_by_one(SquareRoot, "root", lambda payload: payload)

    def _one_by_one(self, unit: type, name: str, operand: Callable) -> type:
        bench, known, made = self._bench, self.known[name], self.serial[name]

        class Any(unit):
            def elaborate(self, platform) -> Module:
                m = Module()
                left, held = Signal(range(self.LATENCY), name="left"), Signal.like(operand(self.i.payload), name="held")
                found = Signal.like(self.o.payload, name="found")
                other = bench.free(f"any_{name}_{len(made)}", len(found))
                exact = other
                for one, result in known:
                    exact = Mux(held == one, result, exact)
                m.d.comb += [self.i.ready.eq(left == 0), self.o.payload.eq(found)]
                m.d.sync += [self.o.valid.eq(left == 1), found.eq(Mux(left == 1, exact, Mux(left == 0, found, other)))]
                with m.If(self.i.valid & self.i.ready):
                    m.d.sync += [left.eq(self.LATENCY - 1), held.eq(operand(self.i.payload)), found.eq(other)]
                with m.Elif(left != 0):
                    m.d.sync += left.eq(left - 1)
                made.append(SimpleNamespace(left=left, held=held, found=found, latency=self.LATENCY))
                return m

        return Any
