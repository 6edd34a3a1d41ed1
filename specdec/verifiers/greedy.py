"""Greedy match: decoding at temperature zero."""

import numpy as np

from specdec.laws.chance import Chance
from specdec.proposers.base import Proposal
from specdec.verifiers.base import Walk


class Greedy(Walk):
    """Follow the child that is the target's likeliest token. Lossless at temperature zero, for any candidates."""

    def step(self, proposal: Proposal, node: int, law: np.ndarray, chance: Chance) -> tuple[int | None, int]:
        """Compare with the likeliest token."""
        token = int(np.argmax(law))
        return self.child_with(proposal.tree, node, token), token
