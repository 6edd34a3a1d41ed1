"""The option to write results as a CSV file, a row each."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from rtnerf.base.options import FC, PATH


def csv_option(rows: str) -> Callable[[FC], FC]:
    """``--csv``: write a row for each of what ``rows`` says."""
    return click.option("--csv", "csv_file", type=PATH, help=f"Write a row {rows} to this file.")


def write_table(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows, at least one, under the names of the first; a table in a row becomes columns, a list is left out."""
    from rtnerf.base.files import write_bytes

    flat = [dict(_flat(row)) for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(flat[0]), lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(flat)
    write_bytes(path, text.getvalue().encode())


def _flat(row: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}_")
        elif not isinstance(value, list | tuple):
            yield f"{before}{name}", value
