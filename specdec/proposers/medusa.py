"""Medusa: heads on the target guess each later position by itself, and a static tree combines their best guesses."""

from abc import ABC, abstractmethod

import numpy as np

from specdec.laws.chance import Chance
from specdec.laws.distribution import ranked
from specdec.laws.language_model import Tokens
from specdec.proposers.base import Proposal, Proposer, log_probability
from specdec.trees.shape import Shape
from specdec.trees.tree import Source, TreeBuilder


class Heads(ABC):
    """Laws of the next positions, each given the context alone."""

    @abstractmethod
    def laws(self, context: Tokens, heads: int | None = None) -> np.ndarray:
        """Return the laws that the first ``heads`` tell, by default all, shape (heads, V): one pass."""


class Medusa(Proposer):
    """Node ``(i1, ..., im)`` of the shape holds, at depth ``d``, head ``d``'s ``i_d``-th best token.

    The children of a node are the same at every node of a depth; nodes below the last head, or of a rank that a head
    has no possible token for, are left out. Source: Medusa (arXiv 2401.10774).

    Parameters
    ----------
    heads : Heads
        The heads.
    shape : Shape
        The tree's shape, such as `specdec.trees.shape.greedy_shape` gives for the heads' measured accuracies.
    """

    def __init__(self, heads: Heads, shape: Shape):
        self._heads = heads
        self._shape = shape
        self._ranks = [0] * (len(shape.levels()) - 1)
        for path in shape.paths:
            self._ranks[len(path) - 1] = max(self._ranks[len(path) - 1], path[-1] + 1)

    def propose(self, context: Tokens, chance: Chance) -> Proposal:
        """Combine the heads' best tokens."""
        laws = self._heads.laws(context, len(self._ranks))
        best = [ranked(law, count).tolist() for law, count in zip(laws, self._ranks, strict=False)]
        builder = TreeBuilder(context[-1])
        place: dict[Tokens, int] = {(): 0}
        for path in self._shape.paths:
            depth, rank = len(path) - 1, path[-1]
            if path[:-1] in place and depth < len(best) and rank < len(best[depth]):
                token = best[depth][rank]
                log_q = log_probability(laws[depth], token)
                place[path] = builder.add(place[path[:-1]], token, log_q, Source.RANKED)
        return Proposal(builder.build(), {}, draft_passes=1)
