from fractions import Fraction

import numpy as np
import pytest

from specdec.chance import Sampler, outcomes
from tests.specdec.models import rationals


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
