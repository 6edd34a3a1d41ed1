"""The command that holds the models to what was published or measured: validate."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rtnerf.base.errors import InputError, require
from rtnerf.base.options import PATH, Wholes, example
from specdec.command_line.progress import Progress
from specdec.command_line.results import Results, result_options

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_DRAFTED = 64
"""Tokens of a chain."""


@click.command(
    **example(
        "rtnerf specdec validate --json validation.json",
        "rtnerf specdec validate --acceptance lengths.yaml --from 1,2,3 --json law.json",
        "rtnerf specdec validate --serving measured.csv --json serving.json",
        "rtnerf specdec validate --rows published.toml",
    )
)
@click.option("--acceptance", type=PATH, help="Instead: a YAML file of acceptance lengths by drafted tokens.")
@click.option("--from", "known", type=Wholes(MOST_DRAFTED), help="Fit to these numbers of drafted tokens only.")
@click.option("--serving", type=PATH, help="Instead: a CSV file of served models, columns as AIConfigurator's.")
@click.option("--rows", type=PATH, help="Instead: a TOML file of published rows, see docs/rows.md.")
@result_options("a published figure, curve, or model and GPU", "the model beside what was published or measured")
def validate(
    acceptance: Path | None,
    known: tuple[int, ...] | None,
    serving: Path | None,
    rows: Path | None,
    results: Results,
) -> None:
    """Show published figures beside the model's, with errors and what was fitted; exit code 1 if a bound is broken.

    With a file of acceptance lengths, how well the law of two numbers fits each curve, and what it predicts for the
    longest chain from the shorter ones. With a file of served models, the time of a token without speculation, by two
    numbers an engine and GPU, and for each model by those fitted to the others. With a file of rows, those instead of
    the ones that come with the project.
    """
    files = {"acceptance": acceptance, "serving": serving, "rows": rows}
    given = [name for name, path in files.items() if path is not None]
    require(len(given) <= 1, "file", f"one of {', '.join(files)}", " and ".join(given))
    if known is not None and acceptance is None:
        raise InputError("from must be given with acceptance, not alone")
    results.check()
    if acceptance is not None:
        _validate_acceptance(acceptance, known or (), results)
    elif serving is not None:
        _validate_serving(serving, results)
    else:
        _validate_rows(rows, results)


def _validate_rows(path: Path | None, results: Results) -> None:
    """Hold the model to the rows of a file, or to all that is published here."""
    from specdec.evidence.report import Report, report
    from specdec.evidence.rows import every_series

    progress = Progress("series")
    found = report(progress) if path is None else Report(every_series(path, progress))
    record = found.record()
    rows = [{"series": one["name"], **row} for one in record["series"] for row in one["rows"]]

    def picture() -> "Figure":
        from specdec.view.evidence import ratios

        return ratios({one.name: [1 + row.error for row in one.rows if row.error is not None] for one in found.series})

    results.write(record, rows, picture)
    click.echo(found.summary)
    if not found.holds:
        raise click.exceptions.Exit(1)


def _validate_acceptance(path: Path, known: tuple[int, ...], results: Results) -> None:
    from specdec.laws.acceptance_length import check_all, read_curves

    measured = read_curves(path)
    found = check_all(measured, known)
    record = {"command": "specdec validate", "from": known or None, **found}
    columns = ("first", "decay", "rms", "error_at_last")
    rows = [{"curve": name, **{key: one[key] for key in columns}} for name, one in found.items()]

    def picture() -> "Figure":
        from specdec.view.acceptance import curves

        return curves(measured, found)

    results.write(record, rows, picture)
    for name, one in found.items():
        law = f"rate {one['first']:.3f} * {one['decay']:.3f}**(k - 1)"
        left_out = one.get("error_at_last_left_out")
        other = "" if left_out is None else f" ({left_out:+.2%} by the other curves' decays)"
        click.echo(f"{name}: {law}, RMS error {one['rms']:.2%}, error at the last {one['error_at_last']:+.2%}{other}")


def _validate_serving(path: Path, results: Results) -> None:
    from specdec.evidence.serving import compare, read_runs

    found = compare(*read_runs(path), progress=Progress("models"))
    record = found.record()
    groups = record["by_model_and_gpu"].items()

    def picture() -> "Figure":
        from specdec.view.evidence import ratios

        return ratios(found.ratios)

    rows = [{"model_and_gpu": name, **one} for name, one in groups]
    results.write({"command": "specdec validate", **record}, rows, picture)
    click.echo(found.summary)
