"""Whether sampled tokens have the target's law: a chi-square test of many outputs of a few contexts, with its power.

A token's *place* is where a uniform number has to fall for that token to be drawn, when the law's tokens are laid side
by side from the likeliest on. Tokens that are drawn from their laws have places that are independent and uniform,
whatever the laws (Rosenblatt 1952): so a few bins of equal width serve sharp and flat laws alike.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2, chisquare, ncx2

from rtnerf.base.errors import require
from specdec.laws.language_model import LanguageModel, Tokens
from specdec.proposers.medusa import Heads

FALSE_ALARM = 1e-4
"""Probability with which the test rejects the true law."""

SHARE = 0.2
"""The bias that the power is stated for: of so many tokens the likeliest is taken and none drawn."""

LEAST_POWER = 0.9
"""A test that would miss that bias more often tells nothing."""

_BINS = 5


@dataclass(frozen=True)
class LawTest:
    """What the test says.

    Members
    -------
    p_value : float
        Probability of places at least as uneven if the tokens have the target's law.
    power : float
        Probability with which a rule that takes the likeliest token in place of `SHARE` of its draws is found out.
    contexts, tokens : int
        Contexts and tokens that were looked at.
    """

    p_value: float
    power: float
    contexts: int
    tokens: int

    @property
    def testable(self) -> bool:
        """Whether the test would have found that bias."""
        return self.power >= LEAST_POWER

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the target's law."""
        return self.p_value >= FALSE_ALARM


def law_test(samples: Iterable[tuple[LanguageModel, Tokens, Sequence[Tokens]]], seed: int = 0) -> LawTest:
    """Test outputs against the target's law.

    Parameters
    ----------
    samples : iterable of (target, context, outputs)
        For each context, which must not depend on its outputs, many outputs of one length. The target is asked for the
        same laws over and over: see `Remembered`.
    seed : int
        Of where in a token's interval its place is.

    Raises
    ------
    InputError
        If there is no output.
    """
    generator = np.random.default_rng(seed)
    counts, shifted, contexts = [], [], 0
    for target, context, outputs in samples:
        contexts += 1
        for index in range(len(outputs[0]) if outputs else 0):
            laws = [target.law(context + output[:index]) for output in outputs]
            tokens = [output[index] for output in outputs]
            places = [place(law, token, generator.random()) for law, token in zip(laws, tokens, strict=True)]
            counts.append(np.histogram(places, _BINS, (0, 1))[0])
            shifted.append(np.sum([_biased(float(law.max())) for law in laws], axis=0))
    require(len(counts) > 0, "outputs", "at least one", "none")
    observed, biased = np.array(counts), np.array(shifted)
    expected = np.repeat(observed.sum(axis=1, keepdims=True) / _BINS, _BINS, axis=1)
    p_value = chisquare(observed, expected, axis=None, ddof=len(observed) - 1).pvalue
    freedom = observed.size - len(observed)
    noncentrality = float(((biased - expected) ** 2 / expected).sum())
    power = ncx2.sf(chi2.isf(FALSE_ALARM, freedom), freedom, noncentrality)
    return LawTest(float(p_value), float(power), contexts, int(observed.sum()))


def place(law: np.ndarray, token: int, within: float) -> float:
    """Return the place of a token, in [0, 1): of its interval the part ``within``, in [0, 1), is below."""
    order = np.argsort(-law, kind="stable")
    rank = int(np.flatnonzero(order == token)[0])
    return min(float(law[order[:rank]].sum() + within * law[token]), np.nextafter(1, 0))


def _biased(largest: float) -> np.ndarray:
    """Return the probability of every bin under the bias, where the likeliest token has the probability ``largest``."""
    edges = np.linspace(0, 1, _BINS + 1)
    return (1 - SHARE) / _BINS + SHARE * np.diff(np.minimum(edges / largest, 1))


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

    def laws(self, context: Tokens, heads: int | None = None) -> np.ndarray:
        """Return the laws, computed at most once."""
        if context not in self._laws:
            self._laws[context] = self._heads.laws(context)
        return self._laws[context][:heads]
