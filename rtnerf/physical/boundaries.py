"""How many boundaries between units the paths of a joined design cross."""

from __future__ import annotations

import numpy as np

from rtnerf.base.compiled import compiled
from rtnerf.physical.timing import Timer


@compiled
def _boundaries(edges, order, owners, owner, crossed):
    """Fill how many boundaries the way from registers to each net crosses at most; -1: no register reaches it.

    ``owner`` holds the unit that drives each net, ``crossed`` 0 where a register does, else -1.
    """
    for net in order:
        if crossed[net] < 0:
            continue
        for number in range(edges.first[net], edges.first[net + 1]):
            target = edges.targets[number]
            unit = owners[edges.instances[number]]
            crossed[target] = max(crossed[target], crossed[net] + (unit != owner[net]))


def boundaries(timer: Timer, owners: np.ndarray) -> np.ndarray:
    """Return how many boundaries between units the way to each end crosses at most; -1: no register reaches it.

    Parameters
    ----------
    timer : Timer
    owners : int array
        The unit of each of the timer's instances.
    """
    edges = timer.edges
    nets = len(timer.netlist.net_names)
    owner, crossed = np.full(nets, -1), np.full(nets, -1)
    owner[edges.targets] = owners[edges.instances]
    owner[timer.starts.nets] = owners[timer.starts.instances]
    crossed[timer.starts.nets] = 0
    _boundaries(edges, timer.order, owners, owner, crossed)
    ends = timer.ends
    found = crossed[ends.nets]
    return np.where(found >= 0, found + (owners[ends.instances] != owner[ends.nets]), -1)
