"""Medusa's heads: the target's last hidden state, once more transformed, tells the tokens further ahead."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from specdec.language_model import Tokens
from specdec.models.cached import CachedModel
from specdec.models.network import Network
from specdec.proposers.medusa import Heads


class ResidualHeads(nn.Module):
    """Heads ``W2(SiLU(W1 h) + h)``, which begin as copies of the target's own: ``W1 = 0``, ``W2`` the embedding.

    At a token's hidden state, where the target tells the next token, head ``k = 1, 2, ...`` tells the one ``k`` places
    after that. Source: Medusa (arXiv 2401.10774).

    Parameters
    ----------
    network : Network
        The target.
    heads : int
        How many.
    """

    def __init__(self, network: Network, heads: int):
        super().__init__()
        embedding = network.embedding.weight.detach()
        width = embedding.shape[1]
        self.mix = nn.Parameter(embedding.new_zeros(heads, width, width))
        self.bias = nn.Parameter(embedding.new_zeros(heads, width))
        self.out = nn.Parameter(embedding.repeat(heads, 1, 1))

    def forward(self, hidden: Tensor) -> Tensor:
        """Return logits, shape (..., heads, V), from the target's last hidden states, shape (..., width)."""
        mixed = torch.einsum("...i,koi->...ko", hidden, self.mix) + self.bias
        return torch.einsum("...ki,kvi->...kv", functional.silu(mixed) + hidden[..., None, :], self.out)


class MedusaHeads(Heads):
    """The heads' laws on the hidden state that the target has left behind: no pass of the target.

    The context's last token came from the target and has not been through it; the state is the one before.

    Parameters
    ----------
    target : CachedModel
        The very model that verifies, so that its memory is shared.
    heads : ResidualHeads
        The heads.
    """

    def __init__(self, target: CachedModel, heads: ResidualHeads):
        self._target = target
        self._heads = heads

    @torch.no_grad()
    def laws(self, context: Tokens) -> np.ndarray:
        """Return the laws, float64 of shape (heads, V); of shape (0, V) while there is no token before the last."""
        if len(context) < 2:
            return np.empty((0, self._heads.out.shape[1]))
        return self._heads(self._target.hidden(context[:-1])).double().softmax(-1).numpy()
