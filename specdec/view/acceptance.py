"""Pictures of acceptance: the law of a chain, and laws beside measured curves."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure


def law(rates: Sequence[float], lengths: Mapping[int, float]) -> Figure:
    """Return the rate by depth, and the acceptance length by drafted tokens."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    rate, length = figure.subplots(1, 2)
    rate.bar(range(1, len(rates) + 1), rates)
    rate.set(xlabel="depth", ylabel="accepted where the walk comes to it", ylim=(0, 1))
    length.plot(list(lengths), list(lengths.values()), "o-")
    length.set(xlabel="drafted tokens", ylabel="acceptance length")
    length.grid(alpha=0.3)
    return figure


def curves(measured: Mapping[str, Mapping[int, float]], found: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Return measured acceptance lengths (dots) and the law's (lines), of `acceptance_length.check_all`."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for index, (name, curve) in enumerate(measured.items()):
        lawful = [length * (1 + found[name]["errors"][drafted]) for drafted, length in curve.items()]
        axes.plot(list(curve), list(curve.values()), "o", color=f"C{index}")
        axes.plot(list(curve), lawful, color=f"C{index}", label=name)
    axes.set(xlabel="drafted tokens", ylabel="acceptance length (dots measured, lines the law)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure
