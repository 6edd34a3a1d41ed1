"""RASD: retrieved branches that the draft finds plausible, fused into the draft's own tree.

Source: RASD (arXiv 2503.03434). Its pruning rule is not published; ours keeps a retrieved branch iff its first token is
among the draft's likeliest at the root, a law that the draft has computed anyway.
"""

from specdec.chance import Chance
from specdec.distribution import ranked
from specdec.errors import require
from specdec.language_model import LanguageModel, Tokens
from specdec.layout import breadth_first
from specdec.proposers.base import Proposal, Proposer
from specdec.tree import TokenTree


class Rasd(Proposer):
    """Fuse a drafted and a pruned retrieved tree along their longest shared prefixes, cut breadth-first to a budget.

    A node that both propose keeps its drafted role. A retrieved one is a younger sibling of the drafted ones, so it is
    tried after them and may depend on what they are; and the cut asks how many nodes precede a node, never which token
    it holds: with a proposer that is lossless the fusion is lossless.

    Parameters
    ----------
    drafter, retriever : Proposer
        The two sources.
    draft : LanguageModel
        The draft, for its law at the root where the drafter reports none.
    plausible : int
        First tokens that survive pruning: this many of the draft's likeliest.
    nodes : int
        Nodes of the tree, the root included.
    """

    def __init__(self, drafter: Proposer, retriever: Proposer, draft: LanguageModel, plausible: int, nodes: int):
        require(plausible >= 0, "plausible", "at least 0", plausible)
        self._drafter = drafter
        self._retriever = retriever
        self._draft = draft
        self._plausible = plausible
        self._nodes = nodes

    def propose(self, context: Tokens, chance: Chance) -> Proposal:
        """Draft, retrieve, prune, fuse, cut."""
        drafted = self._drafter.propose(context, chance)
        law = drafted.laws[0] if 0 in drafted.laws else self._draft.law(context)
        retrieved = prune(self._retriever.propose(context, chance).tree, ranked(law, self._plausible).tolist())
        tree = drafted.tree.merge(retrieved)
        fused = Proposal(tree, drafted.laws, drafted.draft_passes, drafted.anticipates)
        return fused.reorder(breadth_first(tree)[: self._nodes])


def prune(tree: TokenTree, plausible: list[int]) -> TokenTree:
    """Keep the branches whose first token is in a list."""
    return tree.reorder([node for node, path in enumerate(tree.paths) if not path or path[0] in plausible])
