"""Figures of one source: published beside the model's, what was fitted, and the bound that must hold."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import log
from typing import Any


@dataclass(frozen=True)
class Row:
    """A figure.

    Members
    -------
    name : str
        What it is.
    published : float or None
        As the source has it; None where the model alone has one.
    model : float or None
        From the model; None where it has none, and ``note`` says why.
    note : str
        What a reader should know.
    """

    name: str
    published: float | None
    model: float | None
    note: str = ""

    @property
    def error(self) -> float | None:
        """The model over the published figure, less one."""
        if self.published is None or self.model is None:
            return None
        return float(self.model / self.published - 1)

    @property
    def log_error(self) -> float | None:
        """The logarithm of the model over the published figure."""
        error = self.error
        return None if error is None else log(1 + error)


@dataclass(frozen=True)
class Bound:
    """What must hold of a series.

    Members
    -------
    measure : str
        What is bounded.
    value, limit : float
        Its value and its limit.
    at_least : bool
        Whether the limit is the least allowed, not the most.
    """

    measure: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the value keeps the limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(frozen=True)
class Series:
    """Figures of one source.

    Members
    -------
    name, source : str
        What and from where.
    fitted : str
        The parameter fitted, and on what; ``nothing`` where none is.
    rows : sequence of Row
        The figures.
    bound : Bound or None
        None where nothing is claimed.
    explanation : str
        Why the figures are so, where that is a question.
    """

    name: str
    source: str
    fitted: str
    rows: Sequence[Row]
    bound: Bound | None = None
    explanation: str = ""

    def record(self) -> dict[str, Any]:
        """Return the series for a JSON file."""
        bound = self.bound
        return {
            "name": self.name,
            "source": self.source,
            "fitted": self.fitted,
            "rows": [
                {
                    "name": row.name,
                    "published": None if row.published is None else float(row.published),
                    "model": None if row.model is None else float(row.model),
                    "error": row.error,
                    "note": row.note,
                }
                for row in self.rows
            ],
            "bound": None if bound is None else {**asdict(bound), "holds": bound.holds},
            "explanation": self.explanation,
        }

    @property
    def text(self) -> str:
        """The series as a table."""
        lines = [self.name, f"  source: {self.source}", f"  fitted: {self.fitted}"]
        width = max(len(row.name) for row in self.rows)
        lines.append(f"  {'':{width}} {'published':>10} {'model':>10} {'error':>8}")
        for row in self.rows:
            error = "-" if row.error is None else f"{100 * row.error:+.1f} %"
            note = f"  {row.note}" if row.note else ""
            lines.append(f"  {row.name:{width}} {_number(row.published):>10} {_number(row.model):>10} {error:>8}{note}")
        if self.bound is not None:
            bound = self.bound
            relation = "at least" if bound.at_least else "at most"
            verdict = "holds" if bound.holds else "BROKEN"
            lines.append(f"  bound: {bound.measure} {bound.value:.4g}, {relation} {bound.limit:g}: {verdict}")
        if self.explanation:
            lines += [f"  {line}" for line in self.explanation.splitlines()]
        return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}" if abs(value) < 10000 else f"{value:.0f}"
