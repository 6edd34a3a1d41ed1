import math

import click
import pytest

from rtnerf.base.errors import InputError
from rtnerf.base.options import FRACTION, Number, OneOf, Picture, Whole, Wholes


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Whole(2), "2", 2),
        (Wholes(), "4, 2,4", (2, 4)),
        (FRACTION, "0", 0.0),
        (Number(0, 1), "1", 1.0),
        (Number(0), "1e300", 1e300),
        (OneOf("a", "b"), "b", "b"),
        (Picture(), "a.svg", "a.svg"),
    ],
)
def test_what_keeps_the_rule_comes_out(kind, text, value):
    found = kind.convert(text, None, None)
    assert (str(found) if isinstance(kind, Picture) else found) == value


@pytest.mark.parametrize(
    ("kind", "rule", "values"),
    [
        (Whole(2), "a whole number of at least 2", ["1", "2.5", "x", ""]),
        (Wholes(), "whole numbers of at least 1, separated by commas", ["0", "1,,2", "-1", ""]),
        (Wholes(9), "whole numbers from 1 to 9, separated by commas", ["10", "1,x", "9" * 5000]),
        (FRACTION, "a number of at least 0 and below 1", ["1", "-0.1", "nan", "x"]),
        (Number(0), "a number of at least 0", ["-1", "nan", "inf", "1e999"]),
        (Number(0, min_open=True), "a number above 0", ["0", "nan", "inf"]),
        (Number(0.1, 4), "a number from 0.1 to 4", ["0", "4.1", "nan", "inf"]),
        (Number(0, 1, min_open=True), "a number above 0 and at most 1", ["0", "1.5"]),
        (OneOf("a", "b"), "one of a, b", ["c", "A", ""]),
        (Picture(), "a file name that ends with .png, .svg, .pdf", ["a.jpg", "png"]),
    ],
)
def test_every_refusal_says_the_rule(kind, rule, values):
    option = click.Option(["--limit"], type=kind)
    for value in values:
        with pytest.raises(InputError) as refused:
            kind.convert(value, option, None)
        assert str(refused.value) == f"limit must be {rule}, not {value}"


def test_a_default_that_is_a_number_stays_one():
    assert math.isclose(Number(0, 1).convert(0.25, None, None), 0.25)
    assert Wholes().convert((3, 1), None, None) == (1, 3)
