"""Dynamic trees of the draft's likeliest tokens, grown layer by layer and cut to the best nodes at the end.

The value of a node is its cumulative probability under the draft, which stands for its chance of acceptance. A child's
value never exceeds its parent's, so the best nodes form a tree.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from specdec.laws.distribution import ranked
from specdec.laws.language_model import LanguageModel, Tokens
from specdec.proposers.base import Proposal, log_probability
from specdec.trees.tree import Source, TreeBuilder


class Layers:
    """A tree that grows by layers.

    Parameters
    ----------
    draft : LanguageModel
        The draft.
    context : tuple of int
        The text so far; its last token is the root.
    nodes : int
        Nodes of the tree in the end, the root included. Of a layer no more can be among the best.
    """

    def __init__(self, draft: LanguageModel, context: Tokens, nodes: int):
        self._draft = draft
        self._context = context
        self._nodes = nodes
        self._builder = TreeBuilder(context[-1])
        self._values: list[Any] = [1]
        self._layer = [0]
        self._passes = 0

    def expand(self, expanded: int, children: int | None = None) -> None:
        """Give the ``expanded`` best nodes of the last layer their likeliest children: one draft pass.

        At most ``children`` each, where that is given; never those that cannot be among the best any more.
        """
        least = self._least()
        nodes = [node for node in self._best(self._layer, expanded) if self._values[node] > least]
        self._layer = []
        if not nodes:
            return
        laws = list(self._draft.laws(self._context, [self._builder.path(node) for node in nodes]))
        self._passes += 1
        values = [self._values[node] * law for node, law in zip(nodes, laws, strict=True)]
        for place, token, value in _greatest(values, least, self._nodes, children):
            log_q = log_probability(laws[place], token)
            self._layer.append(self._builder.add(nodes[place], token, log_q, Source.RANKED))
            self._values.append(value)

    def value(self) -> Any:
        """Return the total value of the best nodes so far, the root included: the expected tokens of that tree."""
        return sum(self._values[node] for node in self._best(range(len(self._values)), self._nodes))

    def best(self) -> Proposal:
        """Return the tree of the best nodes."""
        kept = sorted(self._best(range(len(self._values)), self._nodes))
        return Proposal(self._builder.build().reorder(kept), {}, self._passes)

    def _best(self, among: Sequence[int], count: int) -> list[int]:
        """Return the ``count`` nodes of greatest value; equals in order of creation, which keeps parents first."""
        return sorted(among, key=self._values.__getitem__, reverse=True)[:count]

    def _least(self) -> Any:
        """Return the value that a new node must exceed to be among the best: zero while there is room."""
        return sorted(self._values)[-self._nodes] if len(self._values) >= self._nodes else 0


def _greatest(values: list[np.ndarray], least: Any, count: int, children: int | None) -> Iterator[tuple[int, int, Any]]:
    """Yield (place, token, value) of the ``count`` greatest values above ``least``, greatest first.

    ``values`` has an array of shape (V,) for each place, of which at most ``children`` are taken.
    """
    if children is None:
        tokens = [np.flatnonzero(row > least) for row in values]
    else:
        tokens = [ranked(row, children) for row in values]
    found = np.concatenate([row[best] for row, best in zip(values, tokens, strict=True)])
    places = np.repeat(np.arange(len(values)), [len(best) for best in tokens])
    token = np.concatenate(tokens)
    for index in ranked(found, count).tolist():
        if found[index] > least:
            yield int(places[index]), int(token[index]), found[index]
