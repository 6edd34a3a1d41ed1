"""Small exact models for proofs: rational laws drawn from a seed, one for every prefix."""

from fractions import Fraction
from itertools import product

import numpy as np

from specdec.laws.chance import Chance
from specdec.laws.distribution import exact
from specdec.laws.language_model import LanguageModel, TableModel
from specdec.proposers.base import Proposal, Proposer
from specdec.proposers.medusa import Heads
from specdec.trees.tree import Source, TreeBuilder

CONTEXT = (0, 1, 0)


def rationals(text: str) -> np.ndarray:
    """The exact law of space-separated rationals."""
    law = np.array([Fraction(part) for part in text.split()], dtype=object)
    assert law.sum() == 1
    return law


def random_law(generator: np.random.Generator, vocabulary: int) -> np.ndarray:
    """An exact law, with an impossible token now and then."""
    weights = generator.integers(0, 8, vocabulary)
    weights[generator.integers(vocabulary)] += 1
    return exact(weights.tolist())


def random_model(seed: int, vocabulary: int, depth: int) -> TableModel:
    """An exact model of the continuations of `CONTEXT` by up to ``depth`` tokens."""
    generator = np.random.default_rng(seed)
    paths = [path for length in range(depth + 1) for path in product(range(vocabulary), repeat=length)]
    return TableModel({CONTEXT + path: random_law(generator, vocabulary) for path in paths})


class TableHeads(Heads):
    """Heads with one law each, whatever the context."""

    def __init__(self, laws: list[np.ndarray]):
        self._laws = laws

    def laws(self, context, heads=None):
        return self._laws[:heads]


class FixedTree(Proposer):
    """Propose the same candidates whatever the context."""

    def __init__(self, paths, source=Source.RETRIEVED):
        self._paths = paths
        self._source = source

    def propose(self, context, chance: Chance) -> Proposal:
        tree = TreeBuilder.of_paths(context[-1], self._paths, self._source).build()
        return Proposal(tree, {}, draft_passes=0)


class CountingModel(LanguageModel):
    """A model that counts its passes."""

    def __init__(self, model: LanguageModel):
        self._model = model
        self.passes = 0

    def law(self, prefix):
        return self.laws(prefix, [()])[0]

    def laws(self, context, paths):
        self.passes += 1
        return self._model.laws(context, paths)
