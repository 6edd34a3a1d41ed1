"""Layouts of a token tree: the same nodes in an order that suits the attention kernel."""

import numpy as np

from specdec.trees.tree import TokenTree


def breadth_first(tree: TokenTree) -> np.ndarray:
    """Return the node order by depth, then by the parent's place, then by sibling rank, shape (N,)."""
    order = [0]
    for node in order:
        order.extend(tree.children[node])
    return np.array(order)


def depth_first(tree: TokenTree, weight: np.ndarray | None = None) -> np.ndarray:
    """Return the node order by paths, the heaviest subtree first, shape (N,).

    ``weight``, shape (N,), is what a node adds to its subtrees; by default 1. Neighbouring rows then share most of
    their ancestors, and the mask has fewer occupied blocks. Source: DySpec (arXiv 2410.11744).
    """
    subtree = np.ones(len(tree)) if weight is None else np.array(weight, float)
    for node in range(len(tree) - 1, 0, -1):
        subtree[tree.parent[node]] += subtree[node]
    order, stack = [], [0]
    while stack:
        node = stack.pop()
        order.append(node)
        stack.extend(sorted(tree.children[node], key=lambda child: (subtree[child], -tree.sibling_rank[child])))
    return np.array(order)


def occupied_blocks(mask: np.ndarray, block: int = 32) -> int:
    """Count the ``block`` x ``block`` tiles of a mask, bool of shape (N, N), that hold any True."""
    padding = -len(mask) % block
    tiles = np.pad(mask, (0, padding)).reshape((len(mask) + padding) // block, block, -1, block)
    return int(tiles.any(axis=(1, 3)).sum())
