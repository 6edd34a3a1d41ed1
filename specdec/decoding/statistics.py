"""What decoded steps tell: tokens per step, acceptance by sibling rank and by depth."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import bootstrap

from rtnerf.base.errors import require
from specdec.decoding.decode import Step


def tokens_per_step(steps: Sequence[Step]) -> float:
    """Return tau, the mean tokens that a step adds to the output, the bonus included and what is cut off left out."""
    require(len(steps) > 0, "steps", "at least one", "none")
    return float(np.mean([len(step.tokens) for step in steps]))


def acceptance_by_rank(steps: Sequence[Step]) -> list[float | None]:
    """Return how often a child of each rank was accepted where the walk came to its parent; None where it never did."""
    tried, accepted = np.zeros(0), np.zeros(0)
    for step in steps:
        tree = step.proposal.tree
        for node, child in zip((0, *step.verdict.nodes), (*step.verdict.nodes, None), strict=True):
            children = len(tree.children[node])
            tried, accepted = _at_least(tried, children), _at_least(accepted, children)
            tried[:children] += 1
            if child is not None:
                accepted[tree.sibling_rank[child]] += 1
    return _ratio(accepted, tried)


def acceptance_by_depth(steps: Sequence[Step]) -> list[float | None]:
    """Return how often some candidate of each depth, from 1 on, was accepted where the walk could reach that depth."""
    tried, accepted = np.zeros(0), np.zeros(0)
    for step in steps:
        path = (0, *step.verdict.nodes)
        reached = len(path) if step.proposal.tree.children[path[-1]] else len(path) - 1
        tried, accepted = _at_least(tried, reached), _at_least(accepted, reached)
        tried[:reached] += 1
        accepted[: len(path) - 1] += 1
    return _ratio(accepted, tried)


def acceptance_of_draws(steps: Sequence[Step], ranks: int, bounds: Sequence[float]) -> np.ndarray:
    """Return how often draws without replacement were accepted where the walk came to them: shape (ranks, bins).

    By their place among siblings, the last for all beyond, and by the bin of the draft's probability among the tokens
    not drawn before; ``bounds`` are between bins, rising. As if two draws more had been tried with the rank's own rate,
    or of none at all every other accepted.
    """
    tried, accepted = np.zeros((2, ranks, len(bounds) + 1))
    for step in steps:
        tree = step.proposal.tree
        for node, child in zip((0, *step.verdict.nodes), (*step.verdict.nodes, None), strict=True):
            left = 1.0
            for rank, candidate in enumerate(tree.children[node]):
                probability = float(np.exp(tree.log_q[candidate]))
                place = min(rank, ranks - 1), int(np.searchsorted(bounds, probability / max(left, probability)))
                tried[place] += 1
                left -= probability
                if candidate == child:
                    accepted[place] += 1
                    break
    usual = (accepted.sum(1, keepdims=True) + 1) / (tried.sum(1, keepdims=True) + 2)
    return (accepted + 2 * usual) / (tried + 2)


def paired_interval(
    first: Sequence[float], second: Sequence[float], seed: int = 0, resamples: int = 4000
) -> tuple[float, float, float]:
    """Return the mean of ``second - first`` and its 95 % interval (mean, low, high), by bootstrap over the pairs.

    Parameters
    ----------
    first, second : sequence of float
        The same quantity of two methods on the same prompts, in the same order.
    seed, resamples : int
        Of the bootstrap: how it draws, and how often.
    """
    require(len(first) == len(second) > 0, "second", f"of length {len(first)}, at least 1", len(second))
    difference = np.subtract(second, first)
    mean = float(difference.mean())
    if len(difference) == 1:
        return mean, mean, mean
    found = bootstrap((difference,), np.mean, n_resamples=resamples, method="percentile", rng=seed)
    return mean, float(found.confidence_interval.low), float(found.confidence_interval.high)


def _at_least(counts: np.ndarray, length: int) -> np.ndarray:
    return np.pad(counts, (0, max(length - len(counts), 0)))


def _ratio(part: np.ndarray, whole: np.ndarray) -> list[float | None]:
    return [float(a / b) if b else None for a, b in zip(part, whole, strict=True)]
