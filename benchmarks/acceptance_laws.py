"""Which law of two numbers tells a long chain's acceptance length from those of 1 to 3 drafted tokens.

Run ``python -m benchmarks.acceptance_laws FILE.yaml ...`` with files of `specdec.laws.acceptance_length.read_curves`.
Each law is fitted by least squares of logarithms, once to all of a curve and once to its first three lengths. Printed
are the largest relative errors, of which curve the second is, and how many curves it misses by more than 8 %. The last
row learns the shape of the decay, which all curves share, from the curves other than the one that it is held to.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from specdec.laws.acceptance_length import read_curves

KNOWN = 3
"""Lengths that are given."""

MISSED = 0.08
"""Relative error."""

PLACES = 120
"""Of each number, that are tried."""


def of_two_kinds(easy: np.ndarray, share: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Return the rate at each depth if a share of the contexts accepts at the rate ``easy``, the others nothing."""
    return np.where(depth == 1, share * easy, easy)


LAWS: dict[str, tuple[Callable[..., np.ndarray], float, float]] = {
    "a * r**(k - 1)": (lambda a, b, k: a * np.exp(-b * (k - 1)), -0.05, 0.5),
    "a * r**sqrt(k - 1)": (lambda a, b, k: a * np.exp(-b * (k - 1) ** 0.5), -0.05, 0.8),
    "a * r**(k - 1)**1.5": (lambda a, b, k: a * np.exp(-b * (k - 1) ** 1.5), -0.02, 0.3),
    "a * r**(k - 1)**2": (lambda a, b, k: a * np.exp(-b * (k - 1) ** 2), -0.02, 0.2),
    "a - b * (k - 1)": (lambda a, b, k: a - b * (k - 1), -0.02, 0.2),
    "a / (1 + b * (k - 1))": (lambda a, b, k: a / (1 + b * (k - 1)), -0.05, 1.0),
    "two kinds of contexts": (of_two_kinds, 0.3, 1.0),
}
"""The rate at depth k of numbers a and b, and the range of b; a is from 0.3 to 1."""


def lengths(law: str, depths: int) -> np.ndarray:
    """Return the acceptance lengths of all laws of a kind, shape (laws, depths)."""
    rate, low, high = LAWS[law]
    first, second = np.meshgrid(np.linspace(0.3, 1, PLACES), np.linspace(low, high, PLACES))
    rates = rate(first.ravel()[:, None], second.ravel()[:, None], np.arange(1, depths + 1)).clip(0, 1)
    return 1 + np.cumprod(rates, axis=1).cumsum(axis=1)


def shaped(numbers: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Return the lengths of the law ``a * r**shape[k]`` for ``numbers`` a and -log r."""
    rates = np.minimum(numbers[0] * np.exp(-numbers[1] * shape), 1)
    return 1 + np.cumprod(rates).cumsum()


def learn_shape(curves: list[np.ndarray]) -> np.ndarray:
    """Fit a shape of decay to whole curves, with two numbers for each of them; it begins 0, 1."""
    depths = max(map(len, curves))
    start = np.concatenate([np.arange(2.0, depths), np.tile((0.8, 0.05), len(curves))])

    def misfit(unknown: np.ndarray) -> np.ndarray:
        shape = np.concatenate([(0.0, 1.0), unknown[: depths - 2]])
        each = unknown[depths - 2 :].reshape(-1, 2)
        pairs = zip(curves, each, strict=True)
        return np.concatenate([np.log(shaped(numbers, shape[: len(curve)]) / curve) for curve, numbers in pairs])

    return np.concatenate([(0.0, 1.0), least_squares(misfit, start).x[: depths - 2]])


def fit_shaped(curve: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Fit the two numbers of a shape to the first lengths of a curve."""
    return least_squares(lambda numbers: np.log(shaped(numbers, shape[: len(curve)]) / curve), (0.8, 0.05)).x


def of_a_shared_shape(curves: dict[str, dict[int, float]]) -> tuple[list[float], dict[str, float]]:
    """Return each curve's RMS error, and that at the last from the first lengths, with the others' shape."""
    rms, last = [], {}
    lengths = {name: np.array([curve[drafted] for drafted in sorted(curve)]) for name, curve in curves.items()}
    for name, curve in lengths.items():
        shape = learn_shape([other for another, other in lengths.items() if another != name])[: len(curve)]
        whole, partial = (shaped(fit_shaped(curve[:known], shape), shape) / curve - 1 for known in (len(curve), KNOWN))
        rms.append(float(np.sqrt((whole**2).mean())))
        last[name] = float(partial[-1])
    return rms, last


def main() -> None:
    """Read the options, fit, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.acceptance_laws", description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", help="acceptance lengths by drafted tokens")
    curves = {name: curve for path in parser.parse_args().files for name, curve in read_curves(path).items()}
    print(f"{'law':24}{'RMS':>7}{'at the last':>13}  {'of':36}{'missed':>7}")
    found = {}
    for law in LAWS:
        rms, last = [], {}
        for name, curve in curves.items():
            errors = np.log(lengths(law, max(curve))[:, np.array(list(curve)) - 1] / list(curve.values()))
            rms.append(float(np.sqrt((errors**2).mean(axis=1).min())))
            last[name] = float(np.expm1(errors[(errors[:, :KNOWN] ** 2).sum(axis=1).argmin(), -1]))
        found[law] = rms, last
    for law, (rms, last) in (found | {"shape of the others": of_a_shared_shape(curves)}).items():
        worst = max(last, key=lambda name: abs(last[name]))
        missed = sum(abs(error) > MISSED for error in last.values())
        print(f"{law:24}{max(rms):7.1%}{last[worst]:+13.1%}  {worst:36}{missed:4} of {len(curves)}")


if __name__ == "__main__":
    main()
