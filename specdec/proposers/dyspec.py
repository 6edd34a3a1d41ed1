"""DySpec: grow the tree where the draft expects acceptance, deciding to draw before the token is seen.

A place in the tree has a value: the probability, by the draft's own estimate, that verification comes to it. After the
draw ``y ~ R`` at a place of value ``v``, the first place below ``y`` has value ``v * R[y]`` and the place of the next
sibling ``v * (1 - R[y])``, with ``R`` the draft's law over the tokens not drawn there yet. Source: DySpec
(arXiv 2410.11744).

That takes ``R[y]`` for the probability that ``y`` is accepted. Of a flat law every ``R[y]`` is small, though half of
the draws may be accepted: what was measured may stand in its place. A place still has its value before its own draw.
"""

import heapq
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np

from rtnerf.base.errors import require
from specdec.laws.chance import Chance
from specdec.laws.language_model import LanguageModel, Tokens
from specdec.proposers.base import Proposal, Proposer, log_probability
from specdec.trees.tree import Source, TreeBuilder

Trust = Callable[[int, Any], Any]
"""From a draw's place among its siblings, from 0, and its probability there, to that of its acceptance."""


def at_its_word(rank: int, probability: Any) -> Any:
    """Return the probability as it is."""
    return probability


class DySpecGreedy(Proposer):
    """Fill the place of greatest value until the budget is spent.

    Values only fall along a path, so the places filled are those of greatest total value. One draft pass a node with
    children, as each choice waits for the last.

    Parameters
    ----------
    draft : LanguageModel
        The draft.
    nodes : int
        Nodes of the tree, the root included.
    trust : callable
        How a draw's probability tells its acceptance; DySpec takes it for that.
    """

    def __init__(self, draft: LanguageModel, nodes: int, trust: Trust = at_its_word):
        require(nodes >= 1, "nodes", "at least 1", nodes)
        self._draft = draft
        self._nodes = nodes
        self._trust = trust

    def propose(self, context: Tokens, chance: Chance) -> Proposal:
        """Grow by the heap of open places."""
        builder, laws, draws = TreeBuilder(context[-1]), {}, {}
        opened = count()
        places = [(-1, next(opened), 0, 0)]
        while places and len(builder) < self._nodes:
            value, _, node, rank = heapq.heappop(places)
            if node not in laws:
                (laws[node],) = self._draft.laws(context, [builder.path(node)])
                draws[node] = _draws(laws[node], chance)
            for token, probability in draws[node]:
                child = builder.add(node, token, log_probability(laws[node], token), Source.WITHOUT_REPLACEMENT)
                accepted = self._trust(rank, probability)
                heapq.heappush(places, (value * accepted, next(opened), child, 0))
                heapq.heappush(places, (value * (1 - accepted), next(opened), node, rank + 1))
                break
        return Proposal(builder.build(), laws, draft_passes=len(laws))


class DySpecThreshold(Proposer):
    """Fill every place of at least a given value, layer by layer: one draft pass a layer.

    Parameters
    ----------
    draft : LanguageModel
        The draft.
    threshold : float
        Least value of a place that is filled, above 0; about one over the nodes wanted.
    nodes : int
        Most nodes of the tree, the root included; growth stops there.
    """

    def __init__(self, draft: LanguageModel, threshold: float, nodes: int):
        require(0 < threshold <= 1, "threshold", "in (0, 1]", threshold)
        require(nodes >= 1, "nodes", "at least 1", nodes)
        self._draft = draft
        self._threshold = threshold
        self._nodes = nodes

    def propose(self, context: Tokens, chance: Chance) -> Proposal:
        """Grow by layers."""
        builder, passes = TreeBuilder(context[-1]), 0
        laws: dict[int, np.ndarray] = {}
        layer: dict[int, Any] = {0: 1}
        while layer and len(builder) < self._nodes:
            passes += 1
            laws |= dict(zip(layer, self._draft.laws(context, [builder.path(node) for node in layer]), strict=True))
            below = {}
            for node, value in layer.items():
                draws = _draws(laws[node], chance)
                while value >= self._threshold and len(builder) < self._nodes:
                    drawn = next(draws, None)
                    if drawn is None:
                        break
                    token, probability = drawn
                    child = builder.add(node, token, log_probability(laws[node], token), Source.WITHOUT_REPLACEMENT)
                    if value * probability >= self._threshold:
                        below[child] = value * probability
                    value = value * (1 - probability)
            layer = below
        return Proposal(builder.build(), laws, passes)


def _draws(law: np.ndarray, chance: Chance) -> Iterator[tuple[int, Any]]:
    """Yield draws without replacement, each with its probability among the tokens that were left."""
    left = law.sum()
    for token in chance.distinct(law):
        # Rounding must not make the last tokens likelier than certain.
        yield token, law[token] / max(left, law[token])
        left -= law[token]
