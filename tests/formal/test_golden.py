"""What the evaluator makes of a golden function gives what the compiled function gives."""

import random

import pytest
from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.sim import Simulator

from nerf.contract.formats import ALPHA_ENTRIES, FRACTION_BITS
from nerf.golden.compositor import composite
from nerf.golden.density import alpha, table_position
from nerf.golden.interpolator import interpolate_line, interpolate_plane
from nerf.golden.mlp_engine import requantise, sine
from nerf.golden.product_buffer import weighted_product
from nerf.golden.projector import covered
from nerf.golden.sample_generator import mask_cell, sample_position
from nerf.golden.tile_buffer import output_channel, weighted_colour
from tests.formal.golden import evaluate

FACTOR, WEIGHT, UNIT = signed(8), unsigned(FRACTION_BITS), unsigned(21)
ARGUMENTS = {
    interpolate_plane: (FACTOR, FACTOR, FACTOR, FACTOR, WEIGHT, WEIGHT),
    interpolate_line: (FACTOR, FACTOR, WEIGHT),
    table_position: (signed(31), unsigned(24), signed(32)),
    alpha: (unsigned((ALPHA_ENTRIES - 1).bit_length() + FRACTION_BITS), UNIT, UNIT),
    composite: (UNIT, UNIT),
    sample_position: (signed(27), signed(28), unsigned(16)),
    mask_cell: (unsigned(26), unsigned(26), signed(32)),
    covered: (signed(30), signed(30), unsigned(25), unsigned(25), signed(19)),
    requantise: (signed(32), signed(32), unsigned(16), 17),
    sine: (signed(16), unsigned(30), 3, 256, 2),
    weighted_product: (UNIT, signed(23)),
    weighted_colour: (UNIT, unsigned(12)),
    output_channel: (signed(25), UNIT, unsigned(8)),
}
RUNS = 300


def some_value(rng: random.Random, shape) -> int:
    """Return a value of a shape, often the lowest or the highest; of an integer, itself."""
    if isinstance(shape, int):
        return shape
    low = -(1 << shape.width - 1) if shape.signed else 0
    high = low + (1 << shape.width) - 1
    return rng.choice([low, high, rng.randint(low, high), rng.randint(low, high) >> rng.randrange(shape.width)])


@pytest.mark.parametrize("function", ARGUMENTS, ids=lambda function: function.__name__)
def test_evaluated_and_compiled(function):
    shapes = ARGUMENTS[function]
    ports = [shape if isinstance(shape, int) else Signal(shape) for shape in shapes]
    results = evaluate(function, *ports)
    results = results if isinstance(results, tuple) else (results,)
    m = Module()
    outputs = [Signal(result.shape(), name=f"output_{number}") for number, result in enumerate(results)]
    m.d.comb += [output.eq(result) for output, result in zip(outputs, results, strict=True)]
    rng = random.Random(7)
    different = []

    async def bench(ctx):
        for _ in range(RUNS):
            values = [some_value(rng, shape) for shape in shapes]
            for port, value in zip(ports, values, strict=True):
                if isinstance(port, Signal):
                    ctx.set(port, value)
            expected = function(*values)
            expected = expected if isinstance(expected, tuple) else (expected,)
            if [ctx.get(output) for output in outputs] != [int(value) for value in expected]:
                different.append(values)

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
    assert different == []


def limit(value, most):
    rounds = 0
    for step in range(3):
        rounds += step
    if value > most and value != 7:
        return most, rounds
    low = value if not value < 0 else 0
    return low, rounds


def unknown(value):
    while value:
        value -= 1
    return value


def test_statements():
    for value in range(-9, 10):
        assert evaluate(limit, value, 5) == limit(value, 5)


def test_what_is_not_known_is_refused_by_name():
    with pytest.raises(NotImplementedError, match=r"^While: while value:"):
        evaluate(unknown, Signal(3))
    with pytest.raises(NotImplementedError, match=r"^Call: len"):
        evaluate(measured, Signal(3))


def measured(value):
    return len(value)
