"""Calibrate the cost model on this processor, and hold its predictions to what real decoding takes.

Measured first: passes of target and draft by number of tokens, the draft's rank of every token that the target chooses
on the prompts, and the loop's own time on a few trees. Predicted from these, then measured: step time and speedup of
other trees, and step times of batches. Decoding is greedy; times are CPU time, medians over prompts taken in turn, so
that what else the machine does meets all alike.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rtnerf.base.errors import require
from specdec.cost.pass_time import Measured
from specdec.cost.step import Speculation
from specdec.decoding.decode import Step, decode, decode_plain
from specdec.laws.chance import Likeliest
from specdec.laws.distribution import ranked
from specdec.laws.language_model import AtTemperature, LanguageModel, Tokens
from specdec.models.cached import CachedModel
from specdec.models.network import Network
from specdec.proposers.static import StaticTree
from specdec.trees.shape import RankPath, Shape, expected_tokens, greedy_shape
from specdec.trees.tree import Source
from specdec.verifiers.greedy import Greedy

PASS_TOKENS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Where pass times are measured."""

LARGEST_ERROR = 0.1
"""What the project claims: of the median step time, and of the speedup of `LEAST_GOOD` trees."""

LEAST_GOOD = 10

BATCHES = (2, 4, 8)
RANKS = 8
"""Ranks of the draft's choices that are told apart; trees have no more children."""

REFERENCE_NODES = 8

FITTED = 5
"""Trees that the loop's time is fitted on, about; the others are predicted."""

_DEPTHS = 8
_LEAST_ACCEPTANCE = 1e-4


@dataclass(frozen=True)
class Check:
    """A prediction beside its measurement.

    Members
    -------
    tree : str
        The tree: its nodes per depth.
    nodes, batch : int
        Its nodes, the root included; requests in a pass.
    step_ms, predicted_step_ms : float
        A step, measured and predicted.
    tau, predicted_tau, speedup, predicted_speedup : float or None
        None for batches, whose passes alone are timed.
    fitted : bool
        Whether this tree was among those that the loop's time was fitted on.
    """

    tree: str
    nodes: int
    batch: int
    step_ms: float
    predicted_step_ms: float
    tau: float | None = None
    predicted_tau: float | None = None
    speedup: float | None = None
    predicted_speedup: float | None = None
    fitted: bool = False

    @property
    def step_error(self) -> float:
        """The predicted step time over the measured one, less one."""
        return self.predicted_step_ms / self.step_ms - 1

    @property
    def speedup_error(self) -> float | None:
        """The predicted speedup over the measured one, less one."""
        if self.speedup is None or self.predicted_speedup is None:
            return None
        return self.predicted_speedup / self.speedup - 1


@dataclass(frozen=True)
class Calibration:
    """What was found.

    Members
    -------
    target, draft : dict from int to float
        Pass times in ms by number of tokens.
    acceptance : list of list of float
        Per depth, by rank, as a tree of `REFERENCE_NODES` nodes has it.
    plain_ms : float
        A step of plain decoding.
    loop_ms : tuple of float
        (a, b, c): the loop's own time on a tree of n nodes, drafted in d passes, is ``a + b n + c d`` ms beyond that of
        plain decoding; fitted.
    checks : list of Check
        Predictions and measurements.
    """

    target: dict[int, float]
    draft: dict[int, float]
    acceptance: list[list[float]]
    plain_ms: float
    loop_ms: tuple[float, float, float]
    checks: list[Check]

    @property
    def held_out(self) -> list[Check]:
        """The checks on trees that nothing was fitted on."""
        return [check for check in self.checks if not check.fitted]

    @property
    def step_error(self) -> float:
        """Median absolute error of the step times, over trees and batches."""
        return float(np.median([abs(check.step_error) for check in self.held_out]))

    @property
    def good_speedups(self) -> int:
        """Count the trees whose speedup is predicted within `LARGEST_ERROR`."""
        errors = [check.speedup_error for check in self.held_out]
        return sum(error is not None and abs(error) <= LARGEST_ERROR for error in errors)

    @property
    def holds(self) -> bool:
        """Whether both claims hold."""
        return self.step_error <= LARGEST_ERROR and self.good_speedups >= LEAST_GOOD

    @property
    def summary(self) -> str:
        """The calibration as text."""
        lines = [
            "tokens     " + " ".join(f"{tokens:7d}" for tokens in self.target),
            "target, ms " + " ".join(f"{ms:7.3f}" for ms in self.target.values()),
            "draft, ms  " + " ".join(f"{ms:7.3f}" for ms in self.draft.values()),
            "plain step {:.3f} ms; loop {:.3f} + {:.4f} nodes + {:.4f} passes ms (fitted)".format(
                self.plain_ms, *self.loop_ms
            ),
            "",
            "                    tree batch  step ms    model   error    tau  model  speedup  model   error",
        ]
        for check in self.checks:
            line = f"{check.tree:>24} {check.batch:5d} {check.step_ms:8.3f} {check.predicted_step_ms:8.3f}"
            line += f" {100 * check.step_error:+6.1f}%"
            if check.speedup_error is not None:
                line += f" {check.tau:6.3f} {check.predicted_tau:6.3f} {check.speedup:8.3f}"
                line += f" {check.predicted_speedup:6.3f} {100 * check.speedup_error:+6.1f}%"
            lines.append(line + (" fitted" if check.fitted else ""))
        trees = sum(check.speedup is not None for check in self.held_out)
        lines += [
            "",
            f"median error of step times {100 * self.step_error:.1f} %, at most {100 * LARGEST_ERROR:.0f} %",
            f"speedups within {100 * LARGEST_ERROR:.0f} %: {self.good_speedups} of {trees}, at least {LEAST_GOOD}",
        ]
        return "\n".join(lines)

    def record(self) -> dict[str, Any]:
        """Return the calibration for a JSON file."""
        return {
            "target_ms": {str(tokens): ms for tokens, ms in self.target.items()},
            "draft_ms": {str(tokens): ms for tokens, ms in self.draft.items()},
            "acceptance": self.acceptance,
            "plain_ms": self.plain_ms,
            "loop_ms": list(self.loop_ms),
            "step_error": self.step_error,
            "good_speedups": self.good_speedups,
            "holds": self.holds,
            "checks": [
                asdict(check) | {"step_error": check.step_error, "speedup_error": check.speedup_error}
                for check in self.checks
            ],
        }

    @property
    def ratios(self) -> dict[str, list[float]]:
        """Predicted over measured step times, and speedups, of the checks on which nothing was fitted."""
        speedups = [check.speedup_error for check in self.held_out]
        return {
            "step times": [1 + check.step_error for check in self.held_out],
            "speedups": [1 + error for error in speedups if error is not None],
        }

    def step_times(self) -> str:
        """Return the target's pass times as the CSV file that ``rtnerf specdec predict`` reads."""
        return "".join(f"{line}\n" for line in ["tokens,ms", *(f"{n},{ms:.6f}" for n, ms in self.target.items())])


def calibrate(
    target: Network,
    draft: Network,
    prompts: Sequence[Tokens],
    tokens: int = 48,
    progress: Callable[[str], None] = lambda _: None,
) -> Calibration:
    """Calibrate on two networks, and check.

    Parameters
    ----------
    target, draft : Network
        With the same vocabulary.
    prompts : sequence of tuple of int
        At least one, each of at least two tokens. All is timed once a prompt, and medians are taken.
    tokens : int
        To decode after each, at least 2.
    progress : callable
        Called with what is done next.
    """
    require(len(prompts) > 0, "prompts", "at least one", "none")
    require(tokens >= 2, "tokens", "at least 2", tokens)
    progress("acceptance")
    found = traces(target, draft, prompts, tokens + _DEPTHS)
    _, ranks = acceptance_by_step(found, Shape.constant([RANKS]))
    # Whatever the draft is worth, there are trees to choose.
    ranks = np.tile(np.maximum(ranks, _LEAST_ACCEPTANCE), (_DEPTHS, 1))
    shapes = _shapes(ranks)
    acceptance = by_depth(found, greedy_shape(ranks, REFERENCE_NODES))
    rounds = []
    for index, prompt in enumerate([prompts[0], *prompts]):
        progress(f"round {index} of {len(prompts)}")
        rounds.append(_round(target, draft, shapes, prompt, tokens))
    # The first of everything is slow.
    times = {key: float(np.median([each[key] for each in rounds[1:]])) for key in rounds[0]}
    target_pass, draft_pass = (
        _rising({tokens: times[name, tokens] for tokens in PASS_TOKENS}) for name in ("target", "draft")
    )
    plain_ms = times["plain", ""]
    passes = {
        name: Speculation(shape, Measured(*_columns(target_pass)), Measured(*_columns(draft_pass)))
        for name, shape in shapes.items()
    }
    base = plain_ms - target_pass[1]
    fitted = sorted(shapes, key=lambda name: _loop_features(shapes[name])[::-1])[:: max(len(shapes) // FITTED, 1)]
    loop = np.linalg.lstsq(
        np.array([_loop_features(shapes[name]) for name in fitted]),
        np.array([times["step", name] - passes[name].step(1).ms - base for name in fitted]),
    )[0]
    checks = []
    for name, shape in shapes.items():
        step_ms, tau = times["step", name], sum(each["tokens", name] for each in rounds[1:])
        tau /= sum(each["steps", name] for each in rounds[1:])
        predicted_ms = passes[name].step(1).ms + base + float(loop @ _loop_features(shape))
        predicted_tau = float(expected_tokens(shape, acceptance))
        speedups = (tau * plain_ms / step_ms, predicted_tau * plain_ms / predicted_ms)
        checks.append(
            Check(name, len(shape), 1, step_ms, predicted_ms, tau, predicted_tau, *speedups, fitted=name in fitted)
        )
    for name in _batched(shapes):
        for batch in BATCHES:
            predicted_ms = passes[name].step(batch).ms
            checks.append(Check(name, len(shapes[name]), batch, times[f"batch {batch}", name], predicted_ms))
    return Calibration(target_pass, draft_pass, acceptance.tolist(), plain_ms, tuple(loop.tolist()), checks)


def traces(target: Network, draft: Network, prompts: Sequence[Tokens], tokens: int) -> list[list[int]]:
    """Return, per prompt, the rank in the draft's law of each token that the target greedily chooses; `RANKS` beyond.

    One pass of the draft a prompt tells what any static tree of the draft's likeliest tokens would accept.
    """
    found = []
    for prompt in prompts:
        output = decode_plain(AtTemperature(CachedModel(target), 0), prompt, tokens, None)
        laws = CachedModel(draft).laws(prompt, [output[:length] for length in range(len(output))])
        ranks = [ranked(law, RANKS).tolist() for law in laws]
        found.append([row.index(token) if token in row else RANKS for row, token in zip(ranks, output, strict=True)])
    return found


def acceptance_by_step(found: Sequence[Sequence[int]], shape: Shape) -> tuple[float, np.ndarray]:
    """Return (tau, acceptance by depth and rank) of a tree on traces, from where its own steps begin.

    Counted from every token of the traces instead, easy stretches would weigh too much: steps are rarer there.
    Acceptance has shape (depths of the tree, RANKS) and counts every rank of the target's token, proposed or not. The
    last tokens of a trace, as many as a tree has depths at most, begin no step.
    """
    nodes, depths = {(), *shape.paths}, len(shape.levels()) - 1
    hits, tried, steps, gained = np.zeros((depths, RANKS)), np.zeros(depths), 0, 0
    for trace in found:
        place = 0
        while place < len(trace) - _DEPTHS:
            path: RankPath = ()
            while len(path) < depths:
                rank = trace[place + len(path)]
                tried[len(path)] += 1
                if rank < RANKS:
                    hits[len(path), rank] += 1
                if (*path, rank) not in nodes:
                    break
                path = (*path, rank)
            steps += 1
            place += len(path) + 1
        # What the last step gives beyond the end is cut off, as in decoding.
        gained += max(len(trace) - _DEPTHS, 0)
    return gained / max(steps, 1), hits / np.maximum(tried, 1)[:, None]


def by_depth(found: Sequence[Sequence[int]], reference: Shape) -> np.ndarray:
    """Return acceptance by depth and rank of a reference tree, shape (_DEPTHS, RANKS); its last depth is repeated."""
    _, acceptance = acceptance_by_step(found, reference)
    return np.pad(acceptance, ((0, _DEPTHS - len(acceptance)), (0, 0)), mode="edge")


def _shapes(acceptance: np.ndarray) -> dict[str, Shape]:
    """Return chains, bushes and the best trees of several sizes, by name."""
    shapes = [Shape.constant([1] * length) for length in (1, 2, 3, 4, 6)]
    shapes += [
        Shape.constant(branching)
        for branching in ([2], [4], [8], [2, 1], [3, 1, 1], [2, 2], [2, 2, 1], [2, 2, 2], [4, 2], [6, 2])
    ]
    shapes += [greedy_shape(acceptance, nodes) for nodes in (4, 6, 8, 12, 16, 24, 32)]
    return {"-".join(map(str, shape.levels())): shape for shape in sorted(shapes, key=len) if len(shape) > 1}


def _batched(shapes: dict[str, Shape]) -> list[str]:
    """Return the trees whose batches are timed: some."""
    return list(shapes)[1::4]


def _round(
    target: Network, draft: Network, shapes: dict[str, Shape], prompt: Tokens, tokens: int
) -> dict[tuple[str, Any], float]:
    """Time everything once on one prompt: ms by kind and name; and steps taken and tokens gained, by tree."""
    times: dict[tuple[str, Any], float] = {}
    networks = {"target": _Forest(target, prompt), "draft": _Forest(draft, prompt)}
    for count in PASS_TOKENS:
        for name, forest in networks.items():
            times[name, count] = forest.ms([Shape([])] * count)
    model = _read(target, prompt)
    times["plain", ""] = _cpu_ms(lambda: decode_plain(AtTemperature(model, 0), prompt, tokens, None)) / tokens
    for name, shape in shapes.items():
        decoder, proposer = _read(target, prompt), StaticTree(_read(draft, prompt), shape, Source.RANKED)
        steps: list[Step] = []
        ms = _cpu_ms(lambda: steps.extend(decode(decoder, proposer, Greedy(), prompt, tokens, Likeliest())[1]))  # noqa: B023
        times["step", name] = ms / len(steps)
        times["steps", name] = len(steps)
        times["tokens", name] = sum(len(step.tokens) for step in steps)
    for name in _batched(shapes):
        for batch in BATCHES:
            trees = [shapes[name]] * batch
            times[f"batch {batch}", name] = networks["draft"].growing_ms(trees) + networks["target"].ms(trees)
    return times


class _Forest:
    """Passes on the trees of several requests, which share a prompt and differ in their first tokens.

    Before each, the prompt goes on by a token, so that nothing of the pass before is of use.
    """

    def __init__(self, network: Network, prompt: Tokens):
        self._model = CachedModel(network)
        self._context = prompt
        self._model.law(prompt)

    def ms(self, shapes: Sequence[Shape]) -> float:
        """Time one pass on all nodes."""
        self._advance()
        return self._timed([(request, *path) for request, shape in enumerate(shapes) for path in ((), *shape.paths)])

    def growing_ms(self, shapes: Sequence[Shape]) -> float:
        """Time a draft's passes: one on the parents of each level."""
        self._advance()
        spent = 0.0
        for depth in range(len(shapes[0].levels()) - 1):
            spent += self._timed(
                [
                    (request, *path)
                    for request, shape in enumerate(shapes)
                    for path in ((), *shape.paths)
                    if len(path) == depth and shape.branching(path)
                ]
            )
        return spent

    def _advance(self) -> None:
        self._context += (0,)
        self._model.law(self._context)

    def _timed(self, paths: list[Tokens]) -> float:
        return _cpu_ms(lambda: self._model.laws(self._context, paths))


def _read(network: Network, prompt: Tokens) -> LanguageModel:
    model = CachedModel(network)
    model.law(prompt[:-1])
    return model


def _cpu_ms(action: Callable[[], Any]) -> float:
    started = time.process_time()
    action()
    return 1000 * (time.process_time() - started)


def _loop_features(shape: Shape) -> tuple[int, int, int]:
    return 1, len(shape), len(shape.levels()) - 1


def _rising(times: dict[int, float]) -> dict[int, float]:
    """Times by number of tokens, none above that of more tokens: what else takes longer is a disturbance."""
    least = np.minimum.accumulate(list(times.values())[::-1])[::-1]
    return dict(zip(times, least.tolist(), strict=True))


def _columns(times: dict[int, float]) -> tuple[list[int], list[float]]:
    return list(times), list(times.values())
