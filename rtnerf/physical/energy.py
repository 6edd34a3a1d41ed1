"""Energy of a frame: what it makes the hardware do, times what that costs, as a range between stated assumptions.

Counted are operations, accesses, bytes and cycles (`nerf.contract.activity`); the hardware is a result of synthesis
(`rtnerf.physical.kept`). Wires, clock tree and the DRAM's interface are not in it.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from nerf.contract.activity import Accesses, Activity
from rtnerf.physical.kept import Synthesis, SynthesisedUnit
from rtnerf.physical.memories import ASAP7

ENERGY = Path(__file__).with_name("data") / "energy.json"
"""What operations cost: see `rtnerf.physical.operations`."""
RECORDED = ENERGY.with_name("recorded.json")
"""What a cycle of some units costs under recorded activity: see `benchmarks.recorded_energy`."""
CAUSES = ("operations", "control", "registers", "idle", "memories", "leakage", "dram")
"""Arithmetic (of units with recorded activity all gates); other gates and registers in busy cycles; what all other
cycles cost, most of it the clock of registers; accesses; leakage of cells and memories; DRAM."""
LIBRARIES = ("asap7", "compact")
"""Those whose energies are known."""
GATE_CHANGES = (0.05, 0.2)
"""Share of the gates that are no arithmetic whose output changes in a busy cycle: assumed."""
REGISTER_CHANGES = (0.1, 0.25)
"""Share of a unit's flip-flops that change in a busy cycle: assumed."""
DRAM_PJ_PER_BIT = tuple(watts * 200_000 / 1200e6 / (20_000 * 128 * 8) * 1e12 for watts in (1.24, 2.12))
"""LPDDR4-2400 (Micron 8 Gb, as DRAMsim3 describes it): 20,000 accesses of 128 bytes in 200,000 cycles took 1.24 W in
order and 2.12 W at random, standby and refresh included, interface not."""
MEMORY_SCALES = (ASAP7.energy_scale, math.sqrt(ASAP7.area_scale) * (0.7 / 1.2) ** 2)
"""From sg13g2's memories: capacitance goes with area, or with length; and with the square of the voltage."""

Range = np.ndarray
"""The lower and the upper figure."""


@cache
def _prices() -> dict[str, Any]:
    return json.loads(ENERGY.read_text(encoding="utf-8"))


@cache
def recorded_prices() -> dict[str, Any]:
    """Return what cycles of the units with recorded activity cost, by family."""
    return json.loads(RECORDED.read_text(encoding="utf-8"))["units"]


def operation_pj(name: str) -> Range:
    """Return what an operation costs, pJ: between the widths of the file by a power of the width, beyond them too.

    ``mul 21x8`` goes by its product of widths, ``add 24`` by its width.
    """
    kind, widths = name.split(" ")
    size = math.prod(int(width) for width in widths.split("x"))
    table = {int(key): np.array(value) / 1000 for key, value in _prices()[kind].items()}
    known = sorted(table)
    place = min(max(int(np.searchsorted(known, size)), 1), len(known) - 1)
    low, high = known[place - 1], known[place]
    return table[low] * (size / low) ** (np.log(table[high] / table[low]) / np.log(high / low))


def _cycle_prices() -> tuple[Range, Range, float]:
    """Return what a busy cycle of a um2 of gates costs, and of a flip-flop, and any other cycle of that, pJ."""
    prices = _prices()
    clock = prices["register_clock"] / 1000
    changes = prices["register_data"] / 1000 * np.array(REGISTER_CHANGES)
    return prices["gate_per_um2"] / 1000 * np.array(GATE_CHANGES), clock + changes, clock


def cycle_pj(gates_um2: float, flip_flops: int) -> tuple[list[float], float]:
    """Return what a busy cycle of a unit costs, the lower and the upper figure, and any other cycle, pJ."""
    gate, register, clock = _cycle_prices()
    return (gates_um2 * gate + flip_flops * register).tolist(), flip_flops * clock


def frame_energy(activity: Activity, synthesis: Synthesis) -> dict[str, Any]:
    """Return the energy of a frame, each figure a list of the lower and the upper one, in mJ.

    Returns
    -------
    dict
        ``energy_mj``; ``energy_parts_mj``, by unit and cause, which add up to it; its sums ``energy_by_unit_mj`` and
        ``energy_by_cause_mj``; ``operations`` and ``memory_accesses`` as counted; ``energy_assumptions``.
    """
    seconds = activity.cycles / (synthesis.clock_mhz * 1e6)
    accesses, shares = _accesses(activity, synthesis), _shares(synthesis)
    parts: dict[str, dict[str, Range]] = {}
    for name, unit in synthesis.units.items():
        parts[name] = _of_logic(name, unit, activity, shares[name]) | {
            "memories": _of_memories(name, unit, accesses),
            "leakage": _leakage_pj(unit, seconds),
        }
    moved = activity.read_bytes + activity.written_bytes
    parts["dram"] = {"dram": moved * 8 * np.array(DRAM_PJ_PER_BIT)}
    nothing = np.zeros(2)
    by_unit = {name: sum(row.values(), nothing) for name, row in parts.items()}
    by_cause = {cause: sum((row[cause] for row in parts.values() if cause in row), nothing) for cause in CAUSES}
    return {
        "energy_mj": _mj(sum(by_unit.values(), nothing)),
        "energy_by_cause_mj": {cause: _mj(energy) for cause, energy in by_cause.items()},
        "energy_by_unit_mj": {name: _mj(energy) for name, energy in by_unit.items()},
        "energy_parts_mj": {name: {cause: _mj(energy) for cause, energy in row.items()} for name, row in parts.items()},
        "operations": {
            name: {
                operation: count * activity.passes_of(family(name)) * shares[name]
                for operation, count in unit.operations.items()
            }
            for name, unit in synthesis.units.items()
            if unit.operations and activity.passes_of(family(name))
        },
        "memory_accesses": {memory: list(count) for memory, count in accesses.items()},
        "energy_assumptions": {
            "gate_changes": GATE_CHANGES,
            "register_changes": REGISTER_CHANGES,
            "dram_pj_per_bit": DRAM_PJ_PER_BIT,
            "memory_scales_from_sg13g2": MEMORY_SCALES,
            "operations": "a quarter of the operand bits changes, nets change once; random operands, equal delays",
            "recorded": [name for name in synthesis.units if family(name) in recorded_prices()],
        },
    }


def family(unit: str) -> str:
    """Return a unit's name without its number: ``sample_generator.lane``."""
    return re.sub(r"_\d+$", "", unit) if "." in unit else unit


def _mj(picojoules: Range) -> list[float]:
    return [float(value) * 1e-9 for value in picojoules]


def _shares(synthesis: Synthesis) -> dict[str, float]:
    """Return the share of each unit in the instances of its family."""
    whole: dict[str, int] = {}
    for name, unit in synthesis.units.items():
        whole[family(name)] = whole.get(family(name), 0) + unit.instances
    return {name: unit.instances / whole[family(name)] for name, unit in synthesis.units.items()}


def _of_logic(name: str, unit: SynthesisedUnit, activity: Activity, share: float) -> dict[str, Range]:
    """Return the energy of a unit's gates and registers by cause, pJ; ``share``: of its family's passes."""
    passes = activity.passes_of(family(name)) * share
    if family(name) in recorded_prices():
        return _as_recorded(unit, activity.cycles, passes, recorded_prices()[family(name)])
    busy = activity.busy_of(name)
    flip_flops, gates = unit.instances * unit.flip_flops, unit.instances * unit.gates_um2
    gate, register, clock = _cycle_prices()
    return {
        "operations": sum(
            (passes * count * operation_pj(operation) for operation, count in unit.operations.items()), np.zeros(2)
        ),
        "control": gates * busy * gate,
        "registers": flip_flops * busy * register,
        "idle": flip_flops * (activity.cycles - busy) * clock * np.ones(2),
    }


def _as_recorded(unit: SynthesisedUnit, cycles: int, passes: float, recorded: dict[str, Any]) -> dict[str, Range]:
    """Return the energy of a unit whose gates and registers do as much a pass, and else, as in the recording, pJ."""
    at_work = min(passes / recorded["passes_per_busy_cycle"], cycles * unit.instances)
    gates_um2, clock = unit.gates_um2 + unit.arithmetic_um2, _cycle_prices()[2]
    gates, registers = (
        {kind: size * np.array(recorded[kind][key]) / 1000 for kind in ("busy", "other")}
        for key, size in (("gates_fj_per_um2", gates_um2), ("register_fj", unit.flip_flops))
    )
    return {
        "operations": at_work * gates["busy"],
        "control": np.zeros(2),
        "registers": at_work * (unit.flip_flops * clock + registers["busy"]),
        "idle": (cycles * unit.instances - at_work) * (unit.flip_flops * clock + registers["other"] + gates["other"]),
    }


def _accesses(activity: Activity, synthesis: Synthesis) -> dict[str, Accesses]:
    """Return the accesses of each memory of each unit, its instances together."""
    patterns: dict[str, str | None] = {}
    sharing: dict[str, int] = {}
    for name, unit in synthesis.units.items():
        for memory in unit.memories:
            key = f"{family(name)}.{memory.name}"
            patterns[key] = pattern = activity.pattern_of(key)
            if pattern is not None:
                sharing[pattern] = sharing.get(pattern, 0) + 1
    found = {}
    for key, pattern in patterns.items():
        if pattern is None:
            busy = activity.busy_of(key)
            found[key] = Accesses(busy, busy)
        else:
            whole = activity.accesses[pattern]
            found[key] = Accesses(whole.reads / sharing[pattern], whole.writes / sharing[pattern])
    return found


def _of_memories(name: str, unit: SynthesisedUnit, accesses: dict[str, Accesses]) -> Range:
    """Return the energy of a unit's accesses, pJ."""
    found = np.zeros(2)
    for memory in unit.memories:
        reads, writes = accesses[f"{family(name)}.{memory.name}"]
        for index, scale in enumerate(MEMORY_SCALES):
            price = replace(ASAP7, energy_scale=scale).price(memory)
            found[index] += reads * price["read_pj"] + writes * price["write_pj"]
    return found


def _leakage_pj(unit: SynthesisedUnit, seconds: float) -> Range:
    """Return what a unit leaks in a frame, pJ: cells by the library, memories as sg13g2's, which is not scaled."""
    memories = sum(ASAP7.price(memory)["leakage_nw"] for memory in unit.memories) / 1000
    return unit.instances * (unit.leakage_uw + memories) * seconds * 1e6 * np.ones(2)
