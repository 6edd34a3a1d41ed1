"""The time of one forward pass: measured, constant, or fitted; `specdec.cost.roofline` has it from first principles.

A pass takes ``tokens`` tokens of each of ``batch`` requests.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from rtnerf.base.errors import require

LARGEST = 1_000_000_000
"""Of tokens, requests and milliseconds."""

FALL = 0.2
"""By which measured times may fall with more tokens: they scatter, and kernels change."""

WORST_FIT = 0.3
"""Root mean square of the relative errors of a fit that is used."""


class PassTime(ABC):
    """Milliseconds of a pass."""

    @abstractmethod
    def ms(self, batch: int, tokens: int) -> float:
        """Return the time of a pass on ``tokens`` tokens of each of ``batch`` requests, in ms."""

    def head_ms(self, batch: int, tokens: int) -> float:
        """Return the share of `ms` that is the output layer's, where it is known; else 0."""
        return 0.0

    def resource(self, batch: int, tokens: int) -> str | None:
        """Return what bounds the pass on a machine: ``weights``, ``cache``, ``compute``; None where it is not known."""
        return None

    def known(self, batch: int, tokens: int) -> bool:
        """Whether the time rests on data rather than on a straight line beyond them."""
        return True


class Constant(PassTime):
    """The same time for every pass.

    Parameters
    ----------
    ms : float
        Milliseconds, at least 0.
    """

    def __init__(self, ms: float):
        require(ms >= 0, "pass time", "at least 0 ms", ms)
        self._ms = ms

    def ms(self, batch: int, tokens: int) -> float:
        """Return the time."""
        return self._ms


class Measured(PassTime):
    """Times by the tokens of all requests together, linear between the points.

    Below the first point the time is the first one's: such a pass waits for the weights. Beyond the last it goes on
    with the slope of the last two points, but never falls.

    Parameters
    ----------
    tokens : sequence of int
        Numbers of tokens, at least 1, rising.
    ms : sequence of float
        Their times in milliseconds, above 0.

    Raises
    ------
    InputError
        If there are fewer than two points, or numbers are out of range or order.
    """

    def __init__(self, tokens: Sequence[int], ms: Sequence[float]):
        require(len(tokens) >= 2, "step times", "at least two points, or there is nothing to go by", len(tokens))
        require(len(tokens) == len(ms), "step times", f"{len(tokens)} times, one a number of tokens", len(ms))
        require(min(tokens) >= 1, "tokens of the step times", "at least 1", min(tokens))
        require(bool(np.all(np.diff(tokens) > 0)), "tokens of the step times", "rising", list(tokens))
        _check_ms(ms)
        least = (1 - FALL) * ms[0]
        rule = f"nowhere more than {FALL:.0%} below the first: more tokens take no less time, but for scatter"
        require(min(ms) >= least, "ms of the step times", rule, f"{ms[0]:g} falling to {min(ms):g}")
        self._tokens = np.array(tokens, float)
        self._ms = np.array(ms, float)
        self._slope = max((ms[-1] - ms[-2]) / (tokens[-1] - tokens[-2]), 0.0)

    @property
    def last(self) -> int:
        """The largest number of tokens with a time of its own."""
        return int(self._tokens[-1])

    def ms(self, batch: int, tokens: int) -> float:
        """Interpolate."""
        beyond = max(batch * tokens - self._tokens[-1], 0)
        return float(np.interp(batch * tokens, self._tokens, self._ms) + self._slope * beyond)

    def known(self, batch: int, tokens: int) -> bool:
        """Whether the tokens are among the points."""
        return batch * tokens <= self.last


class Linear(PassTime):
    """``a + b * requests + c * tokens + d * cached tokens``, the tokens of all requests together: SmartSpec's features.

    Source: SmartSpec (arXiv 2406.14066).

    Parameters
    ----------
    coefficients : sequence of float
        a, b, c and d, in ms.
    context : int
        Cached tokens of every request.
    """

    def __init__(self, coefficients: Sequence[float], context: int = 0):
        require(len(coefficients) == 4, "coefficients", "four", len(coefficients))
        self.coefficients = tuple(float(value) for value in coefficients)
        self._context = context

    @classmethod
    def fit(cls, passes: Sequence[tuple[int, ...]], ms: Sequence[float], context: int = 0) -> "Linear":
        """Fit to measured passes by least squares of the relative errors.

        Parameters
        ----------
        passes : sequence of (batch, tokens, context)
            What was passed: requests, tokens of each, cached tokens of each.
        ms : sequence of float
            The times, above 0. A feature that is the same in all passes gets what least squares gives it: the
            smallest coefficients of all equally good ones.
        context : int
            Cached tokens of every request to predict for.
        """
        require(len(passes) == len(ms) > 0, "step times", "at least one, one a pass", len(ms))
        for one in passes:
            name = "batch, tokens and context of the step times"
            require(0 <= min(one) <= max(one) <= LARGEST, name, f"from 0 to {LARGEST}", one)
        _check_ms(ms)
        require(len(set(passes)) > 1, "step times", "at least two different passes, for a fit", len(set(passes)))
        features = np.array([_features(*one) for one in passes]) / np.array(ms)[:, None]
        coefficients = np.linalg.lstsq(features, np.ones(len(ms)))[0]
        if min(coefficients) < 0:
            from scipy.optimize import nnls  # Slow to import.

            # More requests, tokens or cache never make a pass faster: the best fit that says so.
            coefficients, _ = nnls(features, np.ones(len(ms)))
        error = float(np.sqrt(np.mean((features @ coefficients - 1) ** 2)))
        rule = f"times that a + b*requests + c*tokens + d*cache fits within {WORST_FIT:.0%}, none of a to d negative"
        require(error <= WORST_FIT, "step times", rule, f"off by {error:.0%}")
        return cls(coefficients, context)

    def at(self, context: int) -> "Linear":
        """Return the same fit for another length of context."""
        return Linear(self.coefficients, context)

    def ms(self, batch: int, tokens: int) -> float:
        """Return the sum."""
        return float(np.dot(self.coefficients, _features(batch, tokens, self._context)))


def _check_ms(ms: Sequence[float]) -> None:
    name = "ms of the step times"
    require(bool(np.all(np.isfinite(ms))) and min(ms) > 0, name, "above 0", list(ms))
    require(max(ms) <= LARGEST, name, f"at most {LARGEST}", max(ms))


def _features(batch: int, tokens: int, context: int) -> tuple[int, int, int, int]:
    return 1, batch, batch * tokens, batch * context
