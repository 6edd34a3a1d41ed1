"""The radix tree of what rollouts have in common, how it grows, and what that costs.

Rollouts of one prompt are paths from the root. They are decoded segment by segment, side by side; where a path forks,
the children share all that is before. Independent rollouts are the tree that forks at its root only: they run through
the same code, with the same seeds.
"""

import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rtnerf.base.errors import InputError, require
from specdec.laws.chance import Chance, Sampler
from specdec.laws.language_model import LanguageModel, Tokens


@dataclass(frozen=True)
class Counters:
    """What rollouts cost.

    Members
    -------
    prompt : int
        Tokens of prompts read.
    tokens : int
        Distinct tokens after the prompts: each is computed, and held, once.
    rounds : int
        Passes of the model, one after the other.
    rows : int
        Tokens drawn: paths decoded, summed over the rounds.
    held : int
        The most tokens whose keys and values had to be held at once, prompts included: those on unfinished paths.
    model_seconds, outside_seconds : float
        Wall-clock time of decoding, and of what was executed between segments.
    processor_seconds : float
        Of both, processes started included.
    """

    prompt: int = 0
    tokens: int = 0
    rounds: int = 0
    rows: int = 0
    held: int = 0
    model_seconds: float = 0.0
    outside_seconds: float = 0.0
    processor_seconds: float = 0.0

    @property
    def batch(self) -> float:
        """Mean batch width: paths in a round."""
        return self.rows / max(self.rounds, 1)

    @property
    def seconds(self) -> float:
        """Wall-clock time of all."""
        return self.model_seconds + self.outside_seconds

    def __add__(self, later: "Counters") -> "Counters":
        """Return the cost of one run after the other."""
        total = {name: value + getattr(later, name) for name, value in vars(self).items()}
        return Counters(**total | {"held": max(self.held, later.held)})

    def report(self) -> dict[str, float]:
        """Return all of it by name."""
        return vars(self) | {"batch": self.batch, "seconds": self.seconds}


@dataclass(eq=False)
class Branch:
    """A node of the tree: the tokens of one segment.

    Members
    -------
    parent : Branch or None
        What is before; None for the root, which has no tokens.
    chance : Chance
        Where its draws come from.
    tokens, log_p : list
        Its tokens, and their log-probabilities (nats); 0 for tokens that were fed.
    children : list of Branch
        What follows.
    note : object
        What a policy keeps about the path as far as here.
    """

    parent: "Branch | None"
    chance: Chance
    tokens: list[int] = field(default_factory=list)
    log_p: list[float] = field(default_factory=list)
    children: list["Branch"] = field(default_factory=list)
    note: Any = None

    def __post_init__(self) -> None:
        self._before: Tokens = self.parent.path if self.parent else ()

    @property
    def path(self) -> Tokens:
        """All tokens from the root to the end of this branch."""
        return self._before + tuple(self.tokens)

    @property
    def ancestors(self) -> list["Branch"]:
        """What is before, from the parent to the root."""
        found, branch = [], self.parent
        while branch:
            found.append(branch)
            branch = branch.parent
        return found

    @property
    def leaves(self) -> Iterator["Branch"]:
        """Yield the ends of all paths through this branch."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves

    def append(self, token: int, law: np.ndarray) -> None:
        """Add a token drawn from a law."""
        self.tokens.append(token)
        self.log_p.append(math.log(law[token]))

    def feed(self, tokens: Tokens) -> None:
        """Add tokens that come from elsewhere."""
        self.tokens.extend(tokens)
        self.log_p.extend([0.0] * len(tokens))

    def split(self, at: int) -> "Branch":
        """Cut this branch before its token ``at`` and return the new branch of what is before the cut."""
        if self.parent is None:
            raise InputError("branch must be below the root, not the root")
        upper = Branch(self.parent, self.chance, self.tokens[:at], self.log_p[:at], [self])
        siblings = self.parent.children
        siblings[siblings.index(self)] = upper
        self.parent, self.tokens, self.log_p, self._before = upper, self.tokens[at:], self.log_p[at:], upper.path
        return upper


Segment = Generator[None, Any, None]
"""The decoding of one segment onto a branch: every ``yield`` is sent the law after the branch's tokens."""


class RadixTree:
    """The rollouts of one prompt.

    Parameters
    ----------
    model : LanguageModel
        Asked once a round, for all paths together.
    prompt : tuple of int
        At least one token.
    seed : int or tuple of int
        Path ``i``, in the order in which they begin, draws from the stream (*seed, first + i).
    first : int, optional
        Number of the first path.

    Members
    -------
    root : Branch
        Where all begin.
    """

    def __init__(self, model: LanguageModel, prompt: Tokens, seed: int | tuple[int, ...], first: int = 0):
        self._model = model
        self._prompt = prompt
        self._seed = seed if isinstance(seed, tuple) else (seed,)
        self._next = first
        self.root = Branch(None, self._stream())
        self._rounds = self._rows = self._held = 0
        self._seconds = {"model": 0.0, "outside": 0.0, "processor": 0.0}

    @property
    def branches(self) -> Iterator[Branch]:
        """Yield all branches, parents first."""
        waiting = [self.root]
        while waiting:
            branch = waiting.pop()
            yield branch
            waiting.extend(branch.children)

    @property
    def counters(self) -> Counters:
        """The cost so far."""
        tokens = sum(len(branch.tokens) for branch in self.branches)
        seconds = {f"{what}_seconds": value for what, value in self._seconds.items()}
        return Counters(len(self._prompt), tokens, self._rounds, self._rows, self._held, **seconds)

    def fork(self, branch: Branch, count: int) -> list[Branch]:
        """Return ``count`` new children of a branch. Its first child ever goes on with its stream."""
        made = []
        for _ in range(count):
            chance = self._stream() if branch.children else branch.chance
            made.append(Branch(branch, chance, note=branch.note))
            branch.children.append(made[-1])
        return made

    def decode(self, segments: Iterable[tuple[Branch, Segment]], kept: Tokens = ()) -> None:
        """Decode one segment onto each of some branches, side by side, until the last has ended.

        All of them, and all that are to be decoded later, begin with ``kept``: the model need not hold the rest.
        """
        segments = list(segments)
        with self.timed("model"):
            running = [(branch, segment) for branch, segment in segments if _goes_on(segment, None)]
            while running:
                paths = [branch.path[len(kept) :] for branch, _ in running]
                laws = self._model.laws(self._prompt + kept, paths)
                self._rounds += 1
                self._rows += len(running)
                running = [pair for pair, law in zip(running, laws, strict=True) if _goes_on(pair[1], law)]
        on_paths = {held for branch, _ in segments for held in (branch, *branch.ancestors)}
        self._held = max(self._held, len(self._prompt) + sum(len(branch.tokens) for branch in on_paths))

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Count the time of what is done here, "model" or "outside"."""
        started, busy = time.perf_counter(), _processor_seconds()
        yield
        self._seconds[what] += time.perf_counter() - started
        self._seconds["processor"] += _processor_seconds() - busy

    def _stream(self) -> Chance:
        key = np.random.SeedSequence((*self._seed, self._next))
        self._next += 1
        return Sampler(int(key.generate_state(1, np.uint64)[0]))


def _shared(paths: Sequence[Tokens]) -> Tokens:
    """Return the longest beginning that all paths have."""
    least, largest = min(paths), max(paths)
    length = next((place for place, (a, b) in enumerate(zip(least, largest)) if a != b), len(least))  # noqa: B905
    return least[:length]


def _processor_seconds() -> float:
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def _goes_on(segment: Segment, law: np.ndarray | None) -> bool:
    try:
        segment.send(law)
    except StopIteration:
        return False
    return True


class Policy(ABC):
    """How paths are decoded, and where they end."""

    @abstractmethod
    def segment(self, branch: Branch) -> Segment:
        """Decode one segment onto an empty branch."""

    def execute(self, branches: Sequence[Branch]) -> None:  # noqa: B027
        """Do what the segments just decoded ask for, feeding them the results."""

    @abstractmethod
    def ended(self, branch: Branch) -> bool:
        """Return whether the path is complete."""

    def shares(self, branches: Sequence[Branch], forks: int) -> Sequence[int]:
        """Return how many of the next segments follow each branch: at least 1, ``forks`` in all; here equally many."""
        return largest_remainders(np.ones(len(branches)), forks).tolist()

    def revive(self, complete: Sequence[Branch], chance: Chance) -> Branch:
        """Return where to fork once more when every path is complete but more are wanted; here at the root."""
        return complete[0].ancestors[-1]


def grow(tree: RadixTree, policy: Policy, rollouts: int, width: int, first: int) -> list[Branch]:
    """Sample rollouts on a tree.

    After every segment the paths under way fork into ``min(rollouts - complete, width * paths)``, where the paths that
    have just ended count too: their forks go to the others. With ``first = rollouts`` nothing ever forks below the
    root, and the rollouts are independent. Each rollout of paths of one length has the law of the model; where lengths
    differ, long ones get the forks of those that have ended, and so are more frequent. Source: TreePO (arXiv
    2508.17445), whose forks these are for any policy.

    Parameters
    ----------
    tree : RadixTree
        Empty.
    policy : Policy
        What to decode.
    rollouts : int
        How many, at least 1: the branching budget.
    width : int
        Segments that may follow a segment, at least 1.
    first : int
        Segments that begin at the root, at least 1.

    Returns
    -------
    list of Branch
        The ends of the rollouts, from left to right.

    Raises
    ------
    InputError
        If a number is too small.
    """
    for name, value in {"rollouts": rollouts, "width": width, "first": first}.items():
        require(value >= 1, name, "at least 1", value)
    complete: list[Branch] = []
    active = tree.fork(tree.root, min(first, rollouts))
    while active:
        kept = _shared([branch.path for branch in active])
        tree.decode(((branch, policy.segment(branch)) for branch in active), kept)
        with tree.timed("outside"):
            policy.execute(active)
        under_way = [branch for branch in active if not policy.ended(branch)]
        complete += [branch for branch in active if policy.ended(branch)]
        left = rollouts - len(complete)
        if under_way:
            shares = policy.shares(under_way, min(left, width * len(active)))
            active = [
                child for branch, share in zip(under_way, shares, strict=True) for child in tree.fork(branch, share)
            ]
        elif left:
            active = tree.fork(policy.revive(complete, tree.root.chance), min(left, width))
        else:
            active = []
    return list(tree.root.leaves)


def largest_remainders(weights: np.ndarray, total: int) -> np.ndarray:
    """Share out a total, at least the number of weights: one to each, the rest in proportion to the weights.

    Shares are rounded by largest remainder; ties go to the earlier.
    """
    exact = (total - len(weights)) * weights / weights.sum()
    shares = np.floor(exact).astype(int)
    order = np.argsort(shares - exact, kind="stable")
    shares[order[: total - len(weights) - shares.sum()]] += 1
    return shares + 1
