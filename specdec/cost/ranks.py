"""Acceptance by rank from less: a tail that was not published, or one number."""

import numpy as np

from rtnerf.base.errors import require

SHARES = (0.63418, 0.29509, 0.22093, 0.11194, 0.10925, 0.09433)
"""Sequoia's shipped vector (arXiv 2402.12374, Infini-AI-Lab/Sequoia @0ff3ff7): the share that each rank accepts of what
its elders have left."""

LARGEST_SUM = 1.01
"""Of a depth's acceptances: one, but for rounding. The walk goes to one child at most."""


def continued(acceptance: np.ndarray, ranks: int) -> np.ndarray:
    """Continue one depth's acceptance, shape (known,), to ``ranks`` ranks.

    Geometrically, with the ratio of the last two known ranks or 1 if they rise, and never beyond a sum of 1; zero
    where fewer than two are known.
    """
    known = np.asarray(acceptance, float)
    missing = ranks - len(known)
    if missing <= 0 or len(known) < 2 or known[-2] <= 0:
        return np.pad(known, (0, max(missing, 0)))
    tail = known[-1] * min(known[-1] / known[-2], 1.0) ** np.arange(1, missing + 1)
    left = max(1 - known.sum(), 0)
    return np.concatenate([known, np.diff(np.minimum(np.cumsum(tail), left), prepend=0)])


def ranks_of_one(first: float, ranks: int = len(SHARES)) -> np.ndarray:
    """Return acceptance by rank, shape (ranks,), from the first rank's: the others by Sequoia's `SHARES`."""
    require(0 <= first <= 1, "acceptance", "in [0, 1]", first)
    require(ranks <= len(SHARES), "ranks", f"at most {len(SHARES)}", ranks)
    shares = np.array([first, *SHARES[1:ranks]])
    return shares * np.cumprod([1, *(1 - shares[:-1])])


def table(rows: list[list[float]], ranks: list[int]) -> np.ndarray:
    """Return the acceptance of a tree with so many ranks a depth, shape (depths, most ranks), by `continued`.

    Parameters
    ----------
    rows : list of list of float
        Per depth, acceptance by rank.
    ranks : list of int
        Per depth of the tree, ranks that it has.

    Raises
    ------
    InputError
        If a depth is missing, a probability is not in [0, 1], or a depth's sum exceeds 1.
    """
    require(len(rows) >= len(ranks), "acceptance", f"given for the tree's {len(ranks)} depths", len(rows))
    for depth, row in enumerate(rows, 1):
        require(len(row) > 0, f"acceptance at depth {depth}", "at least one number", "none")
        for probability in row:
            require(0 <= probability <= 1, f"acceptance at depth {depth}", "in [0, 1]", probability)
        total = sum(row)
        require(total <= LARGEST_SUM, f"acceptance at depth {depth}", "of sum 1 at most", f"{total:.4g}")
    full = [continued(np.array(row), count) for row, count in zip(rows, ranks, strict=False)]
    most = max((len(row) for row in full), default=0)
    return np.array([np.pad(row, (0, most - len(row))) for row in full]).reshape(len(full), most)
