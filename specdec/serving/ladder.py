"""The forms of speculation that a controller chooses among, from none upwards."""

from collections.abc import Iterable

import numpy as np

from rtnerf.base.errors import require
from specdec.cost.ranks import ranks_of_one
from specdec.trees.shape import RankPath, Shape, greedy_shape

CLASSES = 1001
"""Acceptance is told apart in thousandths: class 700 is 0.700."""

SIZES = (1, 2, 4, 8, 16, 32, 64)
"""Of the trees that the tree-size control chooses among, the root included."""

TYPICAL = 0.7
"""Acceptance of a first choice for which those trees are best."""


class Ladder:
    """Shapes that verify more tokens rung by rung.

    A request is known by the probability that a first choice is accepted; those of the other ranks follow from it, see
    `ranks_of_one`. The walk reaches a depth with the sum over the nodes there of the product along their paths.

    Parameters
    ----------
    shapes : iterable of Shape
        From small to large; at least one.

    Members
    -------
    shapes : tuple of Shape
    nodes : ndarray of shape (rungs,), int64
        Tokens that the target verifies for a request, the root included.
    survival : ndarray of shape (`CLASSES`, rungs, depths)
        Probability that more than ``depth`` drafted tokens are accepted, by class of acceptance.
    expected : ndarray of shape (rungs, `CLASSES`)
        Expected tokens of a step, the bonus included.
    """

    def __init__(self, shapes: Iterable[Shape]):
        self.shapes = tuple(shapes)
        self.nodes = np.array([len(shape) for shape in self.shapes])
        accepted = np.array([ranks_of_one(first) for first in np.linspace(0, 1, CLASSES)])
        depths = max(len(shape.levels()) - 1 for shape in self.shapes)
        self.survival = np.zeros((CLASSES, len(self.shapes), depths))
        for rung, shape in enumerate(self.shapes):
            reach: dict[RankPath, np.ndarray] = {(): np.ones(CLASSES)}
            for path in shape.paths:
                reach[path] = reach[path[:-1]] * accepted[:, path[-1]]
                self.survival[:, rung, len(path) - 1] += reach[path]
        self.expected = np.ascontiguousarray(1 + self.survival.sum(axis=2).T)


def chain(length: int) -> Shape:
    """Return the tree without branches."""
    return Shape((0,) * depth for depth in range(1, length + 1))


def chains(longest: int) -> Ladder:
    """Return the chains of 0 to ``longest`` drafted tokens."""
    require(longest >= 1, "longest chain", "at least 1", longest)
    return Ladder(map(chain, range(longest + 1)))


def trees(sizes: Iterable[int] = SIZES) -> Ladder:
    """Return for each size the tree that gains most at the acceptance `TYPICAL`."""
    return Ladder(greedy_shape(ranks_of_one(TYPICAL), size) for size in sizes)
