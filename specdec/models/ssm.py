"""The state-space model: a recurrence whose whole tree of continuations is one masked matrix product.

With log decay ``a_t``, input ``u_t``, and input and output vectors ``b_t`` and ``c_t``, each head has the recurrence

    state_t = exp(a_t) state_(t-1) + u_t b_t',    y_t = state_t c_t

(Mamba-2's scalar-identity SSD: Dao and Gu 2024, arXiv 2405.21060). Unrolled along the path to a node it is the product

    y_t = exp(A_t) state_0 c_t + sum over s on the path to t of exp(A_t - A_s) (c_t . b_s) u_s,    A = mask a

with the ancestor mask: Mamba-2's chunk formula if the mask is a triangle, STree's tree scan (arXiv 2505.14969) for any
tree. Sums of decays are float64, as their differences would lose float32's digits.

Shapes: a (..., T, H), u (..., T, H, D), b and c (..., T, K), state (..., H, D, K) for H heads of D features and K state
features. The functions know only these; the layer makes them from rows. Groups of heads, each with a ``b`` and a ``c``
of its own, are an axis before T.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rtnerf.base.errors import require
from specdec.models.network import LAYER_NORM, Linear, Memory, Mixing, Network
from specdec.models.packing import Packing

CHUNK = 64


def recurrent_step(a: Tensor, u: Tensor, b: Tensor, c: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Return (y of shape (..., H, D), the next state) of one token, whose inputs have no axis T: the definition."""
    state = a.exp()[..., None, None] * state + u[..., None] * b[..., None, None, :]
    return torch.einsum("...hdk,...k->...hd", state, c), state


def tree_scan(a: Tensor, u: Tensor, b: Tensor, c: Tensor, state: Tensor, mask: Tensor) -> Tensor:
    """Return y, shape (..., N, H, D), of the last N nodes of a tree in one scan.

    Parameters
    ----------
    a, u, b : Tensor
        Inputs of all P nodes.
    c : Tensor of shape (..., N, K)
        Output vectors of the last N nodes.
    state : Tensor of shape (..., H, D, K)
        The state before the tree.
    mask : Tensor of bool, shape (P, P)
        Row ``t`` holds ``t`` and its ancestors.
    """
    new = c.shape[-2]
    total = (mask.double() @ a.double()).transpose(-1, -2)  # (..., H, P)
    decay = (total[..., -new:, None] - total[..., None, :]).to(a).masked_fill(~mask[-new:], -math.inf).exp()
    weight = decay * (c @ b.transpose(-1, -2))[..., None, :, :]  # (..., H, N, P)
    inside = weight @ u.transpose(-3, -2)  # (..., H, N, D)
    before = total[..., -new:, None].to(a).exp() * (c[..., None, :, :] @ state.transpose(-1, -2))
    return (inside + before).transpose(-3, -2)


def replay(a: Tensor, u: Tensor, b: Tensor, state: Tensor) -> Tensor:
    """Return the state after a sequence of T stored inputs, from the state before: activation replay."""
    total = a.cumsum(-2, dtype=torch.float64)
    left = (total[..., -1:, :] - total).to(a).exp()[..., None] * u
    return total[..., -1, :].to(a).exp()[..., None, None] * state + torch.einsum("...thd,...tk->...hdk", left, b)


def sequence_scan(a: Tensor, u: Tensor, b: Tensor, c: Tensor, state: Tensor, chunk: int = CHUNK) -> Tensor:
    """Return y, shape (..., T, H, D), of whole sequences: the product within chunks, the recurrence between them."""
    triangle = torch.ones(chunk, chunk, dtype=torch.bool).tril()
    outputs = []
    parts = (x.split(chunk, axis) for x, axis in ((a, -2), (u, -3), (b, -2), (c, -2)))
    for decay, value, writes, reads in zip(*parts, strict=True):
        rows = reads.shape[-2]
        outputs.append(tree_scan(decay, value, writes, reads, state, triangle[:rows, :rows]))
        state = replay(decay, value, writes, state)
    return torch.cat(outputs, -3)


class SsmMemory(Memory):
    """One state after the prefix, and the *inputs* of the nodes since: no node has a state of its own.

    Parameters
    ----------
    state : Tensor of shape (G, H, D, K)
        The recurrent state of G groups.
    window : Tensor of shape (W - 1, channels)
        The convolution's last inputs.

    Members
    -------
    state, window : Tensor
        Those after the prefix.
    inputs : tuple of Tensor
        Of the P nodes: the convolution's inputs (P, channels), and the scan's a, u and b, P before G.
    """

    def __init__(self, state: Tensor, window: Tensor):
        groups, heads, features, size = state.shape
        self.state = state
        self.window = window
        shapes = ((groups, heads), (groups, heads, features), (groups, size))
        self.inputs = (window[:0], *(state.new_empty(0, *shape) for shape in shapes))

    def keep(self, path: list[int], rest: list[int]) -> None:
        """Replay the path's inputs into the state."""
        if path:
            raw, a, u, b = (rows[path] for rows in self.inputs)
            self.state = replay(a.transpose(0, 1), u.transpose(0, 1), b.transpose(0, 1), self.state)
            self.window = torch.cat([self.window, raw])[len(path) :]
        self.inputs = tuple(rows[rest] for rows in self.inputs)


class GroupedNorm(nn.Module):
    """A root-mean-square norm of each of some groups of features, as Mamba-2 has it: a group of heads on its own.

    Parameters
    ----------
    groups : int
        How many; a divisor of the width.
    eps : float
        Added to the mean square.
    width : int
        Features of a row.
    """

    def __init__(self, groups: int, eps: float, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self._groups, self._eps = groups, eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise rows, shape (..., width)."""
        parts = x.unflatten(-1, (self._groups, -1))
        return functional.rms_norm(parts, parts.shape[-1:], eps=self._eps).flatten(-2) * self.weight


class Ssm(Mixing):
    """Mamba-2's layer: projections, a short causal convolution, the scan, a gated norm.

    Parameters
    ----------
    width : int
        Width of a row.
    heads, features, size : int
        Heads, features D of a head, state features K.
    window : int
        Taps W of the convolution.
    groups : int
        Groups G of heads that share ``b`` and ``c``; a divisor of the heads.
    norm : callable
        From the width to the gated norm; by default a layer norm without bias.
    bias : bool
        Whether the projections in and out have a bias.
    least, most : float
        Bounds of the time steps.
    """

    def __init__(
        self, width: int, heads: int, features: int, size: int, window: int = 4, groups: int = 1,
        norm: Callable[[int], nn.Module] = LAYER_NORM, bias: bool = False, least: float = 0.0, most: float = math.inf,
    ):  # fmt: skip
        super().__init__()
        require(heads % groups == 0, "groups", f"a divisor of the {heads} heads", groups)
        inner, shared = heads * features, groups * size
        self.heads, self.features, self.size, self.window, self.groups = heads, features, size, window, groups
        self.bounds = least, most
        self.into = Linear(width, 2 * inner + 2 * shared + heads, bias)
        self.taps = nn.Parameter(torch.empty(window, inner + 2 * shared).uniform_(-(window**-0.5), window**-0.5))
        self.bias = nn.Parameter(torch.zeros(inner + 2 * shared))
        # Decay rates in [1, 16] and time steps in [0.001, 0.1], as in Mamba-2.
        self.log_rate = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        time_step = torch.empty(heads).uniform_(math.log(1e-3), math.log(1e-1)).exp()
        self.time_bias = nn.Parameter(time_step + (-torch.expm1(-time_step)).log())
        self.skip = nn.Parameter(torch.ones(heads))
        self.norm = norm(inner)
        self.out = Linear(inner, width, bias)

    def start(self) -> SsmMemory:
        """Return the zero state."""
        zeros = self.taps.new_zeros
        state = zeros(self.groups, self.heads // self.groups, self.features, self.size)
        return SsmMemory(state, zeros(self.window - 1, self.taps.shape[1]))

    def mix(self, rows: Tensor, packing: Packing | None, memory: Any) -> Tensor:
        """Scan new nodes along their paths, or whole sequences."""
        inner = self.heads * self.features
        gate, raw, time = rows.split([inner, self.taps.shape[1], self.heads], -1)
        time = functional.softplus(time + self.time_bias).clamp(*self.bounds)
        if packing is None:
            windows = functional.pad(raw, (0, 0, self.window - 1, 0)).unfold(-2, self.window, 1).transpose(-1, -2)
            value, a, u, b, c = self._scanned(windows, time)
            y = sequence_scan(*_by_group(a, u, b, c), self.start().state)
        else:
            held = torch.cat([memory.inputs[0], raw])
            windows = torch.cat([memory.window, held])[packing.windows(self.window)]
            value, *new, c = self._scanned(windows, time)
            a, u, b = (torch.cat(rows) for rows in zip(memory.inputs[1:], new, strict=True))
            memory.inputs = (held, a, u, b)
            y = tree_scan(*_by_group(a, u, b, c), memory.state, packing.ancestors)
        y = (y.movedim(-4, -3) + self.skip.unflatten(0, (self.groups, -1))[..., None] * value).flatten(-3)
        return self.norm(y * functional.silu(gate))

    def _scanned(self, windows: Tensor, time: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return (value, a, u, b, c), T before G, of windows (..., T, W, channels) and time steps (..., T, heads)."""
        mixed = functional.silu((windows * self.taps).sum(-2) + self.bias)
        shared = self.groups * self.size
        value, *both = mixed.split([self.heads * self.features, shared, shared], -1)
        value = value.unflatten(-1, (self.groups, -1, self.features))
        b, c = (rows.unflatten(-1, (self.groups, self.size)) for rows in both)
        a, time = ((rows.unflatten(-1, (self.groups, -1))) for rows in (-time * self.log_rate.exp(), time))
        return value, a, time[..., None] * value, b, c


def _by_group(a: Tensor, u: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the inputs of a scan with G before T."""
    return a.transpose(-2, -3), u.transpose(-3, -4), b.transpose(-2, -3), c.transpose(-2, -3)


def ssm(vocabulary: int, width: int, layers: int, heads: int, features: int, size: int, window: int = 4) -> Network:
    """Return a Mamba-2-style model of ``layers`` layers; see `Ssm` for the sizes."""
    return Network(vocabulary, width, [Ssm(width, heads, features, size, window) for _ in range(layers)])
