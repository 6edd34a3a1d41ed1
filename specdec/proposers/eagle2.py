"""EAGLE-2's dynamic tree: expand the likeliest nodes of each layer, then keep the likeliest of all.

Source: EAGLE-2 (arXiv 2406.16858). Children are the draft's likeliest tokens, not draws.
"""

from rtnerf.base.errors import require
from specdec.laws.chance import Chance
from specdec.laws.language_model import LanguageModel, Tokens
from specdec.proposers.base import Proposal, Proposer
from specdec.proposers.layered import Layers


class Eagle2(Proposer):
    """Expand ``width`` nodes a layer, ``depth`` layers, and keep the ``nodes`` of greatest cumulative probability.

    Parameters
    ----------
    draft : LanguageModel
        The draft.
    width : int
        Nodes expanded in a layer, and children of each.
    depth : int
        Layers below the root.
    nodes : int
        Nodes of the tree, the root included.
    """

    def __init__(self, draft: LanguageModel, width: int, depth: int, nodes: int):
        require(width >= 1, "width", "at least 1", width)
        require(nodes >= 1, "nodes", "at least 1", nodes)
        self._draft = draft
        self._width = width
        self._depth = depth
        self._nodes = nodes

    def propose(self, context: Tokens, chance: Chance) -> Proposal:
        """Expand layer by layer, then choose."""
        layers = Layers(self._draft, context, self._nodes)
        for _ in range(self._depth):
            layers.expand(expanded=self._width, children=self._width)
        return layers.best()
