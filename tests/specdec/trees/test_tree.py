from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtnerf.base.errors import InputError
from specdec.trees.layout import breadth_first, depth_first, occupied_blocks
from specdec.trees.tree import Source, TokenTree, TreeBuilder

PATHS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), max_size=14)
STEADY = settings(max_examples=80, deadline=None, derandomize=True)


def trie(paths, source=Source.RANKED):
    return TreeBuilder.of_paths(9, paths, source).build()


def arrays(**changes):
    columns = {
        "parent": [-1, 0, 0, 1],
        "token": [7, 1, 2, 1],
        "sibling_rank": [0, 0, 1, 0],
        "log_q": [0.0, -1.0, -2.0, -0.5],
        "source": [0, 0, 0, 0],
    }
    return TokenTree(**{name: np.array(values) for name, values in (columns | changes).items()})


def test_a_small_tree_by_hand():
    tree = arrays()
    assert tree.depth.tolist() == [0, 1, 1, 2]
    assert tree.children == [[1, 2], [3], [], []]
    assert tree.paths == [(), (1,), (2,), (1, 1)]
    assert tree.levels() == [1, 2, 1]
    assert tree.position_ids(10).tolist() == [10, 11, 11, 12]
    assert tree.ancestor_mask().astype(int).tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 1]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parent": [0, 0, 0, 1]}, "parent must be -1 at node 0, not [np.int64(0)]"),
        ({"parent": [-1, 0, 0, 3]}, "parent[3] must be in [0, 3), not 3"),
        ({"parent": [-1, 2, 0, 1]}, "parent[1] must be in [0, 1), not 2"),
        ({"parent": [-1, -1, 0, 1]}, "parent[1] must be in [0, 1), not -1"),
        ({"sibling_rank": [0, 0, 2, 0]}, "sibling ranks below node 0 must be 0, 1, 2, ..., not [0, 2]"),
        ({"token": [7, 1, 1, 1]}, "token[2] must be different from its elder siblings', not 1"),
        ({"token": [7, 1, 2]}, "token must be of shape (4,), not (3,)"),
    ],
)
def test_bad_trees_are_refused(changes, message):
    with pytest.raises(InputError) as caught:
        arrays(**changes)
    assert str(caught.value) == message


def test_only_draws_with_replacement_may_repeat_a_sibling():
    repeated = arrays(token=[7, 1, 1, 1], source=[0, 1, 1, 0])
    assert repeated.paths == [(), (1,), (1,), (1, 1)]


@STEADY
@given(PATHS)
def test_mask_is_ancestry(paths):
    tree = trie(paths)
    mask = tree.ancestor_mask()
    for row, path in enumerate(tree.paths):
        seen = {tree.paths[column] for column in np.flatnonzero(mask[row])}
        assert seen == {path[:length] for length in range(len(path) + 1)}
    assert np.array_equal(mask.sum(axis=1), tree.depth + 1)
    assert not np.triu(mask, 1).any()


@STEADY
@given(PATHS, st.randoms(use_true_random=False))
def test_layouts_keep_the_tree(paths, random):
    tree = trie(paths)
    weight = np.array([random.random() for _ in range(len(tree))])
    for order in (breadth_first(tree), depth_first(tree), depth_first(tree, weight)):
        assert sorted(order) == list(range(len(tree)))
        moved = tree.reorder(order)
        assert moved.paths == [tree.paths[node] for node in order]
        assert [moved.sibling_rank[place] for place in range(len(tree))] == tree.sibling_rank[order].tolist()
        assert np.array_equal(moved.ancestor_mask(), tree.ancestor_mask()[np.ix_(order, order)])
    assert (np.diff(tree.reorder(breadth_first(tree)).depth) >= 0).all()


@STEADY
@given(PATHS)
def test_depth_first_keeps_subtrees_together_heaviest_first(paths):
    tree = trie(paths)
    moved = tree.reorder(depth_first(tree))
    size = moved.ancestor_mask().sum(axis=0)
    for node, children in enumerate(moved.children):
        inside = np.flatnonzero(moved.ancestor_mask()[:, node])
        assert inside.tolist() == list(range(node, node + len(inside)))
        in_place = sorted(children)
        assert all(size[first] >= size[second] for first, second in pairwise(in_place))


@STEADY
@given(PATHS, PATHS)
def test_merge_is_the_union_of_paths(first, second):
    left, right = trie(first), trie(second, Source.RETRIEVED)
    union = left.merge(right)
    assert set(union.paths) == set(left.paths) | set(right.paths)
    assert union.paths[: len(left)] == left.paths
    assert (union.source[1 : len(left)] == Source.RANKED).all()
    assert (union.source[len(left) :] == Source.RETRIEVED).all()
    for node, children in enumerate(union.children[: len(left)]):
        assert children[: len(left.children[node])] == left.children[node]


@STEADY
@given(PATHS, st.integers(1, 40))
def test_prefix_is_the_beginning(paths, nodes):
    tree = trie(paths)
    cut = tree.prefix(nodes)
    assert cut.paths == tree.paths[:nodes]
    assert np.array_equal(cut.ancestor_mask(), tree.ancestor_mask()[:nodes, :nodes])


def test_orders_that_leave_a_parent_behind_are_refused():
    with pytest.raises(InputError, match=r"parent\[1\] must be in \[0, 1\), not -1"):
        arrays().reorder([0, 3])
    with pytest.raises(InputError, match="order must be one that starts with the root"):
        arrays().reorder([1, 0])
    with pytest.raises(InputError, match="nodes must be at least 1, not 0"):
        arrays().prefix(0)
    with pytest.raises(InputError, match="root of the other tree must be token 7, not 9"):
        arrays().merge(trie([[1]]))


def test_depth_first_layout_occupies_fewer_mask_blocks():
    # DySpec's finding, on random recursive trees: heavy paths first make the mask more block-sparse.
    for nodes in (256, 512, 1024):
        generator = np.random.default_rng(nodes)
        builder = TreeBuilder(0)
        for node in range(1, nodes):
            builder.add(int(generator.integers(node)), node, 0.0, Source.RANKED)
        tree = builder.build()
        mask = tree.ancestor_mask()
        order = depth_first(tree)
        plain, sparse = occupied_blocks(mask), occupied_blocks(mask[np.ix_(order, order)])
        assert sparse < 0.75 * plain


def test_occupied_blocks_by_hand():
    assert occupied_blocks(np.eye(5, dtype=bool), block=2) == 3
    assert occupied_blocks(np.tri(64, dtype=bool)) == 3
