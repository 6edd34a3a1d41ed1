"""Figures of simulated frames and of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {
    "busy": "#2f6f4f",
    "output": "#d9a441",
    "memory": "#b5523b",
    "tree": "#7a5ea8",
    "factors": "#4f8fc0",
    "idle": "#eeeeee",
}
"""Of what a unit does in a cycle."""


def plot_units(units: Mapping[str, Mapping[str, Any]], cycles: int) -> Figure:
    """Draw how units spend a frame's cycles: ``units`` and ``cycles`` of a simulation, or of its result file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.28 * len(units) + 1), layout="constrained")
    axes = figure.subplots()
    left = [0.0] * len(units)
    for activity, colour in COLOURS.items():
        share = [_cycles(unit, activity) / cycles for unit in units.values()]
        label = activity if activity in ("busy", "idle") else f"waits for {activity}"
        axes.barh(list(units), share, left=left, color=colour, label=label)
        left = [start + more for start, more in zip(left, share, strict=True)]
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlabel(f"share of {cycles:,} cycles")
    axes.legend(ncols=3, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1))
    return figure


def plot_front(all_points: Sequence[Sequence[float]], front: Sequence[Sequence[float]], names: Sequence[str]) -> Figure:
    """Draw figures of points, the first against each of the others, those of the front joined: ``names`` say which."""
    from matplotlib.figure import Figure

    others = range(1, max(len(names), 2))
    figure = Figure(figsize=(5 * len(others), 4), layout="constrained")
    for column, axes in zip(others, figure.subplots(1, len(others), squeeze=False)[0], strict=True):
        column = column % len(names)
        axes.scatter([row[0] for row in all_points], [row[column] for row in all_points], s=14, color="#bbbbbb")
        best = sorted((row[0], row[column]) for row in front)
        axes.plot(*zip(*best, strict=True), "o-", color=COLOURS["busy"], label="front")
        axes.set_xlabel(names[0])
        axes.set_ylabel(names[column])
    axes.legend(frameon=False)
    return figure


def _cycles(unit: Mapping[str, Any], activity: str) -> int:
    return unit["stall_cycles"].get(activity, 0) if activity not in ("busy", "idle") else unit[f"{activity}_cycles"]
