"""``rtnerf report``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from rtnerf.base.errors import InputError
from rtnerf.base.folders import ROOT
from rtnerf.base.options import PATH, example
from rtnerf.options import progress_bar


@click.command(**example("rtnerf report --out build/report"))
@click.option("--out", type=PATH, required=True, help="The folder for index.html and the other pages.")
def report(out: Path) -> None:
    """Execute the notebooks into one site, of the results of `make demo` and of those kept with the project."""
    if out.exists() and not out.is_dir():
        raise InputError(f"out must be a folder, not {out} (a file)")
    if not (ROOT / "reports" / "__init__.py").is_file():
        raise InputError(f"report must be run from a checkout of the project, not from {ROOT}")
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from reports.site.build import build

    with progress_bar("notebooks") as advance:
        index = build(out, progress=advance)
    click.echo(index)
