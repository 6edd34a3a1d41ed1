"""The report of all series, as text and as a record."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from specdec.evidence.series import Series


@dataclass(frozen=True)
class Report:
    """All series."""

    series: Sequence[Series] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every bound holds."""
        return all(one.bound.holds for one in self.series if one.bound is not None)

    @property
    def summary(self) -> str:
        """The report as text."""
        return "\n\n".join(
            [*(one.text for one in self.series), "every bound holds" if self.holds else "A BOUND IS BROKEN"]
        )

    def record(self) -> dict[str, Any]:
        """Return the report for a JSON file."""
        return {"holds": self.holds, "series": [one.record() for one in self.series]}


def report(progress: Callable[[int, int], None] = lambda done, parts: None) -> Report:
    """Evaluate the published rows that come with the project, and every series of `specdec.evidence.published`.

    ``progress`` is called with how many series are done, and of how many: those of rows, then the others.
    """
    from specdec.evidence import published, rows

    return Report([*rows.every_series(rows.SHIPPED, progress), *published.every_series(progress)])
