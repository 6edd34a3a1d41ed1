"""Composite the appearance products of a ray: the mean of its visible samples, by their weights."""

import numpy as np

from nerf.contract.formats import (
    DROPPED_BITS,
    MEAN_SHIFT,
    PRODUCT,
    RECIPROCAL_BITS,
    UNIT,
    reciprocal_table,
    round_shift,
    saturate,
)


def weighted_product(weight: np.ndarray, product: np.ndarray) -> np.ndarray:
    """Return weight times product, in the format PRODUCT_SUM, rounded: what a sample adds to its pixel."""
    return round_shift(weight * product, UNIT + DROPPED_BITS)


def mean_products(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return sums of weighted products over the sum of their weights, in the format PRODUCT.

    Parameters
    ----------
    total : int64 array (n, products of a sample)
        Sums of `weighted_product`.
    weight : int64 array (n,)
        Sums of the weights, ``UNIT`` fraction bits: 1 to 1.0.
    """
    length = np.frexp(weight.astype(np.float64))[1].astype(np.int64)
    return mean(total, weight[:, None], length[:, None])


def mean(total: np.ndarray, weight: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return sums over weights of so many bits, in the format PRODUCT."""
    mantissa = weight << UNIT + 1 - length >> UNIT - RECIPROCAL_BITS
    reciprocal = reciprocal_table()[mantissa - (1 << RECIPROCAL_BITS)]
    return saturate(round_shift((total * reciprocal) << MEAN_SHIFT, length - 1), PRODUCT)
