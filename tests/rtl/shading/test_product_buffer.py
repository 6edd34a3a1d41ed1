"""The product buffer: sums of a tile's samples, then a mean for each of its rays, as the golden model has them."""

import random
from dataclasses import replace

import numpy as np
import pytest

from cosim.unit import STALLS, run, shared
from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import PRODUCT, PRODUCT_SUM, UNIT
from nerf.golden.product_buffer import mean_products, weighted_product
from rtl.shading.product_buffer import LANES, ProductBuffer

CFG = AcceleratorConfig(tile=4, shading="deferred")
PIXELS = CFG.tile**2
TRANSFERS = CFG.groups["appearance"]
WIDE = replace(CFG, appearance_lanes=TRANSFERS)
LAST = {"pixel": 0, "weight": 0, "last": 1}


def make_tiles(seed, tiles, most=12, size=PRODUCT.high // 2):
    """Return samples and transfers in, samples and transfers out; pixels come again at once and later.

    Of eight tiles the third, the sixth and the seventh have no sample.
    """
    chance = random.Random(f"{seed}")
    noise = np.random.default_rng(chance.randrange(1 << 30))
    samples, vectors, rays, means = [], [], [], []
    for tile in range(tiles):
        left = {}
        base = tile % 2 * PIXELS
        products, weights = {}, {}
        pixel = chance.randrange(PIXELS)
        for _ in range(0 if tile % 8 in (2, 5, 6) else chance.randrange(1, most)):
            pixel = chance.choice([pixel, chance.randrange(PIXELS)])
            weight = chance.choice([chance.randint(1, 3000), chance.randrange(1, 1 << UNIT), 1 << UNIT])
            weight = min(weight, left.get(pixel, 1 << UNIT))
            if not weight:
                continue
            left[pixel] = left.get(pixel, 1 << UNIT) - weight
            values = noise.integers(-size, size + 1, (TRANSFERS, LANES))
            samples.append({"pixel": base + pixel, "weight": weight, "last": 0})
            vectors += values.reshape(TRANSFERS, 3, 16).tolist()
            products[pixel] = products.get(pixel, 0) + weighted_product(weight, values)
            weights[pixel] = weights.get(pixel, 0) + weight
        samples.append(LAST)
        for pixel in sorted(weights):
            rays.append({"pixel": base + pixel, "weight": weights[pixel], "last": 0})
            total = products[pixel].reshape(1, -1)
            means += mean_products(total, np.array([weights[pixel]])).reshape(TRANSFERS, 3, 16).tolist()
        rays.append(LAST)
    return samples, vectors, rays, means


def transfers_in(cfg, vectors):
    """What comes in of samples whose vectors of a group each are given: these, or those of a sample side by side."""
    groups = np.array(vectors).reshape(-1, cfg.appearance_transfers, cfg.appearance_lanes, 3, 16)
    return groups.transpose(0, 1, 3, 2, 4).reshape(-1, 3, cfg.appearance_lanes * 16).tolist()


def run_case(samples, vectors, rays, means, cfg=CFG, **options):
    return run(
        shared(ProductBuffer, cfg),
        {"i_sample": samples, "i_vector": transfers_in(cfg, vectors)},
        {"o_sample": len(rays), "o_vector": len(means)},
        **options,
    )


@pytest.mark.parametrize("cfg", [CFG, WIDE])
@pytest.mark.parametrize("stalls", STALLS)
def test_means_are_those_of_the_golden_model(stalls, cfg):
    samples, vectors, rays, means = make_tiles(stalls, 8)
    result = run_case(samples, vectors, rays, means, cfg, stalls=stalls, seed=1)
    got = [{name: getattr(ray, name) for name in ("pixel", "weight", "last")} for ray in result.outputs["o_sample"]]
    assert [ray for ray in got if not ray["last"]] == [ray for ray in rays if not ray["last"]]
    assert [ray["last"] for ray in got] == [ray["last"] for ray in rays]
    assert [[list(pair) for pair in vector] for vector in result.outputs["o_vector"]] == means


@pytest.mark.parametrize("cfg", [CFG, WIDE])
def test_largest_values_are_limited(cfg):
    samples, vectors, rays, means = make_tiles("large", 6, size=PRODUCT.high)
    for vector in vectors[::2]:
        vector[0] = [PRODUCT.low] * 16
        vector[1] = [PRODUCT.high] * 16
    totals, weights, expected, at = {}, {}, [], 0
    for sample in samples:
        if sample["last"]:
            for pixel in sorted(totals):
                total, weight = totals[pixel].reshape(1, -1), np.array([weights[pixel]])
                expected += mean_products(total, weight).reshape(TRANSFERS, 3, 16).tolist()
            totals, weights = {}, {}
            continue
        pixel, values = sample["pixel"], np.array(vectors[at : at + TRANSFERS]).reshape(TRANSFERS, LANES)
        at += TRANSFERS
        totals[pixel] = totals.get(pixel, 0) + weighted_product(sample["weight"], values)
        weights[pixel] = weights.get(pixel, 0) + sample["weight"]
    result = run_case(samples, vectors, rays, means, cfg)
    assert [[list(pair) for pair in vector] for vector in result.outputs["o_vector"]] == expected


def test_rounding_takes_a_sum_beyond_the_largest_product():
    # Eight weights that make 1.0, each with a largest product that is rounded up by 3/8.
    weights = [(1 << UNIT - 3) + 160] * 7 + [(1 << UNIT - 3) - 1120]
    samples = [{"pixel": 3, "weight": weight, "last": 0} for weight in weights] + [LAST]
    values = np.full((TRANSFERS, LANES), PRODUCT.high)
    total = sum(weighted_product(weight, values) for weight in weights)
    assert (total == (1 << PRODUCT.integer + PRODUCT_SUM.fraction) + 3).all()
    mean = mean_products(total.reshape(1, -1), np.array([1 << UNIT])).reshape(TRANSFERS, 3, 16).tolist()
    result = run_case(samples, values.reshape(TRANSFERS, 3, 16).tolist() * 8, [{}, LAST], mean)
    assert [[list(pair) for pair in vector] for vector in result.outputs["o_vector"]] == mean


def test_latency_and_throughput():
    samples = [{"pixel": n % 2, "weight": 1000, "last": 0} for n in range(10)] + [LAST]
    vectors = [[[n] * 16] * 3 for n in range(30)]
    result = run(
        shared(ProductBuffer, CFG),
        {"i_sample": samples, "i_vector": vectors},
        {"o_sample": 3, "o_vector": 6},
        settle=40,
    )
    taken = result.cycles["i_vector"]
    # The first waits for the pixels to be emptied after the reset.
    assert taken == list(range(PIXELS, PIXELS + 30))
    first = taken[-1] + ProductBuffer.LATENCY
    assert result.cycles["o_vector"] == [first + n for n in range(6)]
    # The two rays take three cycles each, the 14 pixels without a sample one each; then comes the marker.
    rays = first - ProductBuffer.STEPS
    assert result.cycles["o_sample"] == [rays, rays + 3, rays + 6 + 14 + 1]


def test_a_sample_a_cycle_also_of_one_pixel():
    pixels = [0, 0, 0, 1, 2, 1, 0, 0, 3, 4, 3, 3, 5, 5, 6, 6, 6, 6, 7]
    weights = [1000 + 10 * n for n in range(len(pixels))]
    samples = [{"pixel": pixel, "weight": weight, "last": 0} for pixel, weight in zip(pixels, weights, strict=True)] + [
        LAST
    ]
    values = np.random.default_rng(7).integers(PRODUCT.low, PRODUCT.high + 1, (len(pixels), TRANSFERS, LANES))
    vectors = values.reshape(-1, 3, 16).tolist()
    means, rays = [], sorted(set(pixels))
    for ray in rays:
        of_ray = [n for n, pixel in enumerate(pixels) if pixel == ray]
        total = sum(weighted_product(weights[n], values[n]) for n in of_ray)
        means += mean_products(total.reshape(1, -1), np.array([sum(weights[n] for n in of_ray)])).tolist()
    result = run_case(samples, vectors, [LAST] * (len(rays) + 1), [LAST] * (TRANSFERS * len(rays)), WIDE)
    assert result.cycles["i_vector"] == list(range(PIXELS, PIXELS + len(pixels)))
    got = np.array([[list(pair) for pair in vector] for vector in result.outputs["o_vector"]])
    assert np.array_equal(got.reshape(len(rays), -1), np.array(means))
    # A ray takes a cycle for each of its groups.
    first = result.cycles["i_vector"][-1] + ProductBuffer.LATENCY
    assert result.cycles["o_vector"] == [first + n for n in range(TRANSFERS * len(rays))]


@pytest.mark.parametrize("sink", [1.0, 0.1])
def test_a_tile_is_added_up_while_the_one_before_is_put_out(sink):
    tiles = [[{"pixel": base + n % 2, "weight": 1000, "last": 0} for n in range(10)] + [LAST] for base in (0, PIXELS)]
    result = run(
        shared(ProductBuffer, CFG),
        {"i_sample": tiles[0] + tiles[1], "i_vector": [[[1] * 16] * 3] * 60},
        {"o_sample": 6, "o_vector": 12},
        stalls=(1.0, sink),
    )
    taken = result.cycles["i_vector"]
    # Three additions are under way, then ``last`` is taken.
    assert taken == [*range(PIXELS, PIXELS + 30), *range(PIXELS + 34, PIXELS + 64)]
    rays = result.outputs["o_sample"]
    assert [ray.last for ray in rays] == [0, 0, 1, 0, 0, 1]
    assert [ray.pixel for ray in rays if not ray.last] == [0, 1, PIXELS, PIXELS + 1]
    marker, first = result.cycles["o_sample"][2:4]
    if sink == 1:
        assert marker < taken[-1] == first - (ProductBuffer.LATENCY - ProductBuffer.STEPS)
    else:
        assert taken[-1] < marker


def test_a_tile_waits_until_the_one_before_is_put_out():
    tiles = [[{"pixel": base + n, "weight": 1000, "last": 0} for n in range(count)] + [LAST]
             for base, count in ((0, PIXELS), (PIXELS, 1))]  # fmt: skip
    result = run(
        shared(ProductBuffer, CFG),
        {"i_sample": tiles[0] + tiles[1], "i_vector": [[[1] * 16] * 3] * (3 * PIXELS + 3)},
        {"o_sample": PIXELS + 3, "o_vector": 3 * PIXELS + 3},
    )
    marker, first, last = result.cycles["o_sample"][PIXELS:]
    assert result.cycles["i_vector"][-1] < result.cycles["o_vector"][0]
    # The marker is there, the next one is taken; pixel 0 is looked at; it is read.
    assert first == marker + 3
    assert last == first + 3 + (PIXELS - 1) + 1


def test_a_tile_without_a_sample_takes_no_time_behind_one_with():
    samples = [{"pixel": 5, "weight": 1000, "last": 0}, LAST, LAST, LAST]
    result = run(
        shared(ProductBuffer, CFG),
        {"i_sample": samples, "i_vector": [[[1] * 16] * 3] * 3},
        {"o_sample": 4, "o_vector": 3},
    )
    marker = result.cycles["o_sample"][1]
    # The next one is taken, then it is at the output.
    assert result.cycles["o_sample"][2:] == [marker + 2, marker + 4]
