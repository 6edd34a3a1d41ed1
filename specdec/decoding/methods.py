"""Proposers and verifiers by name: one of each makes a method, for a pair of models and a budget of nodes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from rtnerf.base.errors import require
from specdec.decoding.pair import LONGEST_MATCH, Models, Pair
from specdec.laws.language_model import LanguageModel
from specdec.proposers.base import Proposer
from specdec.proposers.confidence import ConfidenceFilter
from specdec.proposers.dyspec import DySpecGreedy, DySpecThreshold
from specdec.proposers.eagle2 import Eagle2
from specdec.proposers.medusa import Medusa
from specdec.proposers.opt_tree import OptTree
from specdec.proposers.rasd import Rasd
from specdec.proposers.retrieval import PromptLookup, Retrieval
from specdec.proposers.static import StaticTree, chain
from specdec.proposers.stochastic_beam import StochasticBeam
from specdec.proposers.vocab_trim import VocabTrim, frequent_tokens
from specdec.trees.sequoia import SequoiaProgramme
from specdec.trees.shape import Shape, expected_tokens, greedy_shape
from specdec.trees.tree import Source
from specdec.verifiers.base import Verifier
from specdec.verifiers.greedy import Greedy
from specdec.verifiers.multi_step import (
    DeterministicCandidates,
    MultiStepRejection,
    WithoutReplacement,
    WithReplacement,
)
from specdec.verifiers.naive import NaiveSampling
from specdec.verifiers.typical import TypicalAcceptance

VERIFIERS: dict[str, Callable[[], Verifier]] = {
    "greedy": Greedy,
    "naive": NaiveSampling,
    "with-replacement": WithReplacement,
    "without-replacement": WithoutReplacement,
    "multi-step": MultiStepRejection,
    "deterministic": DeterministicCandidates,
    "typical": TypicalAcceptance,
}

_DRAWN = {
    "with-replacement": Source.WITH_REPLACEMENT,
    "without-replacement": Source.WITHOUT_REPLACEMENT,
    "multi-step": Source.WITHOUT_REPLACEMENT,
}
"""How static trees and chains obtain their candidates for a verifier; for the others they take the likeliest."""

_CONTINUATION = 12
"""Longest continuation that is taken from a text: no pass of a model limits it."""

_WORTH = 0.2
"""Probability of a node from which on it pays: a row costs the target a tenth of a pass, a step gives two tokens."""

_SURE = 0.5
"""Probability of what was looked up from which on a pass of the draft does not pay."""


@dataclass(frozen=True)
class Brief:
    """What a proposer is made for.

    Members
    -------
    pair : Pair
        Where tuning data come from.
    models : Models
        The models of this loop.
    source : Source
        How static trees obtain their candidates.
    nodes, depth : int
        Budget: nodes of the tree, the root included, and layers below the root that a draft may make.
    """

    pair: Pair
    models: Models
    source: Source
    nodes: int
    depth: int

    @property
    def acceptance(self) -> np.ndarray:
        """The measured acceptance by rank."""
        return self.pair.acceptance(self.source)


def _static(brief: Brief) -> StaticTree:
    table = np.tile(brief.acceptance, (brief.depth, 1))
    return StaticTree(brief.models.draft, greedy_shape(table, brief.nodes), brief.source)


def _sequoia(brief: Brief) -> StaticTree:
    levels = brief.depth + 1
    programme = SequoiaProgramme(brief.acceptance, brief.nodes, levels)
    nodes = int(np.argmax(programme.expected[levels]))
    return StaticTree(brief.models.draft, programme.shape(nodes, levels), brief.source)


def _medusa(brief: Brief) -> Medusa:
    return Medusa(brief.models.medusa(), greedy_shape(brief.pair.head_acceptance[: brief.depth], brief.nodes))


def _constant(brief: Brief, source: Source) -> StaticTree:
    acceptance = brief.pair.acceptance(source)
    shapes = [Shape.constant(branching) for branching in _branchings(brief.nodes, brief.depth)]
    best = max(shapes, key=lambda shape: expected_tokens(shape, acceptance))
    return StaticTree(brief.models.draft, best, source)


def _branchings(nodes: int, depth: int, widest: int | None = None) -> Iterator[tuple[int, ...]]:
    """Yield all non-increasing branching factors whose tree keeps to a budget."""
    yield ()
    for first in range(1, min(widest or nodes, nodes - 1) + 1) if depth else ():
        # Below each of ``first`` children hangs an equal share of the nodes that are left.
        for rest in _branchings((nodes - 1) // first, depth - 1, first):
            yield (first, *rest)


def _beam(brief: Brief) -> StochasticBeam:
    depth = min(brief.depth, round((brief.nodes - 1) ** 0.5))
    return StochasticBeam(brief.models.draft, (brief.nodes - 1) // depth, depth)


def _eagle2(brief: Brief, draft: LanguageModel) -> Eagle2:
    return Eagle2(draft, width=min(8, brief.nodes), depth=brief.depth, nodes=brief.nodes)


def _trimmed(brief: Brief) -> LanguageModel:
    kept = frequent_tokens(brief.pair.datastore.text, brief.pair.tokenizer.vocabulary // 4)
    return VocabTrim(brief.models.draft, kept)


def _opt_tree(brief: Brief) -> OptTree:
    return OptTree(brief.models.draft, brief.nodes, threshold=0.05, depth=brief.depth)


def _dyspec_threshold(brief: Brief) -> DySpecThreshold:
    return DySpecThreshold(brief.models.draft, threshold=1 / brief.nodes, nodes=brief.nodes)


def _retrieval(brief: Brief) -> Retrieval:
    return Retrieval(
        brief.pair.datastore, brief.nodes, _CONTINUATION, longest=LONGEST_MATCH, shortest=1, occurrences=64
    )


def _lookup(brief: Brief) -> PromptLookup:
    return PromptLookup(brief.nodes, brief.nodes, longest=8, least=_WORTH)


def _rasd(brief: Brief) -> Rasd:
    drafter = _dyspec_threshold(brief) if brief.source.drawn else _eagle2(brief, brief.models.draft)
    return _fused(brief, drafter, PromptLookup(brief.nodes, _CONTINUATION))


def _thrifty(brief: Brief, drafter: Proposer) -> Rasd:
    return _fused(brief, drafter, _lookup(brief), _SURE, _WORTH)


def _fused(brief: Brief, drafter: Proposer, retriever: Proposer, sure: float = 1.0, least: float = 0.0) -> Rasd:
    return Rasd(drafter, retriever, brief.models.draft, plausible=None, nodes=brief.nodes, sure=sure, least=least)


PROPOSERS: dict[str, Callable[[Brief], Proposer]] = {
    "chain": lambda brief: chain(brief.models.draft, min(brief.nodes - 1, brief.depth), brief.source),
    "static": _static,
    "sequoia": _sequoia,
    "medusa": _medusa,
    "specinfer": lambda brief: _constant(brief, Source.WITH_REPLACEMENT),
    "rsd-constant": lambda brief: _constant(brief, Source.WITHOUT_REPLACEMENT),
    "rsd-beam": _beam,
    "dyspec": lambda brief: DySpecGreedy(brief.models.draft, brief.nodes),
    "dyspec-threshold": _dyspec_threshold,
    "dyspec-calibrated": lambda brief: DySpecGreedy(brief.models.draft, brief.nodes, brief.pair.trust),
    "eagle2": lambda brief: _eagle2(brief, brief.models.draft),
    "vocabtrim-eagle2": lambda brief: _eagle2(brief, _trimmed(brief)),
    "opt-tree": _opt_tree,
    "retrieval": _retrieval,
    "lookup": _lookup,
    "rasd": _rasd,
    "medusa-lookup": lambda brief: _thrifty(brief, _medusa(brief)),
    "eagle2-lookup": lambda brief: _thrifty(brief, _eagle2(brief, brief.models.draft)),
    "confidence": lambda brief: ConfidenceFilter(_static(brief), 0.3),
}


DRAFTLESS = {"medusa", "medusa-lookup", "retrieval", "lookup"}
"""Proposers that ask no draft."""

BOUNDLESS = {"dyspec", "dyspec-threshold", "dyspec-calibrated", "retrieval", "lookup"}
"""Proposers whose depth is limited by values and nodes only."""


def verifier(name: str, temperature: float, lossless: bool = True) -> Verifier:
    """Return a verifier by name, or refuse one that does not keep the target's law at this temperature."""
    require(name in VERIFIERS, "verifier", f"one of {', '.join(VERIFIERS)}", name)
    rule = VERIFIERS[name]()
    if lossless:
        require(rule.lossless, "verifier", "lossless", name)
        require(temperature == 0 or name != "greedy", "temperature", "0 with the verifier greedy", temperature)
    return rule


def proposer(name: str, rule: str, pair: Pair, models: Models, nodes: int, depth: int) -> Proposer:
    """Return a proposer by name, for the verifier ``rule`` and a budget.

    Parameters
    ----------
    name, rule : str
        Keys of `PROPOSERS` and `VERIFIERS`.
    pair, models : Pair, Models
        What is tuned by, and what decodes.
    nodes : int
        Most nodes of the tree, the root included, at least 2.
    depth : int
        Most layers below the root that a draft may make, at least 1; DySpec's trees are limited by their values only,
        and what is found in a text costs no pass.

    Raises
    ------
    InputError
        If a name or a number is none of those, or the target lacks what the proposer needs.
    """
    require(name in PROPOSERS, "proposer", f"one of {', '.join(PROPOSERS)}", name)
    require(nodes >= 2, "nodes", "at least 2", nodes)
    require(depth >= 1, "depth", "at least 1", depth)
    return PROPOSERS[name](Brief(pair, models, _DRAWN.get(rule, Source.RANKED), nodes, depth))
