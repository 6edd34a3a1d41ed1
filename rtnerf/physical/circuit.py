"""A mapped unit as it is simulated: gates as tables, flip-flops, memories, and what a change of each net costs.

Made from the same JSON of Yosys as `rtnerf.physical.netlist`, but with its constants and the content of its memories.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rtnerf.physical.cells import VOLTAGE, Cell, Library, function_of
from rtnerf.physical.netlist import Memory, memory_of, number_of

ZERO, ONE = 0, 1
"""The nets of the constants."""
PINS = 6
"""Most inputs of a gate."""


class Gates(NamedTuple):
    """Gates: nets of the inputs (gates, `PINS`), how many, output, and the output for each state of the inputs."""

    inputs: np.ndarray
    pins: np.ndarray
    output: np.ndarray
    table: np.ndarray


class Ports(NamedTuple):
    """Ports of memories, reads or writes: places in `nets` where each part begins, and what belongs to them.

    Of a row: memory, first net of address, its bits, first net of data, its bits, first net of enables, enables.
    """

    rows: np.ndarray
    nets: np.ndarray


class Memories(NamedTuple):
    """Memories: first bit of each in `bits` and width of its words, words, and the ports.

    ``forwards`` (reads, writes): whether a read sees that write of its own cycle.
    """

    shapes: np.ndarray
    bits: np.ndarray
    reads: Ports
    writes: Ports
    forwards: np.ndarray


class Costs(NamedTuple):
    """What a change of each net costs, fJ: half of C V^2, and what cells take inside.

    ``registers``: of a flip-flop's output all of it, of its input what the flip-flop takes inside; ``combinational``:
    all other. ``clock``: of a flip-flop's clock, a cycle.
    """

    combinational: np.ndarray
    registers: np.ndarray
    clock: float


class Circuit(NamedTuple):
    """A unit.

    Parameters
    ----------
    nets : int
        The first two are the constants.
    gates : Gates
    first_reader, readers : int array (nets + 1), int array
        The gates that each net leads to, and where those of a net begin.
    flops : int array (flip-flops, 2)
        Nets of input and output.
    memories : Memories
    ports : dict
        Direction and nets of each port but the clock.
    costs : Costs
    gate_um2 : float
        Area of the gates.
    """

    nets: int
    gates: Gates
    first_reader: np.ndarray
    readers: np.ndarray
    flops: np.ndarray
    memories: Memories
    ports: dict[str, tuple[str, np.ndarray]]
    costs: Costs
    gate_um2: float


class _Nets:
    """Numbers of nets by bit, as they are met."""

    def __init__(self) -> None:
        self._numbers: dict[int | str, int] = {"0": ZERO, "x": ZERO, "1": ONE}
        self.count = 2

    def of(self, bits: Iterable[int | str]) -> list[int]:
        """Return the nets of some bits."""
        found = []
        for bit in bits:
            if bit not in self._numbers:
                self._numbers[bit] = self.count
                self.count += 1
            found.append(self._numbers[bit])
        return found


def circuit_of(
    module: Mapping[str, Any], library: Library, internal: Mapping[str, Mapping[str, float]] | None = None
) -> Circuit:
    """Return a module of Yosys's JSON, with the clock ``clk`` and without child units.

    ``internal``: of each cell and pin the energy of a transition, fJ, see `operations.internal_energies`.

    Raises
    ------
    ValueError
        A kind of cell that is not simulated.
    """
    nets, memories = _Nets(), []
    cells: list[tuple[Cell, dict[str, int]]] = []
    for cell in module["cells"].values():
        kind = cell["type"]
        if kind == "$mem_v2":
            memories.append(cell)
        elif kind in library.cells:
            pins = {pin: nets.of(bits)[0] for pin, bits in cell["connections"].items() if bits}
            cells.append((library.cells[kind], pins))
        elif kind not in ("$scopeinfo", "$check", "$print"):
            raise ValueError(f"{kind} is not simulated")
    ports = {
        name: (port["direction"], np.array(nets.of(port["bits"])))
        for name, port in module["ports"].items()
        if name != "clk"
    }
    held = _memories(memories, nets)
    gates = _gates([(cell, pins) for cell, pins in cells if not cell.flip_flop])
    used = np.arange(PINS) < gates.pins[:, None]
    order, first = grouped(gates.inputs[used], nets.count)
    flops = [_flop(cell, pins) for cell, pins in cells if cell.flip_flop]
    return Circuit(
        nets=nets.count,
        gates=gates,
        first_reader=first,
        readers=np.nonzero(used)[0][order],
        flops=np.array(flops, np.int64).reshape(-1, 2),
        memories=held,
        ports=ports,
        costs=_costs(cells, nets.count, internal or {}),
        gate_um2=sum(cell.area for cell, _ in cells if not cell.flip_flop),
    )


def _flop(cell: Cell, pins: Mapping[str, int]) -> tuple[int, int]:
    assert cell.flip_flop is not None
    (state, _), content = cell.flip_flop
    (output,) = cell.outputs
    if output.function.strip() != state:
        raise ValueError(f"{cell.name} is not simulated")
    return pins[content["next_state"]], pins[output.name]


def _costs(
    cells: Iterable[tuple[Cell, dict[str, int]]], nets: int, internal: Mapping[str, Mapping[str, float]]
) -> Costs:
    combinational, registers, is_state = np.zeros(nets), np.zeros(nets), np.zeros(nets, bool)
    clock = 0.0
    for cell, pins in cells:
        inside = internal.get(cell.name, {})
        clock_pin = cell.flip_flop[1]["clocked_on"] if cell.flip_flop else None
        own = registers if cell.flip_flop else combinational
        for name, net in pins.items():
            charge = float(np.mean(cell.pins[name].capacitance)) * VOLTAGE**2 / 2
            if name == clock_pin:
                clock = 2 * (charge + inside.get(name, 0.0))
            elif cell.pins[name].direction == "input":
                combinational[net] += charge
                own[net] += inside.get(name, 0.0) if cell.flip_flop else 0.0
            else:
                own[net] += inside.get(name, 0.0)
                is_state[net] = bool(cell.flip_flop)
    registers[is_state] += combinational[is_state]
    combinational[is_state] = 0.0
    for cost in (combinational, registers):
        cost[[ZERO, ONE]] = 0.0
    return Costs(combinational, registers, clock)


def _gates(gates: Sequence[tuple[Cell, dict[str, int]]]) -> Gates:
    kinds = {cell.name: cell for cell, _ in gates}
    tables = {name: _table(cell) for name, cell in kinds.items()}
    names = {name: [pin.name for pin in cell.inputs] for name, cell in kinds.items()}
    inputs = np.zeros((len(gates), PINS), np.int64)
    for row, (cell, pins) in zip(inputs, gates, strict=True):
        row[: len(names[cell.name])] = [pins[name] for name in names[cell.name]]
    return Gates(
        inputs,
        np.array([len(names[cell.name]) for cell, _ in gates], np.int64),
        np.array([pins[cell.outputs[0].name] for cell, pins in gates], np.int64),
        np.array([tables[cell.name] for cell, _ in gates], np.uint64),
    )


def _table(cell: Cell) -> int:
    """Return the output for each state of the inputs, a bit each; the first input counts one."""
    names = [pin.name for pin in cell.inputs]
    if len(names) > PINS:
        raise ValueError(f"{cell.name} is not simulated")
    states = np.arange(1 << len(names))
    values = {name: (states >> place & 1).astype(bool) for place, name in enumerate(names)}
    output = np.broadcast_to(function_of(cell.outputs[0].function)(values), states.shape)
    return sum(1 << int(state) for state in states[output])


def grouped(keys: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of keys, int (n,) from 0 to ``count`` - 1, in their order, and where those of each begin.

    The second has ``count`` + 1 entries; equal keys keep their order.
    """
    order = np.argsort(keys, kind="stable")
    return order, np.searchsorted(keys[order], np.arange(count + 1))


# ---- Memories ----


def _memories(cells: Sequence[Mapping[str, Any]], nets: _Nets) -> Memories:
    shapes, content = [], [np.zeros(0, np.uint8)]
    reads, writes, forwards = _Rows(nets), _Rows(nets), []
    for number, cell in enumerate(cells):
        parameters, memory = cell["parameters"], memory_of("", cell["parameters"])
        if not memory.synchronous:
            raise ValueError(f"{memory.name} is not simulated")
        shapes.append((sum(len(part) for part in content), memory.bits, memory.words))
        content.append(_initial(parameters["INIT"], memory))
        abits = number_of(parameters["ABITS"])
        reads.add(number, cell, "RD", memory.reads, abits, memory.bits)
        writes.add(number, cell, "WR", memory.writes, abits, memory.bits)
        mask = number_of(parameters["RD_TRANSPARENCY_MASK"])
        forwards += [[mask >> (read * memory.writes + write) & 1 for write in range(memory.writes)] for read in
                     range(memory.reads)]  # fmt: skip
    width = max((len(row) for row in forwards), default=0)
    return Memories(
        np.array(shapes, np.int64).reshape(-1, 3),
        np.concatenate(content),
        reads.ports(),
        writes.ports(),
        np.array([row + [0] * (width - len(row)) for row in forwards], np.int64).reshape(len(forwards), width),
    )


def _initial(text: str | int, memory: Memory) -> np.ndarray:
    bits = bin(text)[2:] if isinstance(text, int) else text.replace("x", "0").replace("z", "0")
    return np.frombuffer(bits.zfill(memory.size).encode(), np.uint8)[::-1][: memory.size] - ord("0")


class _Rows:
    """Ports of memories while they are collected."""

    def __init__(self, nets: _Nets) -> None:
        self._nets = nets
        self._rows: list[list[int]] = []
        self._bits: list[int] = []

    def add(self, memory: int, cell: Mapping[str, Any], kind: str, ports: int, abits: int, width: int) -> None:
        """Add all ports of a kind of a memory."""
        connections = cell["connections"]
        enables = width if kind == "WR" else 1
        for port in range(ports):
            row = [memory]
            for name, bits in (("ADDR", abits), ("DATA", width), ("EN", enables)):
                row += [len(self._bits), bits]
                self._bits += self._nets.of(connections[f"{kind}_{name}"][port * bits : (port + 1) * bits])
            self._rows.append(row)

    def ports(self) -> Ports:
        """Return them."""
        return Ports(np.array(self._rows, np.int64).reshape(-1, 7), np.array(self._bits, np.int64))
