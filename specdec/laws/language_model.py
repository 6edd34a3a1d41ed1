"""What a target or a draft is: a context goes in, the law of the next token comes out."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from rtnerf.base.errors import require
from specdec.laws.distribution import normalise, one_hot

Tokens = tuple[int, ...]


class LanguageModel(ABC):
    """A next-token law for every prefix."""

    @abstractmethod
    def law(self, prefix: Tokens) -> np.ndarray:
        """Return the law of the token after a prefix, shape (V,)."""

    def laws(self, context: Tokens, paths: Sequence[Tokens]) -> Sequence[np.ndarray] | np.ndarray:
        """Return the laws after ``context + path``, one a path: one forward pass of a model that can batch."""
        return [self.law(context + path) for path in paths]


class TableModel(LanguageModel):
    """A law written down for each prefix.

    Parameters
    ----------
    table : mapping from tuple of int to ndarray of shape (V,)
        The laws, exact or float64.
    """

    def __init__(self, table: Mapping[Tokens, np.ndarray]):
        self._table = table

    def law(self, prefix: Tokens) -> np.ndarray:
        """Look the law up."""
        return self._table[prefix]


class MarkovModel(LanguageModel):
    """A law that depends on the last token only.

    Parameters
    ----------
    transition : ndarray of shape (V, V)
        Row ``i`` is the law after token ``i``, exact or float64.
    """

    def __init__(self, transition: np.ndarray):
        self._transition = transition

    def law(self, prefix: Tokens) -> np.ndarray:
        """Return the last token's row."""
        return self._transition[prefix[-1]]

    def laws(self, context: Tokens, paths: Sequence[Tokens]) -> np.ndarray:
        """Return the last tokens' rows, shape (paths, V)."""
        return self._transition[[(context + path)[-1] for path in paths]]


class AtTemperature(LanguageModel):
    """A model's law raised to the power ``1 / temperature`` and normalised; at zero, certain of the likeliest token.

    Parameters
    ----------
    model : LanguageModel
        The law at temperature 1.
    temperature : float
        At least 0. Exact laws stay exact at 0 and 1 only.

    Raises
    ------
    InputError
        If the temperature is negative.
    """

    def __init__(self, model: LanguageModel, temperature: float):
        require(temperature >= 0, "temperature", "at least 0", temperature)
        self._model = model
        self._temperature = temperature

    def law(self, prefix: Tokens) -> np.ndarray:
        """Return the tempered law."""
        return self._temper(self._model.law(prefix))

    def laws(self, context: Tokens, paths: Sequence[Tokens]) -> list[np.ndarray]:
        """Temper the laws of one pass of the model."""
        return [self._temper(law) for law in self._model.laws(context, paths)]

    def _temper(self, law: np.ndarray) -> np.ndarray:
        if self._temperature == 0:
            return one_hot(law, int(np.argmax(law)))
        if self._temperature == 1:
            return law
        # Relative to the largest, so that low temperatures do not underflow.
        return normalise((law / law.max()).astype(float) ** (1 / self._temperature))
