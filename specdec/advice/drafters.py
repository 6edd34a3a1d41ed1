"""Methods of drafting, and what a step of each costs: a model's passes, and the host's time round them.

| method | drafts with | passes of a step | source |
| --- | --- | --- | --- |
| model | a separate model | one a level | arXiv 2211.17192 |
| eagle | a layer on the target's features and embeddings, all rows of the output layer | one a level | 2401.15077 |
| eagle2 | the same, trees by confidence | one a level | 2406.16858 |
| eagle3 | the same on features of three layers, 32000 rows | one a level | 2503.01840 |
| mtp | the target's last layer once more, all rows | one a level | 2412.19437 |
| hydra | a small head a level on the path so far | one a level | 2402.05109 |
| medusa | a head a level, all at once | one | 2401.10774 |
| parallel | EAGLE-3's layer, all levels at once (P-EAGLE, DFlash) | one | |
| ngram, retrieval | text that is there already | none | |
"""

from dataclasses import dataclass, replace
from pathlib import Path

from rtnerf.base.errors import require
from specdec.cost.architecture import Architecture
from specdec.cost.blocks import Attention, Block, Experts, FeedForward
from specdec.cost.models import model_of

PASS_HOST_MS = 0.8
"""Of a draft's pass outside the machine: 1.21 ms a step (SpecDecode-Bench, EAGLE-3 of Llama-3.1-8B on H100, vLLM) less
0.4 ms of the roofline."""

SMALL_VOCABULARY = 32000
"""Rows that EAGLE-3's published heads keep of larger vocabularies."""

EACH, ONE, NONE = "each", "one", "none"


@dataclass(frozen=True)
class Drafter:
    """A way of drafting.

    Members
    -------
    name : str
    passes : str
        One for ``each`` level, ``one`` for all, ``none``.
    branches : bool
        Whether it makes trees.
    model : Architecture or None
        What one pass runs on; None without passes.
    by_level : bool
        Whether the pass runs on the model once for every level, all together.
    own_formats : bool
        Whether it is kept in the target's formats.
    """

    name: str
    passes: str
    branches: bool
    model: Architecture | None = None
    by_level: bool = False
    own_formats: bool = False

    def count(self, levels: int) -> int:
        """Return the sequential passes for so many levels below the root."""
        return {EACH: levels, ONE: min(levels, 1), NONE: 0}[self.passes]

    def run(self, levels: int) -> Architecture | None:
        """Return what one pass of drafting so many levels runs on."""
        if self.model is None or not self.by_level:
            return self.model
        blocks = tuple((block, count * max(levels, 1)) for block, count in self.model.blocks)
        return replace(self.model, blocks=blocks, vocabulary=self.model.vocabulary * max(levels, 1))


METHODS = ("model", "eagle", "eagle2", "eagle3", "mtp", "medusa", "hydra", "parallel", "ngram", "retrieval")

DRAFTLESS = ("ngram", "retrieval")
"""Those without passes."""


def way(name: str) -> Drafter:
    """Return a method of `METHODS` without its model; raise `InputError` if there is none of that name."""
    require(name in METHODS, "method", f"one of {', '.join(METHODS)}", name)
    passes = NONE if name in DRAFTLESS else ONE if name in ("medusa", "parallel") else EACH
    return Drafter(name, passes, name not in ("mtp", "parallel", "ngram"))


def drafter(name: str, target: Architecture, draft: str | Path | None = None, vocabulary: int | None = None) -> Drafter:
    """Return a method of `METHODS` for a target.

    Parameters
    ----------
    name : str
        The method.
    target : Architecture
        The target; heads are of its sizes.
    draft : str or path, optional
        The model that drafts, instead of the head derived from the target; ``model`` needs it.
    vocabulary : int, optional
        Rows of the draft's output layer, at most the target's.

    Raises
    ------
    InputError
        If there is no such method, a model is missing or not used, or the rows are too many.
    """
    bare = way(name)
    require(name != "model" or draft is not None, "draft", "given for method model", "missing")
    if name in DRAFTLESS:
        require(draft is None, "draft", f"left out with method {name}", draft)
        return bare
    model = model_of(draft) if draft is not None else _head(name, target)
    if vocabulary is not None:
        require(vocabulary <= target.vocabulary, "draft-vocabulary", f"at most {target.vocabulary}", vocabulary)
        model = replace(model, vocabulary=vocabulary, tied=True)
    return replace(bare, model=model, by_level=name == "medusa", own_formats=name == "mtp")


def _head(name: str, target: Architecture) -> Architecture:
    width, rows = target.width, target.vocabulary
    if name == "medusa":
        return Architecture(((FeedForward(width, width, 1), 1),), width, rows, tied=True)
    if name == "hydra":
        return Architecture(((FeedForward(width, width, 4), 1),), width, rows, tied=True)
    mixing = [block for block, _ in target.blocks if block.mixes and block.cached] or [
        Attention(width, max(width // 128, 1), max(width // 1024, 1), 128)
    ]
    feed = [block for block, _ in target.blocks if not block.mixes] or [FeedForward(width, 4 * width)]
    if name == "mtp":
        blocks: list[Block] = [mixing[-1], feed[-1], FeedForward(width, width, 2)]
        return Architecture(tuple((block, 1) for block in blocks), width, rows, tied=True, stored=target.stored)
    # A dense feed-forward as wide as what one token goes through.
    fused = FeedForward(width, width, 2 if name in ("eagle", "eagle2") else 5)
    blocks = [mixing[-1], _dense(feed[-1]), fused]
    rows = rows if name in ("eagle", "eagle2") else min(rows, SMALL_VOCABULARY)
    return Architecture(tuple((block, 1) for block in blocks), width, rows, tied=True)


def _dense(block: Block) -> Block:
    if isinstance(block, Experts):
        return FeedForward(block.width, block.chosen * block.hidden + block.shared, block.count)
    return block
