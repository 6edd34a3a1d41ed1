from collections import Counter
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest

from specdec.laws.chance import Likeliest, Sampler, outcomes
from tests.specdec.helpers import rationals


def test_outcomes_are_every_way_with_its_probability():
    def experiment(chance):
        first = chance.draw(rationals("1/2 0 1/3 1/6"))
        if first == 2:
            return first, chance.accept(Fraction(1, 4))
        return first, None

    assert {result: probability for probability, result in outcomes(experiment)} == {
        (0, None): Fraction(1, 2),
        (2, True): Fraction(1, 12),
        (2, False): Fraction(1, 4),
        (3, None): Fraction(1, 6),
    }


def test_a_certain_experiment_has_one_outcome():
    assert list(outcomes(lambda chance: chance.accept(1))) == [(1, True)]
    assert list(outcomes(lambda chance: "nothing drawn")) == [(1, "nothing drawn")]


def test_sampler_repeats_for_a_seed_and_never_draws_the_impossible():
    weights = np.array([0, 0.2, 0, 0.5, 0.3, 0])
    draws = [[Sampler.draw(sampler, weights) for _ in range(2000)] for sampler in (Sampler(5), Sampler(5))]
    assert draws[0] == draws[1]
    counts = np.bincount(draws[0], minlength=6)
    assert counts[[0, 2, 5]].tolist() == [0, 0, 0]
    assert counts / 2000 == pytest.approx(weights, abs=0.04)


def test_sampler_takes_rationals():
    sampler = Sampler(1)
    assert {sampler.draw(rationals("0 1/3 2/3")) for _ in range(50)} == {1, 2}
    assert sampler.accept(Fraction(1))
    assert not sampler.accept(Fraction(0))


def test_distinct_draws_have_the_law_of_draws_without_replacement():
    # Every order of the three possible indices: chi-square with 5 degrees of freedom, p > 0.001.
    weights, trials = rationals("5/10 0 3/10 2/10"), 6000
    sampler = Sampler(8)
    counts = Counter(tuple(sampler.distinct(weights.astype(float))) for _ in range(trials))
    expected = {order: probability for probability, order in outcomes(lambda chance: tuple(chance.distinct(weights)))}
    assert set(counts) == set(expected)
    assert sum(expected.values()) == 1
    assert expected[0, 3, 2] == Fraction(1, 2) * Fraction(2, 5)
    assert sum((counts[order] - trials * p) ** 2 / (trials * p) for order, p in expected.items()) < 20.5


@pytest.mark.parametrize("weights", [[1, 1e-9, 1e-12, 0, 1e-15], [0, 0, 1e-300], [3], [0.1] * 7])
def test_distinct_draws_end_with_the_last_possible_index(weights):
    weights = np.array(weights)
    for seed in range(20):
        drawn = list(Sampler(seed).distinct(weights))
        assert sorted(drawn) == np.flatnonzero(weights).tolist()


def test_independent_draws_are_single_draws():
    weights = np.array([0.2, 0, 0.8])
    many, single = Sampler(9), Sampler(9)
    assert list(islice(many.independent(weights), 50)) == [single.draw(weights) for _ in range(50)]


def test_the_likeliest_is_no_draw():
    weights = np.array([0.2, 0.4, 0.0, 0.4])
    assert Likeliest().draw(weights) == 1
    assert list(Likeliest().distinct(weights)) == [1, 3, 0]
    assert list(islice(Likeliest().independent(weights), 3)) == [1, 1, 1]
    assert [Likeliest().accept(probability) for probability in (0, 0.4, 0.6, 1)] == [False, False, True, True]
