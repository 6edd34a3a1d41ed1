"""Parts of a whole as rectangles of their areas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def treemap(parts: Mapping[str, float], unit: str) -> Figure:
    """Draw parts of a whole as rectangles of their areas, the largest first; small ones are not labelled."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    whole = sum(parts.values())
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    colours = colormaps["tab20"](range(20))
    order = sorted(((value, name) for name, value in parts.items() if value > 0), reverse=True)
    for place, ((value, name), (x, y, width, height)) in enumerate(zip(order, tiles(order), strict=True)):
        axes.add_patch(Rectangle((x, y), width, height, facecolor=colours[place % len(colours)], edgecolor="white"))
        if width > 0.013 * max(len(name), 12) and height > 0.06:
            number = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
            text = f"{name}\n{number} ({value / whole:.0%})"
            axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=8, color="black")
    axes.set_title(f"{whole:.4g} {unit}")
    axes.set_axis_off()
    return figure


def tiles(parts: Sequence[tuple[float, str]]) -> list[tuple[float, float, float, float]]:
    """Return rectangles (x, y, width, height) that fill the unit square by the sizes of parts, the largest first."""
    found = [(0.0, 0.0, 0.0, 0.0)] * len(parts)
    pending = [(range(len(parts)), (0.0, 0.0, 1.0, 1.0))]
    while pending:
        place, (x, y, width, height) = pending.pop()
        sizes = [parts[index][0] for index in place]
        if len(sizes) <= 1:
            for index in place:
                found[index] = (x, y, width, height)
            continue
        # Cut across the longer side, where the halves are nearest to equal.
        cut = min(range(1, len(sizes)), key=lambda index: abs(2 * sum(sizes[:index]) - sum(sizes)))
        share = sum(sizes[:cut]) / sum(sizes)
        if width >= height:
            halves = (x, y, width * share, height), (x + width * share, y, width * (1 - share), height)
        else:
            halves = (x, y, width, height * share), (x, y + height * share, width, height * (1 - share))
        pending += [(place[:cut], halves[0]), (place[cut:], halves[1])]
    return found
