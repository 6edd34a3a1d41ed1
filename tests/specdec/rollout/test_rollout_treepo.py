"""TreePO: budgets and counts, the ends of paths, the fallback, advantages."""

import numpy as np
import pytest

from rtnerf.base.errors import InputError
from specdec.laws.chance import Sampler
from specdec.laws.language_model import LanguageModel, MarkovModel
from specdec.rollout.experiment import run_treepo
from specdec.rollout.tree import Branch, RadixTree, grow
from specdec.rollout.treepo import TreePo, advantages, distinct_segments, parses
from specdec.text.tokenizer import ByteTokenizer

LETTERS = "ab\n"


def text(tokens):
    return "".join(LETTERS[token] for token in tokens)


class Uniform(LanguageModel):
    def law(self, prefix):
        return np.full(256, 1 / 256)


def markov(end=0.2):
    return MarkovModel(np.array([[0.5 - end / 2, 0.5 - end / 2, end]] * 2 + [[0.2, 0.2, 0.6]]))


# facts: N = 16, w = 2, w0 = 2 saves 35.4 % at depth 6, 30.4 % at 7, 15.2 % at 14, 7.6 % at 28; and the counts of an
# independent port with N = 8: 42.5 % at depth 5 with 2 children, 25.0 % at depth 6 with 3 (root width 1).
@pytest.mark.parametrize(
    ("rollouts", "width", "first", "depth", "saving"),
    [
        (16, 2, 2, 6, 35.4),
        (16, 2, 2, 7, 30.4),
        (16, 2, 2, 14, 15.2),
        (16, 2, 2, 28, 7.6),
        (8, 2, 1, 5, 42.5),
        (8, 3, 1, 6, 25.0),
    ],
)
def test_the_tree_saves_what_counting_says(rollouts, width, first, depth, saving):
    counted = 1 - distinct_segments(rollouts, width, first, depth) / (rollouts * depth)
    assert 100 * counted == pytest.approx(saving, abs=0.05)
    policy = TreePo(text, tokens=2, depth=depth, end="no end")
    tree = RadixTree(MarkovModel(np.full((3, 3), 1 / 3)), (0,), 0)
    leaves = grow(tree, policy, rollouts, width, first)
    assert [len(leaf.path) for leaf in leaves] == [2 * depth] * rollouts
    assert 1 - tree.counters.tokens / sum(len(leaf.path) for leaf in leaves) == pytest.approx(counted)


@pytest.mark.parametrize("cut", ["segment", "token"])
@pytest.mark.parametrize("seed", range(10))
def test_there_are_as_many_rollouts_as_asked_for_however_early_they_end(cut, seed):
    policy = TreePo(text, tokens=4, depth=5, end="\n", cut=cut)
    tree = RadixTree(markov(end=0.5), (0,), seed)
    leaves = grow(tree, policy, 12, 2, 2)
    assert len(leaves) == 12
    for leaf in leaves:
        ended = text(leaf.path).endswith("\n")
        assert ended or leaf.note == 5
        assert "\n" not in text(leaf.path)[:-1]


def test_a_cut_at_the_unlikeliest_token_forks_right_before_it():
    tree = RadixTree(markov(), (0,), 0)
    (leaf,) = grow(tree, TreePo(text, tokens=6, depth=1, end="\n\n\n"), 1, 1, 1)
    leaf.log_p[:] = [-1.0, -1.0, -5.0, -1.0, -1.0, -1.0][: len(leaf.log_p)]
    path = leaf.path
    upper = TreePo(text, tokens=6, depth=1, cut="token").revive([leaf], Sampler(0))
    assert upper.path == path[:2]
    assert leaf.path == path
    assert leaf.parent is upper


def test_a_path_that_repeats_itself_ends():
    model = MarkovModel(np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    (leaf,) = grow(RadixTree(model, (0,), 0), TreePo(text, tokens=1000, depth=9), 1, 1, 1)
    assert len(leaf.path) == 8 * 32


@pytest.mark.parametrize(("allocation", "shares"), [("equal", [3, 3]), ("likely", [4, 2]), ("unlikely", [2, 4])])
def test_forks_go_where_the_allocation_says(allocation, shares):
    likely, unlikely = Branch(None, Sampler(0), [0], [-0.1]), Branch(None, Sampler(0), [0, 0], [-1.5, -1.5])
    found = TreePo(text, tokens=1, depth=1, allocation=allocation).shares([likely, unlikely], 6)
    assert list(found) == shares


def pairs():
    """Return a tree of two branches with two leaves of one token each, and the leaves."""
    tree = RadixTree(markov(), (0,), 0)
    leaves = []
    for branch in tree.fork(tree.root, 2):
        branch.feed((0,))
        for leaf in tree.fork(branch, 2):
            leaf.feed((1,))
            leaves.append(leaf)
    return tree, leaves


def test_advantages_are_those_worked_out_by_hand():
    tree, leaves = pairs()
    reward = dict(zip(leaves, (1.0, 0.0, 0.0, 0.0), strict=True))
    # Less the means 1/4 of all four, weight 4, and 1/2 or 0 of the pair, weight 2.
    raw = np.array([(4 * 0.75 + 2 * 0.5) / 6, (-4 * 0.25 - 2 * 0.5) / 6, -4 * 0.25 / 6, -4 * 0.25 / 6])
    expected = (raw - raw.mean()) / raw.std()
    assert list(advantages(tree.root, reward).values()) == pytest.approx(list(expected))
    raw = np.array([(0.75 + 0.5) / 2, (-0.25 - 0.5) / 2, -0.25 / 2, -0.25 / 2])
    expected = (raw - raw.mean()) / raw.std()
    assert list(advantages(tree.root, reward, by_size=False).values()) == pytest.approx(list(expected))


def test_without_a_difference_there_is_no_advantage():
    tree, leaves = pairs()
    assert set(advantages(tree.root, dict.fromkeys(leaves, 1.0)).values()) == {0.0}


def test_independent_rollouts_have_the_advantages_of_grpo():
    tree = RadixTree(markov(), (0,), 0)
    leaves = grow(tree, TreePo(text, tokens=3, depth=1, end="no end"), 4, 1, 4)
    reward = np.array([1.0, 0.0, 0.0, 1.0])
    found = advantages(tree.root, dict(zip(leaves, reward, strict=True)))
    assert list(found.values()) == pytest.approx(list((reward - reward.mean()) / reward.std()))


def test_a_text_up_to_its_last_line_is_python_or_not():
    assert parses("def f():\n    return 1\nx = (")
    assert not parses("def f():\nreturn 1\n")
    assert not parses("x = '\\0'\nx = \0\n")
    assert not parses("(" * 10000 + "\n")
    assert parses("'\\d' is 1\n")


def test_a_run_tells_what_it_saves():
    policy = {"tokens": 2, "depth": 4, "allocation": "equal", "cut": "segment"}
    sampling = {"rollouts": 4, "widths": (2,), "first": 1, "seed": 0}
    found = run_treepo(Uniform, ByteTokenizer(), ["x = 1\n", "y = 2\n"], policy, **sampling)
    (tree,) = found["trees"]
    assert tree["saving"]["side_by_side"]["tokens"] == tree["counted_saving"] == pytest.approx(1 - 11 / 16)
    assert found["independent"]["side_by_side"]["held"] == len("x = 1\n") + 32


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("tokens", 0, "at least 1"),
        ("depth", 0, "at least 1"),
        ("allocation", "random", "one of equal, likely, unlikely"),
        ("cut", "word", "one of segment, token"),
    ],
)
def test_settings_are_checked(name, value, rule):
    with pytest.raises(InputError, match=rf"^{name} must be {rule}, not {value}$"):
        TreePo(text, **{"tokens": 1, "depth": 1} | {name: value})
