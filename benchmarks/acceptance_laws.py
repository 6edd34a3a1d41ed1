"""Which law of two numbers tells a long chain's acceptance length from those of 1 to 3 drafted tokens.

Run ``python -m benchmarks.acceptance_laws FILE.yaml ...`` with files of `specdec.laws.acceptance_length.read_curves`.
Each law is fitted by least squares of logarithms, once to all of a curve and once to its first three lengths. Printed
are the largest relative errors, of which curve the second is, and how many curves it misses by more than 8 %.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

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


def main() -> None:
    """Read the options, fit, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.acceptance_laws", description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", help="acceptance lengths by drafted tokens")
    curves = {name: curve for path in parser.parse_args().files for name, curve in read_curves(path).items()}
    print(f"{'law':24}{'RMS':>7}{'at the last':>13}  {'of':36}{'missed':>7}")
    for law in LAWS:
        rms, last = [], {}
        for name, curve in curves.items():
            errors = np.log(lengths(law, max(curve))[:, np.array(list(curve)) - 1] / list(curve.values()))
            rms.append(float(np.sqrt((errors**2).mean(axis=1).min())))
            last[name] = float(np.expm1(errors[(errors[:, :KNOWN] ** 2).sum(axis=1).argmin(), -1]))
        worst = max(last, key=lambda name: abs(last[name]))
        missed = sum(abs(error) > MISSED for error in last.values())
        print(f"{law:24}{max(rms):7.1%}{last[worst]:+13.1%}  {worst:36}{missed:4} of {len(curves)}")


if __name__ == "__main__":
    main()
