"""Trees against independent rollouts with the same seeds: the same code, the same model, the same streams of chance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from specdec.laws.language_model import LanguageModel, Tokens
from specdec.rollout.tree import Branch, Counters, RadixTree, grow

Fresh = Callable[[], LanguageModel]
"""Returns the model with an empty memory."""


@dataclass(frozen=True)
class Case:
    """One prompt.

    Members
    -------
    prompt : tuple of int
        At least one token.
    policy : callable
        From whether rollouts may share what they execute to the policy.
    tell : callable
        From a policy and the ends of its rollouts to numbers worth telling, to be added up.
    """

    prompt: Tokens
    policy: Callable[[bool], Any]
    tell: Callable[[Any, Sequence[Branch]], Mapping[str, float]]


@dataclass
class Way:
    """What rollouts came to in one way of sampling, over all prompts.

    Members
    -------
    rollouts, rollout_tokens : int
        How many, and the tokens of all of them, each with its own copy of what it shares.
    counters : Counters
        Their cost.
    told : dict from str to float
        Sums of what `Case.tell` says.
    """

    rollouts: int = 0
    rollout_tokens: int = 0
    counters: Counters = field(default_factory=Counters)
    told: dict[str, float] = field(default_factory=dict)

    def add(self, leaves: Sequence[Branch], counters: Counters, told: Mapping[str, float]) -> None:
        """Add the rollouts of a prompt."""
        self.rollouts += len(leaves)
        self.rollout_tokens += sum(len(leaf.path) for leaf in leaves)
        self.counters += counters
        self.told = {name: self.told.get(name, 0) + value for name, value in told.items()}

    def report(self) -> dict[str, float]:
        """Return all of it by name."""
        own = {"rollouts": self.rollouts, "rollout_tokens": self.rollout_tokens}
        return own | self.counters.report() | self.told

    def saving(self, other: "Way") -> dict[str, float]:
        """Return which shares of another way's cost this one saves: of a rollout, and where it says so of a token.

        Tokens and rounds are those of the model; seconds are wall-clock time, of which the processor's is a part.
        """
        cost, others = self.counters, other.counters
        rollouts, tokens = self.rollouts / other.rollouts, self.rollout_tokens / other.rollout_tokens
        return {
            "tokens": 1 - cost.tokens / others.tokens / rollouts,
            "tokens_per_token": 1 - cost.tokens / others.tokens / tokens,
            "rounds": 1 - cost.rounds / others.rounds / rollouts,
            "held": 1 - cost.held / others.held,
            "seconds": 1 - cost.seconds / others.seconds / rollouts,
            "seconds_per_token": 1 - cost.seconds / others.seconds / tokens,
            "processor_seconds": 1 - cost.processor_seconds / others.processor_seconds / rollouts,
        }


INDEPENDENT = ("side_by_side", "one_by_one")
"""Independent rollouts: in one batch, sharing the prompt; or one after the other, sharing nothing (linear decoding)."""


def compare(
    fresh: Fresh,
    cases: Sequence[Case],
    rollouts: int,
    widths: Sequence[int],
    first: int,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, parts: None,
) -> dict[str, Any]:
    """Sample rollouts in every way, the ways taking turns so that whatever else the machine does meets all.

    Parameters
    ----------
    fresh : callable
        See `Fresh`.
    cases : sequence of Case
        The prompts.
    rollouts : int
        Of each prompt and way.
    widths : sequence of int
        Of the trees: segments that may follow a segment.
    first : int
        Segments that begin at the root of a tree.
    seed : int
        Rollout ``i`` of prompt ``p`` draws from stream (seed, p, i) in every way.
    progress : callable
        Called with how many prompts are done, and of how many.

    Returns
    -------
    dict
        ``trees``, one for each width, and ``independent``, by name: reports, those of trees with their ``saving``
        against each kind of independent rollouts.
    """
    ways = {name: Way() for name in (*widths, *INDEPENDENT)}
    # The first pass of a process is slow.
    fresh().law(cases[0].prompt)
    for number, case in enumerate(cases):
        sample = partial(_sample, fresh, case, (seed, number))
        for width in widths:
            ways[width].add(*sample(True, [(0, rollouts, width, first)]))
        ways["side_by_side"].add(*sample(False, [(0, rollouts, 1, rollouts)]))
        ways["one_by_one"].add(*sample(False, [(index, 1, 1, 1) for index in range(rollouts)]))
        progress(number + 1, len(cases))
    independent = {name: ways[name] for name in INDEPENDENT}
    trees = []
    for width in widths:
        saving = {name: ways[width].saving(way) for name, way in independent.items()}
        trees.append({"width": width, "first": first, **ways[width].report(), "saving": saving})
    return {"trees": trees, "independent": {name: way.report() for name, way in independent.items()}}


def _sample(
    fresh: Fresh, case: Case, seed: tuple[int, ...], shared: bool, trees: Sequence[tuple[int, int, int, int]]
) -> tuple[list[Branch], Counters, Mapping[str, float]]:
    """Grow trees of (first stream, rollouts, width, first) one after the other."""
    policy, leaves, cost = case.policy(shared), [], Counters()
    for stream, *shape in trees:
        tree = RadixTree(fresh(), case.prompt, seed, stream)
        leaves += grow(tree, policy, *shape)
        cost += tree.counters
    return leaves, cost, case.tell(policy, leaves)
