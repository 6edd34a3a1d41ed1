"""RASD: retrieved branches that the draft finds plausible, fused into the draft's own tree.

Source: RASD (arXiv 2503.03434). Its pruning rule is not published; ours keeps a retrieved branch iff its first token is
among the draft's likeliest at the root, a law that the draft has computed anyway.
"""

import numpy as np

from rtnerf.base.errors import require
from specdec.laws.chance import Chance
from specdec.laws.distribution import ranked
from specdec.laws.language_model import LanguageModel, Tokens
from specdec.proposers.base import Proposal, Proposer
from specdec.trees.layout import breadth_first
from specdec.trees.tree import Source, TokenTree


class Rasd(Proposer):
    """Fuse a drafted and a pruned retrieved tree along their longest shared prefixes, and cut the union to a budget.

    A node that both propose keeps its drafted role. A retrieved one is a younger sibling of the drafted ones, so it is
    tried after them and may depend on what they are. With drawn candidates the cut is breadth-first: it asks how many
    nodes precede a node, never which token it holds, so that with a drafter that is lossless the fusion is lossless.
    Candidates that were all chosen may be kept for what they are: the likeliest paths by the weighted mean of both
    sources.

    Where the retriever is sure of itself the drafter is not asked. That depends on what came before alone.

    Parameters
    ----------
    drafter, retriever : Proposer
        The two sources.
    draft : LanguageModel
        The draft, for its law at the root where the drafter reports none.
    plausible : int or None
        First tokens that survive pruning: this many of the draft's likeliest; None for all, without asking the draft.
    nodes : int
        Nodes of the tree, the root included.
    trust : float
        Weight of the retriever in the mean, in (0, 1).
    sure : float
        Probability of its first token, above 0, from which on a retrieved tree is all there is; never for 1.
    least : float
        Probability of a path, in [0, 1), below which a node that was chosen is left out.
    """

    def __init__(
        self,
        drafter: Proposer,
        retriever: Proposer,
        draft: LanguageModel,
        plausible: int | None,
        nodes: int,
        trust: float = 0.5,
        sure: float = 1.0,
        least: float = 0.0,
    ):
        require(plausible is None or plausible >= 0, "plausible", "at least 0", plausible)
        require(0 < trust < 1, "trust", "in (0, 1)", trust)
        require(sure > 0, "sure", "above 0", sure)
        require(0 <= least < 1, "least", "in [0, 1)", least)
        self._drafter = drafter
        self._retriever = retriever
        self._draft = draft
        self._plausible = plausible
        self._nodes = nodes
        self._trust, self._sure, self._least = trust, sure, least

    def propose(self, context: Tokens, chance: Chance) -> Proposal:
        """Retrieve, draft, prune, fuse, cut."""
        retrieved = self._retriever.propose(context, chance).tree
        if self._sure < 1 and np.exp(retrieved.log_q[1:2]).sum() >= self._sure:
            return Proposal(retrieved.prefix(self._nodes), {}, draft_passes=0)
        drafted = self._drafter.propose(context, chance)
        if self._plausible is not None:
            law = drafted.laws[0] if 0 in drafted.laws else self._draft.law(context)
            retrieved = prune(retrieved, ranked(law, self._plausible).tolist())
        tree = drafted.tree.merge(retrieved)
        fused = Proposal(tree, drafted.laws, drafted.draft_passes, drafted.anticipates)
        drawn = any(Source(source).drawn for source in set(drafted.tree.source[1:].tolist()))
        if drawn:
            order = breadth_first(tree)
        else:
            order = likeliest_first(tree, drafted.tree, retrieved, self._trust, self._least)
        return fused.reorder(order[: self._nodes].tolist())


def likeliest_first(
    union: TokenTree, drafted: TokenTree, retrieved: TokenTree, trust: float, least: float = 0.0
) -> np.ndarray:
    """Return the nodes of two trees' union by the probability of their paths, falling, shape (N,); parents come first.

    Those below ``least`` are left out. A node's probability after its parent is the weighted mean of what the two trees
    say, ``trust`` being the weight of the retrieved one; where only one of them has children, it is what that one says.
    """
    trees = ((drafted, 1 - trust), (retrieved, trust))
    told = [dict(zip(tree.paths, np.exp(tree.log_q).tolist(), strict=True)) for tree, _ in trees]
    asked = [{path[:-1]: weight for path in tree.paths[1:]} for tree, weight in trees]
    value = [1.0]
    for parent, path in zip(union.parent[1:].tolist(), union.paths[1:], strict=True):
        weights = [weight.get(path[:-1], 0.0) for weight in asked]
        said = sum(weight * known.get(path, 0.0) for weight, known in zip(weights, told, strict=True))
        value.append(value[parent] * said / sum(weights))
    values = np.array(value)
    return np.argsort(-values, kind="stable")[: int((values >= least).sum())]


def prune(tree: TokenTree, plausible: list[int]) -> TokenTree:
    """Keep the branches whose first token is in a list."""
    return tree.reorder([node for node, path in enumerate(tree.paths) if not path or path[0] in plausible])
