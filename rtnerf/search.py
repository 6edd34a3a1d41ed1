"""``rtnerf optimise``: a search of the design space, and its winners in RTL."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtnerf.base.errors import InputError
from rtnerf.base.options import OneOf, Whole, check_targets, example, json_option, refuse, refuse_given
from rtnerf.design_space import folder_options, heading, progress, tell_refused
from rtnerf.hardware import EXIT_MISMATCH
from rtnerf.options import progress_bar, save

if TYPE_CHECKING:
    from rtnerf.explore.optimise import Trial
    from rtnerf.explore.points import Point

# The names in rtnerf.explore.optimise.OBJECTIVES, written out because that module would load NumPy for the help.
OBJECTIVES = ("fps", "psnr_db", "energy_mj", "bytes", "area_mm2", "memory_mm2", "on_chip_bytes")
CROP = 16
"""Side of the window in the middle of the first view that winners are co-simulated on, in pixels."""


class Limit(click.ParamType):
    """``NAME=NUMBER``, of one of the objectives."""

    name = "NAME=NUMBER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        """Return both, or refuse them."""
        if isinstance(value, tuple):
            return value
        name, _, text = str(value).partition("=")
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if name not in OBJECTIVES or not math.isfinite(number):
            refuse(param, f"NAME=NUMBER, NAME one of {', '.join(OBJECTIVES)}", value)
        return name, number


@click.command(
    **example(
        "rtnerf optimise space.toml --out search --points 100 --workers 2",
        "rtnerf optimise space.toml --out search --points 300 --objective energy_mj --at-least fps=120 --verify 2",
    )
)
@folder_options
@click.option("--points", type=Whole(1), required=True, help="Points that are proposed.")
@click.option(
    "--objective",
    "objectives",
    type=OneOf(*OBJECTIVES),
    multiple=True,
    default=("fps", "on_chip_bytes"),
    show_default="fps, on_chip_bytes",
    help="What is to be good, again for each.",
)
@click.option("--at-least", type=Limit(), multiple=True, help="A figure's lower bound, such as fps=120.")
@click.option("--at-most", type=Limit(), multiple=True, help="A figure's upper bound, such as bytes=2e7.")
@click.option("--verify", type=Whole(), default=0, show_default=True, help="Winners that are co-simulated on a crop.")
@click.option("--engine", type=OneOf("verilator", "icarus", "cxxrtl"), default="verilator", show_default=True)
@json_option
def optimise(
    specification: Path,
    out: Path,
    workers: int,
    scheduler: str | None,
    points: int,
    objectives: tuple[str, ...],
    at_least: tuple[tuple[str, float], ...],
    at_most: tuple[tuple[str, float], ...],
    verify: int,
    engine: str,
    json_file: Path | None,
) -> None:
    """Search the [space] of a specification for the best points by several objectives, of several views the worst.

    OUT/front.json, front.svg and front/NUMBER.toml are those that no other point beats; OUT/results.parquet has all. A
    search that was stopped goes on when the same command is given again, or one with more points. Exit code 1 where a
    winner's RTL differs.
    """
    check_targets(json=json_file)
    if scheduler is not None:
        refuse_given("with scheduler, which has workers of its own", "workers")
    if not verify:
        refuse_given("without verify", "engine")
    objectives = tuple(dict.fromkeys(objectives))
    from rtnerf.base.executors import executor
    from rtnerf.base.files import write_json
    from rtnerf.explore.cost import synthesis_files
    from rtnerf.explore.optimise import Bound, front, refusals
    from rtnerf.explore.optimise import optimise as search
    from rtnerf.explore.space import load_specification
    from rtnerf.explore.sweep import gather, open_folder

    space = load_specification(specification)
    about = heading("optimise", space)
    folder = open_folder(out, about)
    bounds = [*(Bound(*each, True) for each in at_least), *(Bound(*each, False) for each in at_most)]
    started = time.perf_counter()
    with executor(workers, scheduler) as where, progress("optimise") as tell:
        trials = search(space, objectives, bounds, points, folder, synthesis_files(space.synthesis), where, tell)
    winners = front(trials, objectives, bounds)
    tell_refused(refusals(trials))
    if not winners:
        raise InputError(f"bounds must be kept by a point, not by none of {points}; they are kept in {out}")
    _write_front(out, trials, winners, objectives)
    result = {
        **about,
        "points": points,
        "objectives": objectives,
        "bounds": [asdict(bound) for bound in bounds],
        "front": [_record(trial) for trial in winners],
        "refused": [asdict(each) for each in refusals(trials)],
        "seconds_search": time.perf_counter() - started,
    }
    write_json(out / "front.json", result)
    gather(folder, [trial.point for trial in trials if trial.point is not None], result)
    _tell(winners)
    verified = _verify([_point(trial) for trial in winners[:verify]], engine)
    save(json_file, "optimise", {**result, "verified": verified, "seconds": time.perf_counter() - started})
    for number, each in enumerate(verified, 1):
        click.echo(f"front/{number:02}.toml in {engine}: {each['first_difference'] or 'no value or cycle differs'}")
    if any(each["differs"] for each in verified):
        raise click.exceptions.Exit(EXIT_MISMATCH)


def _point(trial: Trial) -> Point:
    assert trial.point is not None
    return trial.point


def _record(trial: Trial) -> dict[str, Any]:
    point = _point(trial)
    return {
        "point": point.digest,
        "figures": trial.figures,
        "settings": trial.settings,
        "config_parameters": asdict(point.config),
    }


def _write_front(out: Path, trials: Sequence[Trial], winners: Sequence[Trial], objectives: Sequence[str]) -> None:
    """Write the configurations of the winners, and draw them among all."""
    import io

    from nerf.contract.config import to_toml
    from rtnerf.base.files import write_bytes
    from rtnerf.plots import plot_front

    for stale in (out / "front").glob("*.toml"):
        stale.unlink()
    for number, trial in enumerate(winners, 1):
        write_bytes(out / "front" / f"{number:02}.toml", to_toml(_point(trial).config).encode())

    def figures(some: Sequence[Trial]) -> list[list[float]]:
        return [[trial.figures[name] for name in objectives] for trial in some if trial.figures]

    picture = io.BytesIO()
    plot_front(figures(trials), figures(winners), objectives).savefig(picture, format="svg")
    write_bytes(out / "front.svg", picture.getvalue())


def _tell(winners: Sequence[Trial]) -> None:
    names = list(winners[0].figures)
    click.echo("  front  " + "".join(f"{name:>16}" for name in names) + "  settings")
    for number, trial in enumerate(winners, 1):
        settings = ", ".join(f"{name}={value}" for name, value in trial.settings.items())
        click.echo(
            f"  {number:02}     " + "".join(f"{trial.figures[name]:>16,.6g}" for name in names) + f"  {settings}"
        )


def _verify(points: Sequence[Point], engine: str) -> list[dict[str, Any]]:
    """Co-simulate points on a window in the middle of their first view, with a memory of fixed latency."""
    from rtnerf.api import Job
    from rtnerf.explore.evaluate import camera_of, prepared

    found = []
    with progress_bar("verify") as advance:
        for number, point in enumerate(points):
            advance(number, len(points), point.config.name)
            job = Job(prepared(point).model, point.config, point.switches.encoding)
            camera = camera_of(point.subject, point.subject.views[0])
            left, top, width, height = camera.window
            across, down = min(CROP, width), min(CROP, height)
            window = (left + (width - across) // 2, top + (height - down) // 2, across, down)
            outcome = job.cosimulate(
                camera.cropped(*window), engine=engine, termination=point.switches.termination
            ).record()
            differs = bool(
                outcome["error"] != "NONE" or outcome["pixel_mismatches"] or outcome["transaction_mismatches"]
            )
            found.append({"point": point.digest, "crop": window, "differs": differs, **outcome})
    return found
