"""The transformer: attention over a cache of keys and values, in which a tree is a mask."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from specdec.errors import require
from specdec.models.network import Layer, Memory, Network, SwiGlu
from specdec.models.packing import Packing


class KeyValueCache(Memory):
    """Keys and values, one row a token: those of the prefix in order, then those of the nodes.

    A commit moves the accepted rows up to the prefix; no row is ever computed again.

    Parameters
    ----------
    empty : Tensor of shape (2, heads, 0, D)
        Kind of the rows to come: keys, then values.
    """

    def __init__(self, empty: Tensor):
        self._rows = empty
        self._held = 0
        self._committed = 0

    @property
    def prefix(self) -> Tensor:
        """Keys and values of the prefix, shape (2, heads, S, D)."""
        return self._rows[:, :, : self._committed]

    def append(self, rows: Tensor) -> Tensor:
        """Add rows of new nodes, shape (2, heads, N, D), and return all, shape (2, heads, S + P, D)."""
        end = self._held + rows.shape[2]
        if end > self._rows.shape[2]:
            spare = self._rows.new_empty(*rows.shape[:2], 2 * end - self._held, rows.shape[3])
            self._rows = torch.cat([self._rows[:, :, : self._held], spare], 2)
        self._rows[:, :, self._held : end] = rows
        self._held = end
        return self._rows[:, :, :end]

    def keep(self, path: list[int], rest: list[int]) -> None:
        """Move the rows kept to the end of the prefix."""
        kept = self._committed + torch.tensor([*path, *rest], dtype=torch.long)
        self._held = self._committed + len(kept)
        self._rows[:, :, self._committed : self._held] = self._rows[:, :, kept]
        self._committed += len(path)


def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn feature pairs by angles proportional to the position, so that products depend on distances only.

    Source: RoFormer (Su et al. 2021, arXiv 2104.09864); the pairs are (i, i + D/2).

    Parameters
    ----------
    x : Tensor of shape (..., T, D)
        Queries or keys, D even.
    positions : Tensor of shape (T,)
        Places in the sequence.
    base : float
        The slowest pair turns by about ``1 / base`` a place.
    """
    half = x.shape[-1] // 2
    speed = base ** (-torch.arange(half, dtype=x.dtype) / half)
    angle = positions[:, None] * speed
    cos, sin = angle.cos(), angle.sin()
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


class Attention(Layer):
    """Causal attention with rotary positions; in a tree a node sees the prefix, its ancestors and itself.

    Parameters
    ----------
    width : int
        Width of a row.
    heads : int
        Heads, of ``D = width / heads`` features, an even number.

    Raises
    ------
    InputError
        If the heads do not divide the width so.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        require(width % (2 * heads) == 0, "width", f"a multiple of twice the {heads} heads", width)
        self.heads = heads
        self.into = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def start(self) -> KeyValueCache:
        """Return an empty cache."""
        weight = self.out.weight
        return KeyValueCache(weight.new_empty(2, self.heads, 0, weight.shape[0] // self.heads))

    def forward(self, x: Tensor, packing: Packing | None, memory: KeyValueCache | None) -> Tensor:
        """Attend from new nodes to what is visible, or along whole sequences."""
        # (..., T, 3 width) to (3, ..., heads, T, D).
        query, key, value = self.into(x).unflatten(-1, (3, self.heads, -1)).movedim((-3, -2), (0, -3))
        positions = torch.arange(x.shape[-2]) if packing is None else packing.positions
        query, key = rotate(query, positions), rotate(key, positions)
        if packing is None:
            seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            key, value = memory.append(torch.stack([key, value]))
            batch = (row[None] for row in (query, key, value))
            seen = functional.scaled_dot_product_attention(*batch, attn_mask=packing.visible)[0]
        return self.out(seen.movedim(-3, -2).flatten(-2))


def transformer(vocabulary: int, width: int, layers: int, heads: int, hidden: int) -> Network:
    """Return a decoder-only transformer: ``layers`` times attention and a gated feed-forward of ``hidden`` features."""
    pairs = [(Attention(width, heads), SwiGlu(width, hidden)) for _ in range(layers)]
    return Network(vocabulary, width, [layer for pair in pairs for layer in pair])
