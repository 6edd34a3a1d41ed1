"""Acceptance length by the number of drafted tokens: a law of two numbers, fitted to a curve, or expected of a start.

The acceptance length AL(K) is the mean number of tokens that a step with K drafted ones commits, the bonus included. A
token at depth k is accepted, where the walk comes to it, with the rate ``a * r**(k - 1)``: a constant rate (r = 1)
over-predicts long chains. Hence ``AL(K) = 1 + sum_k prod_{i <= k} a * r**(i - 1)``.

A few short lengths tell the decay r badly: an error of 1.5 % in each moves it by several per cent, and the length at
K = 8 by 15 %. Of what drafters do there are two kinds: most hold their rate nearly from depth to depth, some are fed
their own outputs without training for it, and fall at any rate. `expect` weighs the two by how well they explain what
is known.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rtnerf.base.errors import InputError, require

LARGEST = 1 << 18
"""Bytes of a file of curves."""

MOST_DRAFTED = 64
"""Tokens of the longest chain."""

MOST_NODES = 10_000
"""Entries of such a file, each counted as often as it is referred to."""

ENOUGH = 4
"""Curves to learn of drafters from, and one to be left out."""


NOISE = 0.015
"""Standard deviation of a published length, relative: what the law leaves over of whole curves, 0.5 to 2.9 %."""


WORST_FIT = 0.15
"""Relative error of a known length beyond which the law says nothing: none of the published curves has 8 %."""


@dataclass(frozen=True)
class Drafters:
    """What is known of decays beforehand: a mixture of drafters that hold their rate and of others.

    The defaults are the rounded maximum of the likelihood of eight curves of InferenceX (@843c625) that we have; the
    spread is twice what the maximum gives, as eight are few.

    Members
    -------
    steady : float
        Share of those that hold their rate, in (0, 1). The others' log decay is uniform over what is possible.
    log_decay, spread : float
        Mean and standard deviation of the steady ones' log decay.
    """

    steady: float = 0.65
    log_decay: float = -0.035
    spread: float = 0.02

    def density(self, log_decay: np.ndarray) -> np.ndarray:
        """Return the density of log decays that reach over all that is possible."""
        known = np.exp(-0.5 * ((log_decay - self.log_decay) / self.spread) ** 2) / (self.spread * np.sqrt(2 * np.pi))
        return self.steady * known + (1 - self.steady) / np.log(DECAYS[1] / DECAYS[0])


DECAYS = (0.5, 1.15)
"""The least and the greatest that are thought possible."""


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
    (0.79, 0.83, 2.79)
    """
    require(len(curve) >= 2, "acceptance lengths", "at least two, for two numbers", len(curve))
    _check_lengths(curve)

    def misfit(law: np.ndarray) -> list[float]:
        return [np.log(AcceptanceLaw(*law).length(drafted) / length) for drafted, length in curve.items()]

    from scipy.optimize import least_squares  # Slow to import.

    return AcceptanceLaw(*map(float, least_squares(misfit, (0.7, 0.9), bounds=((0, 0.01), (1, 2))).x))


def expect(curve: Mapping[int, float], drafters: Drafters = Drafters()) -> AcceptanceLaw:
    """Return the law to be expected from some acceptance lengths, one at least: the median decay given them.

    Lengths are taken to have independent errors of `NOISE`; the first rate is the likeliest for the decay.

    Raises
    ------
    InputError
        If there is no point, or a length is not in [1, K + 1].

    Examples
    --------
    >>> law = expect({4: 3.2})
    >>> round(law.first, 2), round(law.decay, 2), round(law.length(4), 1)
    (0.8, 0.96, 3.2)
    """
    require(len(curve) >= 1, "acceptance lengths", "at least one", len(curve))
    _check_lengths(curve)
    log_decay, first = np.linspace(np.log(DECAYS[0]), np.log(DECAYS[1]), 161), np.linspace(0, 1, 401)
    rates = first[:, None, None] * np.exp(log_decay[:, None] * np.arange(max(curve)))
    lengths = 1 + np.cumprod(np.minimum(rates, 1), axis=2).cumsum(axis=2)
    known = np.array(sorted(curve))
    errors = np.log(lengths[:, :, known - 1] / [curve[drafted] for drafted in known.tolist()])
    misfit = (errors**2).sum(axis=2) / (2 * NOISE**2)
    posterior = np.exp(misfit.min() - misfit).sum(axis=0) * drafters.density(log_decay)
    median = int(np.searchsorted(posterior.cumsum(), posterior.sum() / 2))
    return AcceptanceLaw(float(first[misfit[:, median].argmin()]), float(np.exp(log_decay[median])))


def believe(curve: Mapping[int, float]) -> AcceptanceLaw:
    """Return what is to be `expect`ed of lengths, or refuse those that no drafter has: falling or leaping with K.

    Raises
    ------
    InputError
        As `expect`, and if a length is more than `WORST_FIT` from the law's.

    Examples
    --------
    >>> believe({1: 1.2, 2: 2.5})
    Traceback (most recent call last):
    rtnerf.base.errors.InputError: acceptance lengths must be within 15% of a rate even in depth, not off by 37%
    """
    law = expect(curve)
    worst = max(abs(law.length(drafted) / length - 1) for drafted, length in curve.items())
    rule = f"within {WORST_FIT:.0%} of a rate even in depth"
    require(worst <= WORST_FIT, "acceptance lengths", rule, f"off by {worst:.0%}")
    return law


def learn(laws: Iterable[AcceptanceLaw]) -> Drafters:
    """Return the likeliest mixture for the laws of whole curves; the steady ones' spread is at least the default."""
    decays = np.log([law.decay for law in laws])

    def surprise(numbers: np.ndarray) -> float:
        steady, log_decay, wider = numbers
        return -float(np.log(Drafters(steady, log_decay, Drafters.spread + wider).density(decays)).sum())

    bounds = ((0.05, 0.95), (-0.2, 0.05), (0, 0.2))
    start = Drafters.steady, Drafters.log_decay, 0.0
    from scipy.optimize import minimize  # Slow to import.

    steady, log_decay, wider = map(float, minimize(surprise, start, bounds=bounds, method="Nelder-Mead").x)
    return Drafters(steady, log_decay, Drafters.spread + wider)


def check(curve: Mapping[int, float], known: tuple[int, ...] = (), drafters: Drafters | None = None) -> dict[str, Any]:
    """Hold the law to a curve.

    Returns
    -------
    dict
        ``first`` and ``decay`` of the fit to the whole curve and its ``rms`` relative error. With points ``known``, the
        law to be `expect`ed from them alone, otherwise that fit: its relative ``errors`` by drafted tokens, and the
        ``error_at_last``.
    """
    law, last = fit(curve), max(curve)
    require(all(drafted in curve for drafted in known), "from", f"among {', '.join(map(str, curve))}", known)
    errors = [law.length(drafted) / length - 1 for drafted, length in curve.items()]
    partial = expect({drafted: curve[drafted] for drafted in known}, drafters or Drafters()) if known else law
    predicted = {drafted: partial.length(drafted) / length - 1 for drafted, length in curve.items()}
    return {
        "first": law.first,
        "decay": law.decay,
        "rms": float(np.sqrt(np.mean(np.square(errors)))),
        "errors": predicted,
        "error_at_last": predicted[last],
    }


def check_all(curves: Mapping[str, Mapping[int, float]], known: tuple[int, ...] = ()) -> dict[str, dict[str, Any]]:
    """Hold the law to curves by name, see `check`.

    With points ``known`` of at least `ENOUGH` curves each has an ``error_at_last_left_out`` as well: with the mixture
    of drafters learnt from the other curves of the file alone.
    """
    found = {name: check(curve, known) for name, curve in curves.items()}
    if known and len(curves) >= ENOUGH:
        laws = {name: AcceptanceLaw(one["first"], one["decay"]) for name, one in found.items()}
        for name, curve in curves.items():
            others = learn(law for other, law in laws.items() if other != name)
            found[name]["error_at_last_left_out"] = check(curve, known, others)["error_at_last"]
    return found


def _check_lengths(curve: Mapping[int, float]) -> None:
    for drafted, length in curve.items():
        require(1 <= drafted <= MOST_DRAFTED, "drafted tokens", f"from 1 to {MOST_DRAFTED}", drafted)
        require(1 <= length <= drafted + 1, f"acceptance length at {drafted}", f"from 1 to {drafted + 1}", length)


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
        require(len(content) <= LARGEST, "acceptance", f"a file of at most {LARGEST >> 10} KiB", path)
        found = yaml.safe_load(content)
    except OSError as error:
        raise InputError(f"acceptance must be a readable file, not {path} ({error.strerror})") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise InputError(f"acceptance must be a YAML file, not {path}") from None
    curves = _curves(found)
    require(bool(curves), "acceptance", "a YAML file of acceptance lengths by drafted tokens", path)
    return curves


def _curves(content: Any) -> dict[str, dict[int, float]]:
    """Find the curves; what repeats itself by references is walked through no farther than `MOST_NODES`."""
    curves: dict[str, dict[int, float]] = {}
    left: list[tuple[tuple[str, ...], Any]] = [((), content)]
    visited = 0
    while left:
        names, node = left.pop()
        visited += 1
        require(visited <= MOST_NODES, "acceptance", f"a YAML file of at most {MOST_NODES} entries", "more")
        if not isinstance(node, dict) or not node:
            continue
        if all(type(key) is int and type(value) in (int, float) for key, value in node.items()):
            # A length of more digits than a float has is as wrong as a large one.
            lengths = {key: float(min(value, 1e9)) for key, value in node.items()}
            curves["/".join(names) or "curve"] = dict(sorted(lengths.items()))
        else:
            left += [((*names, str(key)), value) for key, value in reversed(node.items())]
    return curves
