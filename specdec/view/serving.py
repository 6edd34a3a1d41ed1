"""The picture of a sweep: latency, goodput and drafted tokens against load, a line a controller."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure


def load_curves(runs: Sequence[dict[str, Any]], load: str) -> Figure:
    """Return the picture of the results of `specdec.serving.sweep.sweep`; ``load`` names the horizontal axis."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    panels = figure.subplots(1, 3)
    for index, name in enumerate(dict.fromkeys(run["controller"] for run in runs)):
        curve = sorted((run for run in runs if run["controller"] == name), key=lambda run: run["load"])
        loads, colour = [run["load"] for run in curve], f"C{index}"
        panels[0].plot(
            loads, [run["latency_ms"]["mean"] for run in curve], "o-", color=colour, label=name, markersize=4
        )
        panels[0].plot(loads, [run["latency_ms"]["p99"] for run in curve], ":", color=colour)
        panels[1].plot(loads, [run["goodput_tokens_per_s"] for run in curve], "o-", color=colour, markersize=4)
        panels[2].plot(loads, [run["drafted"] for run in curve], "o-", color=colour, markersize=4)
    panels[0].set(yscale="log", ylabel="latency, ms (mean; dotted: 99 %)")
    panels[1].set(yscale="log", ylabel="goodput, tokens/s")
    panels[2].set(ylabel="drafted tokens of a request's step")
    for panel in panels:
        panel.set(xlabel=load, xscale="log" if all(run["load"] > 0 for run in runs) else "linear")
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize="small")
    return figure
