"""The token tree: candidate continuations that share prefixes, verified by the target in one pass.

Node 0 is the root, the last committed token; every other node is a candidate for the position ``depth`` places after.
Nodes are numbered so that a parent precedes its children; any such numbering is a layout.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np

from rtnerf.base.errors import InputError, require


class Source(IntEnum):
    """How a candidate was obtained, which decides the rule that may accept it."""

    WITHOUT_REPLACEMENT = 0
    """Drawn from the draft's law over the tokens that no elder sibling has."""
    WITH_REPLACEMENT = 1
    """Drawn from the draft's law; siblings may repeat a token."""
    RANKED = 2
    """Chosen, not drawn: one of the draft's likeliest."""
    RETRIEVED = 3
    """Chosen, not drawn: found in a text."""

    @property
    def drawn(self) -> bool:
        """Whether the token is a random draw from the draft's law."""
        return self in (Source.WITHOUT_REPLACEMENT, Source.WITH_REPLACEMENT)


@dataclass(frozen=True, eq=False)
class TokenTree:
    """A rooted tree of tokens, as arrays of shape (N,) indexed by node.

    Parameters
    ----------
    parent : ndarray of int
        Parent node, smaller than the node itself; -1 for the root.
    token : ndarray of int
        Token id.
    sibling_rank : ndarray of int
        Place among the siblings in the order of proposal, from 0; the verifier tries them in this order.
    log_q : ndarray of float
        Log-probability (nats) that the proposer gave the token after its parent; 0 for the root.
    source : ndarray of int
        A `Source`; of no meaning for the root.

    Raises
    ------
    InputError
        If a parent does not precede its child, sibling ranks are not 0, 1, ..., or siblings share a token that
        was not drawn with replacement.
    """

    parent: np.ndarray
    token: np.ndarray
    sibling_rank: np.ndarray
    log_q: np.ndarray
    source: np.ndarray

    def __post_init__(self) -> None:
        nodes = len(self.parent)
        for name in ("token", "sibling_rank", "log_q", "source"):
            require(getattr(self, name).shape == (nodes,), name, f"of shape ({nodes},)", getattr(self, name).shape)
        require(nodes > 0 and self.parent[0] == -1, "parent", "-1 at node 0", list(self.parent[:1]))
        # This runs in every step: a message is only made where it is needed.
        misplaced = (self.parent < 0) | (self.parent >= np.arange(nodes))
        for node in (1 + np.flatnonzero(misplaced[1:])).tolist():
            raise InputError(f"parent[{node}] must be in [0, {node}), not {self.parent[node]}")
        tokens, ranks, sources = self.token.tolist(), self.sibling_rank.tolist(), self.source.tolist()
        for node, children in enumerate(self.children):
            places = [ranks[child] for child in children]
            if places != list(range(len(places))):
                raise InputError(f"sibling ranks below node {node} must be 0, 1, 2, ..., not {places}")
            seen: set[int] = set()
            for child in children:
                if tokens[child] in seen and sources[child] != Source.WITH_REPLACEMENT:
                    raise InputError(f"token[{child}] must be different from its elder siblings', not {tokens[child]}")
                seen.add(tokens[child])

    def __len__(self) -> int:
        """Count the nodes, the root included."""
        return len(self.parent)

    @cached_property
    def depth(self) -> np.ndarray:
        """Distance from the root, shape (N,)."""
        depth = [0]
        for parent in self.parent[1:].tolist():
            depth.append(depth[parent] + 1)
        return np.array(depth)

    @cached_property
    def children(self) -> list[list[int]]:
        """Children of every node, in sibling order."""
        children: list[list[int]] = [[] for _ in range(len(self))]
        parent = self.parent.tolist()
        for node in np.argsort(self.sibling_rank[1:], kind="stable").tolist():
            children[parent[node + 1]].append(node + 1)
        return children

    @cached_property
    def paths(self) -> list[tuple[int, ...]]:
        """Tokens from below the root to every node: ``()`` for the root."""
        paths: list[tuple[int, ...]] = [()]
        for parent, token in zip(self.parent[1:].tolist(), self.token[1:].tolist(), strict=True):
            paths.append((*paths[parent], token))
        return paths

    def ancestor_mask(self) -> np.ndarray:
        """Return the attention mask, bool of shape (N, N): row ``t`` sees ``s`` iff ``s`` is ``t`` or its ancestor."""
        mask = np.eye(len(self), dtype=bool)
        for node in range(1, len(self)):
            mask[node] |= mask[self.parent[node]]
        return mask

    def position_ids(self, root_position: int) -> np.ndarray:
        """Return the position of every node in the sequence, shape (N,), from the root's."""
        return root_position + self.depth

    def levels(self) -> list[int]:
        """Count the nodes of each depth, root first."""
        return np.bincount(self.depth).tolist()

    def reorder(self, order: Sequence[int]) -> "TokenTree":
        """Return the tree with node ``order[i]`` as node ``i``.

        ``order`` may leave nodes out: a kept node keeps its place among the kept siblings.

        Raises
        ------
        InputError
            If a node comes before its parent or without it, or the root is not first.
        """
        places = np.asarray(order, int)
        if np.array_equal(places, np.arange(len(self))):
            return self
        new_place = np.full(len(self), -1)
        new_place[places] = np.arange(len(places))
        parent = np.where(self.parent[places] < 0, -1, new_place[self.parent[places]])
        require(
            len(parent) > 0 and parent[0] == -1 and places[0] == 0, "order", "one that starts with the root", places
        )
        rank = np.zeros(len(places), int)
        for children in self.children:
            for index, child in enumerate(child for child in children if new_place[child] >= 0):
                rank[new_place[child]] = index
        return TokenTree(parent, self.token[places], rank, self.log_q[places], self.source[places])

    def prefix(self, nodes: int) -> "TokenTree":
        """Return the first ``nodes`` nodes of the layout, the root included; all of them if there are fewer."""
        require(nodes >= 1, "nodes", "at least 1", nodes)
        return self.reorder(range(min(nodes, len(self))))

    def merge(self, other: "TokenTree") -> "TokenTree":
        """Return the union of two trees with one root: each path of ``other`` joins at the longest prefix it shares.

        The nodes of this tree come first, unchanged; those of ``other`` that are new follow, as younger siblings.

        Raises
        ------
        InputError
            If the roots hold different tokens.
        """
        require(self.token[0] == other.token[0], "root of the other tree", f"token {self.token[0]}", other.token[0])
        builder = TreeBuilder.of(self)
        place = [0]
        columns = (other.parent, other.token, other.log_q, other.source)
        for parent, token, log_q, source in list(zip(*(column.tolist() for column in columns), strict=True))[1:]:
            known = builder.find(place[parent], token)
            place.append(builder.add(place[parent], token, log_q, source) if known is None else known)
        return builder.build()


class TreeBuilder:
    """Grow a tree node by node; siblings are ranked in the order in which they are added.

    Parameters
    ----------
    root : int
        Token of the root.
    """

    def __init__(self, root: int):
        self._rows: list[tuple[int, int, int, float, int]] = [(-1, root, 0, 0.0, 0)]
        self._count: defaultdict[int, int] = defaultdict(int)
        self._known: dict[tuple[int, int], int] = {}
        self._paths: list[tuple[int, ...]] = [()]

    @classmethod
    def of(cls, tree: TokenTree) -> "TreeBuilder":
        """Start from a tree, its node numbers and sibling ranks kept."""
        builder = cls(int(tree.token[0]))
        columns = (tree.parent, tree.token, tree.sibling_rank, tree.log_q, tree.source)
        for node, row in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
            if node:
                parent, token, _, log_q, source = row
                builder.add(parent, token, log_q, source)
                builder._rows[node] = row
        return builder

    @classmethod
    def of_paths(cls, root: int, paths: Iterable[Sequence[int]], source: Source) -> "TreeBuilder":
        """Start from the trie of token paths."""
        builder = cls(root)
        for path in paths:
            node = 0
            for token in path:
                known = builder.find(node, token)
                node = builder.add(node, token, 0.0, source) if known is None else known
        return builder

    def __len__(self) -> int:
        """Count the nodes, the root included."""
        return len(self._rows)

    def add(self, parent: int, token: int, log_q: float, source: Source) -> int:
        """Add a youngest child and return its node number."""
        node = len(self._rows)
        self._rows.append((parent, token, self._count[parent], log_q, int(source)))
        self._count[parent] += 1
        self._known.setdefault((parent, token), node)
        self._paths.append((*self._paths[parent], token))
        return node

    def find(self, parent: int, token: int) -> int | None:
        """Return the eldest child with a token, if there is one."""
        return self._known.get((parent, token))

    def path(self, node: int) -> tuple[int, ...]:
        """Return the tokens from below the root to a node."""
        return self._paths[node]

    def build(self) -> TokenTree:
        """Return the tree."""
        parent, token, rank, log_q, source = zip(*self._rows, strict=True)
        return TokenTree(np.array(parent), np.array(token), np.array(rank), np.array(log_q), np.array(source))
