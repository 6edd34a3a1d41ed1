"""The shape of a static tree, and the tokens that it gains per step when acceptance depends on rank alone.

A node is named by the ranks on its path: ``(0, 2)`` is the third child of the root's first child; the root is ``()``.
An acceptance table gives the probability that the walk goes to the child of a rank: shape (ranks,) if it is the same at
every depth (Sequoia), or (depths, ranks) if each depth has its own (Medusa's heads); beyond the table it is zero.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import product

import numpy as np

from rtnerf.base.errors import InputError, require

RankPath = tuple[int, ...]


class Shape:
    """A rooted tree of ranks.

    Parameters
    ----------
    paths : iterable of tuple of int
        The nodes, without the root, in any order.

    Raises
    ------
    InputError
        If a node lacks its parent or its next elder sibling, or occurs twice.
    """

    def __init__(self, paths: Iterable[RankPath]):
        self.paths: tuple[RankPath, ...] = tuple(sorted(map(tuple, paths), key=lambda path: (len(path), path)))
        nodes = {(), *self.paths}
        require(len(nodes) == len(self.paths) + 1, "shape", "without repeated nodes", str(list(self.paths))[:80])
        for path in self.paths:
            elder = (*path[:-1], path[-1] - 1)
            complete = path[:-1] in nodes and (path[-1] == 0 or elder in nodes)
            if not complete:  # A message is only made where it is needed: paths may be long.
                raise InputError(
                    f"shape node {str(path)[:80]} must be preceded by its parent and elder sibling, not alone"
                )
        self._branching = Counter(path[:-1] for path in self.paths)

    @classmethod
    def constant(cls, branching: Iterable[int]) -> "Shape":
        """Return the tree whose nodes at depth ``d`` all have ``branching[d]`` children."""
        branching = tuple(branching)
        levels = (product(*map(range, branching[:depth])) for depth in range(1, len(branching) + 1))
        return cls(path for level in levels for path in level)

    @classmethod
    def of_children(cls, children: Mapping[str, int]) -> "Shape":
        """Return the tree whose nodes, named by rank paths such as ``0.2``, the root empty, have so many children."""
        paths: list[RankPath] = []
        for name, count in children.items():
            ranks = name.split(".") if name else []
            rule = "ranks separated by dots, such as 0.2"
            require(all(rank.isdecimal() and len(rank) < 9 for rank in ranks), "node of a tree", rule, name[:40])
            paths += [(*map(int, ranks), rank) for rank in range(count)]
        return cls(paths)

    def __len__(self) -> int:
        """Count the nodes, the root included."""
        return len(self.paths) + 1

    def branching(self, path: RankPath) -> int:
        """Count the children of a node."""
        return self._branching[path]

    def levels(self) -> list[int]:
        """Count the nodes of each depth, root first."""
        return np.bincount([0, *map(len, self.paths)]).tolist()


def expected_tokens(shape: Shape, acceptance: np.ndarray) -> float:
    """Return the expected tokens per step, the bonus token included: ``1 + sum_v prod_{u on path of v} p[rank of u]``.

    Source: Medusa (arXiv 2401.10774), Sequoia (arXiv 2402.12374).
    """
    reach: dict[RankPath, float] = {(): 1}
    for path in shape.paths:
        reach[path] = reach[path[:-1]] * _acceptance(acceptance, path)
    return sum(reach.values())


def greedy_shape(acceptance: np.ndarray, nodes: int) -> Shape:
    """Grow a tree of ``nodes`` nodes, the root included, always by the next sibling or first child reached most often.

    The best tree where acceptance falls with rank, as no node then gains more than the ones that it needs first.
    Fewer nodes are returned if the table reaches no further. Source: Medusa's tree optimiser (arXiv 2401.10774).
    """
    require(nodes >= 1, "nodes", "at least 1", nodes)
    paths: list[RankPath] = []
    frontier: list[tuple[float, RankPath, float]] = []

    def offer(reach: float, path: RankPath) -> None:
        value = reach * _acceptance(acceptance, path)
        if value > 0:
            heapq.heappush(frontier, (-value, path, reach))

    offer(1, (0,))
    while frontier and len(paths) < nodes - 1:
        value, path, reach = heapq.heappop(frontier)
        paths.append(path)
        offer(reach, (*path[:-1], path[-1] + 1))
        offer(-value, (*path, 0))
    return Shape(paths)


def _acceptance(table: np.ndarray, path: RankPath) -> float:
    """Return the acceptance of a node given its parent's."""
    table = np.asarray(table)
    depth, rank = len(path) - 1, path[-1]
    if table.ndim == 2:
        if depth >= len(table):
            return 0
        table = table[depth]
    return table[rank] if rank < len(table) else 0
