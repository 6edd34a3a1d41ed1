"""Published rows of anybody beside the model, from TOML: what was measured, under which conditions, what may be fitted.

    [[series]]
    name = "one server"
    source = "its address"
    quantity = "tokens_per_s"
    largest_error = 0.12
    fit = ["base_ms", "token_ms", "first"]
    conditions = {decay = 0.96, draft_ms = 0.5}

    [[series.rows]]
    batch = [1, 8, 64]
    drafted = 0
    value = [100.0, 700.0, 3000.0]

    [[series.rows]]
    batch = [1, 8, 64]
    drafted = 3
    value = [180.0, 1200.0, 2900.0]

A row's conditions are its own and those of its series; lists in it stand for as many rows. The keys are those of
`specdec.evidence.step_model.Conditions`.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import least_squares
from scipy.stats import spearmanr

from rtnerf.base.errors import InputError, require
from specdec.evidence.crossing import crossing
from specdec.evidence.schedule import check_schedule
from specdec.evidence.series import Bound, Row, Series
from specdec.evidence.step_model import FITTABLE, Measured, conditions

LARGEST_FILE = 1 << 20
"""Bytes."""

MOST_ROWS = 10_000

OF_SERIES = {"name", "source", "quantity", "fit", "conditions", "rows", "explanation", "crossing", "schedule", *(
    LIMITS := ("largest_error", "rms_log_error", "spearman")
)}  # fmt: skip

OF_ROW = {"name", "value", "quantity", "fitted", "bounded", "note"}
"""Keys of a row beside its conditions: ``fitted`` and ``bounded`` tell whether it is used for the fit and the bound."""


SHIPPED = Path(__file__).parents[1] / "data" / "published.toml"
"""The published rows that come with the project."""


def every_series(path: Path, progress: Callable[[int, int], None] = lambda done, parts: None) -> list[Series]:
    """Read a file and evaluate its series; ``progress`` is called with how many are done, and of how many.

    Raises
    ------
    InputError
        If the file cannot be read, or a value is not what it must be.
    """
    found, tables = list[Series](), _read(path)
    for number, table in enumerate(tables):
        progress(number, len(tables))
        found += evaluate(table)
    return found


def rows_by_series(path: Path = SHIPPED) -> dict[str, list[Measured]]:
    """Read the rows of a file by the names of their series; raises as `every_series`."""
    return {_text(table, "name"): _rows(table) for table in _read(path)}


def fit_series(path: Path, wanted: str | None = None) -> tuple[str, list[Measured], dict[str, float]]:
    """Return the name, the rows and the fitted numbers of a file's only series, or of the one ``wanted`` by its name.

    Raises
    ------
    InputError
        As `every_series`; if there is no such series.
    """
    tables = {_text(table, "name"): table for table in _read(path)}
    rule = f"one of {', '.join(tables)}"[:200]
    require(wanted in tables or (wanted is None and len(tables) == 1), "series", rule, wanted or "missing")
    return _fitted(tables[wanted] if wanted is not None else next(iter(tables.values())))


def _fitted(table: Mapping[str, Any]) -> tuple[str, list[Measured], dict[str, float]]:
    name, rows, fit = _text(table, "name"), _rows(table), table.get("fit", [])
    fits = isinstance(fit, list) and all(one in FITTABLE for one in fit) and len({*fit}) == len(fit)
    require(fits, f"fit of {name}", f"a list of some of {', '.join(FITTABLE)}", str(fit)[:60])
    return name, rows, _fit(name, rows, fit)


def evaluate(table: Mapping[str, Any]) -> Iterator[Series]:
    """Fit what may be fitted of a series, predict its rows, find its crossing and what its schedule is worth."""
    name, rows, numbers = _fitted(table)
    found = [Row(row.name, row.value, row.conditions.predict(numbers), row.note) for row in rows]
    told = ", ".join(f"{key} {value:.4g}" for key, value in numbers.items())
    kept = [row for row, measured in zip(found, rows, strict=True) if measured.bounded]
    source, explanation = _text(table, "source"), str(table.get("explanation", ""))
    yield Series(name, source, told or "nothing", found, _bound(table, name, kept), explanation)
    if "crossing" in table:
        yield crossing(table["crossing"], name, source, rows, numbers)
    if "schedule" in table:
        yield check_schedule(table["schedule"], name, source, rows, numbers)


def _fit(name: str, rows: Sequence[Measured], fit: Sequence[str]) -> dict[str, float]:
    """Return the numbers that make the squared logarithms of the rows' errors least."""
    used = [row for row in rows if row.fitted]
    if not fit:
        return {}
    require(len(fit) < len(used), f"fit of {name}", f"of fewer numbers than the {len(used)} rows fitted to", len(fit))
    start = [used[0].conditions.start(key) for key in fit]

    def misfit(values: np.ndarray) -> list[float]:
        numbers = dict(zip(fit, values.tolist(), strict=True))
        return [log(row.conditions.predict(numbers) / row.value) for row in used]

    low, high = zip(*(FITTABLE[key][1:] for key in fit), strict=True)
    found = least_squares(misfit, start, bounds=(low, high), x_scale=start)
    return dict(zip(fit, found.x.tolist(), strict=True))


def _bound(table: Mapping[str, Any], name: str, rows: Sequence[Row]) -> Bound | None:
    given = [key for key in LIMITS if key in table]
    if not given:
        return None
    limit = table[given[0]]
    require(len(given) == 1 and _is_number(limit), f"bound of {name}", f"one number of {', '.join(LIMITS)}", given)
    require(bool(rows), f"rows of {name}", "some that are bounded", "none")
    if given[0] == "spearman":
        rank = spearmanr([row.published for row in rows], [row.model for row in rows]).statistic
        return Bound("Spearman", float(rank), limit, at_least=True)
    errors = [row.log_error or 0.0 for row in rows]
    if given[0] == "rms_log_error":
        return Bound("RMS log error", float(np.sqrt(np.mean(np.square(errors)))), limit)
    return Bound("largest error", max(abs(row.error or 0.0) for row in rows), limit)


# ---- Files ----


def _read(path: Path) -> list[Mapping[str, Any]]:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InputError(f"rows must be a readable file, not {path} ({error.strerror})") from None
    require(len(content) <= LARGEST_FILE, "rows", f"a file of at most {LARGEST_FILE >> 20} MiB", path)
    try:
        found = tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"rows must be a TOML file, not {path} ({str(error).splitlines()[0][:80]})") from None
    tables = found.get("series")
    fits = isinstance(tables, list) and bool(tables) and all(isinstance(one, Mapping) for one in tables)
    require(fits and {*found} == {"series"}, "rows", "a TOML file of [[series]]", path)
    assert isinstance(tables, list)
    return tables


def _rows(table: Mapping[str, Any]) -> list[Measured]:
    """Return the rows of a series, lists in them one by one."""
    name, common = _text(table, "name"), table.get("conditions", {})
    for key in table:
        require(key in OF_SERIES, f"keys of {name}", f"among {', '.join(sorted(OF_SERIES))}", key[:40])
    given = table.get("rows")
    fits = isinstance(given, list) and all(isinstance(row, Mapping) for row in given) and isinstance(common, Mapping)
    require(fits and bool(given), f"rows of {name}", "a list of tables", str(given)[:40])
    assert isinstance(given, list)
    single = [row for many in given for row in _one_by_one(many, name)]
    require(len(single) <= MOST_ROWS, f"rows of {name}", f"at most {MOST_ROWS}", len(single))
    return [_row(row, {"quantity": table.get("quantity"), **common}, name) for row in single]


def _one_by_one(row: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    value = row.get("value")
    if not isinstance(value, list):
        return [dict(row)]
    lists = {key: one for key, one in row.items() if isinstance(one, list) and key != "ranks"}
    require(len({len(one) for one in lists.values()}) == 1, f"lists of a row of {name}", "equally long", [*lists][:4])
    return [{**row, **{key: one[place] for key, one in lists.items()}} for place in range(len(value))]


def _row(row: Mapping[str, Any], common: Mapping[str, Any], series: str) -> Measured:
    value, own = row.get("value"), {key: one for key, one in row.items() if key not in OF_ROW}
    require(_is_number(value) and value > 0, f"value of a row of {series}", "a number above 0", str(value)[:40])  # type: ignore[operator]
    flags = [row.get(key, True) for key in ("fitted", "bounded")]
    fits = all(type(flag) is bool for flag in flags)
    require(fits, f"fitted and bounded of a row of {series}", "true or false", str(flags)[:40])
    told = [f"{key} {one}" for key, one in own.items() if not isinstance(one, list | dict)]
    name = str(row.get("name") or ", ".join(told) or "value")
    quantity = {"quantity": row["quantity"]} if "quantity" in row else {}
    under = conditions({**common, **own, **quantity}, series)
    return Measured(name, str(row.get("note", "")), float(value), under, *flags)  # type: ignore[arg-type]


def _text(table: Mapping[str, Any], key: str) -> str:
    text = table.get(key)
    require(isinstance(text, str) and bool(text), f"{key} of a series", "a text", str(text)[:40])
    return str(text)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -1e300 < value < 1e300
