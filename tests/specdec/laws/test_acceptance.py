"""Facts 9.3: exact acceptance probabilities, by formula and by enumerating the code that decodes."""

from fractions import Fraction

import numpy as np
import pytest

from rtnerf.base.errors import InputError
from specdec.cost import leviathan
from specdec.decoding.output_law import expected_output, output_law
from specdec.laws import acceptance
from specdec.laws.distribution import exact
from specdec.laws.language_model import TableModel
from specdec.proposers.static import StaticTree
from specdec.trees.shape import Shape
from specdec.trees.tree import Source
from specdec.verifiers.multi_step import DeterministicCandidates, WithoutReplacement, WithReplacement
from specdec.verifiers.naive import NaiveSampling
from tests.specdec.helpers import CONTEXT, random_law, rationals

# p, q, draws, acceptance of one draw, with replacement, without replacement, and the optimum of (replacement or not).
ROWS = [
    (
        rationals("309/500 177/500 14/500"),
        rationals("373/1000 580/1000 47/1000"),
        2,
        Fraction(755, 1000),
        Fraction(169277, 200000),
        Fraction(192754417, 200130000),
        {True: Fraction(988871, 1000000)},
    ),
    (
        rationals("469/1000 124/1000 407/1000"),
        rationals("201/1000 275/1000 524/1000"),
        3,
        Fraction(732, 1000),
        Fraction(207227133, 250000000),
        Fraction(1),
        {True: Fraction(1), False: Fraction(1)},
    ),
    (
        rationals("777/1000 223/1000"),
        rationals("937/1000 63/1000"),
        2,
        Fraction(840, 1000),
        Fraction(5313, 6250),
        Fraction(1),
        {False: Fraction(1)},
    ),
]


def one_level(p, q, draws, source):
    """A target and a proposer of ``draws`` candidates for one position."""
    target = TableModel({CONTEXT: p} | {(*CONTEXT, token): p for token in range(len(p))})
    return target, StaticTree(TableModel({CONTEXT: q}), Shape.constant([draws]), source)


@pytest.mark.parametrize("row", ROWS)
def test_published_values(row):
    p, q, draws, single, repeated, distinct, optimum = row
    assert acceptance.single(p, q) == single
    assert acceptance.with_replacement(p, q, draws) == repeated
    assert acceptance.without_replacement(p, q, draws) == distinct
    for replacement, value in optimum.items():
        assert acceptance.optimal(p, q, draws, replacement) == value


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize(
    ("source", "verifier", "column"),
    [
        (Source.WITH_REPLACEMENT, WithReplacement, 4),
        (Source.WITHOUT_REPLACEMENT, WithoutReplacement, 5),
    ],
)
def test_published_values_by_enumeration(row, source, verifier, column):
    target, proposer = one_level(*row[:3], source)
    assert expected_output(target, proposer, verifier(), CONTEXT) == 1 + row[column]
    law = output_law(target, proposer, verifier(), CONTEXT, 1)
    assert [law[(token,)] for token in range(len(row[0]))] == row[0].tolist()


def test_optimum_of_independent_draws_in_the_third_row():
    # The published optimum of 1 is that of draws without replacement; two independent draws cannot reach it.
    p, q, draws = ROWS[2][:3]
    assert acceptance.optimal(p, q, draws, replacement=True) == Fraction(899031, 1000000)


def test_formulae_equal_enumeration_and_keep_their_order():
    generator = np.random.default_rng(11)
    for _ in range(40):
        vocabulary, draws = int(generator.integers(2, 5)), int(generator.integers(1, 4))
        p, q = random_law(generator, vocabulary), random_law(generator, vocabulary)
        found = {}
        for source, verifier, value in (
            (Source.WITH_REPLACEMENT, WithReplacement(), acceptance.with_replacement(p, q, draws)),
            (Source.WITHOUT_REPLACEMENT, WithoutReplacement(), acceptance.without_replacement(p, q, draws)),
            (Source.RANKED, DeterministicCandidates(), acceptance.ranked_candidates(p, q, draws)),
        ):
            target, proposer = one_level(p, q, draws, source)
            assert expected_output(target, proposer, verifier, CONTEXT) == 1 + value
            found[source] = value
            if source.drawn:
                replacement = source is Source.WITH_REPLACEMENT
                naive = acceptance.naive(p, q, draws, replacement)
                assert expected_output(target, proposer, NaiveSampling(), CONTEXT) == 1 + naive
                assert naive <= value <= acceptance.optimal(p, q, draws, replacement)
        assert found[Source.WITHOUT_REPLACEMENT] >= found[Source.WITH_REPLACEMENT]


def test_one_draw_is_optimal():
    generator = np.random.default_rng(12)
    for _ in range(20):
        p, q = random_law(generator, 4), random_law(generator, 4)
        value = acceptance.single(p, q)
        for replacement in (True, False):
            assert acceptance.optimal(p, q, 1, replacement) == value
        assert acceptance.with_replacement(p, q, 1) == acceptance.without_replacement(p, q, 1) == value


def test_trimming_the_vocabulary():
    p, q = exact([4, 3, 2, 1]), exact([1, 2, 3, 4])
    assert acceptance.trimmed(p, q, np.arange(4)) == acceptance.single(p, q)
    assert acceptance.trimmed(p, q, np.array([0, 1])) == Fraction(1, 3) + Fraction(3, 10)
    # Outside the kept set nothing is accepted, so more can be gained or lost: here two tokens beat four.
    assert acceptance.single(p, q) == Fraction(6, 10)


@pytest.mark.parametrize(
    ("alpha", "cost", "length", "speedup"),
    [
        ("1/2", "1/100", 5, 1.8750),
        ("9/10", "1/100", 24, 7.4856),
        ("8/10", "1/10", 6, 2.4696),
        ("8/10", "1/20", 8, 3.0921),
        ("6/10", "1/20", 4, 1.9213),
        ("95/100", "1/100", 40, 12.5416),
    ],
)
def test_leviathan_optima(alpha, cost, length, speedup):
    assert leviathan.best_length(Fraction(alpha), Fraction(cost)) == length
    assert float(leviathan.speedup(Fraction(alpha), length, Fraction(cost))) == pytest.approx(speedup, abs=5e-5)


def test_chain_formula():
    half = Fraction(1, 2)
    assert leviathan.expected_tokens(half, 3) == Fraction(15, 8) == (1 - half**4) / (1 - half)
    assert leviathan.expected_tokens(1, 4) == 5
    assert leviathan.speedup(half, 5, Fraction(1, 100)) == Fraction(15, 8)


def test_bad_rows_are_refused():
    p, q = exact([1, 1]), exact([1, 1, 1])
    with pytest.raises(InputError, match=r"draft law must be of the target law's shape \(2,\), not \(3,\)"):
        acceptance.with_replacement(p, q, 2)
    with pytest.raises(InputError, match="draws must be at least 0, not -1"):
        acceptance.without_replacement(p, p, -1)
    with pytest.raises(InputError, match="kept must be tokens that the draft can give"):
        acceptance.trimmed(p, exact([1, 0]), np.array([1]))
    with pytest.raises(InputError, match="length must be at least 0, not -1"):
        leviathan.expected_tokens(Fraction(1, 2), -1)
    with pytest.raises(InputError, match="cost must be at least 0, not -1"):
        leviathan.speedup(Fraction(1, 2), 1, -1)
