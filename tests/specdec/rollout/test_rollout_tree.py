"""The radix tree: what is shared is counted once, and seeds mean the same in every way of sampling."""

from fractions import Fraction

import numpy as np
import pytest

from rtnerf.base.errors import InputError
from specdec.laws.chance import Sampler
from specdec.laws.language_model import LanguageModel, MarkovModel, TableModel
from specdec.models.cached import CachedModel
from specdec.models.transformer import transformer
from specdec.rollout.grammar import choose
from specdec.rollout.independent import INDEPENDENT, Case, compare
from specdec.rollout.tree import Branch, Counters, Policy, RadixTree, grow, largest_remainders

VOCABULARY = 7
PROMPT = (1, 2)


class Fixed(Policy):
    """Paths of ``depth`` segments of ``tokens`` tokens; token 0 ends a path."""

    def __init__(self, tokens=3, depth=4, can_end=False):
        self.tokens, self.depth, self.can_end = tokens, depth, can_end

    def segment(self, branch):
        for _ in range(self.tokens):
            law = yield
            branch.append(branch.chance.draw(law), law)
            if self.can_end and branch.tokens[-1] == 0:
                return

    def ended(self, branch):
        return len(branch.ancestors) == self.depth or (self.can_end and branch.tokens[-1] == 0)


def markov(seed=0):
    return MarkovModel(np.random.default_rng(seed).dirichlet(np.ones(VOCABULARY), VOCABULARY))


class Recorder(LanguageModel):
    """A model that remembers what it was asked for."""

    def __init__(self, model):
        self.model, self.asked = model, []

    def law(self, prefix):
        return self.model.law(prefix)

    def laws(self, context, paths):
        self.asked.append([context + path for path in paths])
        return self.model.laws(context, paths)


def test_counts_of_a_full_tree():
    model = Recorder(markov())
    tree = RadixTree(model, PROMPT, seed=0)
    leaves = grow(tree, Fixed(), rollouts=6, width=2, first=2)
    # Segments by depth: 2, 4, 6, 6.
    found = tree.counters
    assert [len(leaf.path) for leaf in leaves] == [12] * 6
    assert (found.prompt, found.tokens, found.rounds, found.rows) == (2, 18 * 3, 12, 18 * 3)
    assert found.held == 2 + 18 * 3
    assert found.batch == pytest.approx(18 / 4)
    assert [len(paths) for paths in model.asked] == [2] * 3 + [4] * 3 + [6] * 6
    assert 0 < found.seconds == found.model_seconds + found.outside_seconds


def test_all_the_model_sees_are_paths_of_the_tree():
    model = Recorder(markov())
    tree = RadixTree(model, PROMPT, seed=3)
    leaves = grow(tree, Fixed(can_end=True), rollouts=9, width=3, first=2)
    beginnings = {PROMPT + leaf.path[:length] for leaf in leaves for length in range(len(leaf.path))}
    assert {path for paths in model.asked for path in paths} == beginnings


def test_independent_rollouts_are_the_same_one_by_one_and_side_by_side():
    together = grow(RadixTree(markov(), PROMPT, 5), Fixed(can_end=True), 6, 1, 6)
    alone = [grow(RadixTree(markov(), PROMPT, 5, index), Fixed(can_end=True), 1, 1, 1)[0] for index in range(6)]
    assert [leaf.path for leaf in together] == [leaf.path for leaf in alone]
    assert len({leaf.path for leaf in together}) > 1


def test_a_tree_repeats_for_a_seed_and_begins_as_the_first_independent_rollout():
    first, again, other = (grow(RadixTree(markov(), PROMPT, seed), Fixed(), 6, 2, 1) for seed in (1, 1, 2))
    assert [leaf.path for leaf in first] == [leaf.path for leaf in again] != [leaf.path for leaf in other]
    assert first[0].path == grow(RadixTree(markov(), PROMPT, 1), Fixed(), 1, 1, 1)[0].path


def test_rollouts_of_a_tree_have_the_law_of_the_model():
    law = np.array([0.5, 0.3, 0.2])
    model, counts = MarkovModel(np.stack([law, law[::-1], law])), np.zeros((3, 3))
    trials = 1500
    for seed in range(trials):
        for leaf in grow(RadixTree(model, (0,), seed), Fixed(tokens=1, depth=2), 4, 2, 2):
            counts[leaf.path] += 1 / (4 * trials)
    expected = law[:, None] * np.stack([law, law[::-1], law])
    # Four rollouts of a tree depend on each other: as if they were one.
    assert np.abs(counts - expected).max() < 4 * np.sqrt(0.25 / trials)


def test_a_transformer_gives_the_same_rollouts_in_every_way():
    network = transformer(VOCABULARY, width=16, layers=2, heads=2, hidden=16).eval().requires_grad_(False)
    policy = Fixed(tokens=2, depth=3, can_end=True)
    for shape in ((4, 2, 1), (4, 4, 4)):
        cached = grow(RadixTree(CachedModel(network), PROMPT, 4), policy, *shape)

        class Plain(LanguageModel):
            def law(self, prefix):
                return CachedModel(network).law(prefix)

        plain = grow(RadixTree(Plain(), PROMPT, 4), policy, *shape)
        assert [leaf.path for leaf in cached] == [leaf.path for leaf in plain]


def test_a_split_leaves_all_paths_as_they_are():
    tree = RadixTree(markov(), PROMPT, 0)
    leaves = grow(tree, Fixed(), 4, 2, 1)
    paths, tokens = [leaf.path for leaf in leaves], tree.counters.tokens
    upper = leaves[0].parent.split(1)
    assert [leaf.path for leaf in tree.root.leaves] == paths
    assert tree.counters.tokens == tokens
    assert upper.path == paths[0][: len(upper.path)]
    assert len(upper.tokens) == 1


def test_counters_add_up_as_one_after_the_other():
    total = Counters(1, 2, 3, 4, 5, 6, 7, 8) + Counters(10, 20, 30, 40, 3, 60, 70, 80)
    assert total == Counters(11, 22, 33, 44, 5, 66, 77, 88)


@pytest.mark.parametrize("seed", range(20))
def test_shares_are_at_least_one_and_within_one_of_proportion(seed):
    rng = np.random.default_rng(seed)
    weights, total = rng.random(5), 5 + int(rng.integers(20))
    shares = largest_remainders(weights, total)
    assert shares.sum() == total
    assert np.abs(shares - 1 - (total - 5) * weights / weights.sum()).max() < 1


@pytest.mark.parametrize("name", ["rollouts", "width", "first"])
def test_numbers_are_at_least_one(name):
    with pytest.raises(InputError, match=rf"^{name} must be at least 1, not 0$"):
        grow(RadixTree(markov(), PROMPT, 0), Fixed(), **{"rollouts": 1, "width": 1, "first": 1} | {name: 0})


def test_a_choice_follows_the_law_among_what_is_possible():
    law = np.array([0.4, 0.1, 0.2, 0.3])
    options = [(1,), (2, 0), (2, 3)]
    counts = np.zeros(3)
    for seed in range(2000):
        tree = RadixTree(MarkovModel(law[None].repeat(4, 0)), (0,), seed)
        tree.decode([(tree.root, choose(tree.root, options))])
        counts[options.index(tree.root.path)] += 1 / 2000
    assert counts == pytest.approx([1 / 3, 2 / 3 * 4 / 7, 2 / 3 * 3 / 7], abs=0.05)


def test_a_choice_goes_on_where_the_law_rules_all_out():
    branch = Branch(None, Sampler(0))
    choice = choose(branch, [(0,), (1,)])
    next(choice)
    with pytest.raises(StopIteration):
        choice.send(np.array([0.0, 0.0, 1.0]))
    assert branch.log_p == [pytest.approx(np.log(0.5))]


def test_options_do_not_begin_with_one_another():
    choice = choose(Branch(None, Sampler(0)), [(0,), (0, 1)])
    next(choice)
    with pytest.raises(InputError, match="options must be such that none begins with another"):
        choice.send(np.array([1.0, 0.0]))


def test_savings_are_shares_of_the_other_way():
    case = Case(PROMPT, lambda _: Fixed(), lambda policy, leaves: {"leaves": len(leaves)})
    found = compare(markov, [case, case], rollouts=6, widths=(2, 6), first=2, seed=0)
    narrow, wide = found["trees"]
    assert narrow["tokens"] == 2 * 54
    assert narrow["leaves"] == found["independent"]["side_by_side"]["rollouts"] == 12
    assert found["independent"]["one_by_one"]["rounds"] == 2 * 6 * 12
    for other in INDEPENDENT:
        assert narrow["saving"][other]["tokens"] == narrow["saving"][other]["tokens_per_token"] == pytest.approx(1 / 4)
        assert wide["saving"][other]["tokens"] == pytest.approx(1 - (2 + 6 + 6 + 6) / 24)
    assert narrow["saving"]["one_by_one"]["rounds"] == pytest.approx(5 / 6)


def test_an_exact_model_can_be_sampled():
    half = np.array([Fraction(1, 2), Fraction(1, 2)], dtype=object)
    model = TableModel({(0,): half, (0, 0): half, (0, 1): half})
    assert {len(leaf.path) for leaf in grow(RadixTree(model, (0,), 0), Fixed(tokens=1, depth=2), 4, 2, 2)} == {2}
