"""Figures of a simulated frame."""

from __future__ import annotations

from collections.abc import Mapping
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


def _cycles(unit: Mapping[str, Any], activity: str) -> int:
    return unit["stall_cycles"].get(activity, 0) if activity not in ("busy", "idle") else unit[f"{activity}_cycles"]
