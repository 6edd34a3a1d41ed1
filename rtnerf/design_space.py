"""``rtnerf compare``, ``sweep`` and ``size``: points of the design space, why they differ, and what they need."""

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

from rtnerf.base.options import (
    FRACTION,
    PATH,
    Whole,
    Wholes,
    check_targets,
    example,
    json_option,
    refuse_given,
    together,
)
from rtnerf.options import (
    Size,
    Window,
    capture_options,
    config_option,
    memory_options,
    model_option,
    progress_bar,
    refuse_timing,
    save,
    versions,
)

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
    tasks = points_of.tasks_of(points, synthesis_files(space.synthesis), space.on_chip, space.estimates)
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


@click.command(**example("rtnerf size --config edge --views 0,1 --out sized.toml --check-views 2,3,4 --json size.json"))
@model_option
@capture_options("the embedded model's")
@config_option
@click.option("--views", type=Wholes(low=0), default="0", show_default=True, help="Views whose cycles are kept.")
@click.option("--check-views", type=Wholes(low=0), help="Views that are only compared afterwards.")
@click.option("--size", "pixels", type=Size(), default="200", show_default=True, help="Full picture, in pixels.")
@click.option("--crop", type=Window(), help="Only this window of the full picture, in pixels.")
@memory_options
@click.option(
    "--loss", type=FRACTION, default=0.0, show_default=True, help="Share of a view's cycles that may be lost."
)
@click.option("--out", type=PATH, required=True, help="The configuration, as a TOML file for --config.")
@json_option
def size(
    views: tuple[int, ...],
    check_views: tuple[int, ...] | None,
    pixels: tuple[int, int | None],
    memory: str,
    latency: int,
    beat_interval: int,
    loss: float,
    out: Path,
    json_file: Path | None,
    **subject: Any,
) -> None:
    """Find the smallest queues and buffers that keep the cycles of some views, or lose at most a share of them.

    Guaranteed is what was simulated: these views, at this size, with this memory. --check-views says what others lose.
    """
    check_targets(out=out, json=json_file)
    refuse_timing(memory)
    timing = {"latency": latency, "beat_interval": beat_interval} if memory == "fixed" else {}
    from nerf.contract.config import to_toml
    from rtnerf.base.files import write_bytes
    from rtnerf.explore.points import point_of
    from rtnerf.explore.size import check, size_queues

    given = {name: str(value) if isinstance(value, Path) else value for name, value in subject.items()}
    width, height = pixels
    given |= {"views": views, "size": width if height is None else (width, height), "memory": memory, **timing}
    point = point_of({name: value for name, value in given.items() if value is not None}, Path())
    started = time.perf_counter()
    with progress_bar("queues") as advance:
        sizing = size_queues(point, loss, advance)
    write_bytes(out, to_toml(sizing.after).encode())
    found = sizing.record()
    checked = check(point, sizing.after, check_views) if check_views else []
    result = {
        **point.settings(),
        "config": point.config.name,
        "loss": loss,
        "memory": point.timing.record(),
        **found,
        "checked": checked,
        "seconds": time.perf_counter() - started,
    }
    save(json_file, "size", result)
    for name, (before, after) in found["queues"].items():
        click.echo(f"  {name:<16} {before:>6} -> {after}")
    for view, before, after in [*zip(views, sizing.cycles_before, sizing.cycles_after, strict=True), *checked]:
        kind = "kept" if view in views else "checked"
        click.echo(f"  view {view:<4} {before:>12,} -> {after:>12,} cycles ({after / before - 1:+.3%}, {kind})")
    before, after = found["on_chip_bytes"]
    click.echo(
        f"{out}: {before:,} -> {after:,} bytes on chip ({after / before - 1:+.1%}), {sizing.simulations} frames "
        f"simulated; guaranteed for these views, {memory} and {width} pixels alone"
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
