"""Trees that grow with the text: DySpec, the stochastic beam, EAGLE-2, OPT-Tree."""

from collections import Counter
from functools import cache
from itertools import product

import numpy as np
import pytest

from rtnerf.base.errors import InputError
from specdec.laws.chance import Chance, Sampler, outcomes
from specdec.laws.language_model import AtTemperature, MarkovModel
from specdec.proposers.dyspec import DySpecGreedy, DySpecThreshold
from specdec.proposers.eagle2 import Eagle2
from specdec.proposers.opt_tree import OptTree
from specdec.proposers.static import StaticTree, chain, rsd_constant, specinfer
from specdec.proposers.stochastic_beam import StochasticBeam
from specdec.trees.shape import Shape
from specdec.trees.tree import Source
from tests.specdec.helpers import CountingModel


class Tape(Chance):
    """Draws that were all fixed beforehand: the same weights always give the same token."""

    def __init__(self, seed):
        self._seed = seed

    def draw(self, weights):
        words = np.frombuffer(np.ascontiguousarray(weights).tobytes(), np.uint32)
        return Sampler([self._seed, *words.tolist()]).draw(weights)


def markov(seed, vocabulary=6, concentration=0.5):
    return MarkovModel(np.random.default_rng(seed).dirichlet(np.full(vocabulary, concentration), vocabulary))


def best_value(draft, tape, places):
    """Greatest total value of ``places`` filled places, by trying every set that DySpec could fill."""

    @cache
    def sets(path, drawn, value, count):
        """The greatest value of ``count`` places, the first below ``path`` after ``drawn`` siblings among them."""
        if count == 0:
            return 0.0
        left = draft.law((0, *path)).copy()
        left[list(drawn)] = 0
        if not (left > 0).any():
            return -np.inf
        token = tape.draw(left)
        probability = left[token] / left.sum()
        return value + max(
            sets((*path, token), (), value * probability, below)
            + sets(path, (*drawn, token), value * (1 - probability), count - 1 - below)
            for below in range(count)
        )

    return sets((), (), 1.0, places)


def filled_value(draft, tree):
    """Total value of the places that a tree fills: the chance that verification comes to them, by the draft."""
    value, total = {0: 1.0}, 0.0
    for node, children in enumerate(tree.children):
        left, here = draft.law((0, *tree.paths[node])).copy(), value[node]
        for child in children:
            total += here
            probability = left[tree.token[child]] / left.sum()
            value[child] = here * probability
            here *= 1 - probability
            left[tree.token[child]] = 0
    return total


@pytest.mark.parametrize("group", range(6))
def test_dyspec_greedy_is_optimal(group):
    for seed in range(100 * group, 100 * group + 100):
        draft, tape, nodes = markov(seed, vocabulary=3 + seed % 3), Tape(seed), 2 + seed % 6
        tree = DySpecGreedy(draft, nodes).propose((0,), tape).tree
        assert len(tree) == nodes
        assert filled_value(draft, tree) == pytest.approx(best_value(draft, tape, nodes - 1), rel=1e-12)


def test_dyspec_follows_what_is_accepted_where_that_is_told():
    draft = markov(1)
    chains, stars = (
        DySpecGreedy(draft, 5, lambda rank, _, sure=sure: sure).propose((0,), Sampler(1)).tree for sure in (0.9, 0.05)
    )
    assert chains.levels() == [1, 1, 1, 1, 1]
    assert stars.levels() == [1, 4]


def test_dyspec_costs_a_pass_a_node_or_a_layer():
    draft = CountingModel(markov(1))
    greedy = DySpecGreedy(draft, 24).propose((0,), Sampler(1))
    assert draft.passes == greedy.draft_passes == sum(bool(children) for children in greedy.tree.children)
    draft = CountingModel(markov(1))
    layered = DySpecThreshold(draft, 1 / 24, 100).propose((0,), Sampler(1))
    assert draft.passes == layered.draft_passes
    assert 0 <= layered.draft_passes - layered.tree.depth.max() <= 1
    assert layered.draft_passes < greedy.draft_passes


def test_dyspec_threshold_fills_exactly_the_places_of_enough_value():
    for seed in range(30):
        draft, threshold = markov(seed), 0.08
        proposal = DySpecThreshold(draft, threshold, 1000).propose((0,), Tape(seed))
        nodes = len(proposal.tree)
        # The greedy tree of the same draws and size has the same nodes: all places above the threshold, no other.
        greedy = DySpecGreedy(draft, nodes).propose((0,), Tape(seed))
        assert sorted(greedy.tree.paths) == sorted(proposal.tree.paths)
    assert len(DySpecThreshold(draft, threshold, 5).propose((0,), Tape(seed)).tree) == 5


def gumbel_beam(laws, width, generator):
    """Two layers of Kool's stochastic beam, by the Gumbel recursion; returns the layers in order of perturbed value."""
    beam, layers = [((), 0.0, 0.0)], []
    for _ in range(2):
        found = []
        for path, phi, perturbed in beam:
            child = phi + np.log(laws[path])
            noisy = child + generator.gumbel(size=len(child))
            # The largest child inherits its parent's value: the logarithm of zero is meant.
            with np.errstate(divide="ignore"):
                v = perturbed - noisy + np.log1p(-np.exp(noisy - noisy.max()))
            value = perturbed - np.maximum(0, v) - np.log1p(np.exp(-np.abs(v)))
            found += [((*path, token), child[token], value[token]) for token in range(len(child))]
        beam = sorted(found, key=lambda item: -item[2])[:width]
        layers.append(tuple(path for path, _, _ in beam))
    return tuple(layers)


def test_stochastic_beam_has_the_law_of_the_gumbel_recursion():
    generator = np.random.default_rng(8)
    # Laws without impossible tokens, as the recursion of logarithms wants.
    draft = MarkovModel(np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [0.7, 0.2, 0.1]]))
    laws = {path: draft.law((0, *path)) for length in range(2) for path in product(range(3), repeat=length)}
    exact = Counter()
    for probability, proposal in outcomes(lambda chance: StochasticBeam(draft, 2, 2).propose((0,), chance)):
        paths = proposal.tree.paths
        exact[tuple(tuple(path for path in paths if len(path) == length) for length in (1, 2))] += float(probability)
    assert sum(exact.values()) == pytest.approx(1)
    trials = 20000
    counts = Counter(gumbel_beam(laws, 2, generator) for _ in range(trials))
    assert set(counts) <= set(exact)
    chi_square = sum((counts[layers] - trials * p) ** 2 / (trials * p) for layers, p in exact.items())
    degrees = len(exact) - 1
    # Mean plus four standard deviations of the chi-square distribution.
    assert chi_square < degrees + 4 * np.sqrt(2 * degrees)


def test_stochastic_beam_keeps_the_first_arrivals():
    draft = CountingModel(markov(5, vocabulary=8))
    proposal = StochasticBeam(draft, width=5, depth=4).propose((0,), Sampler(2))
    assert proposal.tree.levels() == [1, 5, 5, 5, 5]
    assert draft.passes == proposal.draft_passes == 4
    # A small vocabulary fills up: two tokens make two nodes, then four.
    assert StochasticBeam(markov(5, 2, 5.0), 5, 3).propose((0,), Sampler(2)).tree.levels() == [1, 2, 4, 5]


def test_wide_stochastic_beam_is_a_complete_tree():
    proposal = StochasticBeam(markov(6, 3, 5.0), width=100, depth=3).propose((0,), Sampler(3))
    assert proposal.tree.levels() == [1, 3, 9, 27]


def cumulative(draft, tree):
    value = [1.0]
    for node in range(1, len(tree)):
        value.append(value[tree.parent[node]] * draft.law((0, *tree.paths[tree.parent[node]]))[tree.token[node]])
    return np.array(value)


def best_paths(draft, vocabulary, depth, nodes):
    found = {}
    for length in range(1, depth + 1):
        for path in product(range(vocabulary), repeat=length):
            found[path] = np.prod([draft.law((0, *path[:place]))[token] for place, token in enumerate(path)])
    return 1 + sum(sorted(found.values())[-(nodes - 1) :])


def test_opt_tree_is_the_best_of_its_size():
    for seed in range(40):
        draft = markov(seed, vocabulary=4)
        proposal = OptTree(draft, nodes=9, threshold=0.0, depth=4).propose((0,), Sampler(0))
        assert len(proposal.tree) == 9
        assert cumulative(draft, proposal.tree).sum() == pytest.approx(best_paths(draft, 4, 4, 9))


def test_opt_tree_stops_where_a_pass_does_not_pay():
    draft = markov(3)
    passes = [
        OptTree(draft, 10, threshold, 8).propose((0,), Sampler(0)).draft_passes for threshold in (0, 0.05, 0.3, 0.9)
    ]
    assert passes == sorted(passes, reverse=True)
    assert passes[0] > passes[-1] >= 1


def test_eagle2_keeps_the_likeliest():
    draft = CountingModel(markov(4))
    proposal = Eagle2(draft, width=6, depth=3, nodes=12).propose((0,), Sampler(0))
    assert draft.passes == proposal.draft_passes == 3
    # With a beam as wide as the vocabulary two layers are searched completely.
    wide = Eagle2(markov(4), width=6, depth=2, nodes=12).propose((0,), Sampler(0))
    assert cumulative(markov(4), wide.tree).sum() == pytest.approx(best_paths(markov(4), 6, 2, 12))
    narrow = Eagle2(markov(4), width=2, depth=3, nodes=100).propose((0,), Sampler(0))
    assert narrow.tree.levels() == [1, 2, 4, 4]


def test_static_trees_fill_their_shape():
    draft = markov(7, vocabulary=8)
    for proposer, levels in (
        (chain(draft, 4), [1, 1, 1, 1, 1]),
        (rsd_constant(draft, [3, 2, 1]), [1, 3, 6, 6]),
        (StaticTree(draft, Shape([(0,), (1,), (1, 0)]), Source.RANKED), [1, 2, 1]),
    ):
        proposal = proposer.propose((0,), Sampler(4))
        assert proposal.tree.levels() == levels
        assert proposal.draft_passes == len(levels) - 1


def test_repeated_draws_are_kept_but_not_continued():
    certain = AtTemperature(markov(7), 0)
    proposal = specinfer(certain, [3, 2]).propose((0,), Sampler(4))
    assert proposal.tree.levels() == [1, 3, 2]
    assert rsd_constant(certain, [3, 2]).propose((0,), Sampler(4)).tree.levels() == [1, 1, 1]


def test_proposals_repeat_for_a_seed():
    draft = markov(9)
    for proposer in (rsd_constant(draft, [3, 2]), StochasticBeam(draft, 4, 3), DySpecGreedy(draft, 12)):
        first, second, other = (proposer.propose((0,), Sampler(seed)).tree.paths for seed in (1, 1, 2))
        assert first == second != other


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda draft: DySpecGreedy(draft, 0), "nodes must be at least 1, not 0"),
        (lambda draft: DySpecThreshold(draft, 0, 5), "threshold must be in (0, 1], not 0"),
        (lambda draft: StochasticBeam(draft, 0, 5), "width must be at least 1, not 0"),
        (lambda draft: OptTree(draft, 8, 1.0, 5), "threshold must be in [0, 1), not 1.0"),
        (lambda draft: Eagle2(draft, 0, 3, 8), "width must be at least 1, not 0"),
        (lambda draft: StaticTree(draft, Shape([]), Source.RETRIEVED), "source must be drawn or ranked, not RETRIEVED"),
        (lambda draft: AtTemperature(draft, -1), "temperature must be at least 0, not -1"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(InputError) as caught:
        make(markov(0))
    assert str(caught.value) == message
