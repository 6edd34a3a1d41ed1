"""Filters of laws: what they keep, in floats and in exact rationals, and that speculation keeps the filtered law."""

from fractions import Fraction

import numpy as np
import pytest

from rtnerf.base.errors import InputError
from specdec.decoding.output_law import output_law, plain_law
from specdec.laws.distribution import exact
from specdec.laws.filters import Filter, Filtered
from specdec.laws.language_model import LanguageModel, TableModel
from specdec.proposers.static import chain, rsd_constant
from specdec.trees.tree import Source
from specdec.verifiers.multi_step import WithoutReplacement
from specdec.verifiers.naive import NaiveSampling
from tests.specdec.helpers import CONTEXT, random_model

LAW = exact([1, 5, 2, 0, 2])
CUTS = [
    (Filter(top_k=1), [0, 1, 0, 0, 0]),
    # Equals of the last that is kept stay.
    (Filter(top_k=2), [0, 5, 2, 0, 2]),
    (Filter(top_p=Fraction(49, 100)), [0, 1, 0, 0, 0]),
    (Filter(top_p=Fraction(69, 100)), [0, 5, 2, 0, 0]),
    (Filter(top_p=Fraction(71, 100)), [0, 5, 2, 0, 2]),
    (Filter(min_p=Fraction(39, 100)), [0, 5, 2, 0, 2]),
    (Filter(min_p=Fraction(41, 100)), [0, 1, 0, 0, 0]),
    # In this order: of the three that are left, the first has 5 of 9.
    (Filter(top_k=3, top_p=Fraction(11, 20)), [0, 1, 0, 0, 0]),
    (Filter(), [1, 5, 2, 0, 2]),
]


@pytest.mark.parametrize(("cut", "kept"), CUTS)
def test_what_is_kept(cut, kept):
    assert cut(LAW).tolist() == exact(kept).tolist()
    assert Filter(top_p=Fraction(1, 2))(LAW).tolist() == exact([0, 1, 0, 0, 0]).tolist()
    np.testing.assert_allclose(cut(LAW.astype(float)), np.array(kept) / sum(kept))


class Repeating(LanguageModel):
    """A model whose weights of tokens that are there already are halved: an exact penalty of repetition."""

    def __init__(self, model):
        self._model = model

    def law(self, prefix):
        law = self._model.law(prefix).copy()
        law[list(set(prefix))] /= 2
        return law / law.sum()


@pytest.mark.parametrize("cut", [Filter(top_k=2), Filter(top_p=Fraction(2, 3)), Filter(min_p=Fraction(1, 3))])
@pytest.mark.parametrize("penalty", [lambda model: model, Repeating])
@pytest.mark.parametrize("drafted_filtered", [False, True])
def test_speculation_has_the_filtered_law_exactly(cut, penalty, drafted_filtered):
    """By enumeration: with a chain and a tree of two levels, whether the draft is filtered or not."""
    target = Filtered(penalty(random_model(1, 3, 3)), cut)
    draft = random_model(2, 3, 3)
    if drafted_filtered:
        draft = Filtered(penalty(draft), cut)
    expected = plain_law(target, CONTEXT, 3)
    for proposer, verifier in (
        (chain(draft, 2, Source.WITHOUT_REPLACEMENT), NaiveSampling()),
        (rsd_constant(draft, [2, 1]), WithoutReplacement()),
    ):
        found = output_law(target, proposer, verifier, CONTEXT, 3)
        assert {output: mass for output, mass in found.items() if mass} == expected


def test_a_pass_is_filtered_as_a_law():
    model = TableModel({(0,): LAW, (0, 1): exact([3, 1, 1, 1, 1])})
    filtered = Filtered(model, Filter(top_k=1))
    assert [law.tolist() for law in filtered.laws((0,), [(), (1,)])] == [[0, 1, 0, 0, 0], [1, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top_k": 0}, "top-k must be at least 1, not 0"),
        ({"top_p": 0}, "top-p must be above 0 and at most 1, not 0"),
        ({"min_p": 2}, "min-p must be from 0 to 1, not 2"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Filter(**arguments)
