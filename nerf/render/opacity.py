"""Compiled: from a sum of density products to alpha, in float32, with one law for every sample of a walk."""

import math
from typing import NamedTuple

import numpy as np

from rtnerf.base.compiled import compiled, inlined

_ZERO, _HALF, _ONE, _TWO = (np.float32(number) for number in (0, 0.5, 1, 2))
_LEAST = np.float32(-80)
_TO_BITS = np.float32(1 / math.log(2))
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(math.log(2) - 0.693359375)  # The first has 9 bits.
_E3, _E4, _E5, _E6, _E7 = (np.float32(1 / math.factorial(n)) for n in range(3, 8))
_T1, _T3, _T5, _T7, _T9, _T11, _T13 = (np.float32(2 / n) for n in range(1, 14, 2))
"""Coefficients of the series of e^x and of 2 atanh(x)."""
_EXPONENT_BIAS, _EXPONENT_BIT = 127, 23


class Density(NamedTuple):
    """From a sum of products to alpha, and what a weight must exceed to be shaded, a transmittance to go on."""

    shift: np.float32
    softplus: bool
    distance_scale: np.float32
    shading_threshold: np.float32
    termination: float


@inlined
def exponential(x):
    """e^x of an x of at most 0, and at least -80 or it counts as that: 2^n e^r, with a series for e^r."""
    x = max(x, _LEAST)
    n = np.floor(x * _TO_BITS + _HALF)
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    series = _E3 + r * (_E4 + r * (_E5 + r * (_E6 + r * _E7)))
    series = _ONE + r * (_ONE + r * (_HALF + r * series))
    return series * np.int32((np.int32(n) + _EXPONENT_BIAS) << _EXPONENT_BIT).view(np.float32)


@inlined
def density(feature, law):
    """Density of a sum of products: of log(1 + e^x), log(1 + m) = 2 atanh(m / (2 + m)) with m = e^-|x|, as a series."""
    if not law.softplus:
        return max(feature, _ZERO)
    x = feature + law.shift
    m = exponential(-abs(x))
    t = m / (_TWO + m)
    s = t * t
    series = _T1 + s * (_T3 + s * (_T5 + s * (_T7 + s * (_T9 + s * (_T11 + s * _T13)))))
    return max(x, _ZERO) + t * series


@compiled(fastmath={"contract"}, error_model="numpy", forceinline=True)
def opacity(feature, distance, law):
    """Alpha of a sample with that sum of products and that distance to the next one."""
    return _ONE - exponential(-density(feature, law) * distance)
