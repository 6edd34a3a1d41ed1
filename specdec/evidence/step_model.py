"""What the model says of one published row: tokens, times and speedup of a step under stated conditions."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np

from rtnerf.base.errors import require
from specdec.cost import pass_time
from specdec.cost.deployment import ALONE, Deployment
from specdec.cost.hardware import hardware_of
from specdec.cost.models import model_of
from specdec.cost.parts import Parts
from specdec.cost.pass_time import PassTime
from specdec.cost.predict import tokens_per_step
from specdec.cost.ranks import ranks_of_one
from specdec.cost.roofline import Roofline
from specdec.laws.acceptance_length import AcceptanceLaw
from specdec.trees.shape import Shape, expected_tokens

QUANTITIES = ("tau", "ms", "slowdown", "speedup", "tokens_per_s", "drafted")
"""Tokens of a step; its time; that over a plain step's; tau over that; tokens/s of all requests; the best length."""

FITTABLE: Mapping[str, tuple[float, float, float]] = MappingProxyType({
    "tau": (2.0, 1.0, 100.0),
    "first": (0.7, 0.0, 1.0),
    "decay": (0.95, 0.1, 1.5),
    "base_ms": (10.0, 0.0, 1e6),
    "experts_ms": (3.0, 0.0, 1e6),
    "token_ms": (0.02, 0.0, 1e6),
    "above_ms": (0.02, 0.0, 1e6),
    "request_ms": (0.02, 0.0, 1e6),
    "cache_us": (0.2, 0.0, 1e6),
    "draft_ms": (0.5, 0.0, 1e6),
    "draft_host_ms": (0.1, 0.0, 1e6),
    "host_ms": (0.5, 0.0, 1e6),
    "block_us": (25.0, 0.0, 1e4),
    "reached": (1.0, 0.01, 10.0),
})  # fmt: skip
"""Numbers that may be fitted, each with where the fit starts, and its range; one that is given starts as given.
``host_ms`` is what speculation costs a step beside the passes, ``draft_host_ms`` what a draft's pass costs beside its
own time; ``reached`` is the speed over the roofline's."""

WHOLE = {"batch": 65536, "context": 1 << 24, "drafted": 64, "most": 128, "tokens": 1 << 20, "draft_passes": 1 << 20,
         "tensor_parallel": 4096, "expert_parallel": 4096}  # fmt: skip
"""Whole numbers, from 0, with the most that they may be."""

OTHERS = ("chosen", "knee")
TEXTS = ("quantity", "target", "hardware", "weights", "kv")


@dataclass(frozen=True)
class Conditions:
    """Of a row.

    Members
    -------
    quantity : str
        One of `QUANTITIES`.
    batch, context : int
        Requests in a step, and cached tokens of each.
    drafted : int or None
        Tokens of the chain that is drafted, 0 for plain decoding; None for the best number up to ``most``.
    most : int
    tokens, draft_passes : int or None
        Tokens that the target reads of a request, and draft passes, where they are not those of the chain or tree.
    tree : Shape or None
        In place of a chain.
    ranks : tuple of tuple of float
        Acceptance by depth and rank; else it is a law of ``first`` and ``decay``, or ``tau`` itself. Of a tree, the
        ranks after the first share what that leaves as Sequoia's do.
    passes : tuple of (int, float)
        Times of the target by tokens, in ms; else of ``target`` on ``hardware``, or of parts, see `Parts`.
    numbers : dict of str to float
        Of `FITTABLE`, and ``chosen`` and ``knee`` of `Parts`.
    """

    quantity: str
    batch: int = 1
    context: int = 0
    drafted: int | None = 0
    most: int = 8
    tokens: int | None = None
    draft_passes: int | None = None
    tree: Shape | None = None
    ranks: tuple[tuple[float, ...], ...] = ()
    passes: tuple[tuple[int, float], ...] = ()
    target: str | None = None
    hardware: str = ""
    deployment: Deployment = ALONE
    numbers: Mapping[str, float] = field(default_factory=dict)

    def at(self, name: str, value: float) -> "Conditions":
        """Return the conditions with another batch or context."""
        where = round(value)
        return replace(self, batch=where) if name == "batch" else replace(self, context=where)

    def start(self, name: str) -> float:
        """Return where the fit of a number starts."""
        return self.numbers.get(name, FITTABLE[name][0])

    def predict(self, fitted: Mapping[str, float]) -> float:
        """Return the quantity, with some numbers fitted."""
        numbers = {**self.numbers, **fitted}
        drafted = self._best(numbers) if self.drafted is None else self.drafted
        if self.quantity == "drafted":
            return float(drafted)
        if self.quantity == "tau":
            return self._tau(drafted, numbers)
        step = self._step_ms(drafted, numbers)
        require(step > 0, "time of a row", "above 0", f"{step:g}")
        if self.quantity == "ms":
            return step
        if self.quantity == "tokens_per_s":
            return 1000 * self.batch * self._tau(drafted, numbers) / step
        slowdown = step / self.passes_of(numbers).ms(self.batch, 1)
        return slowdown if self.quantity == "slowdown" else self._tau(drafted, numbers) / slowdown

    def _best(self, numbers: Mapping[str, float]) -> int:
        def gain(drafted: int) -> float:
            return self._tau(drafted, numbers) / max(self._step_ms(drafted, numbers), 1e-12)

        return max(range(self.most + 1), key=gain)

    def _tau(self, drafted: int, numbers: Mapping[str, float]) -> float:
        shape = self.tree
        if shape is None and drafted == 0 and (self.tokens or 1) == 1:
            return 1.0
        if "tau" in numbers:
            return numbers["tau"]
        if self.ranks:
            return tokens_per_step(shape or Shape.constant([1] * drafted), [list(row) for row in self.ranks])
        require("first" in numbers, "acceptance of a row", "given by tau, ranks or first", "missing")
        law = AcceptanceLaw(numbers["first"], numbers.get("decay", 1.0))
        if shape is None:
            return law.length(drafted)
        firsts = np.minimum(law.first * law.decay ** np.arange(len(shape.levels()) - 1), 1)
        return float(expected_tokens(shape, np.array([ranks_of_one(float(one)) for one in firsts])))

    def _step_ms(self, drafted: int, numbers: Mapping[str, float]) -> float:
        levels = drafted if self.tree is None else len(self.tree.levels()) - 1
        tokens = self.tokens or (drafted + 1 if self.tree is None else len(self.tree))
        ms = self.passes_of(numbers).ms(self.batch, tokens)
        if tokens == 1:
            return ms
        draft = numbers.get("draft_ms", 0.0) + numbers.get("draft_host_ms", 0.0)
        passes = levels if self.draft_passes is None else self.draft_passes
        return ms + passes * draft + numbers.get("host_ms", 0.0)

    def passes_of(self, numbers: Mapping[str, float]) -> PassTime:
        """Return the target's passes, with some numbers fitted."""
        if self.passes:
            return _table(self.passes)
        if self.target is not None:
            reached = numbers.get("reached", 1.0)
            machine = hardware_of(self.hardware)
            machine = replace(
                machine,
                bandwidth=machine.bandwidth * reached,
                peak=machine.peak * reached,
                fp8=machine.fp8 * reached,
                int8=machine.int8 * reached,
                fp4=machine.fp4 * reached,
                block_us=numbers.get("block_us", machine.block_us),
            )
            model = _model(self.target)
            return _Both(
                Roofline(model, machine, self.context, deployment=self.deployment), _parts(numbers, self.context)
            )
        return _parts(numbers, self.context)


@dataclass(frozen=True)
class Measured:
    """A published row.

    Members
    -------
    name, note : str
    value : float
        Above 0.
    conditions : Conditions
    fitted, bounded : bool
        Whether it is used for the fit, and for the bound.
    """

    name: str
    note: str
    value: float
    conditions: Conditions
    fitted: bool = True
    bounded: bool = True


@dataclass(frozen=True)
class _Both(PassTime):
    """A pass and what it costs besides."""

    first: PassTime
    second: PassTime

    def ms(self, batch: int, tokens: int) -> float:
        return self.first.ms(batch, tokens) + self.second.ms(batch, tokens)


def _parts(numbers: Mapping[str, float], context: int) -> Parts:
    known = {one.name for one in fields(Parts)}
    return Parts(**{key: value for key, value in numbers.items() if key in known}, context=context)


@cache
def _table(points: tuple[tuple[int, float], ...]) -> pass_time.Measured:
    return pass_time.Measured(*map(list, zip(*points, strict=True)))


_model = cache(model_of)


# ---- From TOML ----


def conditions(given: Mapping[str, Any], series: str) -> Conditions:
    """Check a row's conditions.

    Raises
    ------
    InputError
        If one is unknown, of the wrong kind or out of range, or there is no time where the quantity needs one.
    """
    given = dict(given)
    found: dict[str, Any] = {}
    if "children" in given:
        found["tree"] = _tree(given.pop("children"), series)
    if "ranks" in given:
        found["ranks"] = _ranks(given.pop("ranks"), series)
    if "step_times" in given:
        found["passes"] = _points(given.pop("step_times"), series)
    if given.get("drafted") == "best":
        found["drafted"] = None
        del given["drafted"]
    numbers: dict[str, float] = {}
    parallel: dict[str, int] = {}
    for key, value in given.items():
        name = f"{key[:40]} of a row of {series}"
        if key in WHOLE:
            require(
                type(value) is int and 0 <= value <= WHOLE[key],
                name,
                f"a whole number to {WHOLE[key]}",
                str(value)[:40],
            )
            (parallel if key.endswith("parallel") else found)[key] = value
        elif key in FITTABLE or key in OTHERS:
            fits = type(value) in (int, float) and 0 <= value <= 1e9
            require(fits, name, "a number from 0 to 1e9", str(value)[:40])
            numbers[key] = float(value)
        else:
            rule = f"among {', '.join([*WHOLE, *FITTABLE, *OTHERS, *TEXTS, 'children', 'ranks', 'step_times'])}"
            require(key in TEXTS, f"conditions of a row of {series}", rule, key[:40])
            require(isinstance(value, str), name, "a text", str(value)[:40])
            found[key] = value
    formats = {"weights": found.pop("weights", None), "kv": found.pop("kv", None)}
    tensor, experts = parallel.get("tensor_parallel", 1), parallel.get("expert_parallel", 1)
    result = Conditions(**found, deployment=Deployment(tensor, experts, **formats), numbers=numbers)
    require(
        result.quantity in QUANTITIES,
        f"quantity of a row of {series}",
        f"one of {', '.join(QUANTITIES)}",
        result.quantity,
    )
    require(result.batch >= 1, f"batch of a row of {series}", "at least 1", result.batch)
    if result.target is not None:
        result.deployment.check(_model(result.target), hardware_of(result.hardware))
    return result


def _tree(children: Any, series: str) -> Shape:
    fits = isinstance(children, Mapping) and len(children) <= 1000
    fits = fits and all(type(count) is int and 0 <= count <= 1000 for count in children.values())
    require(fits, f"children of a row of {series}", "a table of numbers of children by rank path", str(children)[:40])
    return Shape.of_children(children)


def _ranks(rows: Any, series: str) -> tuple[tuple[float, ...], ...]:
    fits = isinstance(rows, list) and bool(rows) and all(isinstance(row, list) and row for row in rows)
    fits = fits and all(type(one) in (int, float) and 0 <= one <= 1 for row in rows for one in row)
    require(fits, f"ranks of a row of {series}", "a list per depth of probabilities by rank", str(rows)[:40])
    return tuple(tuple(map(float, row)) for row in rows)


def _points(table: Any, series: str) -> tuple[tuple[int, float], ...]:
    fits = (
        isinstance(table, Mapping)
        and {*table} == {"tokens", "ms"}
        and all(isinstance(one, list) for one in table.values())
    )
    fits = fits and len(table["tokens"]) == len(table["ms"]) > 0 and all(type(one) is int for one in table["tokens"])
    fits = fits and all(type(one) in (int, float) and 0 < one < 1e9 for one in table["ms"])
    require(fits, f"step_times of a row of {series}", "{tokens = [...], ms = [...]}, equally long", str(table)[:40])
    points = tuple(zip(table["tokens"], map(float, table["ms"]), strict=True))
    _table(points)
    return points
