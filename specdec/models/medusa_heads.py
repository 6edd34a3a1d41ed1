"""Medusa's heads: the target's last hidden state, once more transformed, tells the tokens further ahead."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from specdec.laws.language_model import Tokens
from specdec.models.cached import CachedModel
from specdec.proposers.medusa import Heads


class ResidualHeads(nn.Module):
    """Blocks ``SiLU(W h + bias) + h`` under the target's own output layer; they begin as ``h``, with W zero.

    From a token's last hidden state, where the target tells the next token, block ``k = 1, 2, ...`` makes that which
    tells the one ``k`` places after that. Source: Medusa (arXiv 2401.10774), where each head has an output layer of its
    own besides; here it is the target's, so that a head is small and trains quickly.

    Parameters
    ----------
    width : int
        Width of the target.
    heads : int
        How many.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.mix = nn.Parameter(torch.zeros(heads, width, width))
        self.bias = nn.Parameter(torch.zeros(heads, width))

    def forward(self, hidden: Tensor, heads: int | None = None) -> Tensor:
        """Return hidden states for `Network.logits`, shape (..., heads, width), from the target's (..., width).

        Of the first ``heads`` only, where that is given.
        """
        mixed = torch.einsum("...i,kio->...ko", hidden, self.mix[:heads]) + self.bias[:heads]
        return functional.silu(mixed) + hidden[..., None, :]


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
    def laws(self, context: Tokens, heads: int | None = None) -> np.ndarray:
        """Return the laws, float64 of shape (heads, V); of shape (0, V) while there is no token before the last."""
        hidden = self._target.hidden(context[:-1]) if len(context) > 1 else None
        return self._target.output(self._heads.bias[:0] if hidden is None else self._heads(hidden, heads))
