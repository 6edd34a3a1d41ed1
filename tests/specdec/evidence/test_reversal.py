"""Why DySpec's tree loses above temperature 0: the exact chances it rests on, and what they say."""

import numpy as np
import pytest

from specdec.decoding.output_law import expected_output
from specdec.evidence.reversal import GaussianLogits, duel, reach, unlikely_draws
from specdec.laws.chance import Sampler, outcomes
from specdec.proposers.dyspec import DySpecThreshold
from specdec.proposers.static import StaticTree
from specdec.trees.shape import Shape
from specdec.verifiers.multi_step import WithoutReplacement
from tests.specdec.helpers import CONTEXT, random_model


@pytest.mark.parametrize("seed", range(3))
def test_reach_is_what_the_verifier_does(seed):
    target, draft = random_model(seed, 3, 2), random_model(seed + 100, 3, 2)
    proposer = StaticTree(draft, Shape([(0,), (1,), (0, 0), (0, 1)]))
    ways = outcomes(lambda chance: proposer.propose(CONTEXT, chance))
    tokens = sum(float(chance) * reach(proposal, target, CONTEXT).sum() for chance, proposal in ways)
    exact = expected_output(target, proposer, WithoutReplacement(), CONTEXT)
    assert tokens == pytest.approx(float(exact), abs=1e-12)


def test_draws_are_accepted_by_ratio_not_by_probability():
    """At T = 0 an unlikely draw is accepted about as often as its probability says; above, far more often."""
    expected, accepted = unlikely_draws(0)
    assert accepted == pytest.approx(expected, rel=0.5)
    expected, accepted = unlikely_draws(0.6)
    assert accepted > 5 * expected


def test_temperature_and_budget_turn_the_tables():
    assert duel(0, 64).ratio > 1
    assert duel(0.6, 384).ratio < duel(0.6, 64).ratio < duel(0, 64).ratio
    assert duel(0.6, 384).ratio < 1


def test_the_estimate_knows_no_temperature():
    assert duel(0, 64).estimate == duel(0.6, 64).estimate


def test_laws_repeat():
    model = GaussianLogits(True, 0.6)
    law = model.law((1, 2))
    assert law.sum() == pytest.approx(1)
    np.testing.assert_array_equal(law, GaussianLogits(True, 0.6).law((1, 2)))
    assert (GaussianLogits(False, 0).law((1, 2)) == 1).sum() == 1
    assert DySpecThreshold(model, 0.01, 32).propose((1,), Sampler(0)).draft_passes >= 1
