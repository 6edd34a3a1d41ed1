"""Decode held-out source plainly and by speculation, side by side, and tell what speculation gains and costs.

Both decode the same prompts in turn, so that whatever else the machine does meets both. Reading the prompt is not
timed: it is the same work for both.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from math import inf
from typing import Any, TypeVar

import numpy as np

from rtnerf.base.errors import require
from specdec.decoding import methods
from specdec.decoding.decode import Decoding, Step, decode, decode_plain_together, decode_together
from specdec.decoding.ending import Ending
from specdec.decoding.goodness_of_fit import SHARE, LawTest, Remembered, RememberedHeads, law_test
from specdec.decoding.pair import Models, Pair
from specdec.decoding.statistics import acceptance_by_depth, acceptance_by_rank, tokens_per_step
from specdec.decoding.timing import Clocks, TimedHeads, TimedModel, TimedProposer, TimedVerifier
from specdec.laws.language_model import LanguageModel, Tokens
from specdec.models.cached import read_together
from specdec.proposers.base import Proposer
from specdec.verifiers.base import Verifier

TIE = 1e-5
"""Logits that are closer than this are a tie: passes of different sizes round differently by about as much."""

LAW_CONTEXTS, LAW_TRIALS, LAW_TOKENS = 8, 160, 2
"""The law of sampled tokens is tested on so many contexts, by so many outputs of so many tokens each."""

_DECODING, _TESTING = 0, 1
"""Streams of a seed."""

T = TypeVar("T")

_PARTS = ("target", "draft", "building", "verification")


@dataclass(frozen=True)
class Difference:
    """Where speculation's greedy output leaves that of plain decoding.

    Members
    -------
    prompt, token : int
        Number of the prompt, and of the first token that differs.
    gap : float
        Distance of the two tokens' logits: below `TIE` it says that rounding chose.
    """

    prompt: int
    token: int
    gap: float


@dataclass(frozen=True)
class Measurement:
    """What was measured. Times are in seconds, over all prompts; rates and ratios are medians over the prompts.

    Members
    -------
    tau : float
        Tokens per step that became output, the bonus included: the acceptance length (AL) of the engines.
    acceptance_by_rank : list of float or None
        How often a child of each rank was accepted where the walk came to its parent.
    acceptance_by_depth : list of float or None
        How often a candidate of each depth was accepted where the walk could reach it.
    tokens_per_s, plain_tokens_per_s, speedup : float
        By speculation, by plain decoding, and the ratio.
    matches_plain : bool or float or None
        At temperature 0 whether all outputs are those of plain decoding, token for token. Above, the p-value of
        ``law_test``, or None where that has too little power or was not asked for.
    law_test : LawTest or None
        Above temperature 0 the test of sampled tokens against the target's law, where it was asked for.
    differences : list of Difference
        At temperature 0, where outputs part.
    overhead : float
        Share of the time that is neither a pass of the target nor of the draft: building and verifying trees.
    seconds : dict of str to float
        Time of speculation by part: ``target``, ``draft``, ``building``, ``verification``, ``loop``; and of ``plain``.
    tree_nodes : float
        Mean nodes of a tree, the root included.
    draft_passes : float
        Mean sequential passes of the draft in a step.
    taus, speedups : list of float
        Of each prompt.
    steps : list of Step
        Everything that happened, prompt by prompt.
    """

    tau: float
    acceptance_by_rank: list[float | None]
    acceptance_by_depth: list[float | None]
    tokens_per_s: float
    plain_tokens_per_s: float
    speedup: float
    matches_plain: bool | float | None
    law_test: LawTest | None
    differences: list[Difference]
    overhead: float
    seconds: dict[str, float]
    tree_nodes: float
    draft_passes: float
    taus: list[float]
    speedups: list[float]
    steps: list[Step] = field(repr=False)

    @property
    def faithful(self) -> bool:
        """Whether the output is what plain decoding gives, as far as rounding and chance let us tell."""
        if isinstance(self.matches_plain, bool):
            return all(difference.gap < TIE for difference in self.differences)
        return self.law_test is None or self.law_test.passed

    @property
    def summary(self) -> str:
        """What matters most, in a line."""
        plain = f"plain decoding {self.plain_tokens_per_s:.0f} tokens/s"
        speed = f"{self.tokens_per_s:.0f} tokens/s, {self.speedup:.2f} times {plain}"
        return f"{self.tau:.2f} tokens per step, {speed}; {self._match}; overhead {self.overhead:.0%}"

    @property
    def _match(self) -> str:
        """How the output compares with plain decoding's."""
        if isinstance(self.matches_plain, bool):
            return f"matches plain: {self.matches_plain}"
        test = self.law_test
        if test is None:
            return "matches plain: not tested"
        verdict = "no" if not test.passed else "not rejected" if test.testable else "not testable"
        power = f"power {test.power:.0%} against a bias of {SHARE:.0%}"
        return f"matches plain: {verdict}, p = {test.p_value:.2g}, {power}"

    def rows(self) -> list[dict[str, float]]:
        """Return tau and speedup of every prompt."""
        found = enumerate(zip(self.taus, self.speedups, strict=True))
        return [{"prompt": prompt, "tau": tau, "speedup": speedup} for prompt, (tau, speedup) in found]

    def record(self) -> dict[str, Any]:
        """Return everything but the steps, for JSON, with how many they are."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "steps"}
        return values | {
            "differences": [asdict(difference) for difference in self.differences],
            "law_test": self.law_test and asdict(self.law_test),
            "steps": len(self.steps),
        }


def measure(
    pair: Pair,
    proposer: str = "lookup",
    verifier: str | None = None,
    nodes: int = 8,
    prompts: Sequence[Tokens] | int = 8,
    tokens: int = 128,
    depth: int = 8,
    seed: int = 0,
    lossless: bool = True,
    law_trials: int = LAW_TRIALS,
    stop: Sequence[str] = (),
    batch: int = 1,
    emit: Callable[[int, Tokens], None] | None = None,
    progress: Callable[[int, int], None] = lambda done, parts: None,
) -> Measurement:
    """Measure one method on a pair of models.

    Parameters
    ----------
    pair : Pair
        The models and the temperature.
    proposer, verifier : str
        Names of `specdec.decoding.methods`; the verifier by default ``greedy`` at temperature 0, else ``naive``.
    nodes, depth : int
        Budget of the tree, see `specdec.decoding.methods.proposer`.
    prompts : sequence of tuple of int, or int
        At least one, each of at least two tokens; or how many of `Pair.prompts`.
    tokens : int
        To decode after each prompt, at least 1.
    seed : int
        Of all sampling.
    lossless : bool
        Whether to refuse methods that do not keep the target's law.
    law_trials : int
        Outputs drawn of each context to test the law above temperature 0; none for 0.
    stop : sequence of str
        Texts that end an output, besides the target's own tokens and the end of its context.
    batch : int
        Prompts that are decoded side by side, at least 1, both ways: a pass of the target reads the trees of all, each
        accepts what it may, and drafts are made one after the other.
    emit : callable
        Called with a prompt's number and its output so far, after every step of speculation.
    progress : callable
        Called with how many prompts, then contexts, are done, and of how many.

    Raises
    ------
    InputError
        If a name or a number is out of range, or the method is not lossless though it has to be.

    Examples
    --------
    >>> from specdec import Pair, measure
    >>> found = measure(Pair(), "eagle2", nodes=6, prompts=1, tokens=12)
    >>> found.faithful, 1 < found.tau <= 6
    (True, True)
    """
    if isinstance(prompts, int):
        prompts = pair.prompts(prompts)
    if verifier is None:
        verifier = "naive" if pair.temperature else "greedy"
    _check(prompts, inf if pair.places is None else pair.places, tokens, batch)
    ending = pair.ending(stop)
    method = _Method(pair, proposer, verifier, nodes, depth, seed, lossless)
    bench = _Bench(method, ending, min(batch, len(prompts)))
    # The first of everything is slow: caches, tables of angles.
    bench.run(0, prompts[:batch], min(tokens, 8))
    bench.clocks.seconds.clear()
    runs = bench.runs(prompts, tokens, emit, progress)
    differences, test = list[Difference](), None
    if pair.temperature == 0:
        differences = _differences(bench.plain, prompts, runs)
    elif law_trials:
        contexts = _undecided(bench.plain, prompts, runs)
        test = law_test(method.samples(contexts, law_trials, progress), seed)
    return _measurement(runs, bench.clocks.seconds, test, differences, exact=pair.temperature == 0)


def _check(prompts: Sequence[Tokens], places: float, tokens: int, batch: int) -> None:
    """Refuse what cannot be decoded."""
    require(len(prompts) > 0, "prompts", "at least one", "none")
    require(min(map(len, prompts)) >= 2, "prompts", "of at least 2 tokens", min(map(len, prompts)))
    longest = max(map(len, prompts))
    require(longest < places, "prompts", f"shorter than the context of {places} tokens", longest)
    require(tokens >= 1, "tokens", "at least 1", tokens)
    require(batch >= 1, "batch", "at least 1", batch)


@dataclass(frozen=True)
class _Method:
    """What `measure` was asked for."""

    pair: Pair
    proposer: str
    verifier: str
    nodes: int
    depth: int
    seed: int
    lossless: bool

    def rule(self) -> Verifier:
        """Return who decides."""
        return methods.verifier(self.verifier, self.pair.temperature, self.lossless)

    def candidates(self, models: Models) -> Proposer:
        """Return who guesses."""
        return methods.proposer(self.proposer, self.verifier, self.pair, models, self.nodes, self.depth)

    def samples(
        self, contexts: Sequence[Tokens], trials: int, progress: Callable[[int, int], None]
    ) -> Iterator[tuple[LanguageModel, Tokens, list[Tokens]]]:
        """Draw outputs of each context."""
        for number, context in enumerate(contexts):
            progress(number, len(contexts))
            yield self.sample(number, context, trials)

    def sample(self, number: int, context: Tokens, trials: int) -> tuple[LanguageModel, Tokens, list[Tokens]]:
        """Decode a context over and over, for `law_test`."""
        fresh = self.pair.models()
        models = Models(
            Remembered(fresh.target, context),
            Remembered(fresh.draft, context),
            fresh.heads and RememberedHeads(fresh.heads),
            fresh.cached,
        )
        chance = self.pair.chance(self.seed, _TESTING, number)
        trial = (models.target, self.candidates(models), self.rule(), context, LAW_TOKENS, chance, self.lossless)
        return models.target, context, [decode(*trial)[0] for _ in range(trials)]


class _Bench:
    """Both ways of decoding, side by side and on clocks, of up to ``batch`` prompts at a time."""

    def __init__(self, method: _Method, ending: Ending, batch: int):
        self._method, self._ending, self.clocks = method, ending, Clocks()
        self._plain, self._models = ([method.pair.models() for _ in range(batch)] for _ in range(2))
        self._speculation = list(map(self._timed, self._models))
        self.plain = self._plain[0].target

    def _timed(self, models: Models) -> tuple[LanguageModel, Proposer, Verifier]:
        """Return target, proposer and verifier of a request, on clocks."""
        parts = Models(
            TimedModel(models.target, self.clocks, "target"),
            TimedModel(models.draft, self.clocks, "draft"),
            models.heads and TimedHeads(models.heads, self.clocks, "draft"),
            models.cached,
        )
        rule = self._method.rule()
        return (
            parts.target_for(rule, self._method.pair.temperature),
            TimedProposer(self._method.candidates(parts), self.clocks, "building"),
            TimedVerifier(rule, self.clocks, "verification"),
        )

    def runs(
        self,
        prompts: Sequence[Tokens],
        tokens: int,
        emit: Callable[[int, Tokens], None] | None,
        progress: Callable[[int, int], None],
    ) -> list["_Run"]:
        """Decode after each prompt."""
        found, batch = list[_Run](), len(self._models)
        for first in range(0, len(prompts), batch):
            found += self.run(first, prompts[first : first + batch], tokens, emit)
            progress(len(found), len(prompts))
        return found

    def run(
        self, first: int, prompts: Sequence[Tokens], tokens: int, emit: Callable[[int, Tokens], None] | None = None
    ) -> list["_Run"]:
        """Decode prompts, from number ``first`` on, both ways, every other time in the other order."""
        pair, count = self._method.pair, len(prompts)
        for prompt, plain, models in zip(prompts, self._plain, self._models, strict=False):
            plain.target.law(prompt[:-1])
            models.read(prompt[:-1])
        places = inf if pair.places is None else pair.places
        most = [int(min(tokens, places - len(prompt))) for prompt in prompts]
        chances = [[pair.chance(self._method.seed, _DECODING, first + one) for one in range(count)] for _ in range(2)]
        requests = [
            Decoding(
                *way, prompt, limit, chance, self._method.lossless, self._ending, emit and partial(emit, first + one)
            )
            for one, (way, prompt, limit, chance) in enumerate(
                zip(self._speculation, prompts, most, chances[1], strict=False)
            )
        ]
        read_plain, read = (partial(_read, models) for models in (self._plain, self._models))
        targets = [models.target for models in self._plain[:count]]
        plainly = (decode_plain_together, targets, prompts, most, chances[0], self._ending, read_plain)
        speculating = (decode_together, requests, partial(self.clocks, "target", read))
        if first // len(self._models) % 2:
            (expected, plain_seconds), (_, seconds) = _timed(*plainly), _timed(*speculating)
        else:
            (_, seconds), (expected, plain_seconds) = _timed(*speculating), _timed(*plainly)
        return [
            _Run(output, request.output, request.steps, plain_seconds / count, seconds / count)
            for output, request in zip(expected, requests, strict=True)
        ]


def _read(models: Sequence[Models], running: Sequence[int], asked: Sequence[tuple[Tokens, Sequence[Tokens]]]) -> None:
    """Have the targets of running requests read together; one alone reads as it tells its laws."""
    together = [models[number].cached for number in running]
    if len(models) > 1:
        read_together([one for one in together if one is not None], asked)


@dataclass(frozen=True)
class _Run:
    """One prompt, decoded both ways: the outputs, the steps, and the seconds, its share where several were decoded."""

    expected: Tokens
    output: Tokens
    steps: list[Step]
    plain_seconds: float
    seconds: float


def _timed(action: Callable[..., T], *arguments: Any) -> tuple[T, float]:
    """Return (what an action returns, its seconds)."""
    started = time.perf_counter()
    result = action(*arguments)
    return result, time.perf_counter() - started


def _measurement(
    runs: Sequence[_Run],
    by_part: Mapping[str, float],
    test: LawTest | None,
    differences: list[Difference],
    exact: bool,
) -> Measurement:
    """Sum up."""
    steps = [step for run in runs for step in run.steps]
    plain_seconds, seconds = [run.plain_seconds for run in runs], [run.seconds for run in runs]
    speedups = np.divide(plain_seconds, seconds)
    total, passes = sum(seconds), by_part["target"] + by_part["draft"]
    return Measurement(
        tau=tokens_per_step(steps),
        acceptance_by_rank=acceptance_by_rank(steps),
        acceptance_by_depth=acceptance_by_depth(steps),
        tokens_per_s=float(np.median([len(run.output) / run.seconds for run in runs])),
        plain_tokens_per_s=float(np.median([len(run.expected) / run.plain_seconds for run in runs])),
        speedup=float(np.median(speedups)),
        matches_plain=not differences if exact else test.p_value if test is not None and test.testable else None,
        law_test=test,
        differences=differences,
        overhead=1 - passes / total,
        seconds={part: by_part[part] for part in _PARTS}
        | {"loop": total - sum(by_part[part] for part in _PARTS), "plain": sum(plain_seconds)},
        tree_nodes=float(np.mean([len(step.proposal.tree) for step in steps])),
        draft_passes=float(np.mean([step.proposal.draft_passes for step in steps])),
        taus=[tokens_per_step(run.steps) for run in runs],
        speedups=speedups.tolist(),
        steps=steps,
    )


def _differences(target: LanguageModel, prompts: Sequence[Tokens], runs: Sequence[_Run]) -> list[Difference]:
    """Return where outputs part."""
    pairs = enumerate(zip(prompts, runs, strict=True))
    return [_difference(target, prompt, index, run) for index, (prompt, run) in pairs if run.output != run.expected]


def _difference(target: LanguageModel, prompt: Tokens, index: int, run: _Run) -> Difference:
    """Return where two outputs part, and by how little."""
    place = next(place for place, token in enumerate(run.output) if token != run.expected[place])
    law = target.law(prompt + run.expected[:place])
    return Difference(index, place, float(abs(np.log(law[run.expected[place]]) - np.log(law[run.output[place]]))))


def _undecided(target: LanguageModel, prompts: Sequence[Tokens], runs: Sequence[_Run]) -> list[Tokens]:
    """Return contexts in which a bias would show: where the target may well take a candidate, and may well not."""
    found = []
    for prompt, run in zip(prompts, runs, strict=True):
        starts = np.cumsum([0, *(len(step.tokens) for step in run.steps[:-1])]).tolist()
        laws = target.laws(prompt, [run.output[:start] for start in starts])
        for start, step, law in zip(starts, run.steps, laws, strict=True):
            tree = step.proposal.tree
            likely = law[[tree.token[child] for child in tree.children[0]]]
            found.append((float(np.max(likely * (1 - likely), initial=0)), prompt + run.output[:start]))
    return [context for _, context in sorted(found, key=lambda one: -one[0])[:LAW_CONTEXTS]]
