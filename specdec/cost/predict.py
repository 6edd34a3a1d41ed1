"""What a tree is worth on given hardware and load: tokens per step, speedup by batch, where it stops paying and why."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtnerf.base.errors import InputError, require
from rtnerf.base.files import read_json
from specdec.cost.deployment import ALONE, Deployment
from specdec.cost.hardware import hardware_of
from specdec.cost.kernels import Kernels, passes
from specdec.cost.models import model_of
from specdec.cost.pass_time import FALL, Constant, Linear, Measured, PassTime
from specdec.cost.ranks import table
from specdec.cost.step import Speculation, Step
from specdec.cost.tables import read_table
from specdec.trees.shape import RankPath, Shape, expected_tokens

LARGEST_BATCH = 1024
"""The break-even batch is searched for up to here, to the last of the step times, or to the largest batch asked for."""


@dataclass(frozen=True)
class Prediction:
    """What speculation gains.

    Members
    -------
    tau : float
        Tokens per step, the bonus included.
    steps : dict of int to Step
        The parts of a step by batch.
    break_even_batch : int or None
        The smallest batch from which on speculation is slower than plain decoding, at every larger batch as well; None
        if it pays at the largest batch looked at.
    searched : int
        That batch.
    """

    tau: float
    steps: dict[int, Step]
    break_even_batch: int | None
    searched: int

    def speedup(self, batch: int) -> float:
        """Return tokens per second over those of plain decoding at one of the batches."""
        return self.tau / self.steps[batch].slowdown

    @property
    def bound_by(self) -> str:
        """The binding part of the step at the largest batch; `Step.bound_by` of the others may differ."""
        return self.steps[max(self.steps)].bound_by

    @property
    def summary(self) -> str:
        """The prediction as text."""
        lines = [
            f"tau {self.tau:.3f} tokens a step",
            " batch  speedup   step ms    plain   verify    draft     head     host  bound by",
        ]
        for batch, step in self.steps.items():
            parts = (step.plain, step.verification, step.draft, step.draft_head, step.host)
            bound = step.bound_by if step.resource is None else f"{step.bound_by} (pass: {step.resource})"
            lines.append(
                f"{batch:6d} {self.speedup(batch):8.3f} {step.ms:9.3f} {' '.join(f'{part:8.3f}' for part in parts)}"
                f"  {bound}{'' if step.known else ', beyond the step times'}"
            )
        return "\n".join([*lines, self.verdict])

    def _repr_html_(self) -> str:
        """The prediction as a table in a notebook."""
        names = ("batch", "speedup", "step ms", "plain", "verify", "draft", "head", "host", "bound by")
        rows = []
        for batch, step in self.steps.items():
            parts = (step.ms, step.plain, step.verification, step.draft, step.draft_head, step.host)
            rows.append([str(batch), f"{self.speedup(batch):.3f}", *(f"{part:.3f}" for part in parts), step.bound_by])
        head = "".join(f"<th>{name}</th>" for name in names)
        body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
        title = f"{self.tau:.3f} tokens a step; {self.verdict}"
        return f"<table><caption>{title}</caption><tr>{head}</tr>{body}</table>"

    @property
    def verdict(self) -> str:
        """Where it stops paying, in words."""
        if self.break_even_batch is None:
            return f"it pays up to batch {self.searched}, the largest looked at"
        return f"slower than plain decoding from batch {self.break_even_batch} on"

    def record(self) -> dict[str, Any]:
        """Return the prediction for a JSON file, times in ms."""
        return {
            "tau": self.tau,
            "speedup": {str(batch): self.speedup(batch) for batch in self.steps},
            "break_even_batch": self.break_even_batch,
            "bound_by": self.bound_by,
            "steps": [
                {
                    "batch": batch,
                    "speedup": self.speedup(batch),
                    "bound_by": step.bound_by,
                    "pass_bound_by": step.resource,
                    "step_ms": step.ms,
                    "plain_ms": step.plain,
                    "verification_ms": step.verification,
                    "draft_ms": step.draft,
                    "draft_head_ms": step.draft_head,
                    "host_ms": step.host,
                    "measured": step.known,
                }
                for batch, step in self.steps.items()
            ],
        }


def predict(tau: float, speculation: Speculation, batches: Sequence[int], search: int = LARGEST_BATCH) -> Prediction:
    """Predict for the batches, at least one; look for the break-even batch up to the largest of them and ``search``."""
    require(len(batches) > 0, "batch", "at least one number", "none")
    steps = {batch: speculation.step(batch) for batch in batches}
    for batch, step in steps.items():
        falling = f"{step.plain:g} falling to {step.plain + step.verification:g} at batch {batch}"
        rule = f"rising from one token a request to the tree, or falling by at most {FALL:.0%}"
        require(step.verification >= -FALL * step.plain, "step times", rule, falling)
    # Downwards: the first batch that pays ends the search.
    break_even, searched = None, max(*batches, search)
    for batch in range(searched, 0, -1):
        if tau / speculation.step(batch).slowdown >= 1:
            break
        break_even = batch
    return Prediction(tau, steps, break_even, searched)


def tokens_per_step(shape: Shape, rows: list[list[float]]) -> float:
    """Return tau of a tree from acceptance by rank, one row a depth; see `specdec.cost.ranks.table`."""
    most: dict[int, int] = {}
    for path in shape.paths:
        most[len(path)] = max(most.get(len(path), 0), path[-1] + 1)
    return float(expected_tokens(shape, table(rows, [most[depth] for depth in sorted(most)])))


def speculation_of(
    shape: Shape,
    step_times: Path | Mapping[int, float] | None = None,
    target: str | Path | None = None,
    hardware: str | Path | None = None,
    draft_ms: float | None = None,
    draft: str | Path | None = None,
    draft_vocabulary: int | None = None,
    draft_passes: int | None = None,
    host_ms: float = 0.0,
    context: int = 0,
    deployment: Deployment = ALONE,
    kernels: Path | None = None,
) -> tuple[Speculation, int]:
    """Return the cost of a tree as the command line describes it, and the largest batch that its data reach.

    The target is a file of `read_step_times`, a mapping from tokens to ms, or a model on hardware, each by its name or
    its file; the draft is the time of a pass, or a model on the hardware. The deployment is that of the target; the
    draft runs on the same machines. Kernels are a folder of measured ones, see `specdec.cost.kernels`.

    Raises
    ------
    InputError
        If the target or the draft is described twice, or the target not at all; and as what reads them.
    """
    require((step_times is None) != (target is None), "target", "given by step times or by name", "both or neither")
    require(draft is None or draft_ms is None, "draft", "given by its time or by name", "both")
    require(draft_vocabulary is None or draft is not None, "draft-vocabulary", "used with a named draft", "without")
    require(hardware is not None or (target is draft is None), "hardware", "given for named models", "missing")
    measured = None if kernels is None else Kernels(kernels)
    if step_times is not None:
        require(
            hardware is None or draft is not None,
            "hardware",
            "left out beside step times without a named draft",
            hardware,
        )
        times: PassTime
        times = _measured(step_times) if isinstance(step_times, Mapping) else read_step_times(step_times, context)
        table = isinstance(times, Measured)
        require(not (table and context and draft is None), "context", "left out with times by tokens alone", context)
        alone = deployment == ALONE and (kernels is None or draft is not None)
        require(alone, "parallelism, formats and kernels", "left out beside step times", "given")
        search = min(times.last // len(shape), LARGEST_BATCH) if isinstance(times, Measured) else LARGEST_BATCH
    else:
        model, machine = model_of(target or ""), hardware_of(hardware or "")
        deployment.check_spread(model)
        times, search = passes(measured, model, machine, context, deployment=deployment), LARGEST_BATCH
    drafting: PassTime = Constant(draft_ms or 0.0)
    if draft is not None:
        model, machine = model_of(draft), hardware_of(hardware or "")
        drafting = passes(measured, model, machine, context, draft_vocabulary, deployment.of_draft)
    return Speculation(shape, times, drafting, draft_passes, host_ms), search


# ---- Files ----


def read_tree(path: Path) -> Shape:
    """Read a tree: a JSON list of rank paths, in any order; the root, ``[]``, may be among them.

    Raises
    ------
    InputError
        If the file cannot be read or is no such list, or a node lacks its parent or an elder sibling.
    """
    paths = read_json("tree", path)
    fits = isinstance(paths, list) and all(isinstance(one, list) and all(map(_is_rank, one)) for one in paths)
    require(fits, "tree", "a JSON list of lists of ranks, each 0 or more", path)
    return Shape(_nodes(paths))


def read_acceptance(path: Path, depths: int) -> list[list[float]]:
    """Read acceptance: a JSON list with, per depth, a list of probabilities by rank; or one such list for all depths.

    Raises
    ------
    InputError
        If the file cannot be read or is no such list.
    """
    rows = read_json("acceptance", path)
    fits = isinstance(rows, list) and (
        all(map(_is_number, rows)) or all(isinstance(row, list) and all(map(_is_number, row)) for row in rows)
    )
    require(fits, "acceptance", "a JSON list with a list of probabilities per depth", path)
    return acceptance_rows(rows, depths)


def acceptance_rows(acceptance: Sequence[Sequence[float]] | Sequence[float], depths: int) -> list[list[float]]:
    """Return acceptance as a list per depth; a single list of numbers serves for all ``depths``."""
    rows: Any = list(acceptance)
    if rows and all(isinstance(row, int | float) for row in rows):
        return [rows] * depths
    return [list(row) for row in rows]


def read_step_times(path: Path, context: int = 0) -> Measured | Linear:
    """Read a CSV file with the columns ``tokens`` and ``ms``: a table of passes by the tokens of all requests.

    If it has ``batch`` and ``context`` as well, passes on ``tokens`` tokens of each of ``batch`` requests with
    ``context`` cached tokens each, a regression is fitted to them, for requests with the ``context`` given.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or holds other than numbers; and as `Measured` and `Linear.fit`.
    """
    columns, points = read_table("step times", path)
    require({"tokens", "ms"} <= set(columns), "columns of the step times", "tokens,ms", ",".join(columns) or "none")
    names = ["batch", "tokens", "context"] if {"batch", "context"} <= set(columns) else ["tokens"]
    passes, ms = [], []
    for point in points:
        try:
            passes.append(tuple(int(point[name]) for name in names))
            ms.append(float(point["ms"]))
        except (TypeError, ValueError):
            found = ",".join(str(point[name]) for name in [*names, "ms"])
            raise InputError(f"step times must be whole numbers and a time a line, not {found}") from None
    if len(names) > 1:
        return Linear.fit(passes, ms, context)
    order = sorted(range(len(ms)), key=passes.__getitem__)
    return Measured([passes[index][0] for index in order], [ms[index] for index in order])


def _measured(times: Mapping[int, float]) -> Measured:
    tokens = sorted(times)
    return Measured(tokens, [times[count] for count in tokens])


def _nodes(paths: Iterable[list[int]]) -> list[RankPath]:
    return [tuple(path) for path in paths if path]


def _is_rank(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)
