"""Whether sampled tokens have the target's law: a chi-square test of many outputs of one context."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from rtnerf.base.errors import require
from specdec.decoding.decode import decode
from specdec.laws.chance import Chance
from specdec.laws.language_model import LanguageModel, Tokens
from specdec.proposers.base import Proposer
from specdec.proposers.medusa import Heads
from specdec.verifiers.base import Verifier

_LEAST_EXPECTED = 5
"""Outputs expected of a bin; rarer ones share a bin, as the chi-square law needs it."""


def chi_square(counts: np.ndarray, expected: np.ndarray) -> float:
    """Return the p-value of counts, shape (bins,), given their expectations, of the same sum.

    The probability that a chi-square variable of ``bins - 1`` degrees of freedom is at least as large as the sum of
    ``(count - expected)**2 / expected``: for the true law uniform in [0, 1], so that a test that fails below ``p``
    fails falsely with probability ``p``. A single bin tells nothing: 1.
    """
    require(len(counts) == len(expected) > 0, "expected", f"of length {len(counts)}, not empty", len(expected))
    if len(counts) == 1:
        return 1.0
    statistic = ((counts - expected) ** 2 / expected).sum()
    half = torch.tensor([(len(counts) - 1) / 2, statistic / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))


def law_p_value(
    target: LanguageModel,
    proposer: Proposer,
    verifier: Verifier,
    context: Tokens,
    trials: int,
    chance: Chance,
    length: int = 2,
    lossless: bool = True,
) -> float:
    """Return the p-value of ``trials`` outputs of ``length`` tokens after a context against the target's law.

    Outputs of at least five expected occurrences have a bin each, all others share one. The models are asked for the
    same laws over and over: see `Remembered`.

    Raises
    ------
    InputError
        If there are fewer than 1 trials, or as `specdec.decoding.decode.decode`.
    """
    require(trials >= 1, "trials", "at least 1", trials)
    law = {(): 1.0}
    for _ in range(length):
        law = {
            (*output, int(token)): mass * float(probabilities[token])
            for output, mass in law.items()
            for probabilities in [target.law(context + output)]
            for token in np.flatnonzero(probabilities * mass * trials >= _LEAST_EXPECTED)
        }
    counts: Counter[Tokens] = Counter()
    for _ in range(trials):
        counts[decode(target, proposer, verifier, context, length, chance, lossless)[0]] += 1
    expected = [mass * trials for mass in law.values()]
    found = [counts[output] for output in law]
    rest, rest_found = trials - sum(expected), trials - sum(found)
    if rest >= _LEAST_EXPECTED:
        expected.append(rest)
        found.append(rest_found)
    elif expected:
        # Too little is left for a bin of its own: it joins the rarest.
        rarest = int(np.argmin(expected))
        expected[rarest] += rest
        found[rarest] += rest_found
    else:
        return 1.0
    return chi_square(np.array(found), np.array(expected))


class Remembered(LanguageModel):
    """A model whose laws after one context are kept, for many outputs of that context.

    Parameters
    ----------
    model : LanguageModel
        The model.
    context : tuple of int
        What all prefixes begin with.
    """

    def __init__(self, model: LanguageModel, context: Tokens):
        self._model = model
        self._context = context
        self._laws: dict[Tokens, np.ndarray] = {}

    def law(self, prefix: Tokens) -> np.ndarray:
        """Return the law, computed at most once."""
        return self.laws(prefix, [()])[0]

    def laws(self, context: Tokens, paths: Sequence[Tokens]) -> list[np.ndarray]:
        """Return the laws, of which the new ones are computed in one pass."""
        ends = [context[len(self._context) :] + path for path in paths]
        new = [end for end in dict.fromkeys(ends) if end not in self._laws]
        if new:
            self._laws.update(zip(new, self._model.laws(self._context, new), strict=True))
        return [self._laws[end] for end in ends]


class RememberedHeads(Heads):
    """Heads whose laws are kept by context, likewise.

    Parameters
    ----------
    heads : Heads
        The heads.
    """

    def __init__(self, heads: Heads):
        self._heads = heads
        self._laws: dict[Tokens, np.ndarray] = {}

    def laws(self, context: Tokens) -> np.ndarray:
        """Return the laws, computed at most once."""
        if context not in self._laws:
            self._laws[context] = self._heads.laws(context)
        return self._laws[context]
