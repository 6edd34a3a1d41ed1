"""Packing: the nodes of a tree side by side in one pass, each of which sees its own path alone."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor


class Packing:
    """The nodes that follow a committed prefix, of which a pass computes the last ``new``.

    A sequence is the tree in which every node has one child; nothing here or in the layers treats it apart.

    Parameters
    ----------
    parent : sequence of int, length P
        Parents of all nodes held since the prefix, parents first; -1 for a node right after the prefix. The P - new
        nodes before the new ones have been computed by earlier passes.
    new : int
        Nodes of this pass, N.
    committed : int
        Tokens of the prefix, S.
    """

    def __init__(self, parent: Sequence[int], new: int, committed: int):
        self.parent = np.asarray(parent, int)
        self.new = new
        self.committed = committed

    def _seen(self, first: int) -> np.ndarray:
        """Return which nodes the nodes from ``first`` on see: bool of shape (P - first, P)."""
        parents = self.parent.tolist()
        seen = np.eye(len(parents) - first, len(parents), first, dtype=bool)
        for row, parent in zip(seen, parents[first:], strict=True):
            while 0 <= parent < first:
                row[parent] = True
                parent = parents[parent]
            if parent >= 0:
                row |= seen[parent - first]
        return seen

    @cached_property
    def ancestors(self) -> Tensor:
        """Which nodes each node sees, itself and its ancestors: bool of shape (P, P), lower triangular."""
        return torch.from_numpy(self._seen(0))

    @cached_property
    def _seen_by_new(self) -> np.ndarray:
        return self._seen(len(self.parent) - self.new)

    @cached_property
    def positions(self) -> Tensor:
        """Places of the new nodes in their sequences, shape (N,): committed length plus depth."""
        return torch.from_numpy(self.committed - 1 + self._seen_by_new.sum(-1))

    @cached_property
    def visible(self) -> Tensor:
        """What each new node sees of the prefix (all of it) and of the nodes: bool of shape (N, S + P)."""
        visible = np.ones((self.new, self.committed + len(self.parent)), bool)
        visible[:, self.committed :] = self._seen_by_new
        return torch.from_numpy(visible)

    @cached_property
    def bias(self) -> Tensor:
        """What is added to the scores of attention: 0 for what is visible, else ``-inf``, shape (N, S + P)."""
        return torch.zeros(self.visible.shape).masked_fill_(~self.visible, -torch.inf)

    def windows(self, width: int) -> Tensor:
        """Return the last ``width`` places on each new node's path, itself last: shape (N, width).

        They number the rows of the last ``width - 1`` inputs of the prefix followed by those of the P nodes.
        """
        place = np.arange(len(self.parent) - self.new, len(self.parent))
        back = [place]
        for _ in range(width - 1):
            # Before the prefix's end, at -1, the place before is one less.
            place = np.where(place >= 0, self.parent[place.clip(0)], place - 1)
            back.append(place)
        return torch.from_numpy(np.stack(back[::-1], axis=-1) + width - 1)
