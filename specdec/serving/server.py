"""The server: how long its steps take and what it can hold."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from rtnerf.base.errors import require
from specdec.cost.pass_time import Linear, PassTime
from specdec.cost.step import Speculation
from specdec.serving.ladder import Ladder
from specdec.trees.shape import Shape

CONTEXTS = 9
"""Lengths of context at which a step's time is worked out; between them it is interpolated."""

MOST = {"max_batch": 4096, "max_length": 131072, "prefill_tokens": 131072}
"""Of what a step's time is worked out for one by one."""

MOST_READERS = 4096
"""Machines that read prompts."""

LARGEST = 1 << 40
"""Of other numbers."""


def cached(prompt: np.ndarray, prefix: int, block: int) -> np.ndarray:
    """Return the tokens of prompts that are found in the cache: whole blocks of a prefix, and never the last token."""
    return np.minimum(prefix, prompt - 1) // block * block


PassesAt = Callable[[int], PassTime]
"""From the cached tokens of a request to the passes on such requests."""


@dataclass(frozen=True)
class Server:
    """A target, a draft, and the memory for keys and values.

    A step is either a prefill, of as many waiting requests as fit, or a decoding step of all running requests, as in
    vLLM's first scheduler (Kwon et al., arXiv 2309.06180); or both at once, see ``chunked`` (Agrawal et al., arXiv
    2403.02310).

    Members
    -------
    target, draft : callable
        From the context of a request to a `PassTime`.
    draft_passes : int or None
        As for `Speculation`.
    host_ms : float
        Of every step, apart from the passes.
    tax_ms, tax_request_ms : float
        Of every decoding step of a server that can speculate, whether it does or not, and of each request in it.
    max_batch : int
        Requests that run at a time.
    max_length : int
        Tokens of the longest request, prompt and output.
    cache_tokens : int
        Tokens whose keys and values fit in memory, a multiple of ``block``.
    block : int
        Tokens that are allocated together.
    prefill_tokens : int
        At most so many in one prefill, unless a single prompt is longer; with ``chunked`` in a step at most, those that
        are decoded included.
    prefix : int
        Tokens with which all prompts begin. The whole blocks among them are in the cache, once for all.
    chunked : bool
        Whether prompts are read in decoding steps, in parts that fill up ``prefill_tokens``.
    readers : int
        Machines that only read prompts, one at a time each, first come first served; what the decoding machine has to
        compute again it reads itself. 0 where it reads all (disaggregated prefill: DistServe, arXiv 2401.09670).
    transfer_us : float
        From such a machine to the decoding one, of each token's keys and values.
    overlap : bool
        Whether the host's times pass while the machine works: a step takes the longer of the two.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    target: PassesAt
    draft: PassesAt
    draft_passes: int | None = None
    host_ms: float = 0.0
    tax_ms: float = 0.0
    tax_request_ms: float = 0.0
    max_batch: int = 256
    max_length: int = 2048
    cache_tokens: int = 65536
    block: int = 16
    prefill_tokens: int = 2048
    prefix: int = 0
    chunked: bool = False
    readers: int = 0
    transfer_us: float = 0.0
    overlap: bool = False

    def __post_init__(self) -> None:
        for name in ("max_batch", "max_length", "cache_tokens", "block", "prefill_tokens"):
            most = MOST.get(name, LARGEST)
            require(1 <= getattr(self, name) <= most, name.replace("_", "-"), f"from 1 to {most}", getattr(self, name))
        require(self.cache_tokens % self.block == 0, "cache-tokens", f"a multiple of {self.block}", self.cache_tokens)
        require(0 <= self.prefix <= self.max_length, "prefix", f"from 0 to {self.max_length}", self.prefix)
        room = self.blocks - self.shared
        require(room > 0, "prefix", f"below the {self.cache_tokens} tokens of the cache", self.prefix)
        require(0 <= self.readers <= MOST_READERS, "prefill-machines", f"from 0 to {MOST_READERS}", self.readers)
        require(not (self.chunked and self.readers), "chunked", "absent with prefill-machines", self.chunked)
        for name in ("host_ms", "tax_ms", "tax_request_ms", "transfer_us"):
            require(getattr(self, name) >= 0, name.replace("_", "-"), "at least 0", getattr(self, name))

    @property
    def blocks(self) -> int:
        """Blocks of the cache."""
        return self.cache_tokens // self.block

    @property
    def shared(self) -> int:
        """Blocks of it that hold what all prompts begin with."""
        return self.prefix // self.block

    def speculation(self, shape: Shape, context: int) -> Speculation:
        """Return the cost of a decoding step that verifies a tree a request."""
        passes = 0 if len(shape) == 1 else self.draft_passes
        host_ms = 0.0 if self.overlap else self.host_ms
        return Speculation(shape, self.target(context), self.draft(context), passes, host_ms)

    def decoding_ms(self, ladder: Ladder) -> np.ndarray:
        """Return the time of decoding steps: shape (rungs, ``max_batch`` + 1, `CONTEXTS`), contexts 0 to the longest.

        A batch of 0 takes no time.
        """
        times = np.zeros((len(ladder.shapes), self.max_batch + 1, CONTEXTS))
        contexts = np.linspace(0, self.max_length, CONTEXTS).astype(int)
        for (rung, shape), (place, context) in product(enumerate(ladder.shapes), enumerate(contexts.tolist())):
            speculation = self.speculation(shape, context)
            times[rung, 1:, place] = [speculation.step(batch).ms for batch in range(1, self.max_batch + 1)]
        taxed = self.tax_ms + self.tax_request_ms * np.arange(1, self.max_batch + 1)[:, None]
        tax = taxed if ladder.nodes.max() > 1 else np.zeros_like(taxed)
        times[:, 1:] = np.maximum(times[:, 1:], self.host_ms + tax) if self.overlap else times[:, 1:] + tax
        return times

    def prefill_ms(self, ladder: Ladder) -> np.ndarray:
        """Return the time of a prefill by its tokens, as if of one prompt; the draft's too if there is speculation.

        Where prompts are read in decoding steps it reaches farther: by as many tokens as are decoded at most.
        """
        most = int(ladder.nodes.max())
        models = [self.target(0), self.draft(0)][: 1 if most == 1 else 2]
        longest = max(self.prefill_tokens, self.max_length)
        if self.chunked:
            longest = max(longest, self.prefill_tokens + self.max_batch * most)
        passes = np.array([sum(model.ms(1, tokens) for model in models) for tokens in range(1, longest + 1)])
        times = np.maximum(passes, self.host_ms) if self.overlap else passes + self.host_ms
        return np.array([0.0, *times])

    def regressed(self, ladder: Ladder) -> "Server":
        """Return the server as SmartSpec's regressions on a profile of the ladder's passes see it."""
        batches = sorted({*range(1, min(8, self.max_batch)), *np.geomspace(1, self.max_batch, 24).astype(int).tolist()})
        contexts = np.linspace(0, self.max_length, 5).astype(int).tolist()
        widths = {width for shape in ladder.shapes for width in self.speculation(shape, 0).draft_widths}
        return replace(
            self,
            target=_fit(self.target, batches, sorted(set(ladder.nodes.tolist())), contexts),
            draft=_fit(self.draft, batches, sorted(widths), contexts) if widths else self.draft,
        )


def _fit(passes: PassesAt, batches: list[int], tokens: list[int], contexts: list[int]) -> PassesAt:
    """Return the linear fit to all combinations."""
    profile = list(product(batches, tokens, contexts))
    times = [passes(context).ms(batch, count) for batch, count, context in profile]
    return Linear.fit(profile, times).at if min(times) > 0 else passes
