"""Sequoia's dynamic programme: the static tree that gains most tokens, and the size that is fastest on given hardware.

Source: Sequoia (arXiv 2402.12374), equation for T(n, d, b), and its hardware-aware choice of (size, depth).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rtnerf.base.errors import require
from specdec.trees.shape import RankPath, Shape


class SequoiaProgramme:
    """Expected tokens of the best tree of every size and depth, for one acceptance vector.

    ``T(m, l, b)``, the most tokens that ``m`` nodes on at most ``l`` levels can gain when the root has ``b`` children,
    is 1 for the root alone; otherwise the last child takes ``y`` of the nodes,
    ``T(m, l, b) = max_y T(m - y, l, b - 1) + p[b] * max_c T(y, l - 1, c)``.

    Parameters
    ----------
    acceptance : ndarray of shape (ranks,)
        Probability that a node's child of each rank is accepted, the same at every depth.
    nodes : int
        Largest size, the root included.
    levels : int
        Largest number of levels, the root's included.

    Members
    -------
    expected : ndarray of shape (levels + 1, nodes + 1)
        Expected tokens per step by levels allowed and exact number of nodes; ``-inf`` where no tree fits.
    """

    def __init__(self, acceptance: np.ndarray, nodes: int, levels: int):
        require(nodes >= 1, "nodes", "at least 1", nodes)
        require(levels >= 1, "levels", "at least 1", levels)
        ranks = min(len(acceptance), nodes - 1)
        self._split = np.zeros((levels + 1, ranks + 1, nodes + 1), int)
        self._most = np.zeros((levels + 1, nodes + 1), int)
        self.expected = np.full((levels + 1, nodes + 1), -np.inf)
        for level in range(1, levels + 1):
            value = np.full((ranks + 1, nodes + 1), -np.inf)
            value[0, 1] = 1
            for rank in range(ranks):
                fits = self.expected[level - 1] > 0
                child = np.full(nodes + 1, -np.inf)
                child[fits] = acceptance[rank] * self.expected[level - 1, fits]
                value[rank + 1], self._split[level, rank + 1] = _greatest_sum(value[rank], child)
            self.expected[level] = value.max(axis=0)
            self._most[level] = value.argmax(axis=0)

    def shape(self, nodes: int, levels: int) -> Shape:
        """Return the best tree of exactly ``nodes`` nodes on at most ``levels`` levels.

        Raises
        ------
        InputError
            If there is none.
        """
        require(bool(self.expected[levels, nodes] > 0), "nodes", f"reachable on {levels} levels", nodes)
        paths: list[RankPath] = []

        def place(path: RankPath, nodes: int, level: int) -> None:
            for rank in range(self._most[level, nodes] - 1, -1, -1):
                below = int(self._split[level, rank + 1, nodes])
                paths.append((*path, rank))
                place((*path, rank), below, level - 1)
                nodes -= below

        place((), nodes, levels)
        return Shape(paths)


@dataclass(frozen=True)
class SequoiaChoice:
    """The fastest tree on given hardware.

    Members
    -------
    nodes, levels : int
        Its size and number of levels, the root included.
    tokens : float
        Expected tokens per step.
    time_per_token : float
        In the unit of the times given.
    speedup : float
        Over plain decoding.
    shape : Shape
        The tree.
    """

    nodes: int
    levels: int
    tokens: float
    time_per_token: float
    speedup: float
    shape: Shape


def fastest_tree(
    acceptance: np.ndarray, target_time: Mapping[int, float], draft_time: float, levels: int
) -> SequoiaChoice:
    """Return the size and depth with the least time per token, ``(levels * t_D + t_T(nodes)) / E(nodes, levels)``.

    ``target_time`` maps the sizes to choose from to the target's time for a pass on so many tokens, size 1 among them;
    ``draft_time`` is one draft pass, in the same unit; ``levels`` is the most allowed, the root's included.
    """
    require(1 in target_time, "sizes of target_time", "with 1 among them", sorted(target_time))
    programme = SequoiaProgramme(acceptance, max(target_time), levels)
    time, size, level = min(
        ((level * draft_time + target_time[size]) / programme.expected[level, size], size, level)
        for level in range(1, levels + 1)
        for size in target_time
        if programme.expected[level, size] > 0
    )
    tokens = float(programme.expected[level, size])
    return SequoiaChoice(size, level, tokens, time, target_time[1] / time, programme.shape(size, level))


def _greatest_sum(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ``max_y left[m - y] + right[y]`` for every ``m``, and the ``y`` that reaches it."""
    sums = np.full((len(left), len(left)), -np.inf)
    for y in range(1, len(left)):
        sums[y, y:] = left[: len(left) - y] + right[y]
    return sums.max(axis=0), sums.argmax(axis=0)
