"""A trained target and its draft at one temperature, with what proposers are tuned by: measured on training text."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from pathlib import Path

import numpy as np

from rtnerf.base.errors import InputError, require
from specdec.decoding.decode import Step, decode, decode_plain
from specdec.decoding.ending import Ending
from specdec.decoding.statistics import acceptance_by_rank, acceptance_of_draws
from specdec.laws.chance import Chance, Likeliest, Sampler
from specdec.laws.distribution import ranked
from specdec.laws.filters import Filter, Filtered
from specdec.laws.language_model import AtTemperature, LanguageModel, Tokens
from specdec.models import hugging_face, pretrained
from specdec.models.cached import CachedModel
from specdec.models.hugging_face import Checkpoint
from specdec.models.medusa_heads import MedusaHeads
from specdec.proposers.medusa import Heads
from specdec.proposers.retrieval import SuffixArray
from specdec.proposers.static import StaticTree
from specdec.text import corpus
from specdec.trees.shape import Shape
from specdec.trees.tree import Source
from specdec.verifiers.base import Verifier
from specdec.verifiers.greedy import Greedy
from specdec.verifiers.multi_step import DeterministicCandidates, WithoutReplacement, WithReplacement

RANKS = 24
"""Children of the root in the trees that measure acceptance by rank."""

LONGEST_MATCH = 16
"""Tokens by which the datastore is ordered: the longest suffix that retrieval looks for."""

_GREEDY_DRAFT_TEMPERATURE = 0.4
"""Of the draft where the target has temperature 0: sharp enough that its laws tell how likely the target's choice is.

Of 1, 0.6, 0.4 and 0.25 this gave EAGLE-2's trees the most tokens per step.
"""

EVERYTHING = Filter()
"""Cuts nothing off."""

_LEAST_TEMPERATURE = 0.01
"""Below, single precision fails."""

_DATASTORE_CHARACTERS = 1_500_000
_LEAST_ACCEPTANCE = 1e-4
_DRAWS, _BOUNDS = 4, (0.03, 0.1, 0.3)
"""Draws of a node that are told apart, and bounds between their probabilities."""

_CALIBRATION_PROMPTS, _CALIBRATION_TOKENS = 12, 40
_PROMPT_CHARACTERS = 1000


class NoDraft(LanguageModel):
    """In place of a draft that was not given: proposers that draft are refused as they ask it."""

    def law(self, prefix: Tokens) -> np.ndarray:
        """Raise `InputError`."""
        raise InputError("draft must be given for this proposer, not missing")


@dataclass(frozen=True)
class Models:
    """The models of one decoding loop, with memories of their own.

    Members
    -------
    target : LanguageModel
        The target; for temperature 0 its law at temperature 1, whose likeliest token counts.
    draft : LanguageModel
        The draft.
    heads : Heads or None
        Medusa's heads on this very target, where the target has any.
    cached : CachedModel or None
        What remembers the target's passes, behind filters.
    """

    target: LanguageModel
    draft: LanguageModel
    heads: Heads | None
    cached: CachedModel | None = None

    def read(self, prefix: Tokens) -> None:
        """Let them read a prefix."""
        self.target.law(prefix)
        if not isinstance(self.draft, NoDraft):
            self.draft.law(prefix)

    def medusa(self) -> Heads:
        """Return the heads, or refuse a target that has none."""
        if self.heads is None:
            raise InputError("target must be one with Medusa heads, not one without")
        return self.heads

    def target_for(self, verifier: Verifier, temperature: float) -> LanguageModel:
        """Return the target as a verifier has to see it: at temperature 0 certain of its likeliest token.

        For greedy verification, which looks for that token only, making it certain would be wasted work.
        """
        return self.target if temperature or isinstance(verifier, Greedy) else AtTemperature(self.target, 0)


def _load(name: str | Path, directory: Path) -> Checkpoint:
    """Return a model by its name or its folder."""
    if hugging_face.is_checkpoint(Path(name)):
        return hugging_face.load(Path(name))
    named = str(name)
    folder = named not in pretrained.MODELS and Path(name).is_dir()
    require(not folder, "model", "a folder with config.json", f"{name} without")
    return Checkpoint(pretrained.load(named, directory), pretrained.tokenizer(named, directory))


class Pair:
    """A target and its draft, with one vocabulary.

    Parameters
    ----------
    target, draft : str or Path
        Names of `specdec.models.pretrained.MODELS`, or folders as `specdec.models.hugging_face` reads them. Without a
        draft, a named target has ``draft`` if on its tokens; others and a folder have none.
    temperature : float
        Of both, 0 or at least 0.01. At 0 the target takes its likeliest token; the draft keeps a temperature above 0,
        as its laws say where to spend the nodes.
    directory : Path
        The folder of the weights of named models.
    cut : Filter
        Of both laws, at temperatures above 0.
    repetition : float
        Penalty of both, see `CachedModel`.

    Members
    -------
    tokenizer : Tokenizer
        Of both.
    ends : frozenset of int
        Tokens that end an output.
    places : int or None
        Tokens of the target's longest context.

    Raises
    ------
    InputError
        If a name is unknown, the vocabularies differ or the temperature is out of range.

    Examples
    --------
    >>> from specdec import Pair
    >>> pair = Pair(temperature=0.5)
    >>> [len(prompt) > 50 for prompt in pair.prompts(2)]
    [True, True]
    """

    def __init__(
        self,
        target: str | Path = "target",
        draft: str | Path | None = None,
        temperature: float = 0,
        directory: Path = pretrained.DATA,
        cut: Filter = EVERYTHING,
        repetition: float = 1.0,
    ):
        usable = temperature == 0 or _LEAST_TEMPERATURE <= temperature < inf
        require(usable, "temperature", f"0 or at least {_LEAST_TEMPERATURE}", temperature)
        loaded = _load(target, directory)
        self.temperature, self._cut, self._repetition = temperature, cut, repetition
        self.tokenizer, self.ends, self.places = loaded.tokenizer, loaded.ends, loaded.places
        self._target, self._draft = loaded.network, None
        given = draft is not None
        if draft is None and not hugging_face.is_checkpoint(Path(target)):
            draft = "draft"
        if draft is not None:
            drafting = _load(draft, directory)
            rows = [len(one.network.embedding.weight) for one in (loaded, drafting)]
            same = loaded.tokenizer.pieces == drafting.tokenizer.pieces and rows[0] == rows[1]
            require(same or not given, "draft", f"one on the tokens of {target}", draft)
            self._draft = drafting.network if same else None
        self._acceptance: dict[Source, np.ndarray] = {}
        self._heads = pretrained.medusa_heads(directory) if target == "target" else None

    def models(self) -> Models:
        """Return the models with empty memories."""
        target = CachedModel(self._target, self.temperature or 1, self._repetition)
        heads = None if self._heads is None else MedusaHeads(target, self._heads)
        draft: LanguageModel = NoDraft()
        if self._draft is not None:
            temperature = self.temperature or _GREEDY_DRAFT_TEMPERATURE
            draft = self._filtered(CachedModel(self._draft, temperature, self._repetition))
        return Models(self._filtered(target), draft, heads, target)

    def _filtered(self, model: LanguageModel) -> LanguageModel:
        """Return a model behind the filter, if it does anything."""
        return Filtered(model, self._cut) if self.temperature and self._cut != EVERYTHING else model

    def chance(self, seed: int, *stream: int) -> Chance:
        """Return what decides at this temperature: at 0 nothing is left to chance, drafts draw their likeliest too."""
        return Sampler((seed, *stream)) if self.temperature else Likeliest()

    def ending(self, strings: Sequence[str] = ()) -> Ending:
        """Return where outputs end: at the target's own tokens and at these strings."""
        return Ending(self.ends, strings, self.tokenizer.decode)

    def prompts(self, count: int) -> list[Tokens]:
        """Return ``count`` stretches of held-out source, as tokens, spread evenly; refuse more than there are."""
        return self._stretches(corpus.held_out(), count)

    @cached_property
    def datastore(self) -> SuffixArray:
        """Training text, spread evenly over the files, in the order of suffixes."""
        texts = corpus.training()
        step = max(sum(map(len, texts)) // _DATASTORE_CHARACTERS, 1)
        tokens = [token for text in texts[::step] for token in self.tokenizer.encode(text)]
        return SuffixArray(tokens, LONGEST_MATCH)

    def acceptance(self, source: Source) -> np.ndarray:
        """Return the measured probability that a node's child of each rank is accepted, shape (RANKS,), falling.

        The children are obtained by ``source`` and verified by its lossless rule. Measured once.
        """
        if source not in self._acceptance:
            self._acceptance[source] = self._measured_acceptance(source)
        return self._acceptance[source]

    def trust(self, rank: int, probability: float) -> float:
        """Return how often a draw without replacement is accepted, by its place and the draft's probability."""
        table = self._draws_accepted
        return float(table[min(rank, len(table) - 1), np.searchsorted(_BOUNDS, probability)])

    @cached_property
    def _draws_accepted(self) -> np.ndarray:
        return acceptance_of_draws(self._calibration_steps(Source.WITHOUT_REPLACEMENT), _DRAWS, _BOUNDS)

    def _measured_acceptance(self, source: Source) -> np.ndarray:
        # Where it rises with rank, or is nothing, that is noise.
        rates = np.zeros(RANKS)
        for rank, rate in enumerate(acceptance_by_rank(self._calibration_steps(source))):
            rates[rank] = rate or 0
        return np.maximum(np.sort(rates)[::-1], _LEAST_ACCEPTANCE)

    def _calibration_steps(self, source: Source) -> list[Step]:
        """Decode training text with trees of one layer, whose children are obtained by ``source``."""
        models = self.models()
        proposer = StaticTree(models.draft, Shape.constant([RANKS]), source)
        verifier = {
            Source.WITHOUT_REPLACEMENT: WithoutReplacement(),
            Source.WITH_REPLACEMENT: WithReplacement(),
            Source.RANKED: DeterministicCandidates() if self.temperature else Greedy(),
        }[source]
        target, chance = models.target_for(verifier, self.temperature), self.chance(0)
        steps: list[Step] = []
        for prompt in self._calibration_prompts:
            steps += decode(target, proposer, verifier, prompt, _CALIBRATION_TOKENS, chance)[1]
        return steps

    @cached_property
    def head_acceptance(self) -> np.ndarray:
        """Measured probability that a Medusa head's token of each rank is the target's, shape (heads, RANKS)."""
        models, chance = self.models(), self.chance(0)
        heads, hits = models.medusa(), np.zeros((pretrained.HEADS, RANKS))
        tried = np.zeros((pretrained.HEADS, 1))
        for prompt in self._calibration_prompts:
            context, guesses = prompt, []
            for _ in range(_CALIBRATION_TOKENS):
                guesses.append([ranked(law, RANKS) for law in heads.laws(context)])
                context += decode_plain(models.target, context, 1, chance)
            for place, guess in enumerate(guesses, len(prompt)):
                for head, (tokens, token) in enumerate(zip(guess, context[place:], strict=False)):
                    hits[head, : len(tokens)] += tokens == token
                    tried[head] += 1
        return np.maximum(-np.sort(-hits / tried, axis=1), _LEAST_ACCEPTANCE)

    @cached_property
    def _calibration_prompts(self) -> list[Tokens]:
        return self._stretches(corpus.training(), _CALIBRATION_PROMPTS)

    def _stretches(self, texts: list[str], count: int) -> list[Tokens]:
        """Cut texts into stretches, each from the beginning of a line on, and encode an even choice of them."""
        stretches = []
        for text in texts:
            for start in range(0, len(text) - 2 * _PROMPT_CHARACTERS, 2 * _PROMPT_CHARACTERS):
                line = text.rfind("\n", 0, start) + 1
                stretches.append(text[line : line + _PROMPT_CHARACTERS])
        require(0 < count <= len(stretches), "prompts", f"from 1 to {len(stretches)}, the stretches there are", count)
        return [self.tokenizer.encode(stretches[place * len(stretches) // count]) for place in range(count)]
