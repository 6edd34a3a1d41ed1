"""ReST-RL: the arithmetic of the search, what the value model learns, and that it beats chance."""

import math

import numpy as np
import pytest

from specdec.laws.chance import Sampler
from specdec.laws.language_model import LanguageModel
from specdec.rollout import rest_rl
from specdec.rollout.experiment import run_rest_rl, sign_test
from specdec.rollout.rest_rl import CodeLines, Task, ValueModel, search, tasks, uct, verify
from specdec.rollout.tree import RadixTree
from specdec.text.tokenizer import ByteTokenizer

TOKENIZER = ByteTokenizer()
TASK = Task(("add y", "double it"))


class Uniform(LanguageModel):
    def law(self, prefix):
        return np.full(256, 1 / 256)


@pytest.fixture(scope="module")
def value():
    right = [(Task((step,)), (line, "return x")) for step, line in rest_rl.OPERATIONS.items()]
    wrong = [
        (task, (line, "return x")) for task, (own, _) in right for line in rest_rl.OPERATIONS.values() if line != own
    ]
    return ValueModel(right + wrong, [1.0] * len(right) + [0.0] * len(wrong))


def test_the_worth_of_a_node_is_that_of_the_paper():
    assert uct(0.5, 3, 7) == pytest.approx(0.5 + 0.2 * math.sqrt((1 + math.log(7)) / 3.1))
    assert uct(0.0, 0, 1) == pytest.approx(0.2 * math.sqrt(10))


def test_programs_are_really_executed():
    right, same, wrong, failing = (
        ("x += y", "x <<= 1", "return x"),
        ("x <<= 1", "x += y", "x += y", "return x"),
        ("return x",),
        ("x %= 0", "return x"),
    )
    assert verify([(TASK, lines) for lines in (right, same, wrong, failing)]) == [1.0, 1.0, 0.0, 0.0]
    # Of the arguments for x, one is its own square.
    assert verify([(Task(("square it",)), ("return x",)), (TASK, right)]) == [0.2, 1.0]


def test_an_error_passes_no_test(monkeypatch):
    monkeypatch.setattr(rest_rl, "ARGUMENTS", (("x", "y"),))
    assert verify([(TASK, TASK.solution)]) == [0.0]


def test_tasks_are_different():
    assert len(set(tasks(2, 64, Sampler(0)))) == 64


def test_the_value_model_tells_right_lines_from_wrong_ones(value):
    for step, line in rest_rl.OPERATIONS.items():
        scores = {line: value(Task((step, "add y")), (line,)) for line in rest_rl.OPERATIONS.values()}
        assert max(scores, key=scores.get) == line


def test_visits_and_values_are_conserved(value):
    writer = CodeLines(TOKENIZER, TASK)
    tree = RadixTree(Uniform(), writer.prompt, 0)
    search(tree, writer, TASK, value, 5)
    for branch in rest_rl.visible(tree):
        note, below = branch.note, branch.note.visible or []
        own = branch is not tree.root
        assert note.visits == own + sum(child.note.visits for child in below)
        assert note.total == pytest.approx(own * note.score + sum(child.note.total for child in below))
        assert len(below) <= rest_rl.VISIBLE


def test_the_search_keeps_different_lines_and_returns_the_best_program_first(value):
    writer = CodeLines(TOKENIZER, TASK)
    tree = RadixTree(Uniform(), writer.prompt, 1)
    found = search(tree, writer, TASK, value, 30)
    assert [leaf.note.score for leaf in found] == sorted((leaf.note.score for leaf in found), reverse=True)
    assert all(leaf.note.lines[-1] == rest_rl.RETURN for leaf in found)
    for branch in tree.branches:
        lines = [child.note.lines for child in branch.children]
        assert len(set(lines)) == len(lines)
    assert tree.counters.tokens < tree.counters.rows


def test_the_search_beats_chance_with_the_same_verifications():
    found = run_rest_rl(Uniform, TOKENIZER, 10, 2, budget=2, iterations=8, exercises=2, experience=12, seed=0)
    assert found["ways"]["search"]["solved"] >= 7
    assert found["wins"] >= found["losses"]
    assert found["p_value"] < 0.01


def test_the_sign_test_counts_outcomes():
    assert sign_test(3, 0) == 1 / 8
    assert sign_test(2, 2) == pytest.approx(11 / 16)
    assert sign_test(0, 0) == 1
