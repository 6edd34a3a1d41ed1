"""Time per output token of serving engines without speculation, beside the roofline's.

A request that is answered among others waits, for each of its tokens, for a decoding step of all of them, and for its
part of the prompts that are read meanwhile: with B requests of P and N tokens one prompt is read every N / B steps. It
delays them by `PREFILL_SHARE` of its time, as engines run part of it beside the decoding. Hence

    time per token = work / reached + block time * starts,  each of  step(B, P + N / 2) + share * B / N * prefill(P),

where work is the roofline's time without that of starting blocks, and starts are the blocks, one of experts twice. The
two numbers that an engine has on a GPU, ``reached`` and the block time, are fitted, none to a model.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from rtnerf.base.errors import InputError, require
from specdec.cost.architecture import Architecture
from specdec.cost.deployment import Deployment
from specdec.cost.hardware import HARDWARE, Hardware
from specdec.cost.models import MODELS
from specdec.cost.roofline import Roofline
from specdec.cost.tables import read_table

PREFILL_SHARE = 0.8
"""Of a prefill, that delays decoding: fitted once, to AIConfigurator's rows of five models."""

COLUMNS = ("backend", "model_path", "system", "isl", "osl", "batch_size", "tp_size", "silicon_tpot_ms")
"""That a file must have; it may have ``concurrency`` too, ``pp_size``, ``attention_dp_size``, and the formats."""

MOST_ROWS = 200_000

LARGEST = 1 << 24
"""Of a number of tokens or requests."""

WEIGHTS = {
    **dict.fromkeys(("", "bf16", "bfloat16", "fp16", "float16"), None),
    **dict.fromkeys(("fp8", "fp8_block", "fp8_static", "fp8_ootb"), "fp8"),
    **dict.fromkeys(("int8", "int8_wo", "sq"), "int8"),
    **dict.fromkeys(("fp4", "nvfp4", "mxfp4"), "fp4"),
    **dict.fromkeys(("int4", "int4_wo", "awq", "gptq"), "int4"),
}
"""Formats of weights by the names of engines."""

SUFFIXES = {
    "instruct",
    "chat",
    "it",
    "hf",
    "fp8",
    "nvfp4",
    "fp4",
    "bf16",
    "awq",
    "gptq",
    "int4",
    "int8",
    "2507",
    "v0.1",
}
"""Of a model's name, that leave its sizes as they are."""

NUMBERS = 2
"""Fitted to an engine on a GPU."""

TOLERANCE = 0.05
"""Relative error up to which rows count by its square, beyond in proportion to it."""


@dataclass(frozen=True)
class Run:
    """A measured row.

    Members
    -------
    engine, model, machine : str
        Names.
    work, starts : float
        Milliseconds of the roofline without starting blocks, and blocks started, for a token.
    ms : float
        Measured, a token.
    """

    engine: str
    model: str
    machine: str
    work: float
    starts: float
    ms: float

    @property
    def pair(self) -> tuple[str, str]:
        """What two numbers are fitted to."""
        return self.engine, self.machine


@dataclass(frozen=True)
class Engine:
    """The two numbers of an engine on a GPU.

    Members
    -------
    reached : float
        Speed over the roofline's.
    block_us : float
        Microseconds of starting a block.
    """

    reached: float
    block_us: float

    @property
    def physical(self) -> bool:
        """Whether memory is read no faster than the data sheet has it, of which the roofline expects a share."""
        return self.reached * Hardware.bandwidth_reached <= 1 + TOLERANCE

    def ms(self, run: Run) -> float:
        """Return the time of a token."""
        return run.work / self.reached + run.starts * self.block_us / 1000


def fit(runs: Iterable[Run], like: Engine | None = None) -> Engine:
    """Fit to runs by their relative errors; towards the engine ``like``, which weighs as much as one run."""
    chosen = list(runs)
    terms = np.array([[run.work / run.ms, run.starts / run.ms / 1000] for run in chosen]).reshape(-1, 2)
    start = like or Engine(1.0, 25.0)

    def misfit(numbers: np.ndarray) -> np.ndarray:
        errors = terms @ numbers - 1
        return errors if like is None else np.append(errors, numbers / (1 / like.reached, like.block_us) - 1)

    first = (1 / start.reached, max(start.block_us, 1e-3))
    bounds = ((1e-3, 0), (1e3, 1e6))
    slowness, block_us = least_squares(misfit, first, loss="soft_l1", f_scale=TOLERANCE, bounds=bounds, x_scale=first).x
    return Engine(float(1 / slowness), float(block_us))


def fit_each(runs: Sequence[Run]) -> Callable[[Run], Engine]:
    """Fit every engine on every GPU, near to what it has on all; without runs it takes that, or the fit to all."""
    common = fit(runs)
    engines = {name: fit((run for run in runs if run.engine == name), common) for name in {run.engine for run in runs}}
    pairs = {run.pair for run in runs}
    fitted = {pair: fit((run for run in runs if run.pair == pair), engines[pair[0]]) for pair in pairs}
    return lambda run: fitted.get(run.pair) or engines.get(run.engine, common)


@dataclass(frozen=True)
class Serving:
    """Measured rows beside the model.

    Members
    -------
    runs : sequence of Run
        Rows whose model and GPU are known.
    engines : mapping of (engine, machine) to Engine
        Fitted to all of them.
    errors, unseen : ndarray of shape (runs,)
        Relative errors: of these fits, NaN where no row is left over for its engine's two numbers to be held to; and of
        fits to the other models' rows alone, NaN where there is no other model.
    skipped : mapping of str to int
        Rows left out, by the reason.
    """

    runs: Sequence[Run]
    engines: Mapping[tuple[str, str], Engine]
    errors: np.ndarray
    unseen: np.ndarray
    skipped: Mapping[str, int]

    def record(self) -> dict[str, Any]:
        """Return the comparison for a JSON file."""
        return {
            **self._errors(np.ones(len(self.runs), bool)),
            "by_model": self._grouped(lambda run: run.model),
            "by_gpu": self._grouped(lambda run: run.machine),
            "by_model_and_gpu": self._grouped(lambda run: f"{run.model} on {run.machine}"),
            "fitted": [
                {
                    "engine": engine,
                    "gpu": machine,
                    "reached": one.reached,
                    "block_us": one.block_us,
                    "physical": one.physical,
                }
                for (engine, machine), one in self.engines.items()
            ],
            "skipped": dict(self.skipped),
        }

    @property
    def ratios(self) -> dict[str, list[float]]:
        """Predicted over measured times by model and GPU, of the rows that are counted."""
        found: dict[str, list[float]] = {}
        for run, error in zip(self.runs, self.errors.tolist(), strict=True):
            if not np.isnan(error):
                found.setdefault(f"{run.model} on {run.machine}", []).append(1 + error)
        return found

    @property
    def summary(self) -> str:
        """The comparison as text."""
        lines = [f"{'':48} {'rows':>6} {'median error':>13} {'unseen':>8}"]
        record = self.record()
        for name, group in [*record["by_model"].items(), *record["by_gpu"].items(), ("all", record)]:
            unseen = group["median_absolute_error_unseen"]
            seen = group["median_absolute_error"]
            told = ["-" if one is None else f"{one:.1%}" for one in (seen, unseen)]
            lines.append(f"{name:48} {group['rows']:6d} {told[0]:>13} {told[1]:>8}")
        if np.isnan(self.errors).any():
            lines.append(f"not counted: {np.isnan(self.errors).sum()} rows, no more than numbers are fitted to them")
        for (engine, machine), one in self.engines.items():
            beyond = "" if one.physical else "; FASTER THAN THE DATA SHEET: another model or format?"
            speed = f"{one.reached:.2f} of the roofline, {one.block_us:.0f} us a block"
            lines.append(f"fitted: {engine} on {machine}: {speed}{beyond}")
        lines += [f"left out: {count} rows, {reason}" for reason, count in self.skipped.items()]
        return "\n".join(lines)

    def _grouped(self, key: Callable[[Run], str]) -> dict[str, Any]:
        names = np.array([key(run) for run in self.runs])
        return {str(name): self._errors(names == name) for name in np.unique(names)}

    def _errors(self, chosen: np.ndarray) -> dict[str, Any]:
        return {
            "rows": int(chosen.sum()),
            "median_absolute_error": _median(self.errors[chosen]),
            "median_absolute_error_unseen": _median(self.unseen[chosen]),
        }


def _median(errors: np.ndarray) -> float | None:
    known = np.abs(errors[~np.isnan(errors)])
    return float(np.median(known)) if len(known) else None


def compare(
    runs: Sequence[Run],
    skipped: Mapping[str, int] | None = None,
    progress: Callable[[int, int], None] = lambda done, parts: None,
) -> Serving:
    """Fit, and predict each model once more without its rows; ``progress`` is told how many are, and of how many."""
    of = fit_each(runs)
    unseen = np.full(len(runs), np.nan)
    models = {run.model for run in runs}
    for number, model in enumerate(models):
        progress(number, len(models))
        others = [run for run in runs if run.model != model]
        if others:
            without = fit_each(others)
            for place, run in enumerate(runs):
                if run.model == model:
                    unseen[place] = without(run).ms(run) / run.ms - 1
    rows = Counter(run.pair for run in runs)
    errors = np.array([of(run).ms(run) / run.ms - 1 if rows[run.pair] > NUMBERS else np.nan for run in runs])
    engines = {run.pair: of(run) for run in sorted(runs, key=lambda run: run.pair)}
    return Serving(runs, engines, errors, unseen, skipped or {})


# ---- Files ----


def read_runs(path: Path) -> tuple[list[Run], dict[str, int]]:
    """Read measured rows from a CSV file with `COLUMNS`, as AIConfigurator has them.

    Returns
    -------
    list of Run, and dict of str to int
        Rows, and those left out by the reason: their model, GPU or format is not known, or they run in a pipeline.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, holds other than numbers, or no row can be used.
    """
    runs: list[Run] = []
    skipped: Counter[str] = Counter()
    columns, rows = read_table("serving", path)
    missing = [name for name in COLUMNS if name not in columns]
    require(not missing, "columns of serving", ",".join(COLUMNS), f"without {','.join(missing)}")
    require(len(rows) <= MOST_ROWS, "serving", f"a file of at most {MOST_ROWS} rows", path)
    for line, row in enumerate(rows, start=2):
        found = _run(row, line)
        if isinstance(found, Run):
            runs.append(found)
        else:
            skipped[found] += 1
    reasons = "; ".join(list(skipped)[:3]) or "none"
    require(bool(runs), "serving", "a file with rows of known models and GPUs", f"{path} ({reasons})")
    return runs, dict(skipped)


def _run(row: Mapping[str, Any], line: int) -> Run | str:
    """Return a row, or why it is left out."""
    named = [str(row.get(name) or "").strip() for name in ("backend", "model_path", "system")]
    weights = str(row.get("gemm_quant_mode") or row.get("precision") or "").strip()
    model, machine = _model_name(named[1]), _machine_name(named[2])
    reasons = {
        f"no model {named[1][:60]}": model is None,
        f"no GPU {named[2][:60]}": machine is None,
        f"no format {weights[:60]}": weights not in WEIGHTS,
        "in a pipeline": _whole(row, "pp_size", line, 1) > 1,
    }
    for reason, holds in reasons.items():
        if holds:
            return reason
    assert model is not None
    assert machine is not None
    replicas = _whole(row, "attention_dp_size", line, 1)
    requests = _whole(row, "concurrency", line, 0) or _whole(row, "batch_size", line) * replicas
    sizes = [_whole(row, name, line) for name in ("isl", "osl", "tp_size")]
    parts = _parts(model, machine, WEIGHTS[weights], replicas, requests, *sizes)
    if isinstance(parts, str):
        return parts
    return Run(named[0], named[1], named[2], *parts, ms=_milliseconds(row, line))


@cache
def _parts(
    model: str, machine: str, weights: str | None, replicas: int, requests: int, prompt: int, output: int, tensor: int
) -> tuple[float, float] | str:
    """Return the work and the starts of a token."""
    architecture, hardware = _architecture(model), replace(HARDWARE[machine], block_us=0.0)
    if architecture.stored.feed != "bf16":
        weights = None  # Published in few bits, and served so.
    try:
        deployment = Deployment(tensor, tensor * replicas if replicas > 1 else 1, weights)
        step = Roofline(architecture, hardware, prompt + output // 2, deployment=deployment).ms(requests, 1)
        prefill = Roofline(architecture, hardware, deployment=deployment).prefill_ms(prompt)
    except InputError as error:
        return str(error)
    prompts = PREFILL_SHARE * requests / output / replicas
    starts = sum(count * block.starts for block, count in architecture.blocks)
    return step + prompts * prefill, starts * (1 + prompts)


@cache
def _architecture(model: str) -> Architecture:
    return MODELS[model]


@cache
def _model_name(path: str) -> str | None:
    """Return the name in `MODELS` of a model as Hugging Face has it."""
    words = path.rstrip("/").rpartition("/")[2].lower().removeprefix("meta-").split("-")
    while words:
        if "-".join(words) in MODELS:
            return "-".join(words)
        if words.pop() not in SUFFIXES:
            return None
    return None


@cache
def _machine_name(system: str) -> str | None:
    """Return the name in `HARDWARE` of a GPU such as h100_sxm."""
    name = system.lower().replace("_", "-")
    return next((one for one in (name, name.removesuffix("-sxm"), name.removesuffix("-oam")) if one in HARDWARE), None)


def _whole(row: Mapping[str, Any], name: str, line: int, default: int | None = None) -> int:
    text = str(row.get(name) or "").strip()
    if not text and default is not None:
        return default
    value = int(text) if text.isdecimal() and len(text) < 9 else 0
    require(1 <= value <= LARGEST, f"serving line {line}: {name}", f"a whole number from 1 to {LARGEST}", text[:40])
    return value


def _milliseconds(row: Mapping[str, Any], line: int) -> float:
    text = str(row.get("silicon_tpot_ms") or "")
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    require(0 < value < 1e9, f"serving line {line}: silicon_tpot_ms", "a time above 0", text[:40])
    return value
