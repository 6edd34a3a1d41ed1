"""Options that the commands share."""

from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import click

from rtnerf.base.errors import require

PATH = click.Path(path_type=Path)

PICTURES = (".png", ".svg", ".pdf")
"""What a picture's name may end with."""


class Number(click.ParamType):
    """A number that keeps a rule.

    Parameters
    ----------
    kind : type
        ``int`` or ``float``.
    holds : callable
        Whether a number will do.
    rule : str
        What it must be, for the message.
    """

    def __init__(self, kind: type, holds: Callable[[Any], bool], rule: str):
        self.name = "integer" if kind is int else "number"
        self._kind = kind
        self._holds = holds
        self._rule = rule

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, or refuse it."""
        try:
            number = self._kind(value)
        except ValueError:
            number = None
        name = param.opts[-1].lstrip("-") if param is not None else "value"
        require(number is not None and self._holds(number), name, self._rule, value)
        return number


def whole(low: int) -> Number:
    """A whole number from ``low`` on."""
    return Number(int, lambda number: number >= low, f"a whole number of at least {low}")


def above(low: float) -> Number:
    """A finite number above ``low``."""
    return Number(float, lambda number: low < number < inf, f"a number above {low}")


def at_least(low: float) -> Number:
    """A finite number from ``low`` on."""
    return Number(float, lambda number: low <= number < inf, f"a number of at least {low}")


class OneOf(click.ParamType):
    """One of some words."""

    name = "word"

    def __init__(self, *words: str):
        self._words = words

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Show the words in the help."""
        return "{" + ",".join(self._words) + "}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word, or refuse it."""
        name = param.opts[-1].lstrip("-") if param is not None else "value"
        require(value in self._words, name, f"one of {', '.join(self._words)}", value)
        return value


class Wholes(click.ParamType):
    """Whole numbers from 1 to ``most``, separated by commas; they come out rising, each once."""

    name = "integers"

    def __init__(self, most: int | None = None):
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the numbers, or refuse them."""
        name = param.opts[-1].lstrip("-") if param is not None else "value"
        span = "of at least 1" if self._most is None else f"from 1 to {self._most}"
        try:
            numbers = {int(word) for word in str(value).split(",")}
        except ValueError:
            numbers = {0}
        fits = min(numbers) > 0 and (self._most is None or max(numbers) <= self._most)
        require(fits, name, f"whole numbers {span}, separated by commas", value)
        return tuple(sorted(numbers))


def check_outputs(**targets: Path | None) -> None:
    """Refuse, before the long work, an output file that cannot be written or a picture of no known kind."""
    from rtnerf.base.files import check_target

    plot = targets.get("plot")
    if plot is not None:
        require(plot.suffix in PICTURES, "plot", f"a file name that ends with {', '.join(PICTURES)}", plot)
    for name, path in targets.items():
        if path is not None:
            check_target(name, path)
