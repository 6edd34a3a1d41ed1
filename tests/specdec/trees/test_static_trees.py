"""Shapes: Medusa's builder and Sequoia's programme against their published values."""

from itertools import product

import numpy as np
import pytest

from rtnerf.base.errors import InputError
from specdec.trees.sequoia import SequoiaProgramme, fastest_tree
from specdec.trees.shape import Shape, expected_tokens, greedy_shape

SEQUOIA_TEXT = """
.63418 .10795 .05697 .02249 .01949 .01499 .0045 .003 .01199 .0045 .0075 .0045 .006 .003 .0015 .003
.0015 .003 0 .003 .003 .003 0 .0015 0 .0015 0 0 0 .0015 .0015 .0015"""
SEQUOIA = np.array([float(rate) for rate in SEQUOIA_TEXT.split()])
"""Sequoia's shipped acceptance-rate vector (facts, section 4), without the mass that it misses."""

MEDUSA_7B = [
    [0.5604, 0.6717, 0.7271, 0.7599, 0.7799],
    [0.3164, 0.4236, 0.4851, 0.5282, 0.5625],
    [0.2010, 0.2879, 0.3475, 0.3834, 0.4169],
    [0.1474, 0.2250, 0.2737, 0.3109, 0.3397],
    [0.1175, 0.1866, 0.2346, 0.2721, 0.2998],
]
"""Medusa's published top-1 to top-5 accuracies of the five heads for Vicuna-7B (facts, section 3.5)."""

SHIPPED_TOKENS = 2.4658
"""Expected tokens of Medusa's shipped tree of 63 candidates under that table, extended as below."""


def medusa_table():
    """Accuracy of ranks 1 to 10: ranks 6 to 10 go on geometrically from the ratio of ranks 4 and 5."""
    single = np.diff(MEDUSA_7B, axis=1, prepend=0)
    ratio = single[:, 4] / single[:, 3]
    return np.hstack([single, single[:, 4:] * ratio[:, None] ** np.arange(1, 6)])


def random_shape(generator, nodes):
    paths = []
    while len(paths) < nodes:
        parent = () if not paths else paths[generator.integers(len(paths))]
        paths.append((*parent, sum(path[:-1] == parent for path in paths if path)))
    return Shape(paths)


def every_shape(nodes):
    """All ordered trees of so many nodes, the root included."""

    def forests(count):
        if count == 0:
            yield []
        for first in range(1, count + 1):
            for inside, rest in product(forests(first - 1), forests(count - first)):
                yield [inside, *rest]

    def paths(forest, path=()):
        for rank, inside in enumerate(forest):
            yield (*path, rank)
            yield from paths(inside, (*path, rank))

    return [Shape(paths(forest)) for forest in forests(nodes - 1)]


def test_shapes_by_hand():
    shape = Shape([(0, 0), (1,), (0,)])
    assert len(shape) == 4
    assert shape.levels() == [1, 2, 1]
    assert [shape.branching(path) for path in ((), (0,), (1,))] == [2, 1, 0]
    assert expected_tokens(shape, np.array([0.5, 0.2])) == pytest.approx(1 + 0.5 + 0.2 + 0.25)
    assert expected_tokens(shape, np.array([[0.5, 0.2], [0.1, 0.1]])) == pytest.approx(1 + 0.5 + 0.2 + 0.05)
    assert Shape.constant([3, 2]).levels() == [1, 3, 6]
    assert Shape([]).levels() == [1]


def test_bad_shapes_are_refused():
    with pytest.raises(InputError, match=r"shape node \(1,\) must be preceded by its parent and elder sibling"):
        Shape([(1,)])
    with pytest.raises(InputError, match="shape must be without repeated nodes"):
        Shape([(0,), (0,)])


def test_medusa_greedy_builder_beats_the_shipped_tree():
    table = medusa_table()
    shape = greedy_shape(table, 64)
    assert len(shape) == 64
    assert expected_tokens(shape, table) == pytest.approx(2.4707, abs=5e-5)
    assert expected_tokens(shape, table) > SHIPPED_TOKENS
    # The best 63 candidates there are at all: no tree does better.
    values = [
        np.prod([table[depth, rank] for depth, rank in enumerate(path)])
        for length in range(1, 5)
        for path in product(range(10), repeat=length)
    ]
    assert expected_tokens(shape, table) == pytest.approx(1 + sum(sorted(values)[-63:]), abs=1e-12)


def test_greedy_builder_is_best_where_acceptance_falls_with_rank():
    generator = np.random.default_rng(3)
    for _ in range(20):
        table = -np.sort(-generator.random((3, 3)) / 3, axis=1)
        best = max(expected_tokens(shape, table) for shape in every_shape(6))
        assert expected_tokens(greedy_shape(table, 6), table) == pytest.approx(best, abs=1e-12)


def test_greedy_builder_stops_where_the_table_does():
    assert len(greedy_shape(np.array([[0.5, 0.2]]), 64)) == 3


@pytest.mark.parametrize(
    ("nodes", "tokens"),
    [(1, 1), (2, 1.634), (3, 2.036), (4, 2.291), (8, 2.732), (16, 3.130), (32, 3.501), (48, 3.711), (64, 3.852)],
)
def test_sequoia_expected_tokens(programme, nodes, tokens):
    assert round(programme.expected[-1, nodes], 3) == tokens
    shape = programme.shape(nodes, len(programme.expected) - 1)
    assert len(shape) == nodes
    assert expected_tokens(shape, SEQUOIA) == pytest.approx(programme.expected[-1, nodes], abs=1e-12)


@pytest.fixture(scope="module")
def programme():
    # Ten levels as in Sequoia's demo; only the value of 64 nodes feels the limit.
    return SequoiaProgramme(SEQUOIA, nodes=64, levels=10)


def test_sequoia_without_a_limit_of_levels():
    assert round(SequoiaProgramme(SEQUOIA, nodes=64, levels=20).expected[20, 64], 3) == 3.855


def test_sequoia_programme_is_best(programme):
    for nodes in range(1, 8):
        for levels in range(1, 8):
            fitting = [shape for shape in every_shape(nodes) if len(shape.levels()) <= levels]
            best = max((expected_tokens(shape, SEQUOIA) for shape in fitting), default=-np.inf)
            assert programme.expected[levels, nodes] == pytest.approx(best, abs=1e-12)
            if fitting:
                assert len(programme.shape(nodes, levels).levels()) <= levels


def test_sequoia_programme_needs_no_falling_acceptance():
    generator = np.random.default_rng(4)
    for _ in range(20):
        acceptance = generator.random(3) / 2
        best = max(expected_tokens(shape, acceptance) for shape in every_shape(6))
        assert SequoiaProgramme(acceptance, 6, 6).expected[6, 6] == pytest.approx(best, abs=1e-12)


def test_sequoia_demo_tree():
    times = {1: 10, 2: 10, 4: 10, 8: 12, 16: 14, 32: 18}
    choice = fastest_tree(SEQUOIA, times, draft_time=0.3, levels=10)
    assert (choice.nodes, choice.levels) == (4, 4)
    assert choice.shape.levels() == [1, 1, 1, 1]
    assert round(choice.time_per_token, 3) == 4.888
    assert round(choice.speedup, 3) == 2.046


def test_cheaper_drafts_make_deeper_trees():
    times = {size: 10 + size / 8 for size in (1, 2, 4, 8, 16, 32, 64)}
    levels = [fastest_tree(SEQUOIA, times, draft, 12).levels for draft in (0.05, 0.5, 2, 8)]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] > levels[-1]


def test_unreachable_sizes_are_refused(programme):
    with pytest.raises(InputError, match="nodes must be reachable on 1 levels, not 2"):
        programme.shape(2, 1)
    with pytest.raises(InputError, match="sizes of target_time must be with 1 among them"):
        fastest_tree(SEQUOIA, {2: 1.0}, 0.1, 4)
