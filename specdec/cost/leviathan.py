"""Expected tokens and speedup of a chain whose every draft is accepted with the same probability.

Source: Leviathan et al. 2023 (arXiv 2211.17192). Rational arguments give rational results.
"""

from fractions import Fraction
from typing import Any

from rtnerf.base.errors import require

Rational = float | Fraction


def expected_tokens(acceptance: Rational, length: int) -> Any:
    """Return the tokens per step, the bonus included: ``(1 - a**(length + 1)) / (1 - a)``, ``acceptance`` in [0, 1]."""
    require(0 <= acceptance <= 1, "acceptance", "in [0, 1]", acceptance)
    require(length >= 0, "length", "at least 0", length)
    return sum(acceptance**accepted for accepted in range(length + 1))


def speedup(acceptance: Rational, length: int, cost: Rational) -> Any:
    """Return the speedup over plain decoding, ``tokens / (length * cost + 1)``; ``cost`` is draft over target time."""
    require(cost >= 0, "cost", "at least 0", cost)
    return expected_tokens(acceptance, length) / (length * cost + 1)


def best_length(acceptance: Rational, cost: Rational, longest: int = 100) -> int:
    """Return the length, 0 to ``longest``, with the greatest speedup; the shortest of equals."""
    return max(range(longest + 1), key=lambda length: speedup(acceptance, length, cost))
