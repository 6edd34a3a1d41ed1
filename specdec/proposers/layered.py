"""Dynamic trees of the draft's likeliest tokens, grown layer by layer and cut to the best nodes at the end.

The value of a node is its cumulative probability under the draft, which stands for its chance of acceptance. A child's
value never exceeds its parent's, so the best nodes form a tree.
"""

from collections.abc import Iterable
from typing import Any

from specdec.distribution import ranked
from specdec.language_model import LanguageModel, Tokens
from specdec.proposers.base import Proposal, log_probability
from specdec.tree import Source, TreeBuilder


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

    def expand(self, expanded: int, children: int) -> None:
        """Give the ``expanded`` best nodes of the last layer their ``children`` likeliest children: one draft pass."""
        if not self._layer:
            return
        nodes = self._best(self._layer, expanded)
        laws = self._draft.laws(self._context, [self._builder.path(node) for node in nodes])
        self._passes += 1
        found = [
            (self._values[node] * law[token], node, token, law)
            for node, law in zip(nodes, laws, strict=True)
            for token in ranked(law, children).tolist()
        ]
        found.sort(key=lambda candidate: -candidate[0])
        first = len(self._values)
        for value, node, token, law in found[: self._nodes]:
            self._builder.add(node, token, log_probability(law, token), Source.RANKED)
            self._values.append(value)
        self._layer = list(range(first, len(self._values)))

    def value(self):
        """Return the total value of the best nodes so far, the root included: the expected tokens of that tree."""
        return sum(self._values[node] for node in self._best(range(len(self._values)), self._nodes))

    def best(self) -> Proposal:
        """Return the tree of the best nodes."""
        kept = sorted(self._best(range(len(self._values)), self._nodes))
        return Proposal(self._builder.build().reorder(kept), {}, self._passes)

    def _best(self, among: Iterable[int], count: int) -> list[int]:
        """Return the ``count`` nodes of greatest value; equals in order of creation, which keeps parents first."""
        return sorted(among, key=lambda node: -self._values[node])[:count]
