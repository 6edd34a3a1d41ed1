"""Probability that one of a node's candidates is accepted, for one position and any target law p and draft law q.

Every function takes laws of shape (V,), V the same for both, and a number of draws of at least 0, or raises
`InputError`; exact laws give exact probabilities.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np

from rtnerf.base.errors import require
from specdec.laws.distribution import ranked, residual


def single(p: np.ndarray, q: np.ndarray) -> Any:
    """Return the acceptance of one draw, ``sum_x min(p, q)``. Source: Leviathan et al. (arXiv 2211.17192)."""
    _check(p, q)
    return np.minimum(p, q).sum()


def with_replacement(p: np.ndarray, q: np.ndarray, draws: int) -> Any:
    """Return the acceptance of independent draws under multi-step rejection: ``1 - prod_i (1 - sum_x min(r_i, q))``.

    ``r_1 = p`` and ``r_{i+1} = norm((r_i - q)+)``. Source: SpecInfer (arXiv 2305.09781).
    """
    _check(p, q, draws)
    rejected: Any = 1
    for _ in range(draws):
        rejected *= 1 - single(p, q)
        p = residual(p, q)
    return 1 - rejected


def without_replacement(p: np.ndarray, q: np.ndarray, draws: int) -> Any:
    """Return the acceptance of draws that never repeat under multi-step rejection; time grows as ``V**draws``.

    Source: RSD (arXiv 2402.14160), Sequoia (arXiv 2402.12374).
    """
    _check(p, q, draws)
    mass = q.sum()
    if draws == 0 or not mass > 0:
        return 0 * mass
    q = q / mass
    accepted = single(p, q)
    left = residual(p, q)
    for token in np.flatnonzero(q > p):
        rest = q.copy()
        rest[token] *= 0
        accepted += (q[token] - p[token]) * without_replacement(left, rest, draws - 1)
    return accepted


def naive(p: np.ndarray, q: np.ndarray, draws: int, replacement: bool) -> Any:
    """Return the probability that a draw from ``p`` is among ``draws`` draws from ``q``."""
    _check(p, q, draws)
    others = [np.delete(np.arange(len(p)), token) for token in range(len(p))]
    missed = [_all_within(q, other, draws, replacement) for other in others]
    return sum(p[token] * (1 - missed[token]) for token in range(len(p)))


def optimal(p: np.ndarray, q: np.ndarray, draws: int, replacement: bool) -> Any:
    """Return the most that any lossless rule can accept of ``draws`` draws from ``q``; time grows as ``2**V``.

    Accepting is a flow from the sets of draws to their tokens, limited by ``p``; its largest value is the smallest cut,
    ``min_A p(A) + 1 - P(all draws lie in A)``. Source: SpecTr's optimal transport (arXiv 2310.15141); the cut is
    derived here.
    """
    _check(p, q, draws)
    tokens = range(len(p))
    sets = [list(members) for size in range(len(p) + 1) for members in combinations(tokens, size)]
    return min(p[members].sum() + 1 - _all_within(q, members, draws, replacement) for members in sets)


def ranked_candidates(p: np.ndarray, q: np.ndarray, count: int) -> Any:
    """Return the acceptance of the draft's likeliest tokens as deterministic candidates, their total ``p``."""
    _check(p, q, count)
    return p[ranked(q, count)].sum()


def trimmed(p: np.ndarray, q: np.ndarray, kept: np.ndarray) -> Any:
    """Return the acceptance of one draw of a draft that knows the ``kept`` tokens only: ``sum min(p, q / q(kept))``.

    Source: VocabTrim (arXiv 2506.22694).
    """
    _check(p, q)
    mass = q[kept].sum()
    require(mass > 0, "kept", "tokens that the draft can give", list(kept))
    return np.minimum(p[kept], q[kept] / mass).sum()


def _check(p: np.ndarray, q: np.ndarray, draws: int = 0) -> None:
    require(p.ndim == 1 and p.shape == q.shape, "draft law", f"of the target law's shape {p.shape}", q.shape)
    require(draws >= 0, "draws", "at least 0", draws)


def _all_within(q: np.ndarray, members: Sequence[int] | np.ndarray, draws: int, replacement: bool) -> Any:
    """Return the probability that all draws lie in a set of tokens; a law of fewer tokens is drawn until empty."""
    if replacement:
        return q[members].sum() ** draws
    if draws == 0 or not q.sum() > 0:
        return Fraction(1) if q.dtype == object else 1.0
    total: Any = 0
    for token in members:
        if q[token] > 0:
            rest = q.copy()
            rest[token] *= 0
            total += q[token] / q.sum() * _all_within(rest, members, draws - 1, replacement)
    return total
