"""A decoder by its blocks."""

from dataclasses import dataclass, field

from specdec.cost.blocks import Attention, Block, FeedForward
from specdec.cost.formats import BYTES, Formats


@dataclass(frozen=True)
class Architecture:
    """A decoder's blocks and sizes.

    Members
    -------
    blocks : tuple of (Block, int)
        Its blocks, and how many there are of each.
    width : int
        Features of a row.
    vocabulary : int
        Rows of the output layer.
    tied : bool
        Whether the output layer is the embedding.
    positions : int
        Rows of a learned embedding of positions.
    stored : Formats
        In which its weights are published.
    """

    blocks: tuple[tuple[Block, int], ...]
    width: int
    vocabulary: int
    tied: bool = False
    positions: int = 0
    stored: Formats = field(default_factory=Formats)

    @classmethod
    def dense(cls, layers: int, width: int, hidden: int, heads: int, key_heads: int, vocabulary: int) -> "Architecture":
        """Return a decoder of equal layers, attention and a gated feed-forward each; no heads, no attention."""
        attention = [(Attention(width, heads, key_heads, width // heads), layers)] if heads else []
        return cls((*attention, (FeedForward(width, hidden), layers)), width, vocabulary)

    @property
    def body(self) -> float:
        """Weights of the blocks."""
        return sum(count * block.weights for block, count in self.blocks)

    @property
    def head(self) -> int:
        """Weights of the output layer."""
        return self.vocabulary * self.width

    @property
    def embedding(self) -> int:
        """Weights of the embeddings that are not the output layer's."""
        return (0 if self.tied else self.head) + self.positions * self.width

    @property
    def parameters(self) -> float:
        """All weights."""
        return self.body + self.head + self.embedding

    @property
    def active(self) -> float:
        """Weights that one token is multiplied by."""
        return sum(count * block.active for block, count in self.blocks) + self.head

    @property
    def layers(self) -> int:
        """Its layers: the more of blocks that mix tokens and of those that do not."""
        mixing = sum(count for block, count in self.blocks if block.mixes)
        return max(mixing, sum(count for _, count in self.blocks) - mixing)

    @property
    def cache_bytes(self) -> float:
        """Bytes of keys and values of one token, as stored."""
        return BYTES[self.stored.cache] * sum(count * block.cached for block, count in self.blocks)

    @property
    def state_bytes(self) -> float:
        """Bytes of one request's recurrent state, whatever its length."""
        return BYTES["bf16"] * sum(count * block.state for block, count in self.blocks)

    def weight_bytes(self, formats: Formats) -> float:
        """Return the bytes of all weights."""
        blocks = sum(
            count * block.weights * BYTES[formats.mixing if block.mixes else formats.feed]
            for block, count in self.blocks
        )
        return blocks + BYTES["bf16"] * (self.head + self.embedding)
