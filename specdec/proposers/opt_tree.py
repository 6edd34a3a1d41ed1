"""OPT-Tree: the tree of greatest expected acceptance for a budget, deepened while that still pays.

Source: OPT-Tree (arXiv 2406.17276). Children are the draft's likeliest tokens, not draws.
"""

from rtnerf.base.errors import require
from specdec.laws.chance import Chance
from specdec.laws.language_model import LanguageModel, Tokens
from specdec.proposers.base import Proposal, Proposer
from specdec.proposers.layered import Layers


class OptTree(Proposer):
    """Add layers until the best tree of ``nodes`` nodes expects at most ``threshold`` more tokens for the last one.

    Parameters
    ----------
    draft : LanguageModel
        The draft.
    nodes : int
        Nodes of the tree, the root included.
    threshold : float
        Expected tokens that a draft pass must gain, in [0, 1); a sensible value is the time of a draft pass over the
        target's.
    depth : int
        Most layers below the root.
    """

    def __init__(self, draft: LanguageModel, nodes: int, threshold: float, depth: int):
        require(nodes >= 2, "nodes", "at least 2", nodes)
        require(0 <= threshold < 1, "threshold", "in [0, 1)", threshold)
        self._draft = draft
        self._nodes = nodes
        self._threshold = threshold
        self._depth = depth

    def propose(self, context: Tokens, chance: Chance) -> Proposal:
        """Deepen while it pays."""
        layers = Layers(self._draft, context, self._nodes)
        expected = layers.value()
        for _ in range(self._depth):
            layers.expand(expanded=self._nodes - 1)
            gain = layers.value() - expected
            expected += gain
            if gain <= self._threshold:
                break
        return layers.best()
