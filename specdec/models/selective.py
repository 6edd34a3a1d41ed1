"""Mamba's layer, whose decay differs by channel and state: every node of a tree holds a state of its own."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from specdec.models.network import Linear, Memory, Mixing
from specdec.models.packing import Packing


class StateMemory(Memory):
    """The state and the convolution's last inputs after the prefix, and those of the nodes since.

    Parameters
    ----------
    channels, size, window : int
        Channels C, states K of each, and taps W of the convolution.
    like : Tensor
        Kind of the numbers.

    Members
    -------
    state, window : Tensor of shape (C, K) and (W - 1, C)
        After the prefix.
    states, inputs : Tensor of shape (P, C, K) and (P, C)
        After every node, and the convolution's input at it.
    """

    def __init__(self, channels: int, size: int, window: int, like: Tensor):
        self.state, self.window = like.new_zeros(channels, size), like.new_zeros(window - 1, channels)
        self.states, self.inputs = like.new_zeros(0, channels, size), like.new_zeros(0, channels)

    def keep(self, path: list[int], rest: list[int]) -> None:
        """Take the state of the path's end."""
        if path:
            self.state = self.states[path[-1]]
            self.window = torch.cat([self.window, self.inputs[path]])[len(path) :]
        self.states, self.inputs = self.states[rest], self.inputs[rest]


class SelectiveScan(Mixing):
    """Mamba's layer: projections, a short causal convolution, the selective scan, a gate.

    Source: Gu and Dao 2023 (arXiv 2312.00752).

    Parameters
    ----------
    width, channels, size, rank, window : int
        Width of a row, channels C, states K of a channel, rank of the time steps, taps W of the convolution.
    bias, window_bias : bool
        Whether the projections in and out have a bias, and the convolution.
    """

    def __init__(
        self, width: int, channels: int, size: int, rank: int, window: int, bias: bool = False, window_bias: bool = True
    ):
        super().__init__()
        self.sizes = (rank, size, size)
        self.into = Linear(width, 2 * channels, bias)
        self.taps = nn.Parameter(torch.zeros(window, channels))
        self.taps_bias = nn.Parameter(torch.zeros(channels)) if window_bias else None
        self.select = Linear(channels, rank + 2 * size)
        self.time = Linear(rank, channels, bias=True)
        self.log_rate = nn.Parameter(torch.zeros(channels, size))
        self.skip = nn.Parameter(torch.ones(channels))
        self.out = Linear(channels, width, bias)

    def start(self) -> StateMemory:
        """Return the zero state."""
        channels, size = self.log_rate.shape
        return StateMemory(channels, size, len(self.taps), self.taps)

    def mix(self, rows: Tensor, packing: Packing | None, memory: Any) -> Tensor:
        """Scan new nodes along their paths, or a whole sequence."""
        new = len(rows)
        if packing is None:
            packing, memory = Packing(range(-1, new - 1), new, 0), self.start()
        raw, gate = rows.chunk(2, -1)
        memory.inputs = torch.cat([memory.inputs, raw])
        windows = torch.cat([memory.window, memory.inputs])[packing.windows(len(self.taps))]
        mixed = (windows * self.taps).sum(-2)
        value = functional.silu(mixed if self.taps_bias is None else mixed + self.taps_bias)
        time, writes, reads = self.select(value).split(self.sizes, -1)
        time = functional.softplus(self.time(time))[..., None]
        decay, added = (-time * self.log_rate.exp()).exp(), time * writes[:, None] * value[..., None]
        states = list(memory.states)
        for node, parent in enumerate(packing.parent[-new:].tolist()):
            states.append(decay[node] * (states[parent] if parent >= 0 else memory.state) + added[node])
        memory.states = torch.stack(states)
        y = (memory.states[-new:] * reads[:, None]).sum(-1) + self.skip * value
        return y * functional.silu(gate)
