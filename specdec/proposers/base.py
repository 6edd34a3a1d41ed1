"""What every proposer returns, and how candidates are drawn below a node."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from math import log

import numpy as np

from specdec.laws.chance import Chance
from specdec.laws.distribution import ranked
from specdec.laws.language_model import Tokens
from specdec.trees.tree import Source, TokenTree, TreeBuilder


@dataclass(frozen=True, eq=False)
class Proposal:
    """A token tree with what its verification needs.

    Parameters
    ----------
    tree : TokenTree
        The candidates.
    laws : mapping from int to ndarray of shape (V,)
        The draft's law at every node with drawn children, before any draw.
    draft_passes : int
        Sequential draft passes that it took.
    anticipates : bool
        Whether a drawn token was kept or dropped for what it is: no ratio rule is lossless then.
    """

    tree: TokenTree
    laws: dict[int, np.ndarray]
    draft_passes: int
    anticipates: bool = False

    def reorder(self, order: Sequence[int]) -> "Proposal":
        """Return the proposal in another layout; see `TokenTree.reorder`."""
        laws = {place: self.laws[node] for place, node in enumerate(order) if node in self.laws}
        return Proposal(self.tree.reorder(order), laws, self.draft_passes, self.anticipates)


class Proposer(ABC):
    """Guesses continuations of a context."""

    @abstractmethod
    def propose(self, context: Tokens, chance: Chance) -> Proposal:
        """Return a tree whose root is the context's last token; every random decision is taken from ``chance``."""


def log_probability(law: np.ndarray, token: int) -> float:
    """Return the log-probability of a possible token, in nats."""
    return log(law[token])


def add_ranked(builder: TreeBuilder, parent: int, law: np.ndarray, count: int) -> list[int]:
    """Add the ``count`` likeliest tokens as children and return their nodes; fewer if the law has no more."""
    tokens = ranked(law, count).tolist()
    return [builder.add(parent, token, log_probability(law, token), Source.RANKED) for token in tokens]


def add_drawn(
    builder: TreeBuilder, parent: int, law: np.ndarray, count: int, source: Source, chance: Chance
) -> list[int]:
    """Add ``count`` draws from a law as children and return their nodes; fewer if none is left without replacement."""
    tokens = chance.distinct(law) if source is Source.WITHOUT_REPLACEMENT else chance.independent(law)
    return [builder.add(parent, token, log_probability(law, token), source) for token in islice(tokens, count)]
