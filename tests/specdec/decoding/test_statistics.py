"""Numbers of steps, and the test of the law: its p-values and its power."""

import numpy as np
import pytest

from rtnerf.base.errors import InputError
from specdec.decoding.decode import Step, decode, decode_plain
from specdec.decoding.goodness_of_fit import law_test, place
from specdec.decoding.statistics import (
    acceptance_by_depth,
    acceptance_by_rank,
    acceptance_of_draws,
    paired_interval,
    tokens_per_step,
)
from specdec.laws.chance import Sampler
from specdec.laws.language_model import MarkovModel
from specdec.proposers.base import Proposal
from specdec.proposers.static import chain
from specdec.trees.tree import Source, TreeBuilder
from specdec.verifiers.base import Verdict
from specdec.verifiers.multi_step import WithoutReplacement


def step(accepted):
    """A step on the tree with children 1, 2, 3 of the root, and 4 of 1."""
    tree = TreeBuilder.of_paths(0, [(1, 4), (2,), (3,)], Source.RANKED).build()
    nodes = tuple(tree.paths.index(path) for path in accepted)
    return Step(Proposal(tree, {}, draft_passes=0), Verdict(nodes, bonus=9))


def test_statistics_by_hand():
    steps = [step([]), step([(1,)]), step([(1,), (1, 4)]), step([(3,)])]
    assert tokens_per_step(steps) == (1 + 2 + 3 + 2) / 4
    # The root was tried four times; its first child accepted twice and has a child of its own, accepted once.
    assert acceptance_by_rank(steps) == [3 / 6, 0, 1 / 4]
    assert acceptance_by_depth(steps) == [3 / 4, 1 / 2]


def test_draws_are_accepted_by_place_and_probability():
    builder = TreeBuilder(0)
    for token, probability in ((1, 0.5), (2, 0.4), (3, 0.05)):
        builder.add(0, token, np.log(probability), Source.WITHOUT_REPLACEMENT)
    proposal = Proposal(builder.build(), {}, draft_passes=1)
    steps = [Step(proposal, Verdict(nodes, bonus=9)) for nodes in ((1,), (1,), (2,), (3,), ())]
    # The first was tried five times, the second, 0.8 of what was left, three times, the third, half of that, twice.
    found = acceptance_of_draws(steps, 2, [0.6])
    usual = [3 / 7, 3 / 7]
    assert found[0].tolist() == pytest.approx([(2 + 2 * usual[0]) / 7, usual[0]])
    assert found[1].tolist() == pytest.approx([(1 + 2 * usual[1]) / 4, (1 + 2 * usual[1]) / 5])


def test_no_steps_have_no_mean():
    with pytest.raises(InputError, match="steps must be at least one, not none"):
        tokens_per_step([])
    assert acceptance_by_rank([]) == acceptance_by_depth([]) == []


def test_paired_intervals():
    generator = np.random.default_rng(2)
    first = generator.normal(size=200)
    mean, low, high = paired_interval(first, first + generator.normal(0.5, 1, size=200))
    assert low < mean < high
    # Two standard errors of 1 / sqrt(200) on each side.
    assert high - low == pytest.approx(4 / np.sqrt(200), rel=0.15)
    assert low < 0.5 < high
    assert paired_interval([1, 2], [2, 3]) == (1, 1, 1)
    with pytest.raises(InputError, match="second must be of length 1, at least 1, not 2"):
        paired_interval([1], [1, 2])


def samples_of(target, draw, seed=0, contexts=3, trials=100):
    """Outputs of two tokens after each of some contexts, as `law_test` takes them."""
    samples = []
    for context in range(contexts):
        chance = Sampler((seed, context))
        samples.append((target, (context,), [draw((context,), chance) for _ in range(trials)]))
    return samples


def markov(seed, vocabulary=6):
    return MarkovModel(np.random.default_rng(seed).dirichlet(np.ones(vocabulary), vocabulary))


def test_places_fill_the_unit_interval():
    law = np.array([0.2, 0.5, 0.1, 0.2])
    assert place(law, 1, 0.5) == 0.25
    assert place(law, 0, 0.0) == 0.5
    # Of equals the first comes first.
    assert place(law, 3, 0.5) == pytest.approx(0.8)
    assert place(law, 2, 0.5) == pytest.approx(0.95)
    assert 0 <= place(np.array([0.0, 1.0]), 1, np.nextafter(1, 0)) < 1


def test_the_p_value_is_uniform_for_the_true_law():
    target, draft = markov(1), markov(2)

    def draw(context, chance):
        return decode(target, chain(draft, 2), WithoutReplacement(), context, 2, chance)[0]

    values = [law_test(samples_of(target, draw, seed, trials=60), seed).p_value for seed in range(30)]
    assert 0.35 < np.mean(values) < 0.65
    assert min(values) > 1e-3
    assert max(values) > 0.9


def test_the_power_is_how_often_the_bias_is_found():
    """Taking the likeliest token now and then is found as often as the test says, beyond all other doubt."""
    target = markov(3)

    def draw(context, chance):
        output = ()
        for _ in range(2):
            law = target.law(context + output)
            likeliest = chance.accept(0.2)
            output += (int(law.argmax()) if likeliest else chance.draw(law),)
        return output

    tests = [law_test(samples_of(target, draw, seed, trials=150), seed) for seed in range(40)]
    powers = [test.power for test in tests]
    assert 0.2 < np.mean(powers) < 0.8
    assert abs(np.mean([not test.passed for test in tests]) - np.mean(powers)) < 0.25


def test_little_data_tests_nothing():
    target = markov(4)
    few = law_test(samples_of(target, lambda context, chance: decode_plain(target, context, 2, chance), trials=10))
    assert few.power < 0.1
    assert not few.testable
    certain = MarkovModel(np.eye(6)[[1, 2, 3, 4, 5, 0]])
    sure = law_test(samples_of(certain, lambda context, chance: decode_plain(certain, context, 2, chance), trials=500))
    assert sure.power == pytest.approx(1e-4, rel=0.01)
    with pytest.raises(InputError, match="outputs must be at least one, not none"):
        law_test([])
