"""Acceptance length by the number of drafted tokens: a law of two numbers, fitted to a curve.

The acceptance length AL(K) is the mean number of tokens that a step with K drafted ones commits, the bonus included. A
token at depth k is accepted, where the walk comes to it, with the rate ``a * r**(k - 1)``: a constant rate (r = 1)
over-predicts long chains. Hence ``AL(K) = 1 + sum_k prod_{i <= k} a * r**(i - 1)``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from rtnerf.base.errors import InputError, require

LARGEST = 1 << 20
"""Bytes of a file of curves."""

MOST_DRAFTED = 64
"""Tokens of the longest chain."""


@dataclass(frozen=True)
class AcceptanceLaw:
    """The rate of acceptance by depth.

    Members
    -------
    first : float
        Rate of the first drafted token, in [0, 1].
    decay : float
        Factor from one depth to the next, above 0; no rate exceeds 1.
    """

    first: float
    decay: float

    def length(self, drafted: int) -> float:
        """Return the acceptance length with so many tokens drafted, the bonus included."""
        rates = np.minimum(self.first * self.decay ** np.arange(drafted), 1)
        return float(1 + np.cumprod(rates).sum())


def fit(curve: Mapping[int, float]) -> AcceptanceLaw:
    """Fit the law to acceptance lengths by the number of drafted tokens: least squares of their logarithms.

    Raises
    ------
    InputError
        If there are fewer than two points, or a length is not in [1, K + 1].

    Examples
    --------
    >>> law = fit({1: 1.8, 2: 2.3, 3: 2.6})
    >>> round(law.first, 2), round(law.decay, 2), round(law.length(8), 2)
    (0.8, 0.77, 2.87)
    """
    require(len(curve) >= 2, "acceptance lengths", "at least two, for two numbers", len(curve))
    for drafted, length in curve.items():
        require(1 <= drafted <= MOST_DRAFTED, "drafted tokens", f"from 1 to {MOST_DRAFTED}", drafted)
        require(1 <= length <= drafted + 1, f"acceptance length at {drafted}", f"from 1 to {drafted + 1}", length)

    def misfit(law: np.ndarray) -> list[float]:
        return [np.log(AcceptanceLaw(*law).length(drafted) / length) for drafted, length in curve.items()]

    return AcceptanceLaw(*map(float, least_squares(misfit, (0.7, 0.9), bounds=((0, 0.01), (1, 2))).x))


def check(curve: Mapping[int, float], known: tuple[int, ...] = ()) -> dict[str, Any]:
    """Hold the law to a curve.

    Returns
    -------
    dict
        ``first`` and ``decay`` of the fit to the whole curve, its ``rms`` relative error, and ``error_at_last``: the
        relative error at the most drafted tokens of a fit to the points ``known``, by default the whole curve.
    """
    law, last = fit(curve), max(curve)
    require(all(drafted in curve for drafted in known), "from", f"among {', '.join(map(str, curve))}", known)
    partial = fit({drafted: curve[drafted] for drafted in known}) if known else law
    errors = [law.length(drafted) / length - 1 for drafted, length in curve.items()]
    rms = float(np.sqrt(np.mean(np.square(errors))))
    return {
        "first": law.first,
        "decay": law.decay,
        "rms": rms,
        "error_at_last": partial.length(last) / curve[last] - 1,
    }


def read_curves(path: Path) -> dict[str, dict[int, float]]:
    """Read acceptance lengths from YAML: by any names, at last by drafted tokens, as InferenceX publishes them.

    Raises
    ------
    InputError
        If the file cannot be read or has no such curve.
    """
    import yaml

    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        require(len(content) <= LARGEST, "acceptance", f"a file of at most {LARGEST >> 20} MiB", path)
        found = yaml.safe_load(content)
    except OSError as error:
        raise InputError(f"acceptance must be a readable file, not {path} ({error.strerror})") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise InputError(f"acceptance must be a YAML file, not {path}") from None
    curves = dict(_curves(found, ()))
    require(bool(curves), "acceptance", "a YAML file of acceptance lengths by drafted tokens", path)
    return curves


def _curves(node: Any, names: tuple[str, ...]) -> list[tuple[str, dict[int, float]]]:
    if not isinstance(node, dict) or not node:
        return []
    if all(type(key) is int and type(value) in (int, float) for key, value in node.items()):
        return [("/".join(names) or "curve", {key: float(value) for key, value in sorted(node.items())})]
    return [curve for key, value in node.items() for curve in _curves(value, (*names, str(key)))]
