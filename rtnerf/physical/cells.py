"""Standard cells as mapping and timing need them: area, leakage, capacitances, tables of delay and set-up.

All times are in ps, capacitances in fF, areas in um2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from typing import NamedTuple

import numpy as np

RISE, FALL = 0, 1
VOLTAGE = 0.7
"""Of ASAP7's typical corner, V."""


class Table(NamedTuple):
    """Values over two axes: transition of the input (or clock), and load (or transition of the constrained pin)."""

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray


class Arc(NamedTuple):
    """From one pin to another of a cell.

    Parameters
    ----------
    source : str
        The pin that changes first: an input, or the clock.
    kind : str
        ``logic``; ``clock``, from its rising edge; ``setup``, against its rising edge.
    sense : str
        ``positive``, ``negative`` or ``both``; of set-up: ``both``.
    delays : tuple of Table or None
        To the rising and to the falling edge, ps; of set-up: the time before the clock.
    transitions : tuple of Table or None
        Of these edges, ps.
    """

    source: str
    kind: str
    sense: str
    delays: tuple[Table | None, Table | None]
    transitions: tuple[Table | None, Table | None] = (None, None)


@dataclass(frozen=True)
class Pin:
    """A pin: ``input`` or ``output``, its capacitance at the rising and the falling edge in fF, function and arcs."""

    name: str
    direction: str
    capacitance: tuple[float, float] = (0.0, 0.0)
    function: str = ""
    arcs: tuple[Arc, ...] = ()
    is_clock: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell: area in um2, leakage in nW, pins, and the attributes of its flip-flop, if it is one."""

    name: str
    area: float
    pins: dict[str, Pin]
    leakage: float = 0.0
    flip_flop: tuple[tuple[str, str], dict[str, str]] | None = None

    @property
    def inputs(self) -> list[Pin]:
        """The input pins."""
        return [pin for pin in self.pins.values() if pin.direction == "input"]

    @property
    def outputs(self) -> list[Pin]:
        """The output pins."""
        return [pin for pin in self.pins.values() if pin.direction == "output"]

    @property
    def is_inverter(self) -> bool:
        """Whether the output is the complement of the one input."""
        if self.flip_flop or len(self.inputs) != 1 or len(self.outputs) != 1:
            return False
        name = self.inputs[0].name
        return re.sub(r"[\s()]", "", self.outputs[0].function) in (f"!{name}", f"{name}'")

    @property
    def is_timed(self) -> bool:
        """Whether there are delays to each output, and of a flip-flop a set-up time."""
        kinds = [{arc.kind for arc in pin.arcs} for pin in self.outputs]
        if self.flip_flop is None:
            return all("logic" in found for found in kinds)
        return any("clock" in found for found in kinds) and any(
            arc.kind == "setup" for pin in self.inputs for arc in pin.arcs
        )


@dataclass(frozen=True)
class Library:
    """Cells by name."""

    name: str
    cells: dict[str, Cell]

    def without(self, patterns: Iterable[str]) -> Library:
        """Return the library without the cells that match a pattern such as ``*xp*``."""
        patterns = list(patterns)
        return replace(
            self,
            cells={
                name: cell
                for name, cell in self.cells.items()
                if not any(fnmatchcase(name, pattern) for pattern in patterns)
            },
        )


@cache
def function_of(text: str) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    """Return the function of a cell of arrays of bits, packed, by the names of its inputs.

    Raises
    ------
    ValueError
        The text is more than names, 0, 1 and ``! * + ( )``.
    """
    if not re.fullmatch(r"([A-Z]\w*|[!*+() 01])*", text):
        raise ValueError(f"a cell's function must be of names, 0, 1 and ! * + ( ), not {text}")
    values = re.sub(r"[A-Z]\w*", lambda name: f"v[{name[0]!r}]", text)
    return eval(f"lambda v: {values.replace('!', '~').replace('*', '&').replace('+', '|')}")
