"""Decode held-out source plainly and by speculation, side by side, and tell what speculation gains and costs.

Both decode the same prompts in turn, so that whatever else the machine does meets both. Reading the prompt is not
timed: it is the same work for both.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from rtnerf.base.errors import require
from specdec.decoding import methods
from specdec.decoding.decode import Step, decode, decode_plain
from specdec.decoding.goodness_of_fit import Remembered, RememberedHeads, law_p_value
from specdec.decoding.pair import Models, Pair
from specdec.decoding.statistics import acceptance_by_depth, acceptance_by_rank, tokens_per_step
from specdec.decoding.timing import Clocks, TimedHeads, TimedModel, TimedProposer, TimedVerifier
from specdec.laws.language_model import LanguageModel, Tokens

TIE = 1e-5
"""Logits that are closer than this are a tie: passes of different sizes round differently by about as much."""

FALSE_ALARM = 1e-4
"""Probability with which the test of sampled tokens rejects the true law."""

LAW_TRIALS = 400
"""Outputs drawn to test the law of sampled tokens."""

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
        Tokens per step, the bonus included.
    acceptance_by_rank : list of float or None
        How often a child of each rank was accepted where the walk came to its parent.
    acceptance_by_depth : list of float or None
        How often a candidate of each depth was accepted where the walk could reach it.
    tokens_per_s, plain_tokens_per_s, speedup : float
        By speculation, by plain decoding, and the ratio.
    matches_plain : bool or float or None
        At temperature 0 whether all outputs are those of plain decoding, token for token. Above, the p-value of a
        chi-square test of sampled tokens against the target's law, or None where no test was asked for.
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
        return self.matches_plain is None or self.matches_plain >= FALSE_ALARM

    @property
    def summary(self) -> str:
        """What matters most, in a line."""
        plain = f"plain decoding {self.plain_tokens_per_s:.0f} tokens/s"
        speed = f"{self.tokens_per_s:.0f} tokens/s, {self.speedup:.2f} times {plain}"
        match = self.matches_plain
        if match is None:
            match = "not tested"
        elif not isinstance(match, bool):
            match = f"with p = {match:.2g}"
        return f"{self.tau:.2f} tokens per step, {speed}; matches plain: {match}; overhead {self.overhead:.0%}"

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the steps, for JSON, with how many they are."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "steps"}
        return values | {
            "differences": [asdict(difference) for difference in self.differences],
            "steps": len(self.steps),
        }


def measure(
    pair: Pair,
    proposer: str,
    verifier: str,
    nodes: int,
    prompts: Sequence[Tokens],
    tokens: int,
    depth: int = 8,
    seed: int = 0,
    lossless: bool = True,
    law_trials: int = LAW_TRIALS,
) -> Measurement:
    """Measure one method on a pair of models.

    Parameters
    ----------
    pair : Pair
        The models and the temperature.
    proposer, verifier : str
        Names of `specdec.decoding.methods`.
    nodes, depth : int
        Budget of the tree, see `specdec.decoding.methods.proposer`.
    prompts : sequence of tuple of int
        At least one, each of at least two tokens.
    tokens : int
        To decode after each prompt, at least 1.
    seed : int
        Of all sampling.
    lossless : bool
        Whether to refuse methods that do not keep the target's law.
    law_trials : int
        Outputs drawn to test the law above temperature 0; none for 0.

    Raises
    ------
    InputError
        If a name or a number is out of range, or the method is not lossless though it has to be.
    """
    require(len(prompts) > 0, "prompts", "at least one", "none")
    require(tokens >= 1, "tokens", "at least 1", tokens)
    clocks, plain, models = Clocks(), pair.models(), pair.models()
    parts = Models(
        TimedModel(models.target, clocks, "target"),
        TimedModel(models.draft, clocks, "draft"),
        models.heads and TimedHeads(models.heads, clocks, "draft"),
    )
    rule = methods.verifier(verifier, pair.temperature, lossless)
    candidates = methods.proposer(proposer, verifier, pair, parts, nodes, depth)
    method = (
        parts.target_for(rule, pair.temperature),
        TimedProposer(candidates, clocks, "building"),
        TimedVerifier(rule, clocks, "verification"),
    )

    def run(index: int, prompt: Tokens, tokens: int) -> _Run:
        """Decode one prompt both ways, every other time in the other order."""
        for model in (plain.target, models.target, models.draft):
            model.law(prompt[:-1])
        plainly = (decode_plain, plain.target, prompt, tokens, pair.chance(seed + index))
        speculating = (decode, *method, prompt, tokens, pair.chance(seed + index), lossless)
        if index % 2:
            (expected, plain_seconds), ((output, steps), seconds) = _timed(*plainly), _timed(*speculating)
        else:
            ((output, steps), seconds), (expected, plain_seconds) = _timed(*speculating), _timed(*plainly)
        return _Run(expected, output, steps, plain_seconds, seconds)

    # The first of everything is slow: caches, tables of angles.
    run(0, prompts[0], min(tokens, 8))
    clocks.seconds.clear()
    runs = [run(index, prompt, tokens) for index, prompt in enumerate(prompts)]
    differences, matches = [], None
    if pair.temperature == 0:
        differences = [
            _difference(plain.target, prompt, index, found)
            for index, (prompt, found) in enumerate(zip(prompts, runs, strict=True))
            if found.output != found.expected
        ]
        matches = not differences
    elif law_trials:
        matches = _law_p_value(pair, proposer, verifier, nodes, depth, prompts[0], law_trials, seed, lossless)
    return _measurement(runs, clocks.seconds, tokens, matches, differences)


@dataclass(frozen=True)
class _Run:
    """One prompt, decoded both ways: the outputs, the steps, and the seconds."""

    expected: Tokens
    output: Tokens
    steps: list[Step]
    plain_seconds: float
    seconds: float


def _timed(action, *arguments):
    """Return (what an action returns, its seconds)."""
    started = time.perf_counter()
    result = action(*arguments)
    return result, time.perf_counter() - started


def _measurement(
    runs: Sequence[_Run],
    by_part: Mapping[str, float],
    tokens: int,
    matches: bool | float | None,
    differences: list[Difference],
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
        tokens_per_s=tokens / float(np.median(seconds)),
        plain_tokens_per_s=tokens / float(np.median(plain_seconds)),
        speedup=float(np.median(speedups)),
        matches_plain=matches,
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


def _difference(target: LanguageModel, prompt: Tokens, index: int, run: _Run) -> Difference:
    """Return where two outputs part, and by how little."""
    place = next(place for place, token in enumerate(run.output) if token != run.expected[place])
    law = target.law(prompt + run.expected[:place])
    return Difference(index, place, float(abs(np.log(law[run.expected[place]]) - np.log(law[run.output[place]]))))


def _law_p_value(
    pair: Pair,
    proposer: str,
    verifier: str,
    nodes: int,
    depth: int,
    prompt: Tokens,
    trials: int,
    seed: int,
    lossless: bool,
) -> float:
    """Return the p-value of what a method samples after one prompt."""
    models = pair.models()
    models = Models(
        Remembered(models.target, prompt),
        Remembered(models.draft, prompt),
        models.heads and RememberedHeads(models.heads),
    )
    candidates = methods.proposer(proposer, verifier, pair, models, nodes, depth)
    rule = methods.verifier(verifier, pair.temperature, lossless)
    return law_p_value(models.target, candidates, rule, prompt, trials, pair.chance(seed), lossless=lossless)
