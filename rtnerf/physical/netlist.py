"""A mapped netlist: cells of a library, and nets between their pins.

Made from what Yosys writes as JSON. Memories that stand for macros become cells of their own; child units that were
left out become ports.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from rtnerf.physical.cells import Cell, Library

UNCONNECTED = -1
BETWEEN = "between"
"""Attribute of the ports of parts that were mapped on their own."""


@dataclass(frozen=True)
class Memory:
    """A memory: words by bits, and its ports.

    Parameters
    ----------
    words, bits : int
    reads, writes : int
        Ports.
    synchronous : bool
        All reads are registered.
    forwards : bool
        A read sees what is written to the same address in the same cycle.
    initialised : bool
        It has a content before the first write.
    """

    name: str
    words: int
    bits: int
    reads: int
    writes: int
    synchronous: bool
    forwards: bool
    initialised: bool

    @property
    def size(self) -> int:
        """Bits in all."""
        return self.words * self.bits

    @property
    def is_rom(self) -> bool:
        """Never written."""
        return self.writes == 0


class Port(NamedTuple):
    """A port: ``input`` or ``output``, and the net of each bit, `UNCONNECTED` where it is a constant."""

    direction: str
    nets: np.ndarray


class Child(NamedTuple):
    """A unit inside a unit, left out: its name, its module, and the net at each bit of its ports."""

    name: str
    module: str
    ports: dict[str, np.ndarray]


@dataclass
class Netlist:
    """Instances by kind of cell, each a row of net numbers in the order of the cell's pins.

    Parameters
    ----------
    name : str
    cells : dict of str to Cell
        The kinds: those of the library, and the memories'.
    nets : dict of str to int array (instances, pins)
        `UNCONNECTED` where a pin has no net or a constant.
    instances : dict of str to list of str
        Their names.
    inputs, outputs : int array
        Nets that a port, or a child unit, drives or reads.
    net_names : list of str
    memories : list of Memory
    ports : dict of str to Port
    children : list of Child
    between : int array
        Nets that lead from one unit to another, or into a part that was mapped on its own, or out of it.
    """

    name: str
    cells: dict[str, Cell]
    nets: dict[str, np.ndarray]
    instances: dict[str, list[str]]
    inputs: np.ndarray
    outputs: np.ndarray
    net_names: list[str]
    memories: list[Memory] = field(default_factory=list)
    ports: dict[str, Port] = field(default_factory=dict)
    children: list[Child] = field(default_factory=list)
    between: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))

    @property
    def counts(self) -> Counter[str]:
        """Instances of each kind."""
        return Counter({kind: len(rows) for kind, rows in self.nets.items()})


def number_of(text: str | int) -> int:
    """Return a parameter of Yosys's JSON: a number, or a string of bits."""
    return text if isinstance(text, int) else int(text.replace("x", "0").replace("z", "0"), 2)


def memory_of(name: str, parameters: Mapping[str, Any]) -> Memory:
    """Return the shape of a ``$mem_v2`` cell."""
    reads, writes = number_of(parameters["RD_PORTS"]), number_of(parameters["WR_PORTS"])
    initial = parameters["INIT"]
    return Memory(
        name=_readable(parameters["MEMID"]),
        words=number_of(parameters["SIZE"]),
        bits=number_of(parameters["WIDTH"]),
        reads=reads,
        writes=writes,
        synchronous=reads == number_of(parameters["RD_CLK_ENABLE"]).bit_count(),
        forwards=writes > 0 and number_of(parameters["RD_TRANSPARENCY_MASK"]) != 0,
        initialised=not isinstance(initial, str) or "1" in initial or "0" in initial,
    )


def _readable(name: str) -> str:
    return name.lstrip("\\")


_PRIVATE = re.compile(r"^\$|\$")


def from_json(module: Mapping[str, Any], name: str, library: Library, macro) -> Netlist:
    """Return a module of Yosys's JSON as a netlist.

    Parameters
    ----------
    module : mapping
    name : str
    library : Library
    macro : function
        Memory, and the bits of each of its ports, to the cell that stands for it.
    """
    numbers: dict[int, int] = {}
    names: list[str] = []

    def net(bit: int | str) -> int:
        if isinstance(bit, str):
            return UNCONNECTED
        if bit not in numbers:
            numbers[bit] = len(names)
            names.append("")
        return numbers[bit]

    kinds = dict(library.cells)
    order = {kind: list(cell.pins) for kind, cell in kinds.items()}
    rows: dict[str, list[list[int]]] = {}
    instances: dict[str, list[str]] = {}
    memories = []
    children = []
    sources: list[int] = []
    ends: list[int] = []
    for instance, cell in module["cells"].items():
        kind = cell["type"]
        connections = cell["connections"]
        if kind == "$mem_v2":
            memory = memory_of(instance, cell["parameters"])
            memories.append(memory)
            widths = {port: len(bits) for port, bits in connections.items()}
            made = macro(memory, widths)
            kind = made.name
            kinds[kind] = made
            order[kind] = list(made.pins)
            connections = {
                f"{port}_{number}": [bit] for port, bits in connections.items() for number, bit in enumerate(bits)
            }
        elif kind not in order:
            if kind.startswith("$"):
                if kind in ("$scopeinfo", "$check", "$print"):
                    continue
                raise ValueError(f"{kind} is left over")
            child = Child(instance, kind, {})
            for port, bits in connections.items():
                child.ports[port] = np.array([net(bit) for bit in bits], np.int32)
                (sources if cell["port_directions"][port] == "output" else ends).extend(child.ports[port])
            children.append(child)
            continue
        rows.setdefault(kind, []).append(
            [net(connections[pin][0]) if connections.get(pin) else UNCONNECTED for pin in order[kind]]
        )
        instances.setdefault(kind, []).append(instance)
    own = {}
    for port, content in module["ports"].items():
        own[port] = Port(content["direction"], np.array([net(bit) for bit in content["bits"]], np.int32))
        (sources if own[port].direction == "input" else ends).extend(own[port].nets)
    for bit, label in _labels(module["netnames"]):
        if bit in numbers:
            names[numbers[bit]] = label
    return Netlist(
        name,
        {kind: kinds[kind] for kind in rows},
        {kind: np.array(table, np.int32) for kind, table in rows.items()},
        instances,
        np.array(sorted({n for n in sources if n >= 0}), np.int32),
        np.array(sorted({n for n in ends if n >= 0}), np.int32),
        names,
        memories,
        own,
        children,
        np.array(sorted(numbers[bit] for bit in _between(module["netnames"]) if bit in numbers), np.int32),
    )


def _between(netnames: Mapping[str, Any]) -> set[int]:
    """Return the bits of nets with the attribute `BETWEEN`."""
    marked = (content for content in netnames.values() if BETWEEN in content.get("attributes", {}))
    return {bit for content in marked for bit in content["bits"] if isinstance(bit, int)}


def _labels(netnames: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """Yield a name for each bit; the better names last."""
    order = sorted(netnames.items(), key=lambda item: (not item[1].get("hide_name"), -len(item[0])))
    for name, content in order:
        bits = content["bits"]
        for index, bit in enumerate(bits):
            if isinstance(bit, int):
                yield bit, f"{name}[{index + content.get('offset', 0)}]" if len(bits) > 1 else name
