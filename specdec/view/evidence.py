"""The picture of evidence: every prediction over what was published or measured, a line of dots a source."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure


def ratios(by_source: Mapping[str, Sequence[float]]) -> Figure:
    """Return the ratios of model to measurement, above 0, by source; 1 is agreement."""
    figure = Figure(figsize=(8, 1 + 0.35 * max(len(by_source), 1)), layout="constrained")
    axes = figure.add_subplot()
    for place, ratio in enumerate(by_source.values()):
        axes.plot(ratio, np.full(len(ratio), -place), "o", alpha=0.4)
    axes.axvline(1, color="black", linewidth=0.5)
    axes.set_xscale("log")
    axes.set_yticks([-place for place in range(len(by_source))], [name[:50] for name in by_source], fontsize="small")
    axes.set(xlabel="model over measurement")
    axes.grid(alpha=0.3, axis="x")
    return figure
