"""What a step may draft, chains and trees, and what each costs with one way of drafting at one length of context."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import nan

import numpy as np

from specdec.advice.drafters import Drafter
from specdec.advice.schedule import Ranges, schedule
from specdec.cost.architecture import Architecture
from specdec.cost.deployment import Deployment
from specdec.cost.hardware import Hardware
from specdec.cost.kernels import Kernels, passes
from specdec.cost.pass_time import Constant, PassTime
from specdec.cost.ranks import ranks_of_one
from specdec.cost.roofline import Roofline
from specdec.cost.step import Speculation, Step
from specdec.laws.acceptance_length import AcceptanceLaw
from specdec.trees.shape import Shape, expected_tokens, greedy_shape


@dataclass(frozen=True)
class Plan:
    """What a step drafts.

    Members
    -------
    name : str
    shape : Shape
    chain : bool
        Whether it has no branches.
    """

    name: str
    shape: Shape
    chain: bool = True

    @property
    def levels(self) -> int:
        """Levels below the root."""
        return len(self.shape.levels()) - 1

    def tokens(self, law: AcceptanceLaw) -> float:
        """Return the tokens of a step, the bonus included."""
        if self.chain:
            return law.length(self.levels)
        return float(expected_tokens(self.shape, by_rank(law, self.levels)))


OFF = Plan("off", Shape([]))


def by_rank(law: AcceptanceLaw, levels: int) -> np.ndarray:
    """Return acceptance, shape (levels, ranks): first ranks by the law, the others by Sequoia's shares."""
    rates = np.minimum(law.first * law.decay ** np.arange(levels), 1)
    return np.array([ranks_of_one(rate) for rate in rates.tolist()])


def chains(longest: int) -> list[Plan]:
    """Return the chains of 1 to ``longest`` drafted tokens."""
    return [Plan(f"K={length}", Shape.constant([1] * length)) for length in range(1, longest + 1)]


def trees(law: AcceptanceLaw, nodes: int, deepest: int) -> list[Plan]:
    """Return the trees that gain most, of 4, 8, 16 and so on to ``nodes`` nodes, the root included."""
    sizes = [*(size for size in (2**power for power in range(2, 20)) if size < nodes), nodes]
    table = by_rank(law, deepest)
    shapes = {size: greedy_shape(table, size) for size in sizes}
    return [Plan(f"tree of {len(shape)}", shape, False) for shape in shapes.values() if max(shape.levels()) > 1]


@dataclass(frozen=True)
class Costs:
    """What steps cost on machines, for one target and one way of drafting, at one length of context.

    Members
    -------
    target : Architecture
    hardware : Hardware
    deployment : Deployment
    drafter : Drafter
    context : int
        Cached tokens of a request.
    host_ms, pass_host_ms : float
        Time outside the machines, of a step and of every pass of the draft.
    kernels : Kernels or None
        Measured kernels of the hardware.
    """

    target: Architecture
    hardware: Hardware
    deployment: Deployment
    drafter: Drafter
    context: int
    host_ms: float
    pass_host_ms: float
    kernels: Kernels | None = None

    @cached_property
    def passes(self) -> Roofline:
        """The target's."""
        return passes(self.kernels, self.target, self.hardware, self.context, deployment=self.deployment)

    @cached_property
    def _one_draft(self) -> PassTime:
        return self._drafting(1)

    def draft(self, levels: int) -> PassTime:
        """Return the draft's passes for so many levels."""
        return self._drafting(levels) if self.drafter.by_level else self._one_draft

    def _drafting(self, levels: int) -> PassTime:
        model = self.drafter.run(levels)
        if model is None:
            return Constant(0.0)
        deployment = self.deployment if self.drafter.own_formats else self.deployment.of_draft
        return passes(self.kernels, model, self.hardware, self.context, deployment=deployment)

    def speculation(self, plan: Plan) -> Speculation:
        """Return the cost of a plan."""
        count = self.drafter.count(plan.levels)
        one = None if count == plan.levels else count
        host = (self.host_ms + count * self.pass_host_ms) if plan.levels else 0.0
        return Speculation(plan.shape, self.passes, self.draft(plan.levels), one, host)

    def step(self, plan: Plan, batch: int) -> Step:
        """Return the parts of a step."""
        return self.speculation(plan).step(batch)

    def first_ms(self) -> float:
        """Return the time to the first token of a prompt of the context's length, alone on the machines."""
        return self.passes.prefill_ms(max(self.context, 1))


@dataclass(frozen=True)
class Timed:
    """What steps cost where the times of passes are known, measured or fitted to what was, at one length of context.

    Members
    -------
    drafter : Drafter
        Of which the number of passes counts.
    context : int
        Cached tokens of a request.
    target : PassTime
        At that context.
    draft_ms, host_ms : float
        Of a pass of the draft, the host's time included; of a step that drafts, beside the passes.
    draft_passes : int or None
        Of a step, where it is not the drafter's number.
    """

    drafter: Drafter
    context: int
    target: PassTime
    draft_ms: float = 0.0
    host_ms: float = 0.0
    draft_passes: int | None = None

    def speculation(self, plan: Plan) -> Speculation:
        """Return the cost of a plan."""
        if not plan.levels:
            return Speculation(plan.shape, self.target)
        count = self.drafter.count(plan.levels) if self.draft_passes is None else self.draft_passes
        return Speculation(plan.shape, self.target, Constant(self.draft_ms), count, self.host_ms)

    def step(self, plan: Plan, batch: int) -> Step:
        """Return the parts of a step."""
        return self.speculation(plan).step(batch)

    def first_ms(self) -> float:
        """Return NaN: not known."""
        return nan


class Choice:
    """The best of some plans by batch, at one length of context.

    Parameters
    ----------
    costs : Costs or Timed
    law : AcceptanceLaw
        Of the drafted tokens.
    plans : sequence of Plan
        To choose among, beside drafting nothing.
    """

    def __init__(self, costs: Costs | Timed, law: AcceptanceLaw, plans: Sequence[Plan]):
        self.costs = costs
        self.law = law
        self.plans = [OFF, *plans]
        self._tokens = np.array([plan.tokens(law) for plan in self.plans])
        self._speculations = [costs.speculation(plan) for plan in self.plans]

    def rates(self, batch: int) -> np.ndarray:
        """Return tokens a second and request of every plan, drafting nothing first."""
        return np.array([self._rate(place, batch) for place in range(len(self.plans))])

    def _rate(self, place: int, batch: int) -> float:
        return float(1000 * self._tokens[place] / self._speculations[place].ms(batch))

    def best(self, batch: int) -> int:
        """Return the place of the fastest plan."""
        return int(self.rates(batch).argmax())

    def schedule(self, batches: Sequence[int]) -> Ranges:
        """Return the chains' lengths for ranges of batches; they lose little to the best, see `schedule`."""
        places = [place for place, plan in enumerate(self.plans) if plan.chain]
        # Of chains alone, as batches are many and trees slow.
        rates = np.array([[self._rate(place, batch) for place in places] for batch in batches])
        return schedule(batches, rates, [self.plans[place].levels for place in places])

    def gain(self, place: int, batch: int) -> float:
        """Return a plan's tokens a second over those of drafting nothing."""
        return self._rate(place, batch) / self._rate(0, batch)

    def break_even(self, place: int, batches: Sequence[int]) -> int | None:
        """Return the smallest batch from which on a plan loses; None if it gains at the last of some rising batches.

        Between neighbours of the list the gain is taken to cross 1 once.
        """
        losing = [self.gain(place, batch) < 1 for batch in batches]
        if not losing[-1]:
            return None
        last_gain = max((index for index, lost in enumerate(losing) if not lost), default=-1)
        if last_gain < 0:
            return batches[0]
        low, high = batches[last_gain], batches[last_gain + 1]
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.gain(place, middle) < 1 else (middle, high)
        return high
