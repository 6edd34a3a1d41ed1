"""The advice: for every method, batch and context the best plan, its gain and why, and schedules for engines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rtnerf.base.errors import require
from specdec.advice.drafters import PASS_HOST_MS, Drafter, drafter
from specdec.advice.plans import Choice, Costs, Plan, Timed, chains, trees
from specdec.advice.reasons import reason
from specdec.advice.schedule import Ranges, batches_to
from specdec.cost.deployment import ALONE, Deployment
from specdec.cost.hardware import hardware_of
from specdec.cost.kernels import Kernels
from specdec.cost.memory import Setting
from specdec.cost.models import model_of
from specdec.cost.step import Step
from specdec.laws.acceptance_length import AcceptanceLaw, believe, expect
from specdec.trees.shape import Shape

LONGEST = 8
"""Drafted tokens of a chain that are looked at, unless acceptance is known for more."""

DEEPEST = 10
"""Levels of a tree below its root."""

LARGEST_BATCH = 1024
"""Of schedules, unless a larger one is asked for."""

LOWER = 0.9
"""What if the acceptance length is 10 % lower?"""


@dataclass(frozen=True)
class Cell:
    """The best plan of a method for a batch and a context.

    Members
    -------
    context, batch : int
    plan : Plan
    tau : float
        Tokens of a step, the bonus included.
    step : Step
        The parts of the step.
    speedup, speedup_fixed, speedup_if_lower : float
        Over plain decoding: of the plan, of the length for which acceptance was given, and of the plan if the
        acceptance length is 10 % lower.
    memory : dict
        Of `specdec.cost.memory.Memory`; ``fits`` alone, None, where it is not known.
    would_fit : list of str
        Changes with which it fits, where it does not.
    ttft_ms : float
        Of one prompt of the context's length, alone on the machines; NaN where it is not known.
    """

    context: int
    batch: int
    plan: Plan
    tau: float
    step: Step
    speedup: float
    speedup_fixed: float
    speedup_if_lower: float
    memory: dict[str, Any]
    would_fit: list[str]
    ttft_ms: float

    @property
    def tpot_ms(self) -> float:
        """Mean time of a token of one request."""
        return self.step.ms / self.tau

    @property
    def cost_coefficient(self) -> float | None:
        """Leviathan's c: the time of drafting a level, the host's included, over that of a plain step."""
        drafting = self.step.draft + self.step.draft_head + self.step.host
        return drafting / self.plan.levels / self.step.plain if self.plan.levels else None

    @property
    def reason(self) -> str:
        """Why, in one line."""
        return reason(self.plan.name, self.tau, self.step, self.speedup)

    def record(self) -> dict[str, Any]:
        """Return the cell for a JSON file."""
        return {
            "context": self.context,
            "batch": self.batch,
            "plan": self.plan.name,
            "drafted": len(self.plan.shape) - 1,
            "levels": self.plan.levels,
            "tau": self.tau,
            "speedup": self.speedup,
            "speedup_fixed": self.speedup_fixed,
            "speedup_if_lower": self.speedup_if_lower,
            "bound_by": self.step.bound_by,
            "pass_bound_by": self.step.resource,
            "step_ms": self.step.ms,
            "plain_ms": self.step.plain,
            "verification_ms": self.step.verification,
            "draft_ms": self.step.draft + self.step.draft_head,
            "host_ms": self.step.host,
            "cost_coefficient": self.cost_coefficient,
            "tpot_ms": self.tpot_ms,
            "ttft_ms": self.ttft_ms,
            "tokens_per_second": 1000 / self.tpot_ms,
            "tokens_per_second_total": 1000 * self.batch / self.tpot_ms,
            "measured": self.step.known,
            "memory": self.memory,
            "would_fit": self.would_fit,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Advice:
    """What one method gives.

    Members
    -------
    method : str
    law : AcceptanceLaw
        Acceptance by depth.
    known : int
        The most drafted tokens for which the acceptance length was given.
    cells : list of Cell
    schedule : dict of int to Ranges
        By context: the length of a chain by batch.
    break_even : dict of int to (int or None)
        By context: from which batch on the length ``known`` loses.
    """

    method: str
    law: AcceptanceLaw
    known: int
    cells: list[Cell]
    schedule: dict[int, Ranges]
    break_even: dict[int, int | None]

    @property
    def value(self) -> float:
        """What methods are compared by: the mean gain over all that is asked."""
        gains = [cell.speedup for cell in self.cells]
        return sum(gains) / len(gains)

    def by(self, name: str) -> dict[str, dict[str, Any]]:
        """Return one entry of the cells' records by context and batch."""
        found: dict[str, dict[str, Any]] = {}
        for cell in self.cells:
            found.setdefault(str(cell.context), {})[str(cell.batch)] = cell.record()[name]
        return found

    def record(self) -> dict[str, Any]:
        """Return the advice for a JSON file: tables by context and batch."""
        total, user = self.by("tokens_per_second_total"), self.by("tokens_per_second")
        return {
            "method": self.method,
            "acceptance": {"first": self.law.first, "decay": self.law.decay},
            "schedule": {str(context): [list(one) for one in ranges] for context, ranges in self.schedule.items()},
            "speedup": self.by("speedup"),
            "break_even": {str(context): batch for context, batch in self.break_even.items()},
            "bound_by": self.by("bound_by"),
            "fits": {
                context: {batch: memory["fits"] for batch, memory in row.items()}
                for context, row in self.by("memory").items()
            },
            "tokens_per_second": {
                context: {batch: {"user": user[context][batch], "total": value} for batch, value in row.items()}
                for context, row in total.items()
            },
            "cells": [cell.record() for cell in self.cells],
        }


@dataclass(frozen=True)
class Question:
    """What is asked, but for the method; times in ms.

    Members
    -------
    target, hardware : str or path
    deployment : Deployment
    batches, contexts : sequence of int
        To answer for, rising.
    nodes : int or None
        Of the largest tree, the root included; None for chains alone.
    longest : int or None
        Drafted tokens of the longest chain.
    fixed : mapping of str to Shape
        Trees to compare by name.
    host_ms, pass_host_ms : float
        Outside the machines, of a step and of every pass of the draft.
    kernels : path or None
        A folder of measured kernels of the hardware.
    """

    target: str | Path
    hardware: str | Path
    deployment: Deployment = ALONE
    batches: Sequence[int] = (1, 8, 64)
    contexts: Sequence[int] = (1000,)
    nodes: int | None = None
    longest: int | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    host_ms: float = 0.0
    pass_host_ms: float = PASS_HOST_MS
    kernels: Path | None = None


def advise(
    question: Question,
    method: str,
    lengths: Mapping[int, float],
    draft: str | Path | None = None,
    vocabulary: int | None = None,
) -> Advice:
    """Answer for one method.

    Parameters
    ----------
    question : Question
    method : str
        Of `specdec.advice.drafters.METHODS`.
    lengths : mapping of int to float
        Acceptance lengths by drafted tokens, one at least; those of other numbers are expected from them, see
        `specdec.laws.acceptance_length.expect`.
    draft, vocabulary
        As for `specdec.advice.drafters.drafter`.

    Raises
    ------
    InputError
        If something is out of range or unknown.
    """
    target, hardware = model_of(question.target), hardware_of(question.hardware)
    question.deployment.check_spread(target)
    way = drafter(method, target, draft, vocabulary)
    law, known = believe(lengths), max(lengths)
    lower = expect({drafted: max(LOWER * length, 1.0) for drafted, length in lengths.items()})
    plans = _plans(way, law, max(question.longest or LONGEST, known), question.nodes, question.fixed)
    setting = Setting(target, hardware, question.deployment, way.run(known), way.own_formats)
    kernels = None if question.kernels is None else Kernels(question.kernels)
    costs = [
        Costs(target, hardware, question.deployment, way, context, question.host_ms, question.pass_host_ms, kernels)
        for context in question.contexts
    ]
    return _advice(method, law, lower, known, plans, costs, question.batches, setting)


def advise_timed(
    costs: Sequence[Timed],
    lengths: Mapping[int, float],
    batches: Sequence[int],
    law: AcceptanceLaw | None = None,
    nodes: int | None = None,
    longest: int | None = None,
    fixed: Mapping[str, Shape] = MappingProxyType({}),
) -> Advice:
    """Answer where the times of passes are known; whether it fits in memory and the time to the first token are not.

    Parameters
    ----------
    costs : sequence of Timed
        Of one method, a context each.
    lengths : mapping of int to float
        As for `advise`; what is expected of them unless a ``law`` is given.
    batches, nodes, longest, fixed
        As of `Question`; with a ``law`` no more is drafted than ``lengths`` has.
    """
    known, way = max(lengths), costs[0].drafter
    lower = expect({drafted: max(LOWER * length, 1.0) for drafted, length in lengths.items()})
    most = known if law is not None else max(longest or LONGEST, known)
    expected = law or believe(lengths)
    plans = _plans(way, expected, most, nodes, fixed)
    return _advice(way.name, expected, lower, known, plans, costs, batches, None)


def _plans(way: Drafter, law: AcceptanceLaw, most: int, nodes: int | None, fixed: Mapping[str, Shape]) -> list[Plan]:
    plans = chains(most)
    if nodes is not None:
        require(way.branches, "nodes", f"left out with method {way.name}, which makes chains", nodes)
        plans += trees(law, nodes, DEEPEST)
    return [*plans, *(Plan(name, shape, max(shape.levels()) == 1) for name, shape in fixed.items())]


def _advice(
    method: str,
    law: AcceptanceLaw,
    lower: AcceptanceLaw,
    known: int,
    plans: Sequence[Plan],
    costs: Sequence[Costs] | Sequence[Timed],
    asked: Sequence[int],
    setting: Setting | None,
) -> Advice:
    cells: list[Cell] = []
    schedule, break_even = {}, {}
    batches = batches_to(max(*asked, LARGEST_BATCH))
    at_known = next(place for place, plan in enumerate(plans, 1) if plan.chain and plan.levels == known)
    for one in costs:
        choice = Choice(one, law, plans)
        schedule[one.context] = choice.schedule(batches)
        break_even[one.context] = choice.break_even(at_known, batches)
        cells += [_cell(choice, lower, at_known, setting, batch) for batch in asked]
    return Advice(method, law, known, cells, schedule, break_even)


def _cell(choice: Choice, lower: AcceptanceLaw, at_known: int, setting: Setting | None, batch: int) -> Cell:
    place = choice.best(batch)
    plan, context = choice.plans[place], choice.costs.context
    step = choice.costs.step(plan, batch)
    tau = plan.tokens(choice.law)
    memory = None if setting is None else setting.memory(batch, context)
    return Cell(
        context,
        batch,
        plan,
        tau,
        step,
        tau / step.slowdown,
        choice.gain(at_known, batch),
        plan.tokens(lower) / step.slowdown,
        {"fits": None} if memory is None else memory.record(),
        [] if setting is None or memory is None or memory.fits else list(setting.what_fits(batch, context)),
        choice.costs.first_ms(),
    )
