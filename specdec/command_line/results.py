"""What a command writes besides its text: its record as JSON, a table, a picture."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtnerf.base.options import PATH, check_targets, json_option, plot_option, together

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Results:
    """Where results go; None for what is not asked for.

    Members
    -------
    json_file, csv_file, plot : path or None
        Of the record, the table and the picture.
    """

    json_file: Path | None
    csv_file: Path | None
    plot: Path | None

    def check(self, **others: Path | None) -> None:
        """Refuse, before anything is done, what cannot be written; ``others`` are written too."""
        check_targets(json=self.json_file, csv=self.csv_file, plot=self.plot, **others)

    def write(self, record: Row, rows: Iterable[Row], figure: Callable[[], "Figure"]) -> None:
        """Write what is asked for; ``rows`` are at least one, as for `write_table`."""
        if self.json_file is not None:
            from rtnerf.base.files import write_json

            write_json(self.json_file, record)
        if self.csv_file is not None:
            write_table(self.csv_file, rows)
        if self.plot is not None:
            from specdec.view import plots

            plots.save(figure(), self.plot)


def result_options(rows: str, picture: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """``--json``, ``--csv`` with a row for what ``rows`` says, ``--plot`` of the ``picture``; given as ``results``."""
    options = together(
        json_option,
        click.option("--csv", "csv_file", type=PATH, help=f"Write a row {rows} to this file."),
        plot_option(picture),
    )

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def gathered(json_file: Path | None, csv_file: Path | None, plot: Path | None, **others: Any) -> None:
            command(results=Results(json_file, csv_file, plot), **others)

        return options(gathered)

    return decorate


def write_table(path: Path, rows: Iterable[Row]) -> None:
    """Write rows, at least one, under the names of the first; a table in a row becomes columns, a list is left out."""
    from rtnerf.base.files import write_bytes

    flat = [dict(_flat(row)) for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(flat[0]), lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(flat)
    write_bytes(path, text.getvalue().encode())


def _flat(row: Row, before: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}_")
        elif not isinstance(value, list | tuple):
            yield f"{before}{name}", value
