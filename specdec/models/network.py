"""A language model as a stack of residual layers, each with its own memory of the tokens before."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from specdec.models.few_rows import product
from specdec.models.packing import Packing


class Memory:
    """What a layer holds of the committed prefix and of the nodes computed since. This one holds nothing."""

    def keep(self, path: list[int], rest: list[int]) -> None:
        """Commit the nodes of ``path``, in order; of the others hold ``rest``, renumbered from 0, and drop the rest."""


class Layer(nn.Module):
    """A map of the nodes of a pass, shape (N, width), that may look back along their paths."""

    def start(self) -> Memory:
        """Return the memory of the empty prefix."""
        return Memory()

    def forward(self, x: Tensor, packing: Packing | None, memory: Any) -> Tensor:
        """Map new nodes, shape (N, width), and hold them in the memory.

        Without packing and memory the rows, shape (..., T, width), are whole sequences: the form to train on.
        """
        raise NotImplementedError


class Linear(nn.Module):
    """The product ``x W + bias``. Of W's layouts, this one lets a CPU map a few rows in little more time than one row.

    Parameters
    ----------
    inputs, outputs : int
        Shape of W.
    bias : bool
        Whether there is a bias.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs).uniform_(-(inputs**-0.5), inputs**-0.5))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Map rows, shape (..., inputs)."""
        mapped = product(x, self.weight)
        return mapped if self.bias is None else mapped + self.bias


class Mixing(Layer):
    """A layer whose rows look back: a product into it, the mixing, and a product out.

    Requests side by side share the products; each mixes its own rows by its own memory.
    """

    into: Linear
    out: Linear

    def mix(self, rows: Tensor, packing: Packing | None, memory: Any) -> Tensor:
        """Let rows that were mapped look back, and return what is to be mapped out."""
        raise NotImplementedError

    def forward(self, x: Tensor, packing: Any, memory: Any) -> Tensor:
        """Map new nodes; of several requests, one after the other, where packings and memories are lists."""
        rows = self.into(x)
        if not isinstance(packing, list):
            return self.out(self.mix(rows, packing, memory))
        parts = zip(rows.split([one.new for one in packing]), packing, memory, strict=True)
        return self.out(torch.cat([self.mix(*part) for part in parts]))


class SwiGlu(Layer):
    """The gated feed-forward layer ``W3(SiLU(W1 x) * W2 x)``. Source: Shazeer 2020 (arXiv 2002.05202)."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.into = Linear(width, 2 * hidden)
        self.out = Linear(hidden, width)

    def forward(self, x: Tensor, packing: Packing | None, memory: Memory | None) -> Tensor:
        """Map every row by itself."""
        gate, value = self.into(x).chunk(2, -1)
        return self.out(functional.silu(gate) * value)


LAYER_NORM = partial(nn.LayerNorm, bias=False)
"""Without bias (Ba et al. 2016, arXiv 1607.06450)."""


class Network(nn.Module):
    """Embedding, ``x + layer(norm(x))`` for every layer, a last norm, and logits.

    Parameters
    ----------
    vocabulary : int
        Tokens, V.
    width : int
        Width of a row.
    layers : sequence of Layer
        From the first to the last.
    norm : callable
        From the width to a norm; by default a layer norm without bias.
    tied : bool
        Whether logits are by the embedding again.
    places : int
        Places whose learnt embedding is added, beyond the last of which nothing is asked; 0 for none.
    """

    def __init__(
        self,
        vocabulary: int,
        width: int,
        layers: Sequence[Layer],
        norm: Callable[[int], nn.Module] = LAYER_NORM,
        tied: bool = True,
        places: int = 0,
    ):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.places = nn.Embedding(places, width) if places else None
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(norm(width) for _ in layers)
        self.norm = norm(width)
        self.head = None if tied else nn.Parameter(torch.zeros(vocabulary, width))

    @property
    def unembedding(self) -> Tensor:
        """What makes logits of last hidden states, shape (V, width)."""
        return self.embedding.weight if self.head is None else self.head

    def start(self) -> list[Any]:
        """Return the memories of the empty prefix, one a layer."""
        layers: Any = self.layers
        return [layer.start() for layer in layers]

    def forward(
        self, tokens: Tensor, packing: Packing | list[Packing] | None = None, memories: list[Any] | None = None
    ) -> Tensor:
        """Return the last hidden state of every token.

        Parameters
        ----------
        tokens : Tensor of int
            The new nodes' tokens, shape (N,), or without packing whole sequences, shape (..., T).
        packing : Packing or list of Packing, optional
            How the new nodes lie in the tree; of several requests, in a list, one after the other.
        memories : list of Memory, optional
            From `start`; the new nodes are added to them. Of several requests a list of each layer's.

        Returns
        -------
        Tensor of shape (..., width)
            Normalised, ready for `logits`.
        """
        x = self.embedding(tokens)
        if self.places is not None:
            if packing is None:
                positions = torch.arange(tokens.shape[-1])
            else:
                together = packing if isinstance(packing, list) else [packing]
                positions = torch.cat([one.positions for one in together])
            # A tree may reach beyond the last place, its output never does.
            x = x + self.places(positions.clamp(max=self.places.num_embeddings - 1))
        for index, (norm, layer) in enumerate(zip(self.norms, self.layers, strict=True)):
            x = x + layer(norm(x), packing, memories[index] if memories else None)
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the next token's logits, shape (..., V), from last hidden states."""
        return torch.matmul(hidden, self.unembedding.T)
