"""Why a tree grown by draft confidence (DySpec) gains at temperature 0 and loses to a static one (Sequoia) above it.

DySpec takes the draft's probability of a drawn token for its chance of acceptance. At temperature 0 the target is
certain of one token, a draw is accepted if it is that one, and a good draft's probability is just that chance. Above,
the ratio rule accepts a draw ``y`` with ``min(1, p(y) / q(y))``: over all draws that is ``sum min(p, q)``, and a token
is not rejected for being one of many. The value of an unlikely draw is then far too low: siblings are added where
depth would pay. A small budget is spent at values near 1, where the two agree; a large one where they do not. Sequoia's
tree follows measured acceptance and makes no such error. Derived here from the two rules; the pair below shows it.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from specdec.laws.chance import Sampler
from specdec.laws.distribution import normalise, one_hot, residual
from specdec.laws.language_model import LanguageModel, Tokens
from specdec.proposers.base import Proposal, Proposer
from specdec.proposers.dyspec import DySpecThreshold
from specdec.proposers.static import StaticTree
from specdec.trees.sequoia import SequoiaProgramme
from specdec.trees.shape import Shape

VOCABULARY = 48
DRAFT_TEMPERATURE = 0.6
"""As in DySpec's tables."""

_CLEAR_SHARE = 0.6
_SPREAD = {"clear": 8.0, "open": 1.0}
"""Standard deviation of the target's logits where one token stands out, and where many will do."""

_NOISE = 2.0
"""Standard deviation of what the draft's logits add to them."""

_RANKS = 32
_CALIBRATION, _LEVELS = 300, 20
_CUT = 0.77
"""DySpec's threshold times the budget: 0.001 for 768 nodes."""


class GaussianLogits(LanguageModel):
    """A pair of random laws for every context, the same at every call; chosen plainly, fitted to nothing.

    Parameters
    ----------
    draft : bool
        Whether these are the draft's laws or the target's.
    temperature : float
        At least 0.
    """

    def __init__(self, draft: bool, temperature: float):
        self._draft = draft
        self._temperature = temperature

    def law(self, prefix: Tokens) -> np.ndarray:
        """Return the law, shape (VOCABULARY,)."""
        logits = _logits(prefix)[int(self._draft)]
        if self._temperature == 0:
            return one_hot(logits, int(logits.argmax()))
        return normalise(np.exp((logits - logits.max()) / self._temperature))


@cache
def _logits(prefix: Tokens) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng([len(prefix), *prefix])
    kind = "clear" if generator.random() < _CLEAR_SHARE else "open"
    target = _SPREAD[kind] * generator.standard_normal(VOCABULARY)
    return target, target + _NOISE * generator.standard_normal(VOCABULARY)


def reach(proposal: Proposal, target: LanguageModel, context: Tokens) -> np.ndarray:
    """Return the exact chance that the rule without replacement accepts each node of a proposal, shape (N,)."""
    tree = proposal.tree
    reached = np.zeros(len(tree))
    reached[0] = 1
    for node, children in enumerate(tree.children):
        if not children or reached[node] == 0:
            continue
        law, left = target.law(context + tree.paths[node]), proposal.laws[node].copy()
        undecided = reached[node]
        for child in children:
            token = tree.token[child]
            draft = normalise(left)
            accepted = min(1, law[token] / draft[token])
            reached[child] = undecided * accepted
            undecided -= reached[child]
            law = residual(law, draft)
            left[token] = 0
            if undecided <= 0 or not left.any():
                break
    return reached


@dataclass(frozen=True)
class Duel:
    """Two trees of one budget.

    Members
    -------
    dynamic, static : float
        Expected tokens per step of DySpec's and of Sequoia's tree, without the bonus.
    estimate : float
        What DySpec's values promised.
    """

    dynamic: float
    static: float
    estimate: float

    @property
    def ratio(self) -> float:
        """Dynamic over static."""
        return self.dynamic / self.static


@cache
def duel(temperature: float, nodes: int, contexts: int = 40) -> Duel:
    """Let DySpec's threshold tree and Sequoia's tree of ``nodes`` nodes meet on the same contexts."""
    target, draft = GaussianLogits(False, temperature), GaussianLogits(True, DRAFT_TEMPERATURE)
    programme = SequoiaProgramme(_rank_acceptance(temperature), nodes, _LEVELS)
    static = StaticTree(draft, programme.shape(nodes, int(programme.expected[:, nodes].argmax())))
    dynamic = DySpecThreshold(draft, _CUT / nodes, nodes)

    def proposals(proposer: Proposer) -> list[tuple[Tokens, Proposal]]:
        return [((index,), proposer.propose((index,), Sampler(index))) for index in range(contexts)]

    grown = proposals(dynamic)
    tokens = [
        np.mean([reach(proposal, target, context)[1:].sum() for context, proposal in each])
        for each in (grown, proposals(static))
    ]
    estimate = np.mean([_values(proposal)[1:].sum() for _, proposal in grown])
    return Duel(float(tokens[0]), float(tokens[1]), float(estimate))


@cache
def unlikely_draws(temperature: float, below: float = 0.1, contexts: int = 2000) -> tuple[float, float]:
    """Return (what DySpec expects, what is accepted) of first draws with a draft probability below a limit."""
    target, draft = GaussianLogits(False, temperature), GaussianLogits(True, DRAFT_TEMPERATURE)
    proposer = StaticTree(draft, Shape.constant([1]))
    expected, accepted = [], []
    for index in range(contexts):
        proposal = proposer.propose((index,), Sampler(index))
        probability = proposal.laws[0][proposal.tree.token[1]]
        if probability < below:
            expected.append(probability)
            accepted.append(reach(proposal, target, (index,))[1])
    return float(np.mean(expected)), float(np.mean(accepted))


@cache
def _rank_acceptance(temperature: float) -> np.ndarray:
    """Measure acceptance by rank on contexts of its own, shape (_RANKS,): what Sequoia's programme takes."""
    target, draft = GaussianLogits(False, temperature), GaussianLogits(True, DRAFT_TEMPERATURE)
    star = StaticTree(draft, Shape.constant([_RANKS]))
    total = np.zeros(_RANKS)
    for index in range(_CALIBRATION):
        context = (VOCABULARY, index)
        proposal = star.propose(context, Sampler(index))
        accepted = reach(proposal, target, context)[1:]
        total[: len(accepted)] += accepted
    return total / _CALIBRATION


def _values(proposal: Proposal) -> np.ndarray:
    """Return DySpec's value of every node: the product of the draft's probabilities and of its elders' misses."""
    tree = proposal.tree
    value = np.zeros(len(tree))
    value[0] = 1
    for node, children in enumerate(tree.children):
        left, place = 1.0, value[node]
        for child in children:
            probability = min(proposal.laws[node][tree.token[child]] / left, 1) if left > 0 else 1
            value[child] = place * probability
            place -= value[child]
            left -= proposal.laws[node][tree.token[child]]
    return value
