"""What a decoder is made of: attention and its like, feed-forward layers and experts, each by its sizes.

A block tells the weights that a pass reads and multiplies by, what it keeps of a cached token or a request, and the
operations of mixing tokens. Norms and biases, together below 0.2 % of a model, are left out.
"""

from dataclasses import dataclass
from functools import cache
from math import ceil

import numpy as np

SKEW = 0.8
"""Experts are chosen by popularity, the r-th in proportion to ``r**-SKEW``: derived, from served Qwen3-235B-A22B, whose
passes on 16 tokens read three quarters of what equally likely experts would be. AIConfigurator's kernels are measured
on power laws likewise."""

TILES = (16, 32, 64, 128)
"""Tokens of a matrix unit's tile: the smallest that holds the tokens, or a multiple of the largest."""


def tiled(tokens: int) -> int:
    """Return the tokens that a matrix unit computes for so many: tile quantisation."""
    for tile in TILES:
        if tokens <= tile:
            return tile
    return -(-tokens // TILES[-1]) * TILES[-1]


@dataclass(frozen=True)
class Block:
    """A part of a layer.

    Members
    -------
    width : int
        Features of a row.
    """

    width: int

    mixes = False
    """Whether it is attention or its like; else it works on each token alone."""

    starts = 1.0
    """Its time of starting kernels, in that of attention or a dense feed-forward."""

    @property
    def weights(self) -> float:
        """All its weights."""
        raise NotImplementedError

    @property
    def active(self) -> float:
        """Weights that one token is multiplied by."""
        return self.weights

    def touched(self, tokens: int) -> float:
        """Return the weights that a pass on so many tokens reads."""
        return self.weights

    def products(self, tokens: int) -> float:
        """Return the operations of multiplying by the weights."""
        return 2 * self.weights * tiled(tokens)

    def matrices(self, machines: int) -> list[tuple[float, float]]:
        """Return the rows and columns of its matrices, experts' left out, on each of some machines that share them."""
        return []

    @property
    def cached(self) -> int:
        """Values that it keeps of a token."""
        return 0

    @property
    def shares(self) -> int:
        """Machines over which what it keeps of a token can be spread; beyond, it is kept several times."""
        return 1

    @property
    def state(self) -> float:
        """Values that it keeps of a request, whatever its length."""
        return 0.0

    def reach(self, context: int) -> int:
        """Return the cached tokens that a token reads of so many."""
        return context

    def held(self, context: int) -> int:
        """Return the cached tokens that it keeps of so many."""
        return self.reach(context)

    def mixing(self, context: int) -> tuple[float, float]:
        """Return the operations on its context of one of a request's tokens, and of each ordered pair of its tokens."""
        return 0.0, 0.0


@dataclass(frozen=True)
class Attention(Block):
    """Attention with grouped keys.

    Members
    -------
    heads, key_heads, head : int
        Query heads, key-value heads, features of each.
    window : int or None
        Tokens back that are seen; None for all.
    gated : bool
        Whether an output gate, of the size of the queries, is computed as well.
    keys_as_values : bool
        Whether one product gives keys and values.
    """

    heads: int
    key_heads: int
    head: int
    window: int | None = None
    gated: bool = False
    keys_as_values: bool = False

    mixes = True

    @property
    def weights(self) -> float:
        """Queries, gate and output, keys and values."""
        queries = (3 if self.gated else 2) * self.heads
        return self.width * self.head * (queries + (1 if self.keys_as_values else 2) * self.key_heads)

    def matrices(self, machines: int) -> list[tuple[float, float]]:
        """Queries, gate, keys and values at once; the output."""
        inner = self.heads * self.head
        return [(self.weights / self.width / machines - inner / machines, self.width), (self.width, inner / machines)]

    @property
    def cached(self) -> int:
        """A key and a value."""
        return 2 * self.key_heads * self.head

    @property
    def shares(self) -> int:
        """One machine a key head at most."""
        return self.key_heads

    def reach(self, context: int) -> int:
        """At most the window."""
        return context if self.window is None else min(context, self.window)

    def mixing(self, context: int) -> tuple[float, float]:
        """Scores and sums of values."""
        pair = 4 * self.heads * self.head
        return pair * self.reach(context), pair


@dataclass(frozen=True)
class LatentAttention(Block):
    """Attention on compressed keys and values, with their expansion absorbed into queries and outputs (MLA).

    Source: DeepSeek-V2 (arXiv 2405.04434).

    Members
    -------
    heads : int
        Query heads.
    latent, rotary, plain, value : int
        Features of the compressed pair, of the rotary key that all heads share, of a head's other queries, of its
        values.
    query_latent : int
        Features of compressed queries; 0 where they are not compressed.
    selected : int or None
        Cached tokens that an indexer selects (DeepSeek-V3.2, arXiv 2512.02556); None for all.
    """

    heads: int
    latent: int
    rotary: int
    plain: int
    value: int
    query_latent: int = 0
    selected: int | None = None

    mixes = True

    @property
    def weights(self) -> float:
        """Queries, compression, expansion, output."""
        queries = self.heads * (self.plain + self.rotary)
        made = self.query_latent * (self.width + queries) if self.query_latent else self.width * queries
        expanded = self.latent * self.heads * (self.plain + self.value)
        return made + self.width * (self.latent + self.rotary) + expanded + self.heads * self.value * self.width

    @property
    def cached(self) -> int:
        """The compressed pair and the rotary key."""
        return self.latent + self.rotary

    def reach(self, context: int) -> int:
        """What is selected."""
        return context if self.selected is None else min(context, self.selected)

    def held(self, context: int) -> int:
        """All: any may be selected."""
        return context

    def mixing(self, context: int) -> tuple[float, float]:
        """Scores on compressed keys, sums of compressed values."""
        pair = 2 * self.heads * (2 * self.latent + self.rotary)
        return pair * self.reach(context), pair


@dataclass(frozen=True)
class Recurrence(Block):
    """A state-space or linear-attention layer with a matrix-valued state.

    Members
    -------
    projections : float
        Its weights.
    inner, features : int
        The state is ``inner`` rows of ``features``.
    """

    projections: float
    inner: int
    features: int

    mixes = True

    @property
    def weights(self) -> float:
        """The projections."""
        return self.projections

    @property
    def state(self) -> float:
        """Inner features times state features."""
        return self.inner * self.features

    def mixing(self, context: int) -> tuple[float, float]:
        """Return the operations of a tree scan: reading the state, and all pairs of nodes.

        Source: STree (arXiv 2505.14969); Mamba-2's chunk formula (arXiv 2405.21060).
        """
        return 4 * self.state, 2 * (self.features + self.inner)


@dataclass(frozen=True)
class FeedForward(Block):
    """A feed-forward layer.

    Members
    -------
    hidden : int
        Its inner features.
    count : int
        Its matrices: 3 with a gate, 2 without.
    """

    hidden: int
    count: int = 3

    @property
    def weights(self) -> float:
        """The matrices."""
        return self.count * self.width * self.hidden

    def matrices(self, machines: int) -> list[tuple[float, float]]:
        """All but the last at once, which is the way back."""
        if self.count == 1:
            return [(self.hidden / machines, self.width)]
        return [((self.count - 1) * self.hidden / machines, self.width), (self.width, self.hidden / machines)]


@cache
def popularity(experts: int, chosen: int) -> np.ndarray:
    """Return how likely a token goes to each of some experts, the most popular first; the sum is ``chosen``.

    By the power law of `SKEW`, where none is likelier than certain.
    """
    weights = np.arange(1, experts + 1.0) ** -SKEW
    for certain in range(chosen):
        rest = weights[certain:] * ((chosen - certain) / weights[certain:].sum())
        if rest[0] <= 1:
            return np.concatenate([np.ones(certain), rest])
    return (np.arange(experts) < chosen).astype(float)


@cache
def _busy(experts: int, chosen: int, tokens: int) -> float:
    return float((1 - (1 - popularity(experts, chosen)) ** tokens).sum())


@dataclass(frozen=True)
class Experts(Block):
    """A mixture of experts: each token goes to some of them, and through what all share.

    The experts of different tokens are taken to be independent, some more popular than others (`popularity`).

    Members
    -------
    hidden : int
        Inner features of an expert.
    experts, chosen : int
        How many there are, and to how many a token goes.
    shared : int
        Inner features of the part that every token goes through; 0 for none.
    count : int
        Matrices of an expert: 3 with a gate, 2 without.
    inner_width : int
        Features that the experts work on where rows are compressed for them; 0 for ``width``.
    """

    hidden: int
    experts: int
    chosen: int
    shared: int = 0
    count: int = 3
    inner_width: int = 0

    starts = 2.0

    @property
    def expert(self) -> float:
        """Weights of one expert."""
        return self.count * (self.inner_width or self.width) * self.hidden

    @property
    def common(self) -> float:
        """Weights that every token is multiplied by: router, shared part, compression."""
        compression = 2 * self.width * self.inner_width
        return self.width * self.experts + self.count * self.width * self.shared + compression

    @property
    def weights(self) -> float:
        """All experts and what is common."""
        return self.experts * self.expert + self.common

    @property
    def active(self) -> float:
        """The chosen experts and what is common."""
        return self.chosen * self.expert + self.common

    def matrices(self, machines: int) -> list[tuple[float, float]]:
        """The shared part."""
        return FeedForward(self.width, self.shared, self.count).matrices(machines) if self.shared else []

    def busy(self, tokens: int) -> float:
        """Return the experts that so many tokens touch, on average: ``sum 1 - (1 - p)**tokens`` by popularity p.

        Source: Kong et al. (arXiv 2605.15051), who have ``p = k/E`` for all.
        """
        return _busy(self.experts, self.chosen, tokens)

    def touched(self, tokens: int) -> float:
        """The busy experts and what is common."""
        return self.busy(tokens) * self.expert + self.common

    def products(self, tokens: int) -> float:
        """Every busy expert computes whole tiles of its tokens."""
        busy = self.busy(tokens)
        return 2 * (busy * self.expert * tiled(ceil(tokens * self.chosen / busy)) + self.common * tiled(tokens))
