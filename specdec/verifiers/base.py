"""What every verifier does and promises."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rtnerf.base.errors import require
from specdec.laws.chance import Chance
from specdec.proposers.base import Proposal
from specdec.trees.tree import Source, TokenTree


@dataclass(frozen=True)
class Verdict:
    """The outcome of a step.

    Members
    -------
    nodes : tuple of int
        Accepted nodes, from below the root down.
    bonus : int
        The token after them, from the target.
    """

    nodes: tuple[int, ...]
    bonus: int

    def tokens(self, tree: TokenTree) -> tuple[int, ...]:
        """Return the tokens that the step adds, at least one."""
        return (*(int(tree.token[node]) for node in self.nodes), self.bonus)


class Verifier(ABC):
    """A rule that walks down the tree.

    Members
    -------
    lossless : bool
        Whether the output keeps the target's law, for the candidates it is meant for.
    sources : frozenset of Source
        The candidates it is meant for.
    anticipation : bool
        Whether it stays lossless when candidates were kept or dropped for what they are.
    """

    lossless = True
    sources = frozenset(Source)
    anticipation = True

    @abstractmethod
    def verify(self, proposal: Proposal, target: Sequence[np.ndarray] | np.ndarray, chance: Chance) -> Verdict:
        """Walk down a tree; ``target`` has the target's law after every node, shape (N, V)."""

    def check_lossless(self, proposal: Proposal) -> None:
        """Raise `InputError` unless the output of this rule on this proposal keeps the target's law."""
        name = type(self).__name__
        require(self.lossless, "verifier", "lossless", name)
        allowed = self.anticipation or not proposal.anticipates
        require(allowed, f"proposal to {name}", "non-anticipating", "anticipating")
        for source in map(Source, sorted(set(proposal.tree.source[1:].tolist()))):
            rule = " or ".join(allowed.name for allowed in sorted(self.sources))
            require(source in self.sources, f"candidates of {name}", rule, source.name)


class Walk(Verifier):
    """A rule that decides child by child of one node, and goes on from the accepted child."""

    def verify(self, proposal: Proposal, target: Sequence[np.ndarray] | np.ndarray, chance: Chance) -> Verdict:
        """Walk until no child is accepted; the token in its place is the bonus."""
        nodes: list[int] = []
        node = 0
        while True:
            child, token = self.step(proposal, node, target[node], chance)
            if child is None:
                return Verdict(tuple(nodes), int(token))
            nodes.append(child)
            node = child

    @abstractmethod
    def step(self, proposal: Proposal, node: int, law: np.ndarray, chance: Chance) -> tuple[int | None, int]:
        """Return (accepted child or None, its token or the bonus) for the target's law after a node."""

    @staticmethod
    def child_with(tree: TokenTree, node: int, token: int) -> int | None:
        """Return the eldest child with a token, if there is one."""
        return next((child for child in tree.children[node] if tree.token[child] == token), None)
