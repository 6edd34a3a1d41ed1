"""VocabTrim: a drafter whose output head keeps the frequent tokens only, and so costs less.

Source: VocabTrim (arXiv 2506.22694). The target verifies with the whole vocabulary, so nothing is lost but acceptance.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from rtnerf.base.errors import require
from specdec.laws.distribution import normalise
from specdec.laws.language_model import LanguageModel, Tokens


class VocabTrim(LanguageModel):
    """Any draft, its law limited to the kept tokens and renormalised; token ids stay those of the whole vocabulary.

    Where the draft gives the kept tokens no mass at all, they are equally likely. Give it to any proposer in place of
    the draft.

    Parameters
    ----------
    draft : LanguageModel
        The draft.
    kept : iterable of int
        Token ids, at least one.
    """

    def __init__(self, draft: LanguageModel, kept: Iterable[int]):
        self._draft = draft
        self._kept = np.array(sorted(set(kept)), int)
        require(len(self._kept) > 0, "kept", "at least one token", "none")

    def law(self, prefix: Tokens) -> np.ndarray:
        """Return the trimmed law, shape (V,), zero outside the kept tokens."""
        return self._trim(self._draft.law(prefix))

    def laws(self, context: Tokens, paths: Sequence[Tokens]) -> list[np.ndarray]:
        """Trim the laws of one pass of the draft."""
        return [self._trim(law) for law in self._draft.laws(context, paths)]

    def _trim(self, law: np.ndarray) -> np.ndarray:
        trimmed = 0 * law
        trimmed[self._kept] = law[self._kept]
        if not trimmed.sum() > 0:
            trimmed[self._kept] += law.sum()
        return normalise(trimmed)


def frequent_tokens(calibration: Iterable[int], count: int) -> list[int]:
    """Return the ``count`` most frequent tokens of a calibration text, equals by id; fewer if it has no more."""
    tokens, counts = np.unique(np.fromiter(calibration, int), return_counts=True)
    return tokens[np.argsort(-counts, kind="stable")][:count].tolist()
