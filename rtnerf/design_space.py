"""``rtnerf compare``: why two configurations differ."""

from __future__ import annotations

from pathlib import Path

import click

from rtnerf.base.options import PATH, check_targets, example, json_option
from rtnerf.options import save


@click.command(**example("rtnerf compare tiny.json edge.json --json why.json"))
@click.argument("first", type=PATH)
@click.argument("second", type=PATH)
@json_option
def compare(first: Path, second: Path, json_file: Path | None) -> None:
    """Say why two frames differ: settings, then cycles, bytes, accesses and energy, the heaviest first.

    FIRST and SECOND are results of rtnerf simulate --json. A share is of all of its kind in FIRST.
    """
    check_targets(json=json_file)
    from rtnerf.explore.compare import compare as compare_frames
    from rtnerf.explore.compare import load_frame

    found = compare_frames(load_frame("first", first), load_frame("second", second))
    save(json_file, "compare", {"first": str(first), "second": str(second), **found.record()})
    for line in found.lines():
        click.echo(line)
