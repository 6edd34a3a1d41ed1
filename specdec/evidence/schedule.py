"""Schedules for a server that was measured at several batches: advice from the fit, and its worth in the cells."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rtnerf.base.errors import require
from specdec.advice.advise import Advice, advise_timed
from specdec.advice.drafters import METHODS, way
from specdec.advice.plans import Timed
from specdec.advice.schedule import Ranges, schedule
from specdec.evidence.series import Bound, Row, Series
from specdec.evidence.step_model import Conditions, Measured
from specdec.laws.acceptance_length import AcceptanceLaw


def advise_rows(
    name: str, rows: Sequence[Measured], fitted: Mapping[str, float], method: str, batches: Sequence[int]
) -> Advice:
    """Return what to draft, at most as many tokens as were, for every context that was measured.

    Parameters
    ----------
    name : str
        Of the series.
    rows : sequence of Measured
        Chains and plain decoding, which differ in batch, context and drafted tokens alone.
    fitted : mapping of str to float
        The numbers fitted to them.
    method : str
        Of `specdec.advice.drafters.METHODS`.
    batches : sequence of int
        To answer for, rising.

    Raises
    ------
    InputError
        If the rows differ otherwise, or do not give acceptance by a law.
    """
    served = _served(name, rows)
    numbers = {**served.numbers, **fitted}
    law = _law(served, numbers)
    rule = "given by first and decay: those of lengths that were not measured are asked for"
    require(law is not None, f"acceptance of {name}", rule, "otherwise")
    assert law is not None
    longest = max(row.conditions.drafted or 0 for row in rows)
    require(longest > 0, f"rows of {name}", "some with drafted tokens", "none")
    draft_ms = numbers.get("draft_ms", 0.0) + numbers.get("draft_host_ms", 0.0)
    costs = [
        Timed(
            way(method),
            context,
            replace(served, context=context).passes_of(numbers),
            draft_ms,
            numbers.get("host_ms", 0.0),
            served.draft_passes,
        )
        for context in sorted({row.conditions.context for row in rows})
    ]
    return advise_timed(costs, {count: law.length(count) for count in range(1, longest + 1)}, batches, law)


def check_schedule(
    wanted: Mapping[str, Any], name: str, source: str, rows: Sequence[Measured], fitted: Mapping[str, float]
) -> Series:
    """Hold the schedules that the fit gives to the best measured cell of every batch, twice.

    Among the numbers of drafted tokens that were measured, what was measured with the one that is chosen. Where a best
    or adaptive number was measured and acceptance follows a law, what is predicted for the schedule of `advise_rows`.

    Parameters
    ----------
    wanted : mapping
        ``within``: the share of the best cell by which both may differ from it.
    rows : sequence of Measured
        As for `advise_rows`, of tokens a second, the same two numbers of drafted tokens at least everywhere.
    fitted : mapping of str to float

    Raises
    ------
    InputError
        If ``wanted`` is not of this form, or the rows are not.
    """
    fits = isinstance(wanted, Mapping) and {*wanted} == {"within"} and type(wanted["within"]) in (int, float)
    require(fits, f"schedule of {name}", "such as {within = 0.03}", str(wanted)[:60])
    served = _served(name, rows)
    cells: dict[tuple[int, int], dict[int | None, Measured]] = {}
    for row in rows:
        cells.setdefault((row.conditions.context, row.conditions.batch), {})[row.conditions.drafted] = row
    lengths = sorted(one for one in set.intersection(*map(set, cells.values())) if one is not None)
    rule = "tokens_per_s, with the same two numbers of drafted tokens at least at every batch"
    quantities = {row.conditions.quantity for row in rows}
    require(quantities == {"tokens_per_s"} and len(lengths) >= 2, f"rows of {name}", rule, lengths)
    found = []
    for context in sorted({place[0] for place in cells}):
        batches = sorted(batch for where, batch in cells if where == context)
        rates = [[cells[context, batch][one].conditions.predict(fitted) for one in lengths] for batch in batches]
        for batch, length in _at(batches, schedule(batches, np.array(rates), lengths)):
            measured = {one: cells[context, batch][one].value for one in lengths}
            told = f"{_where(context, batch)}: {length} chosen of {' and '.join(map(str, lengths))}, measured"
            found.append(Row(told, max(measured.values()), measured[length]))
    if _law(served, {**served.numbers, **fitted}) is not None:
        advice = advise_rows(name, rows, fitted, METHODS[0], sorted({batch for _, batch in cells}))
        for context, ranges in advice.schedule.items():
            adaptive = sorted(batch for where, batch in cells if where == context and None in cells[where, batch])
            for batch, length in _at(adaptive, ranges):
                under = replace(served, context=context, batch=batch, drafted=length)
                best = max(row.value for row in cells[context, batch].values())
                found.append(Row(f"{_where(context, batch)}: {length} advised, predicted", best, under.predict(fitted)))
    bound = Bound("largest difference from the best cell", max(abs(row.error or 0) for row in found), wanted["within"])
    told = "Published is the best cell of the batch, whatever was drafted there."
    return Series(f"{name}: the schedule", source, "as above", found, bound, told)


def _law(served: Conditions, numbers: Mapping[str, float]) -> AcceptanceLaw | None:
    if "first" not in numbers or "tau" in numbers or served.ranks:
        return None
    return AcceptanceLaw(numbers["first"], numbers.get("decay", 1.0))


def _at(batches: Sequence[int], ranges: Ranges) -> list[tuple[int, int]]:
    """Return the length at each batch."""
    return [(batch, length) for batch in batches for low, high, length in ranges if low <= batch <= high]


def _where(context: int, batch: int) -> str:
    return f"context {context}, batch {batch}" if context else f"batch {batch}"


def _served(name: str, rows: Sequence[Measured]) -> Conditions:
    """Return the conditions that all rows share."""
    alike = [replace(row.conditions, batch=1, context=0, drafted=0) for row in rows]
    same = all(one == alike[0] for one in alike) and alike[0].tree is None and alike[0].tokens is None
    require(same, f"rows of {name}", "chains that differ in batch, context and drafted tokens alone", "otherwise")
    return alike[0]
