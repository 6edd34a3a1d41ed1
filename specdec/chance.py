"""Where decisions come from: a seeded generator to decode with, or every outcome in turn to prove with.

Proposers and verifiers take all their randomness from `Chance.draw` and `Chance.accept`. Given a `Sampler` they decode;
run by `outcomes` the same code is followed along every branch, and the probabilities come out exact.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np


class Chance(ABC):
    """A source of random decisions."""

    @abstractmethod
    def draw(self, weights: np.ndarray) -> int:
        """Return an index with probability proportional to ``weights``, shape (V,), non-negative, not all zero."""

    def accept(self, probability: float | Fraction) -> bool:
        """Return True with a probability in [0, 1]."""
        return self.draw(np.array([1 - probability, probability])) == 1


class Sampler(Chance):
    """Decisions of a seeded generator; the same seed gives the same decisions.

    Parameters
    ----------
    seed : int
        Seed of the generator.
    """

    def __init__(self, seed: int):
        self._generator = np.random.default_rng(seed)

    def draw(self, weights: np.ndarray) -> int:
        """Draw by inverting the cumulative weights."""
        cumulative = np.cumsum(weights, dtype=float)
        index = int(np.searchsorted(cumulative, self._generator.random() * cumulative[-1], side="right"))
        return index if index < len(weights) else int(np.flatnonzero(weights)[-1])

    def accept(self, probability: float | Fraction) -> bool:
        """Compare with one uniform number."""
        return bool(self._generator.random() < probability)


class _Script(Chance):
    """Follow recorded decisions, then always take the first that is possible, recording it and its alternatives."""

    def __init__(self, decisions: list[int]):
        self.decisions = decisions
        self.alternatives: list[np.ndarray] = []
        self.probability = Fraction(1)

    def draw(self, weights: np.ndarray) -> int:
        weights = np.asarray(weights, dtype=object)
        possible = np.flatnonzero(weights > 0)
        step = len(self.alternatives)
        self.alternatives.append(possible)
        if step == len(self.decisions):
            self.decisions.append(0)
        index = int(possible[self.decisions[step]])
        self.probability *= Fraction(weights[index]) / Fraction(weights.sum())
        return index


def outcomes(experiment: Callable[[Chance], Any]) -> Iterator[tuple[Fraction, Any]]:
    """Yield (probability, result) for every way in which an experiment's decisions can fall; probabilities sum to 1.

    The experiment is run once for each way, and must depend on nothing else that changes. With exact laws the
    probabilities are exact rationals.
    """
    decisions: list[int] = []
    while True:
        script = _Script(decisions)
        result = experiment(script)
        yield script.probability, result
        # The next way: advance the last decision that has an alternative left, and forget those after it.
        while decisions and decisions[-1] + 1 == len(script.alternatives[len(decisions) - 1]):
            decisions.pop()
        if not decisions:
            return
        decisions[-1] += 1
