"""Pictures of measurements: acceptance by rank and by depth, tau against the budget, and a tree with what it gained."""

from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rtnerf.base.files import write_bytes
from specdec.decoding.decode import Step
from specdec.decoding.measure import Measurement
from specdec.trees.tree import Source, TokenTree

_COLOURS = {
    Source.WITHOUT_REPLACEMENT: "tab:blue",
    Source.WITH_REPLACEMENT: "tab:cyan",
    Source.RANKED: "tab:purple",
    Source.RETRIEVED: "tab:orange",
}
_LONGEST_LABEL = 12


def acceptance(found: Measurement, step: Step, word: Callable[[int], str]) -> Figure:
    """Return the picture of one measurement.

    Parameters
    ----------
    found : Measurement
        Whose acceptance is shown, by rank and by depth.
    step : Step
        The step whose tree is drawn.
    word : callable
        From a token to its text.
    """
    figure = Figure(figsize=(11, 7), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(1, 1.6))
    panels = (found.acceptance_by_rank, "sibling rank"), (found.acceptance_by_depth, "depth")
    for column, (rates, name) in enumerate(panels):
        axes = figure.add_subplot(grid[0, column])
        places = np.arange(1, len(rates) + 1)
        axes.bar(places, [np.nan if rate is None else rate for rate in rates], color="tab:blue")
        axes.set(xlabel=name, ylabel="accepted", ylim=(0, 1), xticks=places)
    draw_tree(figure.add_subplot(grid[1, :]), step, word)
    return figure


def tau_by_budget(taus: Mapping[str, Mapping[int, float]]) -> Figure:
    """Return the picture of tokens per step against the nodes of the tree; ``taus[proposer][nodes]``."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    for name, curve in taus.items():
        budgets = sorted(curve)
        axes.plot(budgets, [curve[nodes] for nodes in budgets], marker="o", label=name)
    budgets = sorted({nodes for curve in taus.values() for nodes in curve})
    axes.set_xscale("log", base=2)
    axes.set_xticks(budgets, map(str, budgets))
    axes.set(xlabel="nodes of the tree, the root included", ylabel="tokens per step")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure


def draw_tree(axes: Axes, step: Step, word: Callable[[int], str]) -> None:
    """Draw a step's tree from left to right, coloured by source; what was accepted is heavy, the bonus in the title."""
    tree = step.proposal.tree
    accepted = {0, *step.verdict.nodes}
    height = _heights(tree)
    for node in range(1, len(tree)):
        parent = tree.parent[node]
        kept = node in accepted
        colour = _COLOURS[Source(tree.source[node])]
        axes.plot(
            [tree.depth[parent], tree.depth[node]],
            [height[parent], height[node]],
            color=colour,
            linewidth=2.5 if kept else 0.8,
            alpha=1 if kept else 0.5,
        )
    size = float(np.clip(260 / len(tree), 5, 10))
    for node in range(len(tree)):
        weight = "bold" if node in accepted else "normal"
        text = _label(word(int(tree.token[node])))
        place = tree.depth[node], height[node]
        paper = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
        axes.text(*place, text, fontsize=size, weight=weight, ha="center", va="center", bbox=paper)
    tokens = len(step.tokens)
    axes.set_title(f"{len(tree)} nodes, {tokens} tokens, then {_label(word(step.verdict.bonus))}", fontsize="medium")
    axes.set(xlabel="depth", yticks=[], xticks=range(int(tree.depth.max()) + 1))
    axes.spines[["left", "right", "top"]].set_visible(False)


def save(figure: Figure, path: Path) -> None:
    """Write a figure, in the format that the name ends with. Raises as `rtnerf.base.files.write_bytes`."""
    content = BytesIO()
    FigureCanvasAgg(figure).print_figure(content, format=path.suffix.lstrip(".").lower(), dpi=120)
    write_bytes(path, content.getvalue())


def _heights(tree: TokenTree) -> np.ndarray:
    """Return the height of every node: leaves one below the other, parents in the middle of their children."""
    height = np.zeros(len(tree))
    stack, leaves, order = [0], 0, []
    while stack:
        node = stack.pop()
        order.append(node)
        stack.extend(reversed(tree.children[node]))
        if not tree.children[node]:
            height[node] = -leaves
            leaves += 1
    for node in reversed(order):
        if tree.children[node]:
            height[node] = np.mean(height[tree.children[node]])
    return height


def _label(text: str) -> str:
    """Return a token's text so that spaces and line ends show, and no formula is read into it."""
    shown = text.replace("\n", "↵").replace("\t", "→").replace(" ", "·").replace("$", r"\$")
    shown = "".join(character if character.isprintable() else "?" for character in shown)
    return shown if len(shown) <= _LONGEST_LABEL else shown[: _LONGEST_LABEL - 1] + "…"
