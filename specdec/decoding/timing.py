"""Where the time of a decoding loop goes: stopwatches round models, heads, proposers and verifiers."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from specdec.laws.chance import Chance
from specdec.laws.language_model import LanguageModel, Tokens
from specdec.proposers.base import Proposal, Proposer
from specdec.proposers.medusa import Heads
from specdec.verifiers.base import Verdict, Verifier

T = TypeVar("T")


class Clocks:
    """Seconds by part of the work. What a part spends inside another is counted for itself alone.

    Members
    -------
    seconds : dict of str to float
        Time of each part so far.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inside = 0.0

    def __call__(self, part: str, action: Callable[..., T], *arguments: Any) -> T:
        """Run an action on a part's clock, and return what it returns."""
        outside, self._inside = self._inside, 0.0
        started = time.perf_counter()
        try:
            return action(*arguments)
        finally:
            spent = time.perf_counter() - started
            self.seconds[part] += spent - self._inside
            self._inside = outside + spent


class TimedModel(LanguageModel):
    """A model whose passes run on a part's clock."""

    def __init__(self, model: LanguageModel, clocks: Clocks, part: str):
        self._model, self._clocks, self._part = model, clocks, part

    def law(self, prefix: Tokens) -> np.ndarray:
        """Return the model's law."""
        return self._clocks(self._part, self._model.law, prefix)

    def laws(self, context: Tokens, paths: Sequence[Tokens]) -> Sequence[np.ndarray] | np.ndarray:
        """Return the model's laws."""
        return self._clocks(self._part, self._model.laws, context, paths)


class TimedHeads(Heads):
    """Heads that run on a part's clock."""

    def __init__(self, heads: Heads, clocks: Clocks, part: str):
        self._heads, self._clocks, self._part = heads, clocks, part

    def laws(self, context: Tokens, heads: int | None = None) -> np.ndarray:
        """Return the heads' laws."""
        return self._clocks(self._part, self._heads.laws, context, heads)


class TimedProposer(Proposer):
    """A proposer that runs on a part's clock."""

    def __init__(self, proposer: Proposer, clocks: Clocks, part: str):
        self._proposer, self._clocks, self._part = proposer, clocks, part

    def propose(self, context: Tokens, chance: Chance) -> Proposal:
        """Return the proposer's tree."""
        return self._clocks(self._part, self._proposer.propose, context, chance)


class TimedVerifier(Verifier):
    """A verifier that runs on a part's clock."""

    def __init__(self, verifier: Verifier, clocks: Clocks, part: str):
        self._verifier, self._clocks, self._part = verifier, clocks, part

    def verify(self, proposal: Proposal, target: Sequence[np.ndarray] | np.ndarray, chance: Chance) -> Verdict:
        """Return the verifier's verdict."""
        return self._clocks(self._part, self._verifier.verify, proposal, target, chance)

    def check_lossless(self, proposal: Proposal) -> None:
        """Check as the verifier does."""
        self._clocks(self._part, self._verifier.check_lossless, proposal)
