"""What an operation costs in the compact library: multiplications and additions by width, registers, gates at large.

``python -m rtnerf.physical.operations`` derives ``data/energy.json``. It maps a multiplier or an adder to the library's
cells and changes its operands; every net that changes costs half of its capacitance times the square of the voltage,
and the internal energy of the cell that drives it, from the power tables of ASAP7 (the supply's share, mean over arcs
and both edges, at `TRANSITION` and `LOAD`). Wires are not in it.

The lower figure: an operand bit changes in every fourth operation, and each net changes once if at all. The upper:
operands are random, and all gates have the same delay, so that nets change several times before they settle.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rtnerf.base.files import write_bytes
from rtnerf.physical.cells import VOLTAGE, Cell, function_of
from rtnerf.physical.energy import ENERGY
from rtnerf.physical.libraries import NAMED, Technology, liberty_folder, load_technology
from rtnerf.physical.netlist import Netlist

TRANSITION, LOAD = 2, 2
"""Places in ASAP7's power tables: 20 ps, and 4 times the smallest load."""
PAIRS = 512
"""Pairs of operands, one after the other."""
SEED = 1
CHANGES = (0.25, 0.5)
"""Share of the operand bits that change from one operation to the next: of the lower and the upper figure."""
MULTIPLIERS = ((8, 8), (16, 16), (24, 24))
ADDERS = (16, 32)


# ---- Cells ----


def internal_energies(names: list[str]) -> dict[str, dict[str, float]]:
    """Return for each cell and pin the internal energy of a transition, fJ, from ASAP7's files."""
    texts = [gzip.decompress(path.read_bytes()).decode() for path in _asap7_files()]
    found = {}
    for name in names:
        head = f"cell ({name}_ASAP7_75t_R)"
        (block,) = (text[at : text.find("\n  cell (", at + 1)] for text in texts if (at := text.find(head)) >= 0)
        found[name] = dict(_of_pins(block))
    return found


def _asap7_files() -> Iterator[Path]:
    for pattern in NAMED["asap7"].files:
        yield from sorted(liberty_folder().glob(pattern))


def _of_pins(block: str) -> Iterator[tuple[str, float]]:
    for part in re.split(r"\n    pin \(", block)[1:]:
        pin = part[: part.index(")")]
        edges = []
        for power in part.split("internal_power ()")[1:]:
            if "related_pg_pin : VDD" in power.split("_power (")[0]:
                values = re.findall(r"(?:rise|fall)_power \([^)]*\) \{.*?values \((.*?)\);", power, re.DOTALL)
                edges += [_at(text) for text in values[:2]]
        if edges:
            yield pin, max(float(np.mean(edges)), 0.0)


def _at(values: str) -> float:
    rows = [np.array(row.replace(",", " ").split(), float) for row in re.findall(r'"([^"]*)"', values)]
    row = rows[min(TRANSITION, len(rows) - 1)] if len(rows) > 1 else rows[0]
    return float(row[min(LOAD if len(rows) > 1 else TRANSITION, len(row) - 1)])


# ---- Changes of a netlist ----


def _gates(netlist: Netlist) -> list[tuple[Cell, np.ndarray, list[str], int]]:
    """Return the gates by kind: cell, nets of its pins by instance, names of the pins, place of the output."""
    found = []
    for kind, rows in netlist.nets.items():
        cell = netlist.cells[kind]
        names = list(cell.pins)
        found.append((cell, rows, names, names.index(cell.outputs[0].name)))
    return found


def _step(gates: list[Any], values: np.ndarray) -> np.ndarray:
    """Return the values of all nets a gate's delay later."""
    new = values.copy()
    for cell, rows, names, output in gates:
        pins = {name: values[rows[:, place]] for place, name in enumerate(names) if place != output}
        new[rows[:, output]] = function_of(cell.outputs[0].function)(pins)
    return new


def _settled(gates: list[Any], values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the values that stay, and how often each net has changed on the way."""
    changes = np.zeros(len(values))
    for _ in range(1000):
        new = _step(gates, values)
        moved = _ones(new ^ values)
        if not moved.any():
            return values, changes
        changes += moved
        values = new
    raise RuntimeError("the netlist does not settle")


def _ones(words: np.ndarray) -> np.ndarray:
    return np.bitwise_count(words).sum(axis=1)


def energy_of(netlist: Netlist, internal: dict[str, dict[str, float]]) -> tuple[float, float]:
    """Return the energy of an operation of a netlist without registers, fJ: the lower and the upper figure."""
    gates, costs = _gates(netlist), net_energies(netlist, internal)
    random = np.random.default_rng(SEED)
    words = PAIRS // 64
    before = np.zeros((len(netlist.net_names), words), np.uint64)
    before[netlist.inputs] = random.integers(0, 1 << 64, (len(netlist.inputs), words), np.uint64, endpoint=False)
    before, _ = _settled(gates, before)
    found = []
    for share in CHANGES:
        flips = np.packbits(random.random((len(netlist.inputs), PAIRS)) < share, axis=1).view(np.uint64)
        after = before.copy()
        after[netlist.inputs] ^= flips
        settled, changes = _settled(gates, after)
        once = _ones(settled ^ before)
        changes[netlist.inputs] += _ones(flips)
        found.append(float(costs @ (once if share == CHANGES[0] else changes)) / PAIRS)
    return found[0], found[1]


def net_energies(netlist: Netlist, internal: dict[str, dict[str, float]]) -> np.ndarray:
    """Return what a change of each net costs, fJ: half of C V^2, and the internal energy of its driver."""
    capacitance, inside = np.zeros(len(netlist.net_names)), np.zeros(len(netlist.net_names))
    for cell, rows, names, output in _gates(netlist):
        for place, name in enumerate(names):
            nets = rows[:, place]
            if place == output:
                inside[nets] = internal[cell.name][name]
            else:
                np.add.at(capacitance, nets[nets >= 0], float(np.mean(cell.pins[name].capacitance)))
    return capacitance * VOLTAGE**2 / 2 + inside


# ---- The file ----


def operator(kind: str, a: int, b: int, y: int) -> str:
    """Return RTLIL of a unit that is one signed operation."""
    ports = "".join(
        f"  wire width {width} {way} {number} \\{name}\n"
        for number, (name, way, width) in enumerate((("a", "input", a), ("b", "input", b), ("y", "output", y)), 1)
    )
    settings = {"A_SIGNED": 1, "B_SIGNED": 1, "A_WIDTH": a, "B_WIDTH": b, "Y_WIDTH": y}
    parameters = "".join(f"    parameter \\{name} {value}\n" for name, value in settings.items())
    connections = "".join(f"    connect \\{name.upper()} \\{name}\n" for name in "aby")
    return f"module \\unit\n{ports}  cell ${kind} \\operation\n{parameters}{connections}  end\nend\n"


def prices(technology: Technology, kept: Path) -> dict[str, Any]:
    """Return the content of the file, in fJ."""
    from rtnerf.physical.synthesis import netlist_of
    from rtnerf.physical.units import Unit

    cells = technology.library.cells
    internal = internal_energies(list(cells))
    found: dict[str, Any] = {"mul": {}, "add": {}}
    for kind, widths in (("mul", MULTIPLIERS), ("add", [(width, width) for width in ADDERS])):
        for a, b in widths:
            unit = Unit(f"{kind}_{a}x{b}", 1, operator(kind, a, b, a + b if kind == "mul" else a), {})
            netlist = netlist_of(unit, technology, kept)
            found[kind][str(a * b if kind == "mul" else a)] = energy_of(netlist, internal)
    area = sum(count * cells[kind].area for kind, count in netlist.counts.items())
    ((register, (_, flip_flop)),) = ((cell, cell.flip_flop) for cell in cells.values() if cell.flip_flop)
    clock = flip_flop["clocked_on"]
    energies, fan_out = internal[register.name], 2 * max(technology.driver.inputs[0].capacitance)
    loads = {pin.name: float(np.mean(pin.capacitance)) for pin in register.inputs}
    half = VOLTAGE**2 / 2
    return {
        "library": "compact",
        "voltage": VOLTAGE,
        "unit": "fJ",
        **found,
        # A cycle has two edges of the clock; data that change, change the input and the output with its load.
        "register_clock": 2 * (energies.get(clock, 0.0) + loads[clock] * half),
        "register_data": energies[register.outputs[0].name]
        + fan_out * half
        + sum(energies.get(name, 0.0) + load * half for name, load in loads.items() if name != clock),
        # All gates of an adder changing once, over its area.
        "gate_per_um2": float(net_energies(netlist, internal).sum()) / area,
    }


if __name__ == "__main__":
    from rtnerf.base.folders import kept_folder

    content = {
        "made_by": "python -m rtnerf.physical.operations",
        **prices(load_technology(["compact"]), kept_folder("synthesis")),
    }
    write_bytes(ENERGY, (json.dumps(content, indent=1) + "\n").encode())
