"""Layers of published decoders: attention whose heads share keys, and a feed-forward layer without gate."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from specdec.models.network import Layer, Linear, Memory, Mixing
from specdec.models.packing import Packing
from specdec.models.transformer import KeyValueCache, Rotation, rotate


class GroupedAttention(Mixing):
    """Causal attention, groups of whose query heads share a head of keys and values.

    Source: Ainslie et al. 2023 (arXiv 2305.13245).

    Parameters
    ----------
    width, heads, key_heads, features : int
        Width of a row, query heads, key-value heads, which divide those, and features D of each.
    rotation : Rotation or None
        How positions turn queries and keys; None where they do not.
    bias, out_bias : bool
        Whether the projection in has a bias, and that out.
    norm : float or None
        Epsilon of the norms of every query and key, as in Qwen3; None without.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        key_heads: int,
        features: int,
        rotation: Rotation | None,
        bias: bool = False,
        out_bias: bool = False,
        norm: float | None = None,
    ):
        super().__init__()
        self.heads, self.key_heads, self.features, self.rotation = heads, key_heads, features, rotation
        self.into = Linear(width, (heads + 2 * key_heads) * features, bias)
        self.out = Linear(heads * features, width, out_bias)
        self.query_norm, self.key_norm = (None if norm is None else nn.RMSNorm(features, norm) for _ in range(2))

    def start(self) -> KeyValueCache:
        """Return an empty cache."""
        return KeyValueCache(self.out.weight.new_empty(2, self.key_heads, 0, self.features))

    def mix(self, rows: Tensor, packing: Packing | None, memory: Any) -> Tensor:
        """Attend from new nodes to what is visible, or along a whole sequence."""
        if packing is None:
            packing, memory = Packing(range(-1, len(rows) - 1), len(rows), 0), self.start()
        rows = rows.unflatten(-1, (-1, self.features)).transpose(0, 1)
        query, key, value = rows.split([self.heads, self.key_heads, self.key_heads])
        if self.query_norm is not None and self.key_norm is not None:
            query, key = self.query_norm(query), self.key_norm(key)
        if self.rotation is not None:
            bound = packing.committed + len(packing.parent)
            query, key = (rotate(part, packing.positions, bound, self.rotation) for part in (query, key))
        keys, values = memory.append(key, value)[:, :, None]
        query = query.unflatten(0, (self.key_heads, -1))
        scores = torch.matmul(query, keys.transpose(-1, -2)) * self.features**-0.5 + packing.bias.to(query.dtype)
        seen = torch.matmul(scores.softmax(-1), values)
        return seen.flatten(0, 1).transpose(0, 1).flatten(-2)


class Gelu(Layer):
    """The feed-forward layer ``W2 gelu(W1 x)`` with biases, gelu by its approximation with a tangent, as in GPT-2."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.into = Linear(width, hidden, bias=True)
        self.out = Linear(hidden, width, bias=True)

    def forward(self, x: Tensor, packing: Packing | None, memory: Memory | None) -> Tensor:
        """Map every row by itself."""
        return self.out(functional.gelu(self.into(x), approximate="tanh"))
