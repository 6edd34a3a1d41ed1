"""``rtnerf benchmark``: the same questions put to several scenes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtnerf.base.errors import InputError
from rtnerf.base.options import PATH, Number, Whole, check_targets, example, json_option, seed_option
from rtnerf.options import progress_bar, save

if TYPE_CHECKING:
    from rtnerf.scenes import Plan

_COLUMNS = (
    "scene", "L0 dB", "L2 dB", "tuned dB", "deferred dB", "edge fps", "tuned fps", "deferred fps", "MB", "live cubes",
    "busiest",
)  # fmt: skip


@click.group(**example("rtnerf benchmark scenes --out scenes", cls=click.Group))
def benchmark() -> None:
    """Put the same questions to several scenes."""


@benchmark.command(**example("rtnerf benchmark scenes --out scenes --effort 0.1 --scene lattice --scene helix"))
@click.option(
    "--out", type=PATH, required=True, help="The folder for pictures, models and results; it is gone on with."
)
@click.option("--data", type=PATH, help="A folder of NeRF-synthetic scenes; default: the built-in ones.")
@click.option("--scene", "names", multiple=True, help="One of them; may be given several times. Default: all.")
@click.option("--effort", type=Number(0, min_open=True), default=1.0, show_default=True, help="Times the usual steps.")
@click.option("--size", type=Whole(16), default=200, show_default=True, help="Width of the pictures, pixels.")
@click.option("--frame-size", type=Whole(1), default=800, show_default=True, help="Width of the frames, pixels.")
@click.option("--views", type=Whole(1), default=3, show_default=True, help="Test views compared and simulated.")
@click.option("--workers", type=Whole(1), help="Processes that simulate; default: all processors.")
@seed_option
@json_option
def scenes(
    out: Path,
    data: Path | None,
    names: tuple[str, ...],
    workers: int | None,
    json_file: Path | None,
    **settings: Any,
) -> None:
    """Train, tune, fine-tune, encode and simulate scenes: quality, frames a second, bytes, each idea switched off.

    A run that was stopped goes on when the same command is given again.
    """
    check_targets(json=json_file)
    from rtnerf.scenes import Plan, check_plan, measure, scenes_of

    known = scenes_of(data)
    for name in names:
        if name not in known:
            raise InputError(f"scene must be one of {', '.join(known)}, not {name}")
    plan = Plan(**settings)
    check_plan(out, plan, data)
    chosen = [name for name in known if name in names] if names else known
    rows: list[dict[str, Any]] = []
    with progress_bar("scenes") as advance:

        def tell(text: str) -> None:
            advance(len(rows), len(chosen), text)

        for name in chosen:
            rows.append(measure(name, data, out, plan, workers or os.cpu_count() or 1, tell))
        tell("")
    _tell(rows, plan)
    save(json_file, "benchmark scenes", {**settings, "data": data, "scenes": rows})


def _tell(rows: list[dict[str, Any]], plan: Plan) -> None:
    table = [_COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(_COLUMNS))]
    for row in table:
        click.echo("  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    click.echo(
        f"dB: mean of {plan.views} views at {plan.size} pixels; fps: the slowest of them at {plan.frame_size} pixels, "
        "LPDDR4-2400, an assumed 1000 MHz; MB, cubes, busiest unit: of the deferred model"
    )


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    frames, deferred = row["frames"], row["frames"]["deferred"]
    return (
        row["scene"],
        *(f"{row['psnr_db'][rung]:.2f}" for rung in ("l0", "l2", "tuned", "deferred")),
        *(f"{frames[kind]['fps_at_clock_lowest']:.1f}" for kind in ("trained", "tuned", "deferred")),
        f"{deferred['image_bytes'] / 1e6:.2f}",
        str(deferred["live_cubes"]),
        f"{deferred['bottleneck']} {deferred['bottleneck_share']:.0%}",
    )
