"""Candidates from text: continuations of earlier occurrences of the context's last tokens, as a trie.

The text is a datastore (REST, arXiv 2311.08252) or the context itself (prompt lookup decoding). The likeliest branches
are kept: those that occur most often, after the longest match.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from math import log

import numpy as np

from rtnerf.base.errors import require
from specdec.laws.chance import Chance
from specdec.laws.language_model import Tokens
from specdec.proposers.base import Proposal, Proposer
from specdec.trees.tree import Source, TokenTree, TreeBuilder

NEW = 2
"""Weight of a token that never followed before, in matched tokens: so that what is told comes true on training text."""


class SuffixArray:
    """Every place of a token sequence, ordered by what follows it: occurrences are found by bisection.

    Parameters
    ----------
    text : sequence of int
        The tokens, non-negative.
    longest : int, optional
        Longest pattern to be found: suffixes are compared so far only, else to their ends. Building takes
        ``O(n log n)`` per doubling of the compared length.

    Members
    -------
    text : ndarray of shape (n,)
        The tokens.
    order : ndarray of shape (n,)
        Starts of the suffixes in ascending order; a suffix that is the beginning of another comes first.
    """

    def __init__(self, text: Sequence[int], longest: int | None = None):
        require(longest is None or longest >= 1, "longest", "at least 1", longest)
        self.text = np.asarray(text, np.int64)
        self._tokens = self.text.tolist()
        self._longest = longest
        length = len(self.text)
        compare = length if longest is None else min(longest, length)
        rank, compared = np.unique(self.text, return_inverse=True)[1] if length else self.text, 1
        self.order = np.argsort(rank, kind="stable")
        while compared < compare and len(np.unique(rank)) < length:
            behind = np.full(length, -1)
            behind[:-compared] = rank[compared:]
            self.order = np.lexsort((behind, rank))
            first, second = rank[self.order], behind[self.order]
            changed = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
            rank = np.empty(length, np.int64)
            rank[self.order] = np.concatenate(([0], np.cumsum(changed)))
            compared *= 2

    def find(self, pattern: Sequence[int]) -> np.ndarray:
        """Return the starts of a pattern's occurrences, in suffix order.

        Raises
        ------
        InputError
            If the pattern is longer than the suffixes were compared.
        """
        fits = self._longest is None or len(pattern) <= self._longest
        require(fits, "pattern", f"at most {self._longest} tokens", len(pattern))
        pattern = list(pattern)

        def beginning(start: int) -> list[int]:
            return self._tokens[start : start + len(pattern)]

        low = bisect_left(self.order, pattern, key=beginning)
        return self.order[low : bisect_right(self.order, pattern, low, key=beginning)]


class Retrieval(Proposer):
    """Continuations of the longest suffix of the context that occurs in a datastore.

    Parameters
    ----------
    datastore : SuffixArray
        The text to search.
    nodes : int
        Most nodes of the tree, the root included.
    depth : int
        Longest continuation.
    longest, shortest : int
        Lengths of the suffix to try, from the longest down.
    occurrences : int
        Most occurrences looked at, spread evenly over those found.
    """

    def __init__(
        self,
        datastore: SuffixArray,
        nodes: int = 64,
        depth: int = 10,
        longest: int = 16,
        shortest: int = 2,
        occurrences: int = 500,
    ):
        require(1 <= shortest <= longest, "shortest", f"in [1, {longest}]", shortest)
        self._datastore = datastore
        self._nodes = nodes
        # A longer path would have more nodes than the tree.
        self._depth = min(depth, nodes - 1)
        self._longest = longest
        self._shortest = shortest
        self._occurrences = occurrences

    def propose(self, context: Tokens, chance: Chance) -> Proposal:
        """Search, and keep the continuations that occur most often."""
        text = self._datastore.text
        # Where a suffix occurs, all shorter ones do: the longest is found by bisection.
        low, high, ends = self._shortest - 1, min(self._longest, len(context)), np.zeros(0, int)
        while low < high:
            length = (low + high + 1) // 2
            found = self._datastore.find(context[-length:]) + length
            found = found[found < len(text)]
            if len(found):
                low, ends = length, found
            else:
                high = length - 1
        ends = ends[:: -(-len(ends) // self._occurrences) or 1]
        paths = (tuple(text[end : end + self._depth].tolist()) for end in ends)
        return Proposal(likeliest_trie(context[-1], paths, self._nodes, matched=low), {}, draft_passes=0)


class PromptLookup(Proposer):
    """Continuations of the longest suffix of the context that occurs in the context itself, the latest one first.

    Parameters
    ----------
    nodes : int
        Most nodes of the tree, the root included.
    depth : int
        Longest continuation.
    longest, shortest : int
        Lengths of the suffix to try, from the longest down.
    occurrences : int
        Most occurrences looked at, the latest.
    least : float
        Probability of a node's path, in [0, 1), below which it is left out: reading it costs the target more time than
        it saves. Few tokens that occurred before make small trees, many make long ones.
    """

    def __init__(
        self,
        nodes: int = 64,
        depth: int = 10,
        longest: int = 3,
        shortest: int = 1,
        occurrences: int = 16,
        least: float = 0.0,
    ):
        require(1 <= shortest <= longest, "shortest", f"in [1, {longest}]", shortest)
        require(occurrences >= 1, "occurrences", "at least 1", occurrences)
        require(0 <= least < 1, "least", "in [0, 1)", least)
        self._occurrences, self._least = occurrences, least
        # A longer path would have more nodes than the tree.
        self._nodes, self._depth = nodes, min(depth, nodes - 1)
        self._longest, self._shortest = longest, shortest

    def propose(self, context: Tokens, chance: Chance) -> Proposal:
        """Search the context, for ever longer suffixes as long as they occur."""
        text, matched = np.array(context), 0
        ends = latest = np.zeros(0, int)
        for length in range(1, min(self._longest, len(text) - 1) + 1):
            ends = ends[ends >= length] if length > 1 else np.arange(1, len(text))
            ends = ends[text[ends - length] == text[-length]]
            if not len(ends):
                break
            if length >= self._shortest:
                latest, matched = ends[: -self._occurrences - 1 : -1], length
        paths = (context[end : end + self._depth] for end in latest.tolist())
        return Proposal(likeliest_trie(context[-1], paths, self._nodes, matched, self._least), {}, draft_passes=0)


def likeliest_trie(root: int, paths: Iterable[Tokens], nodes: int, matched: int, least: float = 0.0) -> TokenTree:
    """Return the trie of the ``nodes`` likeliest prefixes of what followed, the root included; equals in order of path.

    Where the text agrees with the context in L tokens, ``matched`` before the paths and those on a path, a token that
    followed n of N times is told the probability ``L n / (L N + NEW)``, the exponential of its ``log_q``: an escape to
    what was never seen, as in PPM (Cleary and Witten 1984), that is the rarer the longer the match. Prefixes of a
    probability below ``least`` are left out.
    """
    counts: Counter[Tokens] = Counter()
    for path in paths:
        counts.update(path[:depth] for depth in range(1, len(path) + 1))
    total: defaultdict[Tokens, int] = defaultdict(int)
    for path, count in counts.items():
        total[path[:-1]] += count
    told: dict[Tokens, float] = {}
    value: dict[Tokens, float] = {(): 1.0}
    for path, count in counts.items():  # A path's beginnings come before it.
        agreeing = matched + len(path) - 1
        told[path] = agreeing * count / (agreeing * total[path[:-1]] + NEW)
        value[path] = value[path[:-1]] * told[path]
    builder = TreeBuilder(root)
    place: dict[Tokens, int] = {(): 0}
    for path in sorted(counts, key=value.__getitem__, reverse=True)[: max(nodes - 1, 0)]:
        if value[path] >= least:
            place[path] = builder.add(place[path[:-1]], path[-1], log(told[path]), Source.RETRIEVED)
    return builder.build()
