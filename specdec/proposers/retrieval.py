"""Candidates from text: continuations of earlier occurrences of the context's last tokens, as a trie.

The text is a datastore (REST, arXiv 2311.08252) or the context itself (prompt lookup decoding). Branches that occur
most often are kept.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from specdec.chance import Chance
from specdec.errors import require
from specdec.language_model import Tokens
from specdec.proposers.base import Proposal, Proposer
from specdec.tree import Source, TokenTree, TreeBuilder


class SuffixArray:
    """Every place of a token sequence, ordered by what follows it: occurrences are found by bisection.

    Parameters
    ----------
    text : sequence of int
        The tokens, non-negative. Building takes ``O(n log n)`` per doubling of the compared length.

    Members
    -------
    text : ndarray of shape (n,)
        The tokens.
    order : ndarray of shape (n,)
        Starts of the suffixes in ascending order; a suffix that is the beginning of another comes first.
    """

    def __init__(self, text: Sequence[int]):
        self.text = np.asarray(text, np.int64)
        length = len(self.text)
        rank, compared = np.unique(self.text, return_inverse=True)[1] if length else self.text, 1
        self.order = np.argsort(rank, kind="stable")
        while compared < length and len(np.unique(rank)) < length:
            behind = np.full(length, -1)
            behind[:-compared] = rank[compared:]
            self.order = np.lexsort((behind, rank))
            first, second = rank[self.order], behind[self.order]
            changed = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
            rank = np.empty(length, np.int64)
            rank[self.order] = np.concatenate(([0], np.cumsum(changed)))
            compared *= 2

    def find(self, pattern: Sequence[int]) -> np.ndarray:
        """Return the starts of a pattern's occurrences, in suffix order."""
        low, high = 0, len(self.order)
        for offset, token in enumerate(pattern):
            low, high = self._narrow(low, high, offset, token)
        return self.order[low:high]

    def _narrow(self, low: int, high: int, offset: int, token: int) -> tuple[int, int]:
        """Return the part of the suffixes ``low`` to ``high``, equal so far, that have ``token`` at ``offset``."""

        def bisect(token: int) -> int:
            first, last = low, high
            while first < last:
                middle = (first + last) // 2
                place = self.order[middle] + offset
                if place < len(self.text) and self.text[place] >= token:
                    last = middle
                else:
                    first = middle + 1
            return first

        return bisect(token), bisect(token + 1)


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
        self._depth = depth
        self._lengths = range(longest, shortest - 1, -1)
        self._occurrences = occurrences

    def propose(self, context: Tokens, chance: Chance) -> Proposal:
        """Search, and keep the continuations that occur most often."""
        text = self._datastore.text
        for length in self._lengths:
            if length > len(context):
                continue
            starts = self._datastore.find(context[-length:])
            ends = starts[:: -(-len(starts) // self._occurrences) or 1] + length
            ends = ends[ends < len(text)]
            if len(ends):
                paths = (tuple(text[end : end + self._depth].tolist()) for end in ends)
                return Proposal(frequent_trie(context[-1], paths, self._nodes), {}, draft_passes=0)
        return Proposal(TreeBuilder(context[-1]).build(), {}, draft_passes=0)


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
    """

    def __init__(self, nodes: int = 64, depth: int = 10, longest: int = 3, shortest: int = 1):
        require(1 <= shortest <= longest, "shortest", f"in [1, {longest}]", shortest)
        self._nodes = nodes
        self._depth = depth
        self._lengths = range(longest, shortest - 1, -1)

    def propose(self, context: Tokens, chance: Chance) -> Proposal:
        """Search the context."""
        text = np.array(context)
        for length in self._lengths:
            if length >= len(text):
                continue
            windows = np.lib.stride_tricks.sliding_window_view(text[:-1], length)
            ends = np.flatnonzero((windows == text[-length:]).all(axis=1))[::-1] + length
            if len(ends):
                paths = (tuple(text[end : end + self._depth].tolist()) for end in ends)
                return Proposal(frequent_trie(context[-1], paths, self._nodes), {}, draft_passes=0)
        return Proposal(TreeBuilder(context[-1]).build(), {}, draft_passes=0)


def frequent_trie(root: int, paths: Iterable[Tokens], nodes: int) -> TokenTree:
    """Return the trie of the ``nodes`` prefixes that most paths share, the root included; equals in order of path.

    A sibling's rank follows its count, and ``log_q`` is the log of its count over its parent's.
    """
    counts: Counter[Tokens] = Counter()
    for path in paths:
        counts.update(path[:depth] for depth in range(1, len(path) + 1))
    total = defaultdict(int)
    for path, count in counts.items():
        total[path[:-1]] += count
    builder, place = TreeBuilder(root), {(): 0}
    for path, count in counts.most_common(max(nodes - 1, 0)):
        log_q = float(np.log(count / total[path[:-1]]))
        place[path] = builder.add(place[path[:-1]], path[-1], log_q, Source.RETRIEVED)
    return builder.build()
