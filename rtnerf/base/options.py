"""Types and options that commands share. Every refusal is an `InputError`: NAME must be RULE, not VALUE."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from rtnerf.base.errors import InputError

FC = TypeVar("FC", bound=Callable[..., Any] | click.Command)
"""What options are added to, as click names it."""


def refuse(param: click.Parameter | None, rule: str, value: Any) -> NoReturn:
    """Raise `InputError` for a parameter."""
    raise InputError(f"{_name(param)} must be {rule}, not {value}")


class Whole(click.IntRange):
    """A whole number from ``low`` on, or up to ``high``."""

    name = "integer"

    def __init__(self, low: int = 0, high: int | None = None) -> None:
        super().__init__(min=low, max=high)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number, or refuse it."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            span = f"of at least {self.min}" if self.max is None else f"from {self.min} to {self.max}"
            refuse(param, f"a whole number {span}", value)


class Wholes(click.ParamType):  # type: ignore[type-arg]
    """Whole numbers from ``low`` on, separated by commas; they come out rising, each once."""

    name = "integers"

    def __init__(self, high: int | None = None, low: int = 1) -> None:
        self._low, self._high = low, high

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the numbers, or refuse them."""
        try:
            numbers = {int(word) for word in (value.split(",") if isinstance(value, str) else value)}
        except ValueError:
            numbers = {-1}
        if not self._low <= min(numbers) <= max(numbers) <= (self._high or math.inf):
            span = f"of at least {self._low}" if self._high is None else f"from {self._low} to {self._high}"
            refuse(param, f"whole numbers {span}, separated by commas", value)
        return tuple(sorted(numbers))


class Number(click.FloatRange):
    """A finite number in a range, such as ``Number(0, 1, max_open=True)``; it always has a ``min``."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, or refuse it."""
        try:
            number = super().convert(value, param, ctx)
        except click.BadParameter:
            number = math.nan
        # No comparison refuses NaN, and no range without `max` refuses infinity.
        if not math.isfinite(number):
            refuse(param, f"a number {self._rule()}", value)
        return number

    def _rule(self) -> str:
        low = f"above {self.min:g}" if self.min_open else f"of at least {self.min:g}"
        if self.max is None:
            return low
        if self.min_open or self.max_open:
            return f"{low} and {'below' if self.max_open else 'at most'} {self.max:g}"
        return f"from {self.min:g} to {self.max:g}"


FRACTION = Number(0, 1, max_open=True)
"""A number in 0..1, 1 excluded."""


class OneOf(click.Choice[str]):
    """One of some words."""

    name = "word"

    def __init__(self, *words: str) -> None:
        super().__init__(words)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Show the words in the help."""
        return "{" + ",".join(self.choices) + "}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word, or refuse it."""
        if value not in self.choices:
            refuse(param, f"one of {', '.join(self.choices)}", value)
        return str(value)


class NameOrFile(click.ParamType):  # type: ignore[type-arg]
    """A name, or the path of a file or folder: what has an ending that files have, a separator, or exists."""

    name = "name or file"

    def __init__(self, ending: str) -> None:
        self._ending = ending

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | Path:
        """Return the name as text or the path as a path."""
        is_path = isinstance(value, Path) or value.endswith(self._ending) or "/" in value
        return Path(value) if is_path else value


class Picture(click.Path):
    """A file to draw into; its name's ending says the format."""

    endings = (".png", ".svg", ".pdf")

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path, or refuse it."""
        path = Path(value)
        if path.suffix not in self.endings:
            refuse(param, f"a file name that ends with {', '.join(self.endings)}", value)
        return path


PATH = click.Path(path_type=Path)

json_option = click.option("--json", "json_file", type=PATH, help="Write the results to this file, as JSON.")
seed_option = click.option(
    "--seed", type=Whole(0, 2**32 - 1), default=0, show_default=True, help="Of everything that is random."
)


def plot_option(shown: str) -> Callable[[FC], FC]:
    """``--plot``: draw what is ``shown``."""
    return click.option("--plot", type=Picture(), help=f"Draw {shown}, as .png, .svg or .pdf.")


def together(*options: Callable[[FC], FC]) -> Callable[[FC], FC]:
    """One decorator for several options, shown in this order."""

    def decorate(command: FC) -> FC:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


class Command(click.Command):
    """A command that refuses an option given twice, of which click would quietly take the last."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Count the options, then parse."""
        _, _, order = self.make_parser(ctx).parse_args(list(args))
        for param in order:
            if isinstance(param, click.Option) and not (param.multiple or param.is_flag) and order.count(param) > 1:
                raise InputError(f"{_name(param)} must be given once, not {order.count(param)} times")
        return super().parse_args(ctx, args)


def example(*commands: str, cls: type[click.Command] = Command) -> dict[str, Any]:
    """Settings of a command, or of a group of the class given, whose help ends with examples."""
    # \b keeps the lines whole, to be copied.
    title = "Example" if len(commands) == 1 else "Examples"
    return {"cls": cls, "epilog": "\n".join([f"\b\n{title}:", *(f"  {command}" for command in commands)])}


def check_targets(**targets: Path | None) -> None:
    """Refuse, before anything else is done, files that cannot be written, that are read, or that are written twice.

    What a command reads are its other options that are paths. None is no file. Where one goes to standard output, what
    the command says goes to standard error from here on.
    """
    from rtnerf.base.files import check_distinct, check_target, is_standard_output

    written = {name: path for name, path in targets.items() if path is not None}
    for name, path in written.items():
        check_target(name, path)
    context = click.get_current_context(silent=True)
    params = [] if context is None else [(param, context.params.get(param.name)) for param in context.command.params]
    given = [(_name(param), value) for param, value in params]
    read = {name: value for name, value in given if name not in targets}
    files: dict[str, Any] = {
        name: value for name, value in read.items() if isinstance(value, Path) or str(value).endswith(".toml")
    }
    check_distinct(written, files)
    if context is not None and any(map(is_standard_output, written.values())):
        context.with_resource(redirect_stdout(sys.stderr))


def refuse_given(where: str, *names: str) -> None:
    """Refuse options of the command that were given ``where`` they have no effect; the words end its message."""
    context = click.get_current_context()
    for param in context.command.params:
        if _name(param) in names and was_given(param.name):
            raise InputError(f"{_name(param)} must be absent {where}, not {context.params[param.name]}")


def was_given(parameter: str | None) -> bool:
    """Whether an option of the command, by the name of its parameter, stands on the command line."""
    source = click.get_current_context().get_parameter_source(parameter or "")
    return source is click.core.ParameterSource.COMMANDLINE


def _name(param: click.Parameter | None) -> str:
    """A parameter's name in messages."""
    return param.opts[-1].lstrip("-") if param is not None else "value"
