"""The answer to one call: methods side by side, the best first, limits kept or not, as text, records and rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

from specdec.advice.advise import Advice, Cell
from specdec.advice.engines import tables

COLUMNS = (
    "method", "context", "batch", "plan", "tau", "speedup", "speedup_fixed", "speedup_if_lower", "bound_by",
    "pass_bound_by", "tpot_ms", "ttft_ms", "tokens_per_second", "tokens_per_second_total", "fits", "meets", "reason",
)  # fmt: skip
"""Of `Answer.rows`."""


@dataclass(frozen=True)
class Limits:
    """What latency is allowed, in ms; None for any."""

    tpot_ms: float | None = None
    ttft_ms: float | None = None

    def met(self, cell: Cell) -> bool:
        """Whether a cell keeps both."""
        tpot = self.tpot_ms is None or cell.tpot_ms <= self.tpot_ms
        return tpot and (self.ttft_ms is None or cell.ttft_ms <= self.ttft_ms)


@dataclass(frozen=True)
class Answer:
    """Methods side by side.

    Members
    -------
    advices : list of Advice
        One a method, at least one.
    limits : Limits
    """

    advices: Sequence[Advice]
    limits: Limits = Limits()

    @property
    def best(self) -> Advice:
        """The method with the greatest mean gain over what is asked."""
        return max(self.advices, key=lambda advice: advice.value)

    def record(self) -> dict[str, Any]:
        """Return the best method's tables by context and batch, and all methods' under ``methods``."""
        methods = {}
        for advice in self.advices:
            found = advice.record()
            for cell, entry in zip(advice.cells, found["cells"], strict=True):
                entry["meets"] = self.limits.met(cell)
            found["engines"] = {
                str(context): tables(advice.method, ranges) for context, ranges in advice.schedule.items()
            }
            methods[advice.method] = found
        return {"best": self.best.method, **methods[self.best.method], "methods": methods}

    def rows(self) -> list[dict[str, Any]]:
        """Return a row a method, context and batch, with `COLUMNS`."""
        rows = []
        for name, found in self.record()["methods"].items():
            for cell in found["cells"]:
                row = {"method": name, **cell, "fits": cell["memory"]["fits"]}
                rows.append({column: row[column] for column in COLUMNS})
        return rows

    @property
    def summary(self) -> str:
        """The answer as text."""
        lines = []
        for advice in sorted(self.advices, key=lambda one: -one.value):
            lines += [self._table(advice), *self._notes(advice)]
        if len(self.advices) > 1:
            lines.append(f"best: {self.best.method}, {self.best.value:.2f} times plain decoding on average")
        return "\n".join(lines)

    def _table(self, advice: Advice) -> str:
        law = advice.law
        lines = [
            f"{advice.method}: a token at depth k is accepted with {law.first:.3f} * {law.decay:.3f}**(k - 1)",
            f"context  batch  {'plan':<12} speedup  if AL -10 %  tokens/s: user    total  TPOT ms  TTFT ms  because",
        ]
        for cell in advice.cells:
            user, gains = 1000 / cell.tpot_ms, f"{cell.speedup:7.2f} {cell.speedup_if_lower:12.2f}"
            first = "-" if isnan(cell.ttft_ms) else f"{cell.ttft_ms:.0f}"
            notes = ["DOES NOT FIT"] if cell.memory["fits"] is False else []
            notes += [] if self.limits.met(cell) else ["TOO SLOW"]
            notes += [] if cell.step.known else ["BEYOND THE STEP TIMES"]
            lines.append(
                f"{cell.context:7d} {cell.batch:6d}  {cell.plan.name:<12} {gains}"
                f" {user:15.1f} {user * cell.batch:8.0f} {cell.tpot_ms:8.2f} {first:>8}"
                f"  {'; '.join([*notes, cell.reason])}"
            )
        return "\n".join(lines)

    def _notes(self, advice: Advice) -> list[str]:
        notes = []
        for cell in advice.cells:
            if cell.memory["fits"] is False:
                held = ", ".join(f"{name} {cell.memory[name]:.1f}" for name in ("weights", "draft", "cache"))
                would = " or ".join(cell.would_fit) or "nothing that is looked at"
                where = f"context {cell.context}, batch {cell.batch}"
                usable = cell.memory["usable"]
                notes.append(f"{where} does not fit in {usable:.1f} GB a machine ({held}); would: {would}")
        for context, ranges in advice.schedule.items():
            told = ", ".join(f"{low}-{high}: {length}" for low, high, length in ranges)
            notes.append(f"context {context}: drafted tokens by batch {told}")
            batch = advice.break_even[context]
            lost = "never, as far as looked at" if batch is None else f"from batch {batch} on"
            notes.append(f"context {context}: K={advice.known} loses {lost}")
        return notes
