"""Trees whose shape is fixed before the text is seen, filled by a draft model layer by layer."""

import numpy as np

from rtnerf.base.errors import require
from specdec.laws.chance import Chance
from specdec.laws.language_model import LanguageModel, Tokens
from specdec.proposers.base import Proposal, Proposer, add_drawn, add_ranked
from specdec.trees.shape import RankPath, Shape
from specdec.trees.tree import Source, TreeBuilder


class StaticTree(Proposer):
    """Fill a shape with the draft's tokens; a node of rank ``r`` holds its parent's ``r``-th draw or choice.

    One draft pass a layer. Where the draft's law has fewer tokens than the shape has children, and below a token that
    was drawn again, the shape is left unfilled.

    Parameters
    ----------
    draft : LanguageModel
        The draft.
    shape : Shape
        The tree's shape.
    source : Source
        How children are obtained: drawn without or with replacement, or ranked.

    Raises
    ------
    InputError
        If the source is `Source.RETRIEVED`.
    """

    def __init__(self, draft: LanguageModel, shape: Shape, source: Source = Source.WITHOUT_REPLACEMENT):
        require(source is not Source.RETRIEVED, "source", "drawn or ranked", source.name)
        self._draft = draft
        self._shape = shape
        self._source = source

    def propose(self, context: Tokens, chance: Chance) -> Proposal:
        """Fill the shape."""
        builder, passes = TreeBuilder(context[-1]), 0
        laws: dict[int, np.ndarray] = {}
        layer: dict[int, RankPath] = {0: ()}
        while layer := {node: ranks for node, ranks in layer.items() if self._shape.branching(ranks)}:
            paths = [builder.path(node) for node in layer]
            laws |= dict(zip(layer, self._draft.laws(context, paths), strict=True))
            passes += 1
            below = {}
            for node, ranks in layer.items():
                count = self._shape.branching(ranks)
                if self._source is Source.RANKED:
                    children = add_ranked(builder, node, laws[node], count)
                else:
                    children = add_drawn(builder, node, laws[node], count, self._source, chance)
                for rank, child in enumerate(children):
                    if builder.find(node, builder.path(child)[-1]) == child:
                        below[child] = (*ranks, rank)
            layer = below
        return Proposal(builder.build(), laws, passes)


def chain(draft: LanguageModel, length: int, source: Source = Source.WITHOUT_REPLACEMENT) -> StaticTree:
    """Return the proposer of one path of ``length`` tokens. Source: Leviathan et al. (arXiv 2211.17192)."""
    return StaticTree(draft, Shape.constant([1] * length), source)


def specinfer(draft: LanguageModel, expansion: list[int]) -> StaticTree:
    """Return SpecInfer's expansion <k1 ... km>: every node at depth ``d`` has ``expansion[d]`` independent draws.

    Source: SpecInfer (arXiv 2305.09781).
    """
    return StaticTree(draft, Shape.constant(expansion), Source.WITH_REPLACEMENT)


def rsd_constant(draft: LanguageModel, branching: list[int]) -> StaticTree:
    """Return RSD-C: every node at depth ``d`` has ``branching[d]`` draws without replacement.

    Source: Recursive Speculative Decoding (arXiv 2402.14160).
    """
    return StaticTree(draft, Shape.constant(branching), Source.WITHOUT_REPLACEMENT)
