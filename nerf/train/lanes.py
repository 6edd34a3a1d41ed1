"""Gradients of a product of interpolated factors, sixteen channels at a time, as vector instructions.

A compiler must take it that two arrays may share memory, so a loop that reads several and adds to several never becomes
vector code. What stands here in the compiler's own terms does: it reads everything before it writes anything.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

LANES = 16

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_FIRST = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)  # Every lane from the first.
_NOTHING = ir.Constant(_VECTOR, ir.Undefined)


@intrinsic
def add_gradients(
    _typing, given, factors, gradients, plane_shares, line_shares, at_given, upper, lower, line, step
):  # fmt: skip
    """Add to the gradients by 16 channels of four vertices of a plane and two of a line.

    Parameters: arrays float32 (n,), flat: ``given``, gradients by the products; ``factors`` and ``gradients``, plane
    and line each. Shares of the vertices, float32, in the order of memory. Where they stand: ``at_given``, ``upper``
    and ``lower`` pairs of vertices of the plane, ``line``; ``step`` from a vertex to the next.
    """
    signature = types.void(given, factors, gradients, plane_shares, line_shares, *[types.intp] * 5)
    return signature, _generate


def _generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list) -> Any:
    given, factors, gradients, plane_shares, line_shares, at_given, upper, lower, line, step = arguments

    def place(kind: Any, array: Any, index: Any) -> Any:
        data = make_array(kind)(context, builder, array).data
        return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())

    def each(of: int, pair: Any, member: int, at: list) -> list:
        """Pointers into the plane (member 0) or the line (1) of an argument."""
        array = builder.extract_value(pair, member)
        return [place(signature.args[of][member], array, index) for index in at]

    def load(pointer: Any) -> Any:
        return builder.load(pointer, align=4)

    def spread(shares: Any, count: int) -> list:
        scalars = [builder.extract_value(shares, n) for n in range(count)]
        inserted = [builder.insert_element(_NOTHING, one, ir.IntType(32)(0)) for one in scalars]
        return [builder.shuffle_vector(one, _NOTHING, _FIRST) for one in inserted]

    def times(one: Any, other: Any) -> Any:
        return builder.fmul(one, other, flags=("contract",))

    def plus(one: Any, other: Any) -> Any:
        return builder.fadd(one, other, flags=("contract",))

    def mixed(shares: list, pointers: list) -> Any:
        total = times(shares[0], load(pointers[0]))
        for share, pointer in zip(shares[1:], pointers[1:], strict=True):
            total = plus(total, times(share, load(pointer)))
        return total

    around = [upper, builder.add(upper, step), lower, builder.add(lower, step)]
    ends = [line, builder.add(line, step)]
    on_plane, on_line = spread(plane_shares, 4), spread(line_shares, 2)
    by_product = load(place(signature.args[0], given, at_given))
    by_plane = times(by_product, mixed(on_line, each(1, factors, 1, ends)))
    by_line = times(by_product, mixed(on_plane, each(1, factors, 0, around)))
    for member, at, shares, value in ((0, around, on_plane, by_plane), (1, ends, on_line, by_line)):
        for pointer, share in zip(each(2, gradients, member, at), shares, strict=True):
            builder.store(plus(load(pointer), times(share, value)), pointer, align=4)
    return context.get_dummy_value()
