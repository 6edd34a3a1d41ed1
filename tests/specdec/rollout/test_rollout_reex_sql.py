"""ReEx-SQL: queries are really executed, results decide what can be written next, trees save tokens and executions."""

import numpy as np
import pytest

from rtnerf.base.errors import InputError
from specdec.laws.language_model import LanguageModel
from specdec.rollout import sandbox
from specdec.rollout.experiment import run_reex_sql
from specdec.rollout.reex_sql import DATABASE, QUESTIONS, SHOWN_ROWS, TABLES, ReExSql, prompt
from specdec.rollout.tree import RadixTree, grow
from specdec.text.tokenizer import ByteTokenizer

TOKENIZER = ByteTokenizer()


class Uniform(LanguageModel):
    def law(self, prefix):
        return np.full(256, 1 / 256)


def rollouts(question=1, seed=0, cache=True, executions=3, shape=(6, 2, 1)):
    policy = ReExSql(TOKENIZER, QUESTIONS[question], cache, executions)
    tree = RadixTree(Uniform(), prompt(TOKENIZER, QUESTIONS[question]), seed)
    return policy, tree, grow(tree, policy, *shape)


def test_every_question_has_an_answer():
    for result in sandbox.query(DATABASE, [question.answer for question in QUESTIONS]):
        assert result.error is None
        assert len(result.value[1]) == 1


def test_a_path_shows_each_query_with_its_true_result():
    _, _, leaves = rollouts()
    for leaf in leaves:
        written = TOKENIZER.decode(leaf.path)
        queries = [part.split("</")[0] for part in written.split("_sql>")[1::2]]
        shown = [part.split("</result>")[0] for part in written.split("<result>")[1:]]
        assert 1 <= len(shown) == len(queries) - 1 <= 3
        assert written.count("<final_sql>") == 1
        results = sandbox.query(DATABASE, queries)
        assert leaf.note.result == results[-1]
        for text, result in zip(shown, results[:-1], strict=True):
            if result.error is None:
                columns, rows = result.value
                assert text == "\n".join("|".join(map(str, row)) for row in [columns, *rows[:SHOWN_ROWS]])
            else:
                assert text == result.error


def test_values_come_from_the_question_and_the_results_only():
    seen = 0
    for seed in range(4):
        _, _, leaves = rollouts(question=0, seed=seed)
        for leaf in leaves:
            before, _, final = TOKENIZER.decode(leaf.path).rpartition("<final_sql>")
            value = final.partition(" = ")[2].partition("</")[0].strip("'")
            assert value in before
            seen += bool(value)
    assert seen > 0


def test_with_the_cache_equal_queries_are_executed_once():
    cached, plain = (rollouts(cache=cache, shape=(16, 4, 4)) for cache in (True, False))
    assert [leaf.path for leaf in cached[2]] == [leaf.path for leaf in plain[2]]
    assert plain[0].executed == plain[0].asked == cached[0].asked > cached[0].executed
    assert cached[0].executed == len({branch.note.sql for branch in cached[1].branches if branch.note})


def test_the_vote_is_that_of_the_most_frequent_result():
    policy, tree, (leaf, *_) = rollouts(question=4)
    (right,) = sandbox.query(DATABASE, [QUESTIONS[4].answer])

    def answering(*values):
        results = [
            sandbox.Result(value) if isinstance(value, list) else sandbox.Result(error=value) for value in values
        ]
        leaves = tree.fork(leaf, len(results))
        for branch, result in zip(leaves, results, strict=True):
            branch.note = type(leaf.note)(result=result)
        return policy.vote(leaves)

    assert answering(right.value, [["n"], [[7]]], right.value, "error", "error", "error")
    assert not answering(right.value, [["n"], [[7]]], [["n"], [[7]]])
    assert not answering("error")


def test_trees_save_tokens_and_executions():
    sampling = {"rollouts": 8, "widths": (2,), "first": 1, "seed": 1}
    found = run_reex_sql(Uniform, TOKENIZER, questions=1, executions=3, **sampling)
    (tree,), linear = found["trees"], found["independent"]["one_by_one"]
    assert tree["saving"]["one_by_one"]["tokens"] > 0.1
    assert tree["saving"]["one_by_one"]["rounds"] > 0.5
    assert tree["executed"] < linear["executed"] == linear["queries"]
    assert tree["outside_seconds"] < linear["outside_seconds"]
    assert tree["rollouts"] == linear["rollouts"] == 8


@pytest.mark.parametrize("executions", [0, 11])
def test_executions_are_limited(executions):
    with pytest.raises(InputError, match=rf"^executions must be from 1 to 10, not {executions}$"):
        ReExSql(TOKENIZER, QUESTIONS[0], True, executions)


def test_the_schema_shown_is_that_of_the_database():
    for table, columns in TABLES.items():
        (result,) = sandbox.query(DATABASE, [f"SELECT * FROM {table}"])
        assert tuple(result.value[0]) == columns
