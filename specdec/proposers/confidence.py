"""Keeping drawn tokens for their own confidence: a plausible economy that biases the output, kept here to show it.

The decision to keep a token is taken after the token is seen. With p = (1/2, 1/2), q = (9/10, 1/10) and "keep only if
q > 1/2" the ratio rule yields (11/20, 9/20). Decide before the draw instead, as DySpec does.
"""

import numpy as np

from specdec.laws.chance import Chance
from specdec.laws.language_model import Tokens
from specdec.proposers.base import Proposal, Proposer
from specdec.trees.tree import Source


class ConfidenceFilter(Proposer):
    """Drop the branches of a proposal that begin with a token of low draft probability.

    Marked as anticipating wherever drawn tokens are concerned: the ratio rules refuse it for lossless use. Ranked and
    retrieved candidates may be filtered freely.

    Parameters
    ----------
    proposer : Proposer
        Where the tree comes from.
    confidence : float
        A node is kept iff its draft probability after its parent is greater, and its parent is kept.
    """

    def __init__(self, proposer: Proposer, confidence: float):
        self._proposer = proposer
        self._confidence = confidence

    def propose(self, context: Tokens, chance: Chance) -> Proposal:
        """Filter a proposal."""
        proposal = self._proposer.propose(context, chance)
        tree, kept = proposal.tree, [0]
        for node in range(1, len(tree)):
            if tree.parent[node] in kept and np.exp(tree.log_q[node]) > self._confidence:
                kept.append(node)
        filtered = proposal.reorder(kept)
        drawn = any(Source(source).drawn for source in tree.source[1:])
        return Proposal(filtered.tree, filtered.laws, filtered.draft_passes, anticipates=drawn)
