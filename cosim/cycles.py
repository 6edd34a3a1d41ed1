"""Hold the simulator to the RTL: the cycle of every transfer on every probed stream."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from cosim.wrapper import Transaction
from nerf.contract.config import AcceleratorConfig
from nerf.contract.memory import MemoryTiming
from nerf.contract.registers import View
from nerf.golden.frame import DecodedScene
from sim.simulate import simulate

FRAME = "frame"
"""Probe that shows a frame's start and end."""


@dataclass(frozen=True)
class CycleComparison:
    """What a comparison found.

    Parameters
    ----------
    cycles_rtl, cycles_sim : int
        Of the frame, from its start to its end.
    mismatches : dict
        Per stream, the transfers that come in different cycles or in one of the two only.
    first : str or None
        The first of them, explained.
    """

    cycles_rtl: int
    cycles_sim: int
    mismatches: dict[str, int]
    first: str | None


def transfers_of(trace: Iterable[Transaction]) -> tuple[int, int, dict[str, np.ndarray]]:
    """Return of a trace's last frame: its first cycle, its length, and each stream's cycles, from the first on."""
    streams: dict[str, list[int]] = {}
    start = end = 0
    for transaction in trace:
        if transaction.stream != FRAME:
            streams.setdefault(transaction.stream, []).append(transaction.cycle)
        elif transaction.payload:
            end = transaction.cycle
        else:
            start = transaction.cycle
    return (
        start,
        end - start,
        {name: np.array([c - start for c in cycles if c >= start], np.int64) for name, cycles in streams.items()},
    )


def compare_cycles(
    trace: Iterable[Transaction], decoded: DecodedScene, view: View, config: AcceleratorConfig, timing: MemoryTiming
) -> CycleComparison:
    """Simulate the frame that the RTL has rendered, and compare all cycles."""
    start, length, rtl = transfers_of(trace)
    simulation = simulate(decoded, view, config, timing, record=True, elapsed=start)
    sim = simulation.transfers or {}
    mismatches, first = {}, None
    for name in sorted(set(rtl) | set(sim)):
        ours, theirs = sim.get(name, np.empty(0, np.int64)), rtl.get(name, np.empty(0, np.int64))
        count = min(len(ours), len(theirs))
        different = np.flatnonzero(ours[:count] != theirs[:count])
        mismatches[name] = len(different) + abs(len(ours) - len(theirs))
        if mismatches[name]:
            index = int(different[0]) if len(different) else count
            cycles = tuple(int(side[index]) if index < len(side) else None for side in (theirs, ours))
            when = min(cycle for cycle in cycles if cycle is not None)
            if first is None or when < first[0]:
                first = when, name, index, cycles
    explanation = None
    if first is not None:
        doing = simulate(decoded, view, config, timing, elapsed=start, end=first[0] + 1).doing
        explanation = _explain(*first, rtl, doing)
    return CycleComparison(length, simulation.cycles, mismatches, explanation)


def _explain(
    when: int, name: str, index: int, cycles: tuple[int | None, ...], rtl: Mapping[str, np.ndarray], doing: dict
) -> str:
    """Say where the two part, what was the last before it that they agree on, and what the simulator's blocks do."""
    both = " and ".join(
        f"{'never' if cycle is None else f'in cycle {cycle}'} {where}"
        for cycle, where in zip(cycles, ("in the RTL", "in the simulator"), strict=True)
    )
    before = ", ".join(
        f"{stream} {np.searchsorted(times, when) - 1} in {times[np.searchsorted(times, when) - 1]}"
        for stream, times in rtl.items()
        if np.searchsorted(times, when)
    )
    waits = ", ".join(f"{block} {activity}" for block, activity in doing.items() if activity != "idle")
    return f"{name} {index} comes {both}; the last transfers before: {before}; in the simulator then: {waits}"
