"""What cuts the unlikely tokens off a law before one is drawn: top-k, top-p, min-p."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from rtnerf.base.errors import require
from specdec.laws.distribution import normalise
from specdec.laws.language_model import LanguageModel, Tokens


@dataclass(frozen=True)
class Filter:
    """Three cuts, in this order; each leaves the likeliest token. Exact laws stay exact.

    Members
    -------
    top_k : int or None
        So many tokens are kept, and those as likely as the last of them; None for all. At least 1.
    top_p : float or Fraction
        The likeliest tokens are kept until they have so much of the probability, in (0, 1].
        Source: Holtzman et al. 2020 (arXiv 1904.09751).
    min_p : float or Fraction
        Tokens are kept that are at least so likely relative to the likeliest, in [0, 1].
        Source: Nguyen et al. 2024 (arXiv 2407.01082).

    Raises
    ------
    InputError
        If a number is out of range.
    """

    top_k: int | None = None
    top_p: float | Fraction = 1.0
    min_p: float | Fraction = 0.0

    def __post_init__(self) -> None:
        require(self.top_k is None or self.top_k >= 1, "top-k", "at least 1", self.top_k)
        require(0 < self.top_p <= 1, "top-p", "above 0 and at most 1", self.top_p)
        require(0 <= self.min_p <= 1, "min-p", "from 0 to 1", self.min_p)

    def __call__(self, law: np.ndarray) -> np.ndarray:
        """Return the law that is left of one, shape (V,)."""
        if self.top_k is not None and self.top_k < len(law):
            law = normalise(law * (law >= np.sort(law)[-self.top_k]))
        if self.top_p < 1:
            order = np.argsort(-law, kind="stable")
            before = np.cumsum(law[order]) - law[order]
            kept = np.zeros(len(law), dtype=bool)
            kept[order] = before < self.top_p
            law = normalise(law * kept)
        if self.min_p > 0:
            law = normalise(law * (law >= self.min_p * law.max()))
        return law


class Filtered(LanguageModel):
    """A model whose laws have been through a filter.

    Parameters
    ----------
    model : LanguageModel
        The laws as they are.
    cut : Filter
        What is cut off.
    """

    def __init__(self, model: LanguageModel, cut: Filter):
        self._model, self._cut = model, cut

    def law(self, prefix: Tokens) -> np.ndarray:
        """Return the filtered law."""
        return self._cut(self._model.law(prefix))

    def laws(self, context: Tokens, paths: Sequence[Tokens]) -> list[np.ndarray]:
        """Filter the laws of one pass of the model."""
        return [self._cut(law) for law in self._model.laws(context, paths)]
