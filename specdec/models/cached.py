"""A network as a language model that never computes a token twice.

It remembers the committed prefix and the trie of the nodes computed since. A call moves the prefix forward over what
the context has accepted and runs one pass on the nodes it has not seen: so a target verifies a tree in one pass, and
a draft that grows a tree layer by layer pays for each layer once.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rtnerf.base.errors import require
from specdec.laws.language_model import LanguageModel, Tokens
from specdec.models.few_rows import product
from specdec.models.network import Network
from specdec.models.packing import Packing

CHUNK = 128


class CachedModel(LanguageModel):
    """The laws of a network.

    Contexts that extend one another, as a decoding loop's do, cost one pass on the new tokens; any other context starts
    afresh. Long contexts are read in passes of ``CHUNK`` tokens.

    Parameters
    ----------
    network : Network
        The network, which must not change while this lives; several models may share one.
    temperature : float
        By which the logits are divided, above 0; zero is left to the choice of the likeliest token.
    repetition : float
        By which logits of tokens that the prefix has are divided if positive, else multiplied; from 0.01 to 100.
        Source: CTRL (Keskar et al. 2019, arXiv 1909.05858).

    Members
    -------
    passes, rows : int
        Passes of the network so far, and tokens that they computed.
    """

    def __init__(self, network: Network, temperature: float = 1.0, repetition: float = 1.0):
        require(temperature > 0, "temperature", "above 0", temperature)
        require(0.01 <= repetition <= 100, "repetition penalty", "from 0.01 to 100", repetition)
        self._repetition = repetition
        self._network = network
        # A copy, in the layout of `Linear`.
        self._unembedding = network.unembedding.detach().T.contiguous() / temperature
        self.passes = self.rows = 0
        self._forget()

    def law(self, prefix: Tokens) -> np.ndarray:
        """Return the law after a prefix of at least one token, shape (V,)."""
        return self.laws(prefix, [()])[0]

    @torch.no_grad()
    def laws(self, context: Tokens, paths: Sequence[Tokens]) -> np.ndarray:
        """Return the laws after ``context + path``, float64 of shape (paths, V).

        Raises
        ------
        InputError
            If the context is empty.
        """
        hidden = self._last_hidden(context, paths)
        if self._repetition == 1:
            return self.output(hidden)
        logits = product(hidden, self._unembedding)
        for row, path in zip(logits, paths, strict=True):
            seen = list({*context, *path})
            row[seen] = torch.where(row[seen] > 0, row[seen] / self._repetition, row[seen] * self._repetition)
        return logits.softmax(-1).double().numpy()

    @torch.no_grad()
    def hidden(self, context: Tokens) -> Tensor:
        """Return the last hidden state at the context's last token, shape (width,). Raises as `laws`."""
        return self._last_hidden(context, [()])[0]

    @torch.no_grad()
    def output(self, hidden: Tensor) -> np.ndarray:
        """Return the laws that last hidden states tell, float64 of shape (..., V)."""
        return product(hidden, self._unembedding).softmax(-1).double().numpy()

    def _forget(self) -> None:
        self._prefix: Tokens = ()
        self._memories = self._network.start()
        # Of every node of the trie: its place by its path from the prefix, its parent's place, its hidden state.
        self._place: dict[Tokens, int] = {(): -1}
        self._parent: list[int] = []
        self._hidden = self._network.embedding.weight.new_empty(0, self._network.embedding.embedding_dim)

    def _last_hidden(self, context: Tokens, paths: Sequence[Tokens]) -> Tensor:
        """Return the hidden states at the ends of ``context + path``, shape (paths, width)."""
        read_together([self], [(context, paths)])
        ahead = context[len(self._prefix) :]
        return self._hidden[[self._place[ahead + path] for path in paths]]

    def _reach(self, context: Tokens, paths: Sequence[Tokens]) -> list[Tokens]:
        """Move the prefix forward, reading what is long; return what lies ahead of it with each path."""
        require(len(context) > 0, "context", "at least one token", "empty")
        vocabulary = len(self._network.embedding.weight)
        for token in context[len(self._prefix) :]:
            require(0 <= token < vocabulary, "token", f"from 0 to {vocabulary - 1}", token)
        if len(context) <= len(self._prefix) or context[: len(self._prefix)] != self._prefix:
            self._forget()
        self._commit(context)
        while len(ahead := context[len(self._prefix) :]) > CHUNK:
            _read([(self, self._lacking([ahead[:CHUNK]]))])
            self._commit(context)
        return [ahead + path for path in paths]

    def _commit(self, context: Tokens) -> None:
        """Commit what the trie holds of the context before its last token; of the trie keep what lies ahead."""
        ahead = context[len(self._prefix) :]
        path: list[int] = []
        while len(path) < len(ahead) - 1 and ahead[: len(path) + 1] in self._place:
            path.append(self._place[ahead[: len(path) + 1]])
        rest = {end[len(path) :]: place for end, place in self._place.items() if end[: len(ahead)] == ahead}
        if len(rest) == len(self._parent):
            return
        kept = list(rest.values())
        for memory in self._memories:
            memory.keep(path, kept)
        self._prefix += ahead[: len(path)]
        renumbered = {place: index for index, place in enumerate(kept)}
        self._parent = [renumbered.get(self._parent[place], -1) for place in kept]
        self._place = {(): -1} | {end: renumbered[place] for end, place in rest.items()}
        self._hidden = self._hidden[kept]

    def _lacking(self, ends: Sequence[Tokens]) -> list[int]:
        """Add the nodes of these paths that the trie lacks, and return their tokens."""
        tokens = []
        for end in ends:
            known = len(end)
            while end[:known] not in self._place:
                known -= 1
            for length in range(known, len(end)):
                self._place[end[: length + 1]] = len(self._parent)
                self._parent.append(self._place[end[:length]])
                tokens.append(end[length])
        return tokens


@torch.no_grad()
def read_together(models: Sequence[CachedModel], asked: Sequence[tuple[Tokens, Sequence[Tokens]]]) -> None:
    """Read in one pass what models of one network lack to tell the laws asked for: a context and paths of each.

    After it `CachedModel.laws` of these takes no pass. Long contexts are read before, each by itself. Raises as `laws`.
    """
    try:
        lacking = []
        for model, (context, paths) in zip(models, asked, strict=True):
            lacking.append((model, model._lacking(model._reach(context, paths))))
        _read([(model, tokens) for model, tokens in lacking if tokens])
    except BaseException:
        # A pass cut short has written to some of the memories only.
        for model in models:
            model._forget()
        raise


def _read(lacking: Sequence[tuple[CachedModel, list[int]]]) -> None:
    """Run the network of some models once on the tokens that they lack, the last of their tries."""
    if not lacking:
        return
    tokens = torch.tensor([token for _, new in lacking for token in new])
    packings: Any = [Packing(model._parent, len(new), len(model._prefix)) for model, new in lacking]
    memories: Any = [list(layer) for layer in zip(*(model._memories for model, _ in lacking), strict=True)]
    if len(lacking) == 1:
        (packings,), memories = packings, lacking[0][0]._memories
    hidden = lacking[0][0]._network(tokens, packings, memories)
    for (model, new), part in zip(lacking, hidden.split([len(new) for _, new in lacking]), strict=True):
        model._hidden = torch.cat([model._hidden, part])
        model.passes += 1
        model.rows += len(new)
