"""The units of a design: what is synthesised, timed and counted on its own.

A unit is a block of the top, or a part that is built in many times: lanes, ray units, MLP datapaths. Equal units are
one, however often they stand in the design.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property

from nerf.contract.config import AcceleratorConfig
from rtl.parts.shared_module import PART, SOURCE
from rtl.verilog.export import TOP, rtlil_of

APART = ("lane_[0-9]*",)
"""Parts of blocks that are units of their own, besides those that are one module for many instances."""

_MODULE = re.compile(r"^(?:attribute [^\n]*\n)*module \\(\S+)\n.*?^end\n", re.MULTILINE | re.DOTALL)
_INSTANCE = re.compile(r"^  cell \\(\S+) \\(\S+)$", re.MULTILINE)
_WIRE = re.compile(r'attribute \\src "([^"\n]*)"\n(?:\s+attribute [^\n]*\n)*\s+wire [^\n]*?\\(\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class Unit:
    """A unit.

    Parameters
    ----------
    name : str
        Path of its first instance: ``compositor``, ``sample_generator.lane_0``.
    instances : int
        How many equal ones the design has.
    text : str
        RTLIL of it and its parts, without sources; its module is ``unit``. Units inside it are empty modules.
    modules : dict of str to str
        From a name in ``text`` to the name in the design.
    """

    name: str
    instances: int
    text: str
    modules: dict[str, str]

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class Design:
    """A design's RTLIL, by module.

    Parameters
    ----------
    text : str
        RTLIL with sources; see `of`.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._sourced = {match[1]: match[0] for match in _MODULE.finditer(text)}
        self._modules = {name: SOURCE.sub("", body) for name, body in self._sourced.items()}

    @classmethod
    def of(cls, config: AcceleratorConfig, has_multipliers: bool = False) -> Design:
        """Return the design of a configuration; its text is kept until the RTL is edited.

        ``has_multipliers``: products are left whole, see `rtl.parts.shared_module.Platform`.
        """
        return cls(rtlil_of(config, has_multipliers)[0])

    @cached_property
    def _places(self) -> list[tuple[str, str]]:
        """Path and module of every instance of a unit, the top first, then in the order of the design."""
        paths: list[tuple[str, str]] = [("top", TOP)]
        for path, module in paths:
            paths.extend(self._units_below(module, "" if path == "top" else path))
        return paths

    @cached_property
    def by_module(self) -> dict[str, Unit]:
        """The unit that a module of the design is; equal ones have equal texts, and each its own modules."""
        found: dict[str, Unit] = {}
        for path, module in self._places:
            if module not in found:
                found[module] = self._unit(path, module)
        return found

    @cached_property
    def units(self) -> list[Unit]:
        """All units, the top first, then in the order of the design."""
        digests = {module: unit.digest for module, unit in self.by_module.items()}
        modules: dict[str, list[str]] = {}
        for _, module in self._places:
            modules.setdefault(digests[module], []).append(module)
        return [replace(self.by_module[same[0]], instances=len(same)) for same in modules.values()]

    def source_of(self, unit: Unit, signal: str) -> str:
        """Return ``FILE:LINE`` where a signal of a unit is made, or an empty string.

        The signal's name is a path through the parts of the unit: ``queue.level``, with or without a bit in brackets.
        """
        module = unit.modules["unit"]
        *parts, name = re.sub(r"\[\d+\]$", "", signal).split(".")
        for part in parts:
            kinds = {instance: kind for kind, instance in self._instances(module)}
            if part not in kinds:
                return ""
            module = kinds[part]
        sources = {name: place for place, name in _WIRE.findall(self._sourced[module])}
        place = sources.get(name, "").split("|")[0]
        found = re.search(r"((?:rtl|nerf)/\S+?\.py:\d+)", place)
        return found[1] if found else ""

    def _instances(self, module: str) -> list[tuple[str, str]]:
        return [(kind, name) for kind, name in _INSTANCE.findall(self._modules[module]) if kind in self._modules]

    def _is_apart(self, parent: str, kind: str) -> bool:
        """Whether an instance is a unit: below the top, shared with registers, or named so."""
        is_shared = not kind.startswith((f"{parent}.", PART))
        return parent == TOP or is_shared or any(fnmatchcase(kind.rpartition(".")[2], pattern) for pattern in APART)

    def _units_below(self, module: str, path: str) -> list[tuple[str, str]]:
        found = []
        for kind, instance in self._instances(module):
            place = f"{path}.{instance}" if path else instance
            if self._is_apart(module, kind):
                found.append((place, kind))
            else:
                found += self._units_below(kind, place)
        return found

    def _unit(self, path: str, module: str) -> Unit:
        names = {module: "unit"}
        texts = []
        pending = [module]
        while pending:
            body = self._modules[pending.pop(0)]
            own = _name_of(body)
            for kind, _ in self._instances(own):
                if kind in names:
                    continue
                if self._is_apart(own, kind):
                    names[kind] = f"child_{len(names)}"
                    texts.append(_empty(self._modules[kind]))
                else:
                    names[kind] = f"unit.{len(names)}"
                    pending.append(kind)
            texts.append(body)
        text = _rename("".join(texts), names)
        return Unit(path, 1, text, {new: old for old, new in names.items()})


def _name_of(module: str) -> str:
    head = _MODULE.match(module)
    assert head is not None
    return head[1]


def _rename(text: str, names: dict[str, str]) -> str:
    text = re.sub(r"^(module \\)(\S+)$", lambda found: found[1] + names[found[2]], text, flags=re.MULTILINE)
    return re.sub(
        r"^(  cell \\)(\S+)( \\\S+)$", lambda found: found[1] + names.get(found[2], found[2]) + found[3], text,
        flags=re.MULTILINE,
    )  # fmt: skip


def _empty(module: str) -> str:
    """Return a module with its ports only, marked as a black box."""
    head = f"module \\{_name_of(module)}\n"
    wires = re.findall(r"^  wire [^\n]*(?:input|output|inout) [^\n]*\n", module, re.MULTILINE)
    return "attribute \\blackbox 1\n" + head + "".join(wires) + "end\n"
