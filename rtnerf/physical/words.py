"""A unit as words, before it becomes gates: multiplications, sums, choices, logic; memories that become registers.

Mapping loses what a gate was for. So a unit's words are counted apart, each is taken to be as many gates as its
textbook circuit has, and the area of the mapped gates is shared out in that proportion.

``python -m rtnerf.physical.words FOLDER MACRO_BITS`` reads ``unit.il`` there and writes ``words.json``.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

GATE_KINDS = ("multipliers", "adders", "selection", "control")
"""What gates are for: products; sums, differences and orders; multiplexers, shifters and enables; the rest."""
KINDS = (*GATE_KINDS, "registers", "memories")

FULL_ADDER, MULTIPLEXER = 5, 3
"""Gates of two inputs: two exclusive ors, two ands and an or; two ands and an or."""


class Word(NamedTuple):
    """Equal words of a unit: type of Yosys's cell, widths of its operands, selector and result, and how many.

    Of a memory (``$mem_v2``): words, bits, reads and writes.
    """

    type: str
    a: int
    b: int
    s: int
    y: int
    copies: int

    @property
    def gates(self) -> tuple[str, int]:
        """The kind of one such word, and its gates."""
        kind = self.type.lstrip("$")
        if kind in ("mul", "macc", "macc_v2"):
            return "multipliers", self.a * self.b * (FULL_ADDER + 1)
        if kind in ("add", "sub", "neg", "alu"):
            return "adders", self.y * FULL_ADDER
        if kind in ("lt", "le", "gt", "ge"):
            return "adders", max(self.a, self.b) * FULL_ADDER
        if kind == "mux":
            return "selection", self.y * MULTIPLEXER
        if kind == "pmux":
            return "selection", self.y * self.s * 2
        if kind == "bmux":
            return "selection", self.y * ((1 << self.s) - 1) * MULTIPLEXER
        if kind in ("shl", "shr", "sshl", "sshr", "shift", "shiftx"):
            return "selection", self.y * self.b * MULTIPLEXER
        if kind == "mem_v2":
            return "selection", self.a * self.b * (self.s + self.y) * MULTIPLEXER
        if "ff" in kind:
            return "selection", self.y * (MULTIPLEXER * kind.endswith("e") + kind.startswith("s"))
        if kind in ("eq", "ne", "eqx", "nex"):
            return "control", 2 * max(self.a, self.b)
        return "control", max(self.a, self.y)


def gates_by_kind(words: Iterable[Word]) -> dict[str, int]:
    """Return the gates of some words by kind."""
    found = dict.fromkeys(GATE_KINDS, 0)
    for word in words:
        kind, gates = word.gates
        found[kind] += gates * word.copies
    return found


def area_by_kind(words: Iterable[Word], gates: float, registers: float, memories: float) -> dict[str, float]:
    """Return an area by `KINDS`: that of the gates shared out by the words, the others as they are."""
    shares = gates_by_kind(words)
    whole = sum(shares.values())
    if not whole:
        shares, whole = {**shares, "control": 1}, 1
    return {
        **{kind: gates * share / whole for kind, share in shares.items()},
        "registers": registers,
        "memories": memories,
    }


def operations(words: Iterable[Word]) -> dict[str, int]:
    """Return how many multipliers and adders there are: ``mul 21x8``, ``add 24`` (differences too)."""
    found: Counter[str] = Counter()
    for word in words:
        if word.type == "$mul":
            found[f"mul {max(word.a, word.b)}x{min(word.a, word.b)}"] += word.copies
        elif word.type in ("$add", "$sub"):
            found[f"add {word.y}"] += word.copies
    return dict(sorted(found.items()))


def words_of(cells: Iterable[Mapping[str, Any]], macro_bits: int) -> list[Word]:
    """Return the words of a module in Yosys's JSON, without memories that are macros."""
    found: Counter[tuple[str, int, int, int, int]] = Counter()
    for cell in cells:
        kind, parameters = cell["type"], cell["parameters"]
        if not kind.startswith("$") or kind == "$scopeinfo":
            continue
        if kind == "$mem_v2":
            names = ("SIZE", "WIDTH", "RD_PORTS", "WR_PORTS")
            size, width, reads, writes = (_number(parameters[name]) for name in names)
            clocked = _number(parameters["RD_CLK_ENABLE"]).bit_count() == reads
            if not (size * width > macro_bits and clocked):
                found[(kind, size, width, reads, writes)] += 1
            continue
        a, b, s, y, width = (_number(parameters.get(f"{name}WIDTH", 0)) for name in ("A_", "B_", "S_", "Y_", ""))
        found[(kind, a, b, s, y or width)] += 1
    return [Word(*word, count) for word, count in sorted(found.items())]


def _number(value: str | int) -> int:
    return value if isinstance(value, int) else int(value.replace("x", "0").replace("z", "0"), 2)


def main(folder: str, macro_bits: str) -> None:
    """Count the words of the unit in a folder."""
    from pyosys import libyosys

    from rtnerf.physical.recipe import WORDS, read

    os.chdir(folder)
    design = libyosys.Design()
    parts = read(design)
    passes = (*WORDS[: WORDS.index("booth")], "opt", "memory -nomap", "opt_clean", "write_json unit.json")
    for command in passes:
        libyosys.run_pass(command, design)
    modules = json.loads(Path("unit.json").read_text())["modules"]
    cells = {name: list(modules[name]["cells"].values()) for name in ("unit", *parts)}
    copies = Counter(cell["type"] for cell in cells["unit"])
    every = [cell for name in cells for cell in cells[name] * (copies[name] if name in parts else 1)]
    Path("words.part").write_text(json.dumps(words_of(every, int(macro_bits))))
    Path("unit.json").unlink()
    Path("words.part").replace("words.json")


if __name__ == "__main__":
    main(*sys.argv[1:])
