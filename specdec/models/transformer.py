"""The transformer: attention over a cache of keys and values, in which a tree is a mask."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rtnerf.base.errors import require
from specdec.models.network import Linear, Memory, Mixing, Network, SwiGlu
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

    def append(self, key: Tensor, value: Tensor) -> Tensor:
        """Add rows of new nodes, each of shape (heads, N, D), and return all, shape (2, heads, S + P, D)."""
        end = self._held + key.shape[1]
        if end > self._rows.shape[2]:
            spare = self._rows.new_empty(2, key.shape[0], 2 * end - self._held, key.shape[2])
            self._rows = torch.cat([self._rows[:, :, : self._held], spare], 2)
        self._rows[0, :, self._held : end] = key
        self._rows[1, :, self._held : end] = value
        self._held = end
        return self._rows[:, :, :end]

    def keep(self, path: list[int], rest: list[int]) -> None:
        """Move the rows kept to the end of the prefix."""
        kept = [*path, *rest]
        first, self._held = self._committed, self._committed + len(kept)
        if kept != list(range(len(kept))):
            self._rows[:, :, first : self._held] = self._rows[:, :, first + torch.tensor(kept)]
        self._committed += len(path)


@dataclass(frozen=True)
class Rotation:
    """How fast feature pairs turn.

    Source: RoFormer (Su et al. 2021, arXiv 2104.09864); longer contexts by position interpolation (arXiv 2306.15595),
    of all pairs or, as in Llama 3.1, of the slow ones.

    Members
    -------
    base : float
        The slowest pair turns by about ``1 / base`` a place.
    factor : float
        By which turns are slowed down, at least 1.
    low, high, places : float
        Pairs that turn less than ``low`` times in so many places are slowed down by the factor, those that turn more
        than ``high`` times are not, and between them it is interpolated; all are slowed down where ``places`` is 0.
    """

    base: float = 10000.0
    factor: float = 1.0
    low: float = 1.0
    high: float = 4.0
    places: int = 0

    def frequencies(self, half: int, dtype: torch.dtype) -> Tensor:
        """Return the angles of a place, shape (half,)."""
        fast = self.base ** (-torch.arange(half, dtype=dtype) / half)
        if self.factor == 1:
            return fast
        kept = torch.zeros(half, dtype=dtype)
        if self.places:
            kept = ((self.places * fast / (2 * torch.pi) - self.low) / (self.high - self.low)).clamp(0, 1)
        return kept * fast + (1 - kept) * fast / self.factor


ROTATION = Rotation()


def rotate(x: Tensor, positions: Tensor, bound: int, rotation: Rotation = ROTATION) -> Tensor:
    """Turn feature pairs by angles proportional to the position, so that products depend on distances only.

    The pairs are (i, i + D/2).

    Parameters
    ----------
    x : Tensor of shape (..., T, D)
        Queries or keys, D even.
    positions : Tensor of shape (T,)
        Places in the sequence.
    bound : int
        All of them are smaller.
    rotation : Rotation
        How fast the pairs turn.
    """
    cos, sin = _turns(1 << bound.bit_length(), x.shape[-1], x.dtype, rotation)
    return torch.addcmul(x * cos[positions], x.roll(x.shape[-1] // 2, -1), sin[positions])


@lru_cache(maxsize=16)
def _turns(places: int, features: int, dtype: torch.dtype, rotation: Rotation) -> tuple[Tensor, Tensor]:
    """Return the cosine and the signed sine of every place's angles, each of shape (places, features)."""
    angle = torch.arange(places, dtype=dtype)[:, None] * rotation.frequencies(features // 2, dtype)
    return angle.cos().repeat(1, 2), torch.cat([-angle.sin(), angle.sin()], -1)


class Attention(Mixing):
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
        self.into = Linear(width, 3 * width)
        self.out = Linear(width, width)

    def start(self) -> KeyValueCache:
        """Return an empty cache."""
        weight = self.out.weight
        return KeyValueCache(weight.new_empty(2, self.heads, 0, weight.shape[0] // self.heads))

    def mix(self, rows: Tensor, packing: Packing | None, memory: Any) -> Tensor:
        """Attend from new nodes to what is visible, or along whole sequences."""
        # (..., T, 3 width) to (3, ..., heads, T, D).
        rows = rows.unflatten(-1, (3, self.heads, -1)).movedim((-3, -2), (0, -3))
        if packing is None:
            places = rows.shape[-2]
            query, key = rotate(rows[:2], torch.arange(places), places)
            seen = functional.scaled_dot_product_attention(query, key, rows[2], is_causal=True)
        else:
            query, key = rotate(rows[:2], packing.positions, packing.committed + len(packing.parent))
            keys, values = memory.append(key, rows[2])
            # For a few rows this takes half the time of PyTorch's attention with a mask.
            bias, scale = packing.bias.to(query.dtype), query.shape[-1] ** -0.5
            scores = torch.baddbmm(bias, query, keys.transpose(-1, -2), alpha=scale)
            seen = torch.bmm(scores.softmax(-1), values)
        return seen.movedim(-3, -2).flatten(-2)


def transformer(vocabulary: int, width: int, layers: int, heads: int, hidden: int) -> Network:
    """Return a decoder-only transformer: ``layers`` times attention and a gated feed-forward of ``hidden`` features."""
    pairs = [(Attention(width, heads), SwiGlu(width, hidden)) for _ in range(layers)]
    return Network(vocabulary, width, [layer for pair in pairs for layer in pair])
