"""Means of composited products: the table's reciprocal against division."""

import numpy as np
import pytest

from nerf.contract.formats import DROPPED_BITS, PRODUCT, PRODUCT_SUM, UNIT, reciprocal_table
from nerf.golden.product_buffer import mean_products, weighted_product

STEP = 1 << DROPPED_BITS
"""Of a sum, in a product's last bit."""


def test_the_reciprocal_table_has_twelve_bits():
    table = reciprocal_table()
    assert len(table) == 1024
    assert (np.diff(table) <= 0).all()
    assert (table.max(), table.min()) == (4094, 2049)


@pytest.mark.parametrize("weight", [1, 2, 3, 1023, 1024, 1049, 99_999, (1 << UNIT) - 1, 1 << UNIT])
def test_one_sample_gives_its_own_products(weight):
    products = np.array([[0, 1, -1, 256, -256, 300_000, -300_000, PRODUCT.high, PRODUCT.low]])
    mean = mean_products(weighted_product(np.array([[weight]]), products), np.array([weight]))
    # The sum is rounded to a STEP, the weight's reciprocal to a part in 2048.
    tolerance = np.abs(products) / 2000 + (0.51 * STEP * 2**UNIT / weight) * 1.01 + 1
    assert (np.abs(mean - products) <= tolerance).all()


def test_means_of_many_samples():
    noise = np.random.default_rng(0)
    products = noise.integers(-400_000, 400_000, (50, 144))
    weight = noise.integers(2000, (1 << UNIT) // 50, (50, 1))
    mean = mean_products(weighted_product(weight, products).sum(axis=0)[None], weight.sum(axis=0))
    expected = (weight * products).sum(axis=0) / weight.sum()
    # Fifty roundings to a STEP, of half a weight: four times their root mean square.
    assert np.abs(mean[0] - expected).max() < 4 * STEP * np.sqrt(50 / 12) / (weight.sum() / 2**UNIT)


def test_no_rounding_takes_a_sum_out_of_its_format():
    weight = np.arange(1, (1 << UNIT) + 1)
    samples = (1 << UNIT) // weight
    for product in (PRODUCT.low, -1, 0, 1, PRODUCT.high):
        total = samples * weighted_product(weight, product)
        assert PRODUCT_SUM.low <= total.min() <= total.max() <= PRODUCT_SUM.high
    # A bit less would not do.
    assert (samples * weighted_product(weight, PRODUCT.high)).max() > PRODUCT_SUM.high // 2


def test_no_rays():
    assert mean_products(np.zeros((0, 144), np.int64), np.zeros(0, np.int64)).shape == (0, 144)
