"""Specifications of a design space in TOML: which points there are, and which are refused."""

from __future__ import annotations

import itertools
import math
import random
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nerf.contract.config import POWERS
from rtnerf.base.errors import InputError, require
from rtnerf.explore.points import NAMES, Point, point_of

TABLES = {"fixed": dict, "grid": dict, "points": list, "space": dict}
KEYS = (*TABLES, "samples", "seed", "synthesis", "on_chip", "estimates")
MOST_POINTS = 1_000_000
DRAWS = 200
"""For each sample that is wanted, before a space is taken to have no more of them."""

Settings = dict[str, Any]


@dataclass(frozen=True)
class Range:
    """Values between two ends, both included: whole numbers, powers of two, or numbers, even or by their logarithm."""

    name: str
    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        require(self.low < self.high, f"{self.name}.low", f"below high ({self.high})", self.low)
        require(not self.log or self.low > 0, f"{self.name}.low", "above 0 with log", self.low)
        if self.is_power:
            for end in (self.low, self.high):
                require(end & (end - 1) == 0, self.name, "between powers of two", end)  # type: ignore[operator]

    @property
    def is_whole(self) -> bool:
        """Whether its values are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def is_power(self) -> bool:
        """Whether its values are powers of two."""
        return self.name in POWERS and self.is_whole

    def draw(self, chance: random.Random) -> float:
        """Return a value, each as likely as the others."""
        if self.is_power:
            return 1 << chance.randint(int(self.low).bit_length() - 1, int(self.high).bit_length() - 1)
        if self.log:
            value = math.exp(chance.uniform(math.log(self.low), math.log(self.high)))
            return round(value) if self.is_whole else value
        return chance.randint(int(self.low), int(self.high)) if self.is_whole else chance.uniform(self.low, self.high)


Axis = Sequence[Any] | Range
"""Values of a setting. One that is a table sets all that it names."""


@dataclass(frozen=True)
class Refusal:
    """Settings that do not go together, and the rule that they break."""

    settings: Settings
    rule: str


@dataclass(frozen=True)
class Specification:
    """What a file says.

    Parameters
    ----------
    folder : Path
        That it lies in: its files are relative to it.
    text : str
    fixed : dict
        Settings of every point.
    grid : dict of str to sequence
        Every combination is a point.
    listed : list of dict
        Points one by one.
    space : dict of str to Axis
        That samples are drawn from, and that the optimiser searches.
    samples, seed : int
    synthesis : list of Path
        Results of rtnerf synth, for area and energy of their configurations.
    on_chip : bool
        Whether the bytes on chip of every configuration are counted: seconds each.
    estimates : bool
        Whether area and energy are estimated where there is no synthesis.
    """

    folder: Path
    text: str
    fixed: Settings = field(default_factory=dict)
    grid: dict[str, Sequence[Any]] = field(default_factory=dict)
    listed: list[Settings] = field(default_factory=list)
    space: dict[str, Axis] = field(default_factory=dict)
    samples: int = 0
    seed: int = 0
    synthesis: list[Path] = field(default_factory=list)
    on_chip: bool = True
    estimates: bool = False

    def point(self, settings: Settings) -> Point:
        """Return the point of some settings over the fixed ones; `InputError` where they do not go together."""
        return point_of({**self.fixed, **settings}, self.folder)

    def points(self, seed: int) -> tuple[list[Point], list[Refusal]]:
        """Return all points of a sweep, each once, and what is refused.

        Raises
        ------
        InputError
            There is no point.
        """
        found: dict[str, Point] = {}
        refused: list[Refusal] = []
        for settings in itertools.chain(self._grid(), self.listed):
            self._take(settings, found, refused)
        wanted, chance = len(found) + self.samples, random.Random(seed)
        for _ in range(DRAWS * self.samples):
            if len(found) == wanted:
                break
            self._take(self.draw(chance), found, refused)
        if not found:
            why = f", the first because {refused[0].rule}" if refused else ""
            raise InputError(f"space must have at least one point, not 0 ({len(refused)} are refused{why})")
        return list(found.values()), refused

    def draw(self, chance: random.Random) -> Settings:
        """Return settings drawn from the space."""
        drawn = {
            name: axis.draw(chance) if isinstance(axis, Range) else chance.choice(axis)
            for name, axis in self.space.items()
        }
        return flat(drawn)

    def _take(self, settings: Settings, found: dict[str, Point], refused: list[Refusal]) -> None:
        try:
            point = self.point(settings)
        except InputError as error:
            refused.append(Refusal(settings, str(error)))
        else:
            found.setdefault(point.digest, point)

    def _grid(self) -> Iterator[Settings]:
        if self.grid:
            for values in itertools.product(*self.grid.values()):
                yield flat(dict(zip(self.grid, values, strict=True)))


def flat(settings: Settings) -> Settings:
    """Return settings with those of a table in the place of the table."""
    found: Settings = {}
    for name, value in settings.items():
        found |= value if isinstance(value, dict) else {name: value}
    return found


def load_specification(path: Path) -> Specification:
    """Read a specification.

    Raises
    ------
    InputError
        No such file, no TOML, an unknown key, or a value of another kind.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"specification must be a readable TOML file, not {path} ({reason})") from None
    for key in found:
        require(key in KEYS, "specification", f"made of the keys {', '.join(KEYS)}", key)
    for key, kind in TABLES.items():
        words = "a table" if kind is dict else "an array of tables"
        require(isinstance(found.get(key, kind()), kind), key, words, found.get(key))
    fixed, grid, listed = found.get("fixed", {}), found.get("grid", {}), found.get("points", [])
    _check_names("fixed", fixed)
    for settings in listed:
        require(isinstance(settings, dict), "points", "an array of tables", settings)
        _check_names("points", settings)
    grid = {name: _values(f"grid.{name}", name, values) for name, values in grid.items()}
    space = {name: _axis(name, values) for name, values in found.get("space", {}).items()}
    for key in ("samples", "seed"):
        value = found.get(key, 0)
        require(type(value) is int and 0 <= value < 1 << 32, key, "a whole number of at least 0", repr(value))
    for key in ("on_chip", "estimates"):
        require(type(found.get(key, True)) is bool, key, "true or false", found.get(key))
    count = math.prod(map(len, grid.values())) + found.get("samples", 0)
    require(count <= MOST_POINTS, "space", f"of at most {MOST_POINTS} points", count)
    require(not found.get("samples") or bool(space), "space", "given with samples", "missing")
    synthesis = found.get("synthesis", [])
    require(isinstance(synthesis, list) and all(isinstance(name, str) for name in synthesis),
            "synthesis", "a list of files", synthesis)  # fmt: skip
    folder = path.resolve().parent
    files = [folder / name for name in synthesis]
    return Specification(
        folder, text, fixed, grid, listed, space, found.get("samples", 0), found.get("seed", 0), files,
        found.get("on_chip", True), found.get("estimates", False),
    )  # fmt: skip


def _axis(name: str, values: Any) -> Axis:
    where = f"space.{name}"
    if not isinstance(values, dict):
        return _values(where, name, values)
    for key in values:
        require(key in ("low", "high", "log"), where, "a list, or a table of low, high and log", key)
    _check_names("space", {name: None})
    for key in ("low", "high"):
        value = values.get(key)
        require(isinstance(value, int | float) and not isinstance(value, bool), f"{where}.{key}", "a number", value)
    return Range(name, values["low"], values["high"], bool(values.get("log", False)))


def _values(where: str, name: str, values: Any) -> Sequence[Any]:
    """Check the values of an axis: a list that is not empty, of settings or of tables of settings."""
    require(isinstance(values, list) and bool(values), where, "a list of at least one value", values)
    for value in values:
        _check_names(where, value if isinstance(value, dict) else {name: value})
    return values


def _check_names(where: str, settings: Mapping[str, Any]) -> None:
    for name in settings:
        require(name in NAMES, where, f"made of the settings {', '.join(sorted(NAMES))}", name)
