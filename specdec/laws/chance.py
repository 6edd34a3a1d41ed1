"""Where decisions come from: a seeded generator to decode with, or every outcome in turn to prove with.

Proposers and verifiers take all their randomness from `Chance.draw` and `Chance.accept`. Given a `Sampler` they decode;
run by `outcomes` the same code is followed along every branch, and the probabilities come out exact.
"""

from abc import ABC, abstractmethod
from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

_ROUNDING = 1e-6
"""Where less than this share of the weights is left, differences of sums no longer tell how much."""


class Chance(ABC):
    """A source of random decisions."""

    @abstractmethod
    def draw(self, weights: np.ndarray) -> int:
        """Return an index with probability proportional to ``weights``, shape (V,), non-negative, not all zero."""

    def independent(self, weights: np.ndarray) -> Iterator[int]:
        """Yield draws without end, each by itself."""
        while True:
            yield self.draw(weights)

    def distinct(self, weights: np.ndarray) -> Iterator[int]:
        """Yield draws among the indices not drawn yet, until no possible one is left.

        In this order they are the largest of ``log weight + Gumbel noise``, largest first (Plackett-Luce; Kool et al.
        2019, arXiv 1903.06059).
        """
        left = weights.copy()
        while (left > 0).any():
            index = self.draw(left)
            left[index] *= 0
            yield index

    def accept(self, probability: float | Fraction) -> bool:
        """Return True with a probability in [0, 1]."""
        return self.draw(np.array([1 - probability, probability])) == 1


class Sampler(Chance):
    """Decisions of a seeded generator; the same seed gives the same decisions.

    Parameters
    ----------
    seed : int or sequence of int
        Seed of the generator, 0 or more; streams of one seed are told apart by a sequence: (seed, stream).
    """

    def __init__(self, seed: int | Sequence[int]):
        self._generator = np.random.default_rng(seed)

    def draw(self, weights: np.ndarray) -> int:
        """Draw by inverting the cumulative weights."""
        return next(self.independent(weights))

    def independent(self, weights: np.ndarray) -> Iterator[int]:
        """Invert the cumulative weights, summed once."""
        cumulative = np.cumsum(weights, dtype=float)
        while True:
            yield self._invert(cumulative, self._generator.random() * cumulative[-1])

    def distinct(self, weights: np.ndarray) -> Iterator[int]:
        """Invert the cumulative weights, summed once, stepping over the intervals of the indices drawn before."""
        cumulative = np.cumsum(weights, dtype=float)
        left = total = float(cumulative[-1])
        drawn: list[tuple[float, float, int]] = []  # Start and length of the interval, index; ascending.
        while left > _ROUNDING * total:
            place = self._generator.random() * left
            for start, length, _ in drawn:
                if place < start:
                    break
                place += length
            index = self._invert(cumulative, place)
            length = float(weights[index])
            interval = (float(cumulative[index]) - length, length, index)
            if interval not in drawn:
                insort(drawn, interval)
                left -= length
                yield index
        rest = weights.copy()
        rest[[index for _, _, index in drawn]] *= 0
        yield from super().distinct(rest)

    @staticmethod
    def _invert(cumulative: np.ndarray, place: float) -> int:
        index = int(cumulative.searchsorted(place, side="right"))
        # Rounding can lead past the end: to the last index that is possible.
        return index if index < len(cumulative) else int(cumulative.searchsorted(cumulative[-1]))

    def accept(self, probability: float | Fraction) -> bool:
        """Compare with one uniform number."""
        return bool(self._generator.random() < probability)


class Likeliest(Chance):
    """No chance at all: always the likeliest, the limit of temperature zero; of equals the first."""

    def draw(self, weights: np.ndarray) -> int:
        """Return the index of the largest weight."""
        return int(np.argmax(weights))


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
