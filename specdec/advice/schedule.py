"""Schedules: which length to draft at which batch, in as few ranges as lose little."""

from collections.abc import Sequence

import numpy as np

LOSS = 0.03
"""Share of the best length's rate that a schedule may lose: tiles of matrix units make that one jump to and fro."""

EVERY = 1024
"""Batch up to which each is looked at; beyond, tiles matter less."""

Ranges = list[tuple[int, int, int]]
"""(low, high, K): batches with both ends included, drafted tokens."""


def batches_to(largest: int) -> list[int]:
    """Return batches from 1 to the largest: all to `EVERY`, then an eighth apart."""
    found = list(range(1, min(largest, EVERY) + 1))
    while found[-1] < largest:
        found.append(min(found[-1] + found[-1] // 8, largest))
    return found


def schedule(batches: Sequence[int], rates: np.ndarray, lengths: Sequence[int]) -> Ranges:
    """Return the fewest ranges in which one length loses at most `LOSS` at every batch.

    A range goes as far as any length serves it; of those that serve it whole, it has the one that is best on average.

    Parameters
    ----------
    batches : sequence of int
        Rising.
    rates : ndarray of shape (batches, lengths)
        Tokens a second, above 0.
    lengths : sequence of int
        Drafted tokens.

    Examples
    --------
    >>> schedule([1, 2, 3], np.array([[9, 10], [10, 9.9], [10, 8]]), [4, 0])
    [(1, 2, 0), (3, 3, 4)]
    """
    relative = rates / rates.max(axis=1, keepdims=True)
    serves = relative >= 1 - LOSS
    found: Ranges = []
    start = 0
    while start < len(batches):
        end, kept = start, serves[start]
        while end + 1 < len(batches) and (kept & serves[end + 1]).any():
            end += 1
            kept = kept & serves[end]
        best = int(np.where(kept, relative[start : end + 1].mean(axis=0), 0).argmax())
        high = batches[end + 1] - 1 if end + 1 < len(batches) else batches[-1]
        found.append((batches[start], high, lengths[best]))
        start = end + 1
    return found
