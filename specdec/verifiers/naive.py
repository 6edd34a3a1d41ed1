"""Naive sampling: the target draws as if there were no tree, and the tree may happen to hold the token."""

import numpy as np

from specdec.laws.chance import Chance
from specdec.proposers.base import Proposal
from specdec.verifiers.base import Walk


class NaiveSampling(Walk):
    """Draw from the target and follow the child with that token. Lossless for any candidates.

    Source: the baseline of SpecInfer (arXiv 2305.09781).
    """

    def step(self, proposal: Proposal, node: int, law: np.ndarray, chance: Chance) -> tuple[int | None, int]:
        """Draw, then look the token up."""
        token = chance.draw(law)
        return self.child_with(proposal.tree, node, token), token
