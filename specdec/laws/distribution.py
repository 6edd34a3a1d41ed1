"""Next-token laws: arrays of shape (V,) that sum to one, float64 or, where a proof needs them, exact rationals.

An exact law is an object array of `fractions.Fraction`. Every function here is written once and serves both,
so that what is proved by enumeration is the code that decodes.
"""

from collections.abc import Iterable
from fractions import Fraction

import numpy as np


def exact(weights: Iterable[int | Fraction | str]) -> np.ndarray:
    """Return the exact law, shape (V,), proportional to rational weights."""
    return normalise(np.array([Fraction(weight) for weight in weights], dtype=object))


def normalise(weights: np.ndarray) -> np.ndarray:
    """Scale non-negative weights, shape (V,), to sum to one."""
    return weights / weights.sum()


def one_hot(law: np.ndarray, token: int) -> np.ndarray:
    """Return the law, of the same kind as ``law``, that is certain of a token."""
    certain = np.zeros_like(law) if law.dtype != object else np.full(law.shape, Fraction(0))
    certain[token] += 1
    return certain


def residual(target: np.ndarray, draft: np.ndarray) -> np.ndarray:
    """Return ``norm((target - draft)+)``, the law that is left when a draw from ``draft`` has been rejected.

    Where the two laws agree, rejection has probability zero and rounding alone can lead here: ``target`` is returned.
    Source: Leviathan et al. 2023 (arXiv 2211.17192), Chen et al. 2023 (arXiv 2302.01318).
    """
    difference = target - draft
    surplus = difference * (difference > 0)
    return normalise(surplus) if surplus.sum() > 0 else target


def ranked(law: np.ndarray, count: int) -> np.ndarray:
    """Return the ``count`` likeliest tokens, best first; ties go to the smaller id, impossible tokens are left out."""
    count = min(count, len(law))
    if count == 0:
        return np.zeros(0, int)
    least = np.partition(law, len(law) - count)[len(law) - count]
    (candidates,) = (law >= least if least > 0 else law > 0).nonzero()
    return candidates[np.argsort(-law[candidates], kind="stable")][:count]


def entropy(law: np.ndarray) -> float:
    """Return the entropy of a law, in nats."""
    mass = law[law > 0].astype(float)
    return float(-(mass * np.log(mass)).sum())
