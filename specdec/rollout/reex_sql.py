"""ReEx-SQL: answering questions by SQL, with intermediate queries really executed. Source: arXiv 2505.12768.

A path thinks, writes an intermediate query, receives its result, and so on until it writes the final query. It is
written by a language model under a small grammar of SELECT; the values a query may compare with are those in the
question and those in the results so far, so that what is executed decides what can be written next. Paths fork where
a query has been executed.
"""

from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace

from numpy import ndarray

from rtnerf.base.errors import require
from specdec.laws.language_model import Tokens
from specdec.rollout import sandbox
from specdec.rollout.grammar import choose
from specdec.rollout.sandbox import Result
from specdec.rollout.tree import Branch, Policy, Segment
from specdec.text.tokenizer import Tokenizer

SHOWN_ROWS = 3
"""Rows of a result that are fed back."""

MOST_EXECUTIONS = 10
"""Intermediate queries of a path, at most."""

_SHOWN_CHARACTERS = 120


@dataclass(frozen=True)
class Question:
    """A question about a database.

    Members
    -------
    text : str
        In English.
    values : tuple of str
        What it names, as literals of SQL.
    answer : str
        A query that answers it.
    """

    text: str
    values: tuple[str, ...]
    answer: str


TABLES = {
    "part": ("id", "name", "colour", "weight"),
    "supplier": ("id", "name", "city", "rating"),
    "delivery": ("part_id", "supplier_id", "quantity"),
}
"""Columns of the tables of `DATABASE`."""

DATABASE = """
CREATE TABLE part (id INTEGER, name TEXT, colour TEXT, weight INTEGER);
CREATE TABLE supplier (id INTEGER, name TEXT, city TEXT, rating INTEGER);
CREATE TABLE delivery (part_id INTEGER, supplier_id INTEGER, quantity INTEGER);
INSERT INTO part VALUES (1, 'nut', 'red', 12), (2, 'bolt', 'green', 17), (3, 'screw', 'blue', 17),
    (4, 'cam', 'blue', 12), (5, 'cog', 'red', 19);
INSERT INTO supplier VALUES (1, 'Smith', 'London', 20), (2, 'Jones', 'Paris', 10), (3, 'Blake', 'Paris', 30),
    (4, 'Adams', 'Athens', 25);
INSERT INTO delivery VALUES (1, 1, 300), (2, 1, 200), (3, 1, 400), (1, 2, 300), (2, 2, 150), (5, 3, 250), (4, 4, 100);
"""
"""A small database of parts, suppliers and deliveries."""

QUESTIONS = (
    Question("What is the name of the heaviest part?", (), "SELECT name FROM part WHERE weight = 19"),
    Question("How many deliveries of the bolt?", ("'bolt'",), "SELECT COUNT(*) FROM delivery WHERE part_id = 2"),
    Question("In which city is the supplier with the best rating?", (), "SELECT city FROM supplier WHERE rating = 30"),
    Question("Which colour has the part of the smallest delivery?", (), "SELECT colour FROM part WHERE id = 4"),
    Question("How many suppliers are in Paris?", ("'Paris'",), "SELECT COUNT(*) FROM supplier WHERE city = 'Paris'"),
    Question("Who delivers the cog?", ("'cog'",), "SELECT name FROM supplier WHERE id = 3"),
)  # fmt: skip
"""Questions about `DATABASE`."""


@dataclass(frozen=True)
class _Progress:
    """What a path has done: queries executed, values seen, the last query, and whether it was the final one."""

    executions: int = 0
    values: tuple[str, ...] = ()
    sql: str = ""
    final: bool = False
    result: Result = field(default_factory=Result)


def prompt(tokenizer: Tokenizer, question: Question) -> Tokens:
    """Return the schema and a question, as tokens."""
    tables = "\n".join(f"-- {table}({', '.join(columns)})" for table, columns in TABLES.items())
    return tokenizer.encode(f"{tables}\n-- {question.text}\n")


class ReExSql(Policy):
    """Answers to one question.

    Parameters
    ----------
    tokenizer : Tokenizer
        The model's.
    question : Question
        About `DATABASE`.
    cache : bool
        Whether equal queries are executed once only.
    executions : int, optional
        Intermediate queries of a path, at most, from 1 to `MOST_EXECUTIONS`.

    Members
    -------
    asked, executed : int
        Queries written so far, and those really executed.

    Raises
    ------
    InputError
        If ``executions`` is out of range.
    """

    def __init__(self, tokenizer: Tokenizer, question: Question, cache: bool, executions: int = MOST_EXECUTIONS):
        rule = f"from 1 to {MOST_EXECUTIONS}"
        require(1 <= executions <= MOST_EXECUTIONS, "executions", rule, executions)
        self.asked = self.executed = 0
        self._tokenizer = tokenizer
        self._question = question
        self._most = executions
        self._results: dict[str, Result] | None = {} if cache else None

    def segment(self, branch: Branch) -> Segment:
        """Think and write one query, intermediate or final."""
        progress = branch.note or _Progress(values=self._question.values)
        table = yield from self._choose(branch, "<think>", TABLES, "</think>\n")
        # Something has to be executed first.
        kinds = ["intermediate"] if progress.executions == 0 else ["intermediate", "final"]
        kind = yield from self._choose(branch, "<", ["final"] if progress.executions == self._most else kinds, "_sql>")
        columns = sorted({column for columns in TABLES.values() for column in columns})
        wanted = [form.format(column) for column in columns for form in ("{}", "MIN({})", "MAX({})")]
        column = yield from self._choose(branch, "SELECT ", [*wanted, "COUNT(*)"], f" FROM {table}")
        conditions = [f" WHERE {column} = {value}" for column in columns for value in progress.values]
        condition = yield from self._choose(branch, "", ["", *conditions], f"</{kind}_sql>\n")
        sql = f"SELECT {column} FROM {table}{condition}"
        branch.note = replace(progress, executions=progress.executions + 1, sql=sql, final=kind == "final")

    def execute(self, branches: Sequence[Branch]) -> None:
        """Execute the queries of a round together, and feed the results of the intermediate ones."""
        for branch, result in zip(branches, self._execute([branch.note.sql for branch in branches]), strict=True):
            values = dict.fromkeys((*branch.note.values, *_literals(result)))
            branch.note = replace(branch.note, result=result, values=tuple(values))
            if not branch.note.final:
                branch.feed(self._tokenizer.encode(f"<result>{_shown(result)}</result>\n"))

    def ended(self, branch: Branch) -> bool:
        """Return whether the final query has been written."""
        return branch.note.final

    def vote(self, rollouts: Sequence[Branch]) -> bool:
        """Return whether the most frequent result of the final queries, errors aside, answers the question."""
        results = [repr(leaf.note.result.value[1]) for leaf in rollouts if leaf.note.result.error is None]
        (expected,) = sandbox.query(DATABASE, [self._question.answer])
        return bool(results) and Counter(results).most_common(1)[0][0] == repr(expected.value[1])

    def _choose(self, branch: Branch, before: str, options: Iterable[str], after: str) -> Generator[None, ndarray, str]:
        options = list(options)
        texts = [self._tokenizer.encode(before + option + after) for option in options]
        return options[(yield from choose(branch, texts))]

    def _execute(self, queries: Sequence[str]) -> list[Result]:
        self.asked += len(queries)
        if self._results is None:
            self.executed += len(queries)
            return sandbox.query(DATABASE, queries)
        new = [sql for sql in dict.fromkeys(queries) if sql not in self._results]
        self.executed += len(new)
        if new:
            self._results.update(zip(new, sandbox.query(DATABASE, new), strict=True))
        return [self._results[sql] for sql in queries]


def _shown(result: Result) -> str:
    """Return what a path sees of a result: column names and a few rows, or the error."""
    if result.error is not None:
        return result.error[:_SHOWN_CHARACTERS]
    columns, rows = result.value
    lines = [columns, *rows[:SHOWN_ROWS]]
    return "\n".join("|".join(map(str, line)) for line in lines)[:_SHOWN_CHARACTERS]


def _literals(result: Result) -> list[str]:
    """Return the values that a path has seen in a result, as literals of SQL."""
    if result.error is not None:
        return []
    cells = [cell for row in result.value[1][:SHOWN_ROWS] for cell in row if isinstance(cell, int | str)]
    return [str(cell) if isinstance(cell, int) else "'" + cell.replace("'", "''") + "'" for cell in cells]
