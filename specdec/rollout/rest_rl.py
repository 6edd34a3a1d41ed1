"""ReST-RL's VM-MCTS: code found line by line by a tree search that a value model leads. Source: arXiv 2508.19576.

A state is the beginning of a program, an action is one more line, drawn from a language model under a small grammar of
lines. The value model learns from programs that were really executed on the tests of other tasks; it then leads the
search, and only the programs that it scores best are verified.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rtnerf.base.errors import require
from specdec.laws.chance import Chance
from specdec.laws.language_model import LanguageModel, Tokens
from specdec.rollout import sandbox
from specdec.rollout.grammar import choose
from specdec.rollout.tree import Branch, Counters, Policy, RadixTree, Segment, grow
from specdec.text.tokenizer import Tokenizer

EXPLORATION, SMOOTHING = 0.2, 0.1
"""c and epsilon of the selection rule."""

SAMPLES, VISIBLE = 32, 3
"""Lines drawn to expand a node, and how many of them the search may go on from.

The paper draws 5; our model is weak, and a right line has to be among those drawn.
"""

OPERATIONS = {
    "add y": "x += y",
    "subtract y": "x -= y",
    "multiply by y": "x *= y",
    "square it": "x **= 2",
    "double it": "x <<= 1",
    "halve it": "x >>= 1",
    "negate it": "x = -x",
    "take it modulo y": "x %= y",
}
"""What a task may ask for, and the line that does it."""

RETURN = "return x"
"""The last line of programs."""

LINES = (*OPERATIONS.values(), RETURN)
"""The lines of programs."""

ARGUMENTS = ((3, 5), (7, 2), (-4, 9), (0, 6), (11, -3))
"""Of the tests of every task."""

ROUNDS = 3
"""Of learning: one of random programs, the others of searching with what has been learnt."""


Program = tuple[str, ...]
"""Its lines, without the indentation."""


@dataclass(frozen=True)
class Task:
    """A function to be written: some operations, one after the other.

    Parameters
    ----------
    steps : tuple of str
        Keys of `OPERATIONS`.
    """

    steps: tuple[str, ...]

    @property
    def beginning(self) -> str:
        """What every program for it begins with."""
        return f'def solve(x, y):\n    """Take x, {", then ".join(self.steps)}, and return it."""\n'

    def program(self, lines: Iterable[str]) -> str:
        """Return the program with these lines."""
        return self.beginning + "".join(f"    {line}\n" for line in lines)

    @property
    def solution(self) -> Program:
        """The lines of one right program."""
        return (*(OPERATIONS[step] for step in self.steps), RETURN)


def tasks(steps: int, count: int, chance: Chance) -> list[Task]:
    """Return different tasks of so many steps."""
    possible = list(itertools.product(OPERATIONS, repeat=steps))
    require(count <= len(possible), "tasks", f"at most {len(possible)}", count)
    return [Task(possible[index]) for index, _ in zip(chance.distinct(np.ones(len(possible))), range(count))]  # noqa: B905


def verify(programs: Sequence[tuple[Task, Program]]) -> list[float]:
    """Execute programs in the sandbox; return the share of its task's tests that each passes."""
    wanted = list(dict.fromkeys(task for task, _ in programs))
    texts = [task.program(task.solution) for task in wanted] + [task.program(lines) for task, lines in programs]
    results = sandbox.call(texts, "solve", ARGUMENTS)
    expected = dict(zip(wanted, results, strict=False))
    passed = [
        [got == right and got.error is None for got, right in zip(found, expected[task], strict=True)]
        for (task, _), found in zip(programs, results[len(wanted) :], strict=True)
    ]
    return [sum(tests) / len(tests) for tests in passed]


@dataclass
class Visits:
    """What the search knows of a node.

    Members
    -------
    lines : Program
        The program as far as here.
    score : float
        The value model's.
    visits : int
        Evaluations of this node and those below it.
    total : float
        Sum of their values.
    visible : list of Branch or None
        The children that may be selected; None before there are any.
    """

    lines: Program
    score: float = 0.0
    visits: int = 0
    total: float = 0.0
    visible: list[Branch] | None = None

    @property
    def complete(self) -> bool:
        """Whether the program has returned."""
        return self.lines[-1:] == (RETURN,)

    @property
    def open(self) -> bool:
        """Whether something is left to be found below."""
        return not self.complete and (self.visible is None or any(child.note.open for child in self.visible))

    def worth(self, parent_visits: int) -> float:
        """Return the `uct` of this node."""
        return uct(self.total / self.visits, self.visits, parent_visits)


class CodeLines(Policy):
    """Programs for a task, a line a segment: one for each step, then the return.

    Parameters
    ----------
    tokenizer : Tokenizer
        The model's.
    task : Task
        What to write.
    """

    def __init__(self, tokenizer: Tokenizer, task: Task):
        self._steps = len(task.steps)
        self._options = [tokenizer.encode(f"    {line}\n") for line in LINES]
        self.prompt: Tokens = tokenizer.encode(task.beginning)

    def segment(self, branch: Branch) -> Segment:
        """Write one line."""
        lines = branch.note.lines if branch.note else ()
        options = range(len(OPERATIONS)) if len(lines) < self._steps else [LINES.index(RETURN)]
        chosen = yield from choose(branch, [self._options[option] for option in options])
        branch.note = Visits((*lines, LINES[options[chosen]]))

    def ended(self, branch: Branch) -> bool:
        """Return whether the program is complete."""
        return branch.note.complete


class ValueModel:
    """The expected reward of a program that begins with some lines: logistic in what each line does for each step.

    Features are the pairs (step of the task, line written at its place), and the steps still to do. Fitted by Newton's
    method with a quadratic penalty.

    Parameters
    ----------
    states : sequence of (Task, Program)
        Tasks and beginnings of programs.
    rewards : sequence of float
        What came of them, from 0 to 1.
    penalty : float, optional
        On half the squared weights, above 0.
    """

    def __init__(self, states: Sequence[tuple[Task, Program]], rewards: Sequence[float], penalty: float = 0.1):
        features = np.stack([_features(*state) for state in states])
        self._weights = np.zeros(features.shape[1])
        for _ in range(20):
            values = _logistic(features @ self._weights)
            gradient = features.T @ (values - rewards) + penalty * self._weights
            curvature = features.T @ (features * (values * (1 - values))[:, None]) + penalty * np.eye(len(gradient))
            self._weights -= np.linalg.solve(curvature, gradient)

    def __call__(self, task: Task, lines: Program) -> float:
        """Return the value of a beginning, from 0 to 1."""
        return float(_logistic(_features(task, lines) @ self._weights))


def _features(task: Task, lines: Program) -> np.ndarray:
    steps = (*OPERATIONS, None)
    pairs = np.zeros((len(steps), len(LINES)))
    for place, line in enumerate(lines):
        step = task.steps[place] if place < len(task.steps) else None
        pairs[steps.index(step), LINES.index(line)] += 1
    return np.array([*pairs.ravel(), max(len(task.steps) + 1 - len(lines), 0), 1.0])


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


def uct(value: float, visits: int, parent_visits: int) -> float:
    """Return the worth of selecting a node: ``V + c sqrt((1 + ln N_parent) / (epsilon + N))``."""
    return value + EXPLORATION * math.sqrt((1 + math.log(parent_visits)) / (SMOOTHING + visits))


def search(tree: RadixTree, writer: CodeLines, task: Task, value: ValueModel, iterations: int) -> list[Branch]:
    """Search for programs.

    Each iteration goes down from the root by the largest `uct`, past complete programs, to a node without children. It
    draws `SAMPLES` lines after it, lets the search go on from the `VISIBLE` best different ones, and adds their values
    to all nodes above them. The search is over early when nothing is left to expand.

    Returns
    -------
    list of Branch
        The complete programs, best score first.
    """
    require(iterations >= 1, "iterations", "at least 1", iterations)
    tree.root.note = Visits(())
    complete = []
    for _ in range(iterations):
        if not tree.root.note.open:
            break
        node = tree.root
        while node.note.visible is not None:
            ahead = [child for child in node.note.visible if child.note.open]
            node = max(ahead, key=lambda child: child.note.worth(child.parent.note.visits))
        new = expand(tree, writer, node)
        for child in new:
            child.note.score = value(task, child.note.lines)
        node.note.visible = sorted(new, key=lambda child: -child.note.score)[:VISIBLE]
        for child in node.note.visible:
            _back_up(child)
        complete += [child for child in new if child.note.complete]
    return sorted(complete, key=lambda leaf: -leaf.note.score)


def visible(tree: RadixTree) -> Iterator[Branch]:
    """Yield the nodes of a search that it could go on from, the root included."""
    for branch in tree.branches:
        if branch.parent is None or branch in branch.parent.note.visible:
            yield branch


def expand(tree: RadixTree, writer: CodeLines, node: Branch) -> list[Branch]:
    """Draw lines after a node and return the different ones."""
    tree.decode((branch, writer.segment(branch)) for branch in tree.fork(node, SAMPLES))
    different = {branch.note.lines: branch for branch in reversed(node.children)}
    node.children = [branch for branch in node.children if different[branch.note.lines] is branch]
    return node.children


def _back_up(leaf: Branch) -> None:
    for node in (leaf, *leaf.ancestors):
        node.note.visits += 1
        node.note.total += leaf.note.score


def sample(
    model: LanguageModel, writer: CodeLines, count: int, seed: tuple[int, ...]
) -> tuple[list[Program], Counters]:
    """Return independent programs, and their cost."""
    tree = RadixTree(model, writer.prompt, seed)
    return [leaf.note.lines for leaf in grow(tree, writer, count, 1, count)], tree.counters


def learn(
    fresh: Callable[[], LanguageModel], tokenizer: Tokenizer, exercises: Sequence[Task], count: int, seed: int
) -> ValueModel:
    """Return a value model trained on programs that were executed: first random ones, then those a search found.

    Every beginning of a program is a state; its reward is 1 if the program passes all tests and 0 otherwise.

    Parameters
    ----------
    fresh : callable
        Returns the language model anew.
    tokenizer : Tokenizer
        Its tokenizer.
    exercises : sequence of Task
        To learn from.
    count : int
        Programs a task and a round, at most.
    seed : int
        Of all that is random.
    """
    states: list[tuple[Task, Program]] = []
    rewards: list[float] = []
    value: Any = None
    for _ in range(ROUNDS):
        programs = []
        for number, task in enumerate(exercises):
            writer = CodeLines(tokenizer, task)
            if value is None:
                found, _ = sample(fresh(), writer, count, (seed, number))
            else:
                tree = RadixTree(fresh(), writer.prompt, (seed, number))
                found = [leaf.note.lines for leaf in search(tree, writer, task, value, count)[:count]]
            programs += [(task, lines) for lines in found]
        for (task, lines), passed in zip(programs, verify(programs), strict=True):
            states += [(task, lines[:length]) for length in range(1, len(lines) + 1)]
            rewards += [float(passed == 1)] * len(lines)
        value = ValueModel(states, rewards)
    return value
