"""The picture of a training: what the models lose on text that they have not seen."""

from collections.abc import Mapping

from matplotlib.figure import Figure


def held_out(losses: Mapping[str, float]) -> Figure:
    """Return bars of the losses, nats a token, by model; models of bytes and of longer tokens do not compare."""
    figure = Figure(figsize=(8, 1 + 0.35 * max(len(losses), 1)), layout="constrained")
    axes = figure.add_subplot()
    bars = axes.barh(list(losses), list(losses.values()))
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.invert_yaxis()
    axes.set(xlabel="held-out loss, nats a token")
    axes.grid(alpha=0.3, axis="x")
    return figure
