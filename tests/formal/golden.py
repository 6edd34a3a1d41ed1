"""Evaluate functions of the golden model on Amaranth values, from their source: what they give becomes hardware.

Amaranth's arithmetic widens with every operator, so its values are met by Python's integers exactly. A condition on a
value makes a multiplexer of what its two ways give; one on an integer takes its way. What is not known here is
refused by name. Two conditions of Python are the caller's to assume: shifts by 0 or more, no division by 0.
"""

import ast
import builtins
import inspect
import operator
import textwrap
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any

import numpy as np
from amaranth.hdl import Array, Mux, Value, ValueCastable

OPERATORS: dict[type, Callable] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.LShift: lambda left, right: _shift(left, right, operator.lshift, Value.shift_left),
    ast.RShift: lambda left, right: _shift(left, right, operator.rshift, Value.shift_right),
    ast.USub: operator.neg,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def evaluate(function: Callable, *arguments, multiply: Callable = operator.mul) -> Any:
    """Return what a function gives for some arguments: integers, Amaranth values, and (nested) lists of them.

    ``multiply``: takes the place of a multiplication of two values.

    Raises
    ------
    NotImplementedError
        Something in the function that is not known here.
    """
    function = getattr(function, "py_func", function)
    definition = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    names = [argument.arg for argument in definition.args.args]
    return _Call(function.__globals__, multiply).run(definition.body, dict(zip(names, arguments, strict=True)))


def choose(condition, one, other) -> Any:
    """Return one thing or the other, tuples element by element."""
    if not is_value(condition):
        return one if condition else other
    if isinstance(one, tuple):
        return tuple(choose(condition, *both) for both in zip(one, other, strict=True))
    return Mux(condition, one, other)


def is_value(thing) -> bool:
    """Return whether a thing is hardware."""
    return isinstance(thing, Value | ValueCastable)


def flattened(things) -> Iterator:
    """Yield what is in nested lists."""
    for thing in things:
        if isinstance(thing, list | tuple):
            yield from flattened(thing)
        else:
            yield thing


def largest(*values) -> Any:
    """Return the largest of some values."""
    return reduce(lambda one, other: choose(other > one, other, one), values)


def smallest(*values) -> Any:
    """Return the smallest of some values."""
    return reduce(lambda one, other: choose(other < one, other, one), values)


def times(left, right) -> Any:
    """Return a product of which at most one factor is a value: that, shifted, for each digit of the integer.

    The digits are -1, 0 and 1, as few others than 0 as there can be: ABC knows sums better than products.
    """
    if not is_value(left) and not is_value(right):
        return left * right
    value, integer = (left, int(right)) if is_value(left) else (right, int(left))
    total, place = 0, 0
    while integer:
        digit = 2 - integer % 4 if integer % 2 else 0
        if digit:
            total = total + (value << place) if digit > 0 else total - (value << place)
        integer, place = (integer - digit) // 2, place + 1
    return total


FUNCTIONS: dict[Callable, Callable] = {
    min: smallest,
    max: largest,
    abs: lambda value: choose(value < 0, -value, value),
    int: lambda value: value,
    bool: lambda value: value != 0,
    np.minimum: smallest,
    np.maximum: largest,
    np.clip: lambda value, low, high: smallest(largest(value, low), high),
    np.where: choose,
}


class _Call:
    """The run of a function, with the names of its module."""

    def __init__(self, module: dict[str, Any], multiply: Callable) -> None:
        self.module, self.multiply = module, multiply

    def run(self, statements: list[ast.stmt], names: dict[str, Any]) -> Any:
        """Return what the statements return, with the names of local values."""
        for at, statement in enumerate(statements):
            match statement:
                case ast.Expr(value=ast.Constant()):
                    pass
                case ast.Return(value=value):
                    return self.value(value, names)
                case ast.Assign(targets=[target], value=value):
                    self.bind(target, self.value(value, names), names)
                case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                    names[name] = OPERATORS[type(op)](names[name], self.value(value, names))
                case ast.For(target=target, iter=iterable, body=body, orelse=[]):
                    for item in self.value(iterable, names):
                        self.bind(target, item, names)
                        if self.run(body, names) is not None:
                            raise _unknown(statement)
                case ast.If(test=test, body=body, orelse=other):
                    rest = statements[at + 1 :]
                    condition = self.value(test, names)
                    if not is_value(condition):
                        return self.run([*(body if condition else other), *rest], names)
                    return choose(condition, self.run([*body, *rest], {**names}), self.run([*other, *rest], {**names}))
                case _:
                    raise _unknown(statement)
        return None

    def bind(self, target: ast.expr, value, names: dict[str, Any]) -> None:
        """Give a name, or a tuple of them, its value."""
        match target:
            case ast.Name(id=name):
                names[name] = value
            case ast.Tuple(elts=parts):
                for part, one in zip(parts, value, strict=True):
                    self.bind(part, one, names)
            case _:
                raise _unknown(target)

    def value(self, node: ast.expr, names: dict[str, Any]) -> Any:
        """Return the value of an expression."""

        def of(inner: ast.expr):
            return self.value(inner, names)

        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return next(each[name] for each in (names, self.module, vars(builtins)) if name in each)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                return tuple(map(of, parts))
            case ast.Attribute(value=thing, attr=name) if not is_value(of(thing)):
                return getattr(of(thing), name)
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                factors = of(left), of(right)
                return (self.multiply if all(map(is_value, factors)) else times)(*factors)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
                return OPERATORS[type(op)](of(left), of(right))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return choose(of(operand), 0, 1)
            case ast.UnaryOp(op=op, operand=operand) if type(op) in OPERATORS:
                return OPERATORS[type(op)](of(operand))
            case ast.BoolOp(op=ast.And(), values=values):
                return reduce(lambda one, other: choose(one, of(other), 0), values[1:], of(values[0]))
            case ast.BoolOp(op=ast.Or(), values=values):
                return reduce(lambda one, other: choose(one, 1, of(other)), values[1:], of(values[0]))
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in OPERATORS:
                return OPERATORS[type(op)](of(left), of(right))
            case ast.IfExp(test=test, body=one, orelse=other):
                condition = of(test)
                if is_value(condition):
                    return choose(condition, of(one), of(other))
                return of(one) if condition else of(other)
            case ast.Subscript(value=thing, slice=place):
                places = of(place)
                return reduce(_element, places if isinstance(places, tuple) else (places,), of(thing))
            case ast.Call(func=function, args=arguments, keywords=[]):
                return self.call(node, of(function), [of(argument) for argument in arguments])
        raise _unknown(node)

    def call(self, node: ast.Call, function: Callable, arguments: list) -> Any:
        """Return what a function gives: one of `FUNCTIONS`, of the project, or of Python for no values at all."""
        if function in FUNCTIONS:
            return FUNCTIONS[function](*arguments)
        if not any(map(is_value, flattened(arguments))):
            return function(*arguments)
        if getattr(function, "__module__", "").startswith("nerf."):
            return evaluate(function, *arguments, multiply=self.multiply)
        raise _unknown(node)


def _shift(left, amount, by_any: Callable, by_integer: Callable) -> Any:
    """Return a shifted value, no wider than it has to be; a signed amount loses its sign bit: it is 0 or more."""
    if is_value(left) and not is_value(amount):
        return by_integer(Value.cast(left), int(amount))
    return by_any(left, amount[:-1] if is_value(amount) and Value.cast(amount).shape().signed else amount)


def _element(things, place) -> Any:
    """Return an element of a list, or of a table of integers."""
    if not is_value(place):
        return things[place]
    return Array(one if is_value(one) or isinstance(one, list) else int(one) for one in things)[place]


def _unknown(node: ast.AST) -> NotImplementedError:
    return NotImplementedError(f"{type(node).__name__}: {ast.unparse(node)}")
