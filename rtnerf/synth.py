"""``rtnerf synth``: what the accelerator takes in cells, and how fast it clocks."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click

from rtnerf.base.folders import kept_folder
from rtnerf.base.options import PATH, OneOf, Whole, check_targets, example, json_option, refuse_given
from rtnerf.options import config_option, progress_bar, save


@click.command(**example("rtnerf synth --library compact --unit compositor --unit density --json units.json"))
@config_option
@click.option(
    "--library",
    "libraries",
    multiple=True,
    help="asap7, sg13g2, sky130 (from the data's folder), compact (built in), or a Liberty file, again for each file; "
    "default: asap7 where it is, else compact.",
)
@click.option(
    "--target",
    type=OneOf("cells", "ecp5"),
    default="cells",
    show_default=True,
    help="Cells of a library, or an FPGA (LFE5U-85F): units placed and routed one by one, else all on a ULX3S board.",
)
@click.option("--unit", "units", multiple=True, help="Only this unit, again for each; default: all, and their sums.")
@click.option(
    "--workers", type=Whole(1), default=os.cpu_count() or 1, show_default="processors", help="Units at a time."
)
@click.option(
    "--build-dir",
    type=PATH,
    help="Where results are kept; default: build/synthesis in a checkout, else in the user's cache.",
)
@json_option
def synth(
    config: str,
    libraries: tuple[str, ...],
    target: str,
    units: tuple[str, ...],
    workers: int,
    build_dir: Path | None,
    json_file: Path | None,
) -> None:
    """Map every unit to cells of a library: area, flip-flops, memories, and the slowest path of each."""
    check_targets(json=json_file)
    if target == "ecp5":
        refuse_given("with target ecp5", "library")
        if units:
            refuse_given("with units on an ecp5", "workers")
    from nerf.contract.config import load_config

    accelerator = load_config(config)
    cache = build_dir or kept_folder("synthesis")
    started = time.perf_counter()
    if target == "ecp5":
        with progress_bar("place and route") as progress:
            if units:
                from rtnerf.physical.ecp5 import place

                result = place(accelerator, units, cache=cache, progress=progress)
            else:
                from rtnerf.physical.ecp5_board import route

                result = route(accelerator, cache=cache, workers=workers, progress=progress)
        save(json_file, "synth", {**result, "seconds": time.perf_counter() - started})
        (_show_ecp5 if units else _show_board)(result)
        return
    from rtnerf.physical.libraries import load_technology
    from rtnerf.physical.synthesis import synthesize

    technology = load_technology(libraries, cache)
    with progress_bar("synthesis") as progress:
        result = synthesize(accelerator, technology, units, cache=cache, workers=workers, progress=progress)
    save(json_file, "synth", {**result, "seconds": time.perf_counter() - started})
    _show(result)


def _show_ecp5(result: dict[str, Any]) -> None:
    click.echo(f"  {'unit':<28} {'number':>6} {'LUTs':>7} {'flops':>7} {'DSPs':>5} {'block RAMs':>10} {'MHz':>6}")
    for name, unit in result["units"].items():
        click.echo(
            f"  {name:<28} {unit['instances']:>6} {unit['luts']:>7,} {unit['flip_flops']:>7,} {unit['dsps']:>5} "
            f"{unit['block_rams']:>10} {unit['fmax_mhz']:>6.1f}"
        )


def _show_board(result: dict[str, Any]) -> None:
    taken = ", ".join(
        f"{result[key]:,} of {count:,} {key.replace('_', ' ')}" for key, count in result["available"].items()
    )
    seeds = ", ".join(f"{clock:.1f}" for clock in result["fmax_mhz_of_seeds"])
    click.echo(f"{result['config']} on a {result['board']}: {taken}")
    click.echo(f"{result['fmax_mhz']:.1f} MHz on an {result['device']} ({seeds} by seed)")
    click.echo(
        f"{result['fmax_mhz_on_board']:.1f} MHz at the board's speed grade {result['board_speed_grade']}, clocked with "
        f"{result['clock_mhz']:g}: {result['bitstream']}"
    )


def _show(result: dict[str, Any]) -> None:
    click.echo(
        f"  {'unit':<28} {'number':>6} {'cells':>9} {'um2':>10} {'flops':>7} {'memory bits':>12} {'ps':>7}  path"
    )
    for name, unit in result["units"].items():
        delay = "-" if unit["delay_ps"] is None else f"{unit['delay_ps']:.0f}"
        path = f"{unit['path']['from']} -> {unit['path']['to']}" if unit["path"] else ""
        click.echo(
            f"  {name:<28} {unit['instances']:>6} {unit['cells']:>9,} {unit['area_um2']:>10,.0f} "
            f"{unit['flip_flops']:>7,} {unit['memory_bits']:>12,} {delay:>7}  {path}"
        )
    if "clock_mhz" in result:
        click.echo(
            f"{result['config']} in {result['library']}: {result['clock_mhz']:.0f} MHz ({result['slowest']}), "
            f"{result['clock_mhz_with_wires']:.0f} MHz less 20 % for wires; "
            f"{result['logic_mm2']:.3f} mm2 of logic, {result['memory_mm2']:.3f} mm2 of memory "
            f"({result['memory_bytes'] / 1024:,.0f} KiB, {result['memories']})"
        )
        path = result["whole"]["path"]
        if path:
            way = " > ".join(unit["unit"] for unit in path["units"])
            click.echo(
                f"units joined: {path['delay_ps']:.0f} ps, {1e6 / path['delay_ps']:.0f} MHz, by {path['from']} -> "
                f"{path['to']} ({way}); a path crosses at most {result['whole']['boundaries']} boundaries of units"
            )
        by_kind = ", ".join(f"{kind} {area:.4f}" for kind, area in result["area_by_kind_mm2"].items())
        click.echo(f"mm2 by kind: {by_kind}")
        if result["area_28nm_mm2"]:
            low, high = result["area_28nm_mm2"]
            methods = ", ".join(result["area_28nm_methods"])
            click.echo(f"28 nm class, by scaling ({methods}): {low:.2f} to {high:.2f} mm2")
