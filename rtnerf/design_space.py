"""``rtnerf compare`` and ``rtnerf sweep``: points of the design space, and why they differ."""

from __future__ import annotations

import hashlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtnerf.base.options import PATH, Whole, check_targets, example, json_option, refuse_given, together
from rtnerf.options import progress_bar, save, versions

if TYPE_CHECKING:
    from rtnerf.explore.space import Refusal, Specification

TOLD_RULES = 5
"""Rules that are told of what is refused; the others stand in the results."""
SECONDS_BETWEEN = 10
"""Of a line of progress and the next, where no terminal shows a bar."""

folder_options = together(
    click.argument("specification", type=PATH),
    click.option("--out", type=PATH, required=True, help="The folder for the results; it is gone on with."),
    click.option("--workers", type=Whole(1), default=1, show_default=True, help="Processes on this machine."),
    click.option("--scheduler", help="Address of a Dask scheduler whose workers are used instead: tcp://HOST:PORT."),
)


@click.command(**example("rtnerf compare tiny.json edge.json --json why.json"))
@click.argument("first", type=PATH)
@click.argument("second", type=PATH)
@json_option
def compare(first: Path, second: Path, json_file: Path | None) -> None:
    """Say why two results differ: settings, then cycles, bytes, accesses and energy, the heaviest first.

    FIRST and SECOND are results of rtnerf simulate --json, or points of a sweep. Shares are of all of a kind in FIRST.
    """
    check_targets(json=json_file)
    from rtnerf.explore.compare import compare as compare_frames
    from rtnerf.explore.compare import load_frame

    found = compare_frames(load_frame("first", first), load_frame("second", second))
    save(json_file, "compare", {"first": str(first), "second": str(second), **found.record()})
    for line in found.lines():
        click.echo(line)


@click.command(
    **example("rtnerf sweep space.toml --out points --workers 2", "rtnerf sweep space.toml --out d --dry-run")
)
@folder_options
@click.option("--dry-run", is_flag=True, help="Only say how many points there are, and about how long they take.")
@json_option
def sweep(
    specification: Path, out: Path, workers: int, scheduler: str | None, dry_run: bool, json_file: Path | None
) -> None:
    """Simulate the points of a design space: grids, lists and samples of configurations, memories, models, views.

    SPECIFICATION is a TOML file, see docs/explore.md. Each point is kept as it ends, and a run that was stopped goes on
    when the same command is given again. The table of all frames is OUT/results.parquet.
    """
    check_targets(json=json_file)
    if scheduler is not None:
        refuse_given("with scheduler, which has workers of its own", "workers")
    from rtnerf.base.executors import executor
    from rtnerf.explore import sweep as points_of
    from rtnerf.explore.cost import synthesis_files
    from rtnerf.explore.space import load_specification

    space = load_specification(specification)
    points, refused = space.points(space.seed)
    about = heading("sweep", space)
    folder = points_of.open_folder(out, about)
    tasks = points_of.tasks_of(points, synthesis_files(space.synthesis), space.on_chip)
    counts = {"points": len(points), "frames": sum(len(point.subject.views) for point in points)}
    result = {**about, **counts, "refused": [asdict(each) for each in refused]}
    tell_refused(refused)
    if dry_run:
        missing, seconds = points_of.estimate(folder, tasks)
        save(json_file, "sweep", {**result, "dry_run": True, "tasks_to_do": missing, "seconds_of_a_core": seconds})
        click.echo(
            f"{counts['points']} points, {counts['frames']} frames; {missing} tasks are to be done, about "
            f"{seconds / workers:.0f} s with {workers} workers"
        )
        return
    started = time.perf_counter()
    with executor(workers, scheduler) as where, progress("sweep") as tell:
        done = points_of.run(folder, tasks, where, tell)
    seconds = time.perf_counter() - started
    unfit = points_of.refused(folder, points)
    result["refused"] += [{"settings": point.settings(), "rule": rule} for point, rule in unfit]
    rows = points_of.gather(folder, points, result)
    save(json_file, "sweep", {**result, "tasks_done": done, "seconds": seconds})
    tell_refused(unfit)
    best = max(rows, key=lambda row: row["fps_at_clock"])
    click.echo(
        f"{out / points_of.TABLE}: {len(points) - len(unfit)} points, {len(rows)} frames; {done} tasks in "
        f"{seconds:.1f} s ({done / seconds:.2f} a second)"
    )
    click.echo(
        f"fastest: point {best['point']} ({best['config']}), view {best['view']}, {best['fps_at_clock']:.3f} frames/s"
    )


def heading(command: str, space: Specification) -> dict[str, Any]:
    """What every file of a folder says first."""
    return {
        "command": command,
        "specification": space.text,
        "specification_digest": hashlib.sha256(space.text.encode()).hexdigest(),
        "seed": space.seed,
        "versions": versions(),
    }


def tell_refused(refused: list[Refusal] | list[tuple[Any, str]]) -> None:
    """Say which rules refuse how many points."""
    rules = Counter(each[1] if isinstance(each, tuple) else each.rule for each in refused)
    for rule, count in rules.most_common(TOLD_RULES):
        click.echo(f"refused, {count} points: {rule}")
    if rest := len(rules) - TOLD_RULES:
        click.echo(f"refused by {rest} other rules: {sum(rules.values())} points in all") if rest > 0 else None


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, elsewhere a line now and then on the standard error: done, a second, seconds left."""
    started = last = time.monotonic()
    with progress_bar(label) as advance:

        def tell(done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            rate = done / max(now - started, 1e-9)
            advance(done, total, f"{rate:.2f} a second")
            if done and not sys.stderr.isatty() and (now - last >= SECONDS_BETWEEN or done == total):
                last = now
                left = (total - done) / rate
                click.echo(f"{label}: {done} of {total}, {rate:.2f} a second, {left:.0f} s left", err=True)

        yield tell
