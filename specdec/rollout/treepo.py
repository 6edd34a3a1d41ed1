"""TreePO: rollouts for reinforcement learning, sampled segment by segment on a tree. Source: arXiv 2508.17445.

A path ends at an end the caller recognises, at the depth limit, or when it repeats itself. The branching budget is
that of `specdec.rollout.tree.grow`; when every path is complete before the budget is used up, a complete path is cut
and forks once more.
"""

import ast
import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from rtnerf.base.errors import require
from specdec.laws.chance import Chance
from specdec.laws.language_model import Tokens
from specdec.rollout.tree import Branch, Policy, Segment, largest_remainders

REPEATED_CHARACTERS = 32
REPETITIONS = 8
"""A path repeats itself when its last characters occur so often in it."""

ALLOCATIONS = ("equal", "likely", "unlikely")
"""Which paths get more of the forks: none, the likely or the unlikely."""

CUTS = ("segment", "token")
"""Where a complete path is cut: at the end of a random segment, or before its least likely token."""


class TreePo(Policy):
    """Segments of a fixed number of tokens.

    Parameters
    ----------
    decode : callable
        From tokens to their text.
    tokens : int
        Of a segment, at most, at least 1.
    depth : int
        Segments of a path, at most, at least 1.
    end : str, optional
        A path that contains this text is complete.
    allocation : str, optional
        One of `ALLOCATIONS`: forks go to paths in proportion to ``exp(±mean log p)`` of their tokens.
    cut : str, optional
        One of `CUTS`.

    Raises
    ------
    InputError
        If a value is not allowed.
    """

    def __init__(
        self,
        decode: Callable[[Tokens], str],
        tokens: int,
        depth: int,
        end: str = "\n\n\n",
        allocation: str = "equal",
        cut: str = "segment",
    ):
        require(tokens >= 1, "tokens", "at least 1", tokens)
        require(depth >= 1, "depth", "at least 1", depth)
        require(allocation in ALLOCATIONS, "allocation", f"one of {', '.join(ALLOCATIONS)}", allocation)
        require(cut in CUTS, "cut", f"one of {', '.join(CUTS)}", cut)
        self._decode = decode
        self._tokens = tokens
        self._depth = depth
        self._end = end
        self._sign = {"equal": 0, "likely": 1, "unlikely": -1}[allocation]
        self._cut = cut

    def segment(self, branch: Branch) -> Segment:
        """Draw tokens until the segment is full or the path is complete; its note is the depth."""
        branch.note = (branch.note or 0) + 1
        while len(branch.tokens) < self._tokens and not self._finished(branch):
            law = yield
            branch.append(branch.chance.draw(law), law)

    def ended(self, branch: Branch) -> bool:
        """Return whether the path has come to its end or to the depth limit, or repeats itself."""
        return branch.note >= self._depth or self._finished(branch)

    def _finished(self, branch: Branch) -> bool:
        text = self._decode(branch.path)
        return self._end in text or text.count(text[-REPEATED_CHARACTERS:]) >= REPETITIONS

    def shares(self, branches: Sequence[Branch], forks: int) -> Sequence[int]:
        """Share the forks out as the allocation says."""
        log_p = self._sign * np.array([_mean_log_p(branch) for branch in branches])
        return largest_remainders(np.exp(log_p - log_p.max()), forks).tolist()

    def revive(self, complete: Sequence[Branch], chance: Chance) -> Branch:
        """Cut a random complete path and return what is before the cut."""
        leaf = complete[chance.draw(np.ones(len(complete)))]
        if self._cut == "segment":
            return leaf.ancestors[chance.draw(np.ones(len(leaf.ancestors)))]
        branch = min((leaf, *leaf.ancestors[:-1]), key=lambda branch: min(branch.log_p, default=0.0))
        at = int(np.argmin(branch.log_p))
        if at == 0 and branch.parent is not None:
            return branch.parent
        upper = branch.split(at)
        upper.note = branch.note - 1
        return upper


def _mean_log_p(branch: Branch) -> float:
    return float(np.mean([value for part in (branch, *branch.ancestors) for value in part.log_p]))


def advantages(root: Branch, reward: Mapping[Branch, float], by_size: bool = True) -> dict[Branch, float]:
    """Return how much better each rollout is than those it shares a beginning with.

    For every ancestor with more than one rollout below it: the reward less the mean reward there. These are averaged,
    the groups weighted by their size or equally, and then scaled to mean 0 and variance 1 over all tokens of the
    rollouts. If all come out the same they are 0.

    Parameters
    ----------
    root : Branch
        Of the tree.
    reward : mapping from Branch to float
        Of every leaf.
    by_size : bool, optional
        How groups are weighted.
    """
    raw = {}
    for leaf in root.leaves:
        groups = [rewards for above in leaf.ancestors if len(rewards := [reward[leaf] for leaf in above.leaves]) > 1]
        weights = [len(rewards) if by_size else 1 for rewards in groups]
        gains = [reward[leaf] - np.mean(rewards) for rewards in groups]
        raw[leaf] = float(np.average(gains, weights=weights)) if groups else 0.0
    values, lengths = np.array(list(raw.values())), [len(leaf.path) for leaf in raw]
    mean = np.average(values, weights=lengths)
    deviation = np.sqrt(np.average((values - mean) ** 2, weights=lengths))
    return {leaf: float((value - mean) / deviation) if deviation > 0 else 0.0 for leaf, value in raw.items()}


def distinct_segments(rollouts: int, width: int, first: int, depth: int) -> int:
    """Return how many segments a tree of paths that all reach a depth has; independent paths have rollouts * depth."""
    widths = [min(rollouts, first)]
    while len(widths) < depth:
        widths.append(min(rollouts, width * widths[-1]))
    return sum(widths)


def parses(text: str) -> bool:
    """Return whether a text, up to its last line's end, is Python: the reward of a rollout. Nothing is executed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(text[: text.rfind("\n") + 1])
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True
