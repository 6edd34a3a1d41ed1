"""``rtnerf simulate`` and ``rtnerf ablate``: frames cycle by cycle."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtnerf.base.options import FRACTION, PATH, OneOf, check_targets, example, json_option
from rtnerf.options import (
    describe_view,
    form_of,
    form_option,
    load_view,
    progress_bar,
    save,
    simulation_options,
)

if TYPE_CHECKING:
    from nerf.cameras import Camera
    from sim.ablation import Switches


@click.command(**example("rtnerf simulate --size 800 --config edge --json frame.json --timeline frame.trace.json"))
@simulation_options
@form_option
@click.option(
    "--ordering",
    type=OneOf("exact", "coarse", "none"),
    default="exact",
    show_default=True,
    help="Order of the cubes; only the exact one gives the right picture.",
)
@click.option(
    "--sampling",
    type=OneOf("cubes", "uniform"),
    default="cubes",
    show_default=True,
    help="Occupied cubes, or every lattice point with an occupancy test (modelled only, not in the RTL).",
)
@click.option("--termination", type=FRACTION, default=1e-3, show_default=True, help="0 switches it off.")
@click.option("--timeline", type=PATH, help="What every unit does when, as a trace for Perfetto or Chrome.")
@json_option
def simulate(
    model: Path | None,
    transforms: Path | None,
    index: int,
    size: tuple[int, int | None],
    crop: tuple[int, ...] | None,
    config: str,
    clock_mhz: int,
    memory: str,
    latency: int,
    beat_interval: int,
    encoding: str,
    ordering: str,
    sampling: str,
    termination: float,
    frames: int,
    workers: int,
    timeline: Path | None,
    json_file: Path | None,
) -> None:
    """Simulate a frame cycle by cycle: the RTL's cycles exactly, with what every unit does in them.

    With several frames, the report is of the first, and cycles and frame rates are of all.
    """
    check_targets(timeline=timeline, json=json_file)
    from nerf.checkpoint import load_model
    from nerf.contract.config import load_config

    accelerator = load_config(config)
    cameras = [load_view(transforms, index + frame, size, crop)[1] for frame in range(frames)]
    scene = load_model(model)
    from sim import analysis
    from sim.ablation import Switches
    from sim.simulate import simulate_all

    started = time.perf_counter()
    timing = timing_of(memory, latency, beat_interval)
    clock_hz = clock_mhz * 1e6
    switches = Switches(termination, ordering, encoding, sampling)
    decoded, views = encoded_views(scene, cameras, accelerator, switches)
    prepared = time.perf_counter()
    outcomes = simulate_all(
        decoded, views, accelerator, workers, timing=timing, clock_hz=clock_hz, uniform=sampling == "uniform"
    )
    finished = time.perf_counter()
    outcome, camera = outcomes[0], cameras[0]
    if timeline is not None:
        from rtnerf.base.files import write_json

        write_json(timeline, analysis.timeline(outcome, clock_hz))
    table = analysis.units(outcome)
    result = {
        **describe_view(model, transforms, index, camera),
        "config": accelerator.name,
        "config_digest": accelerator.digest,
        "memory": {"kind": memory, **asdict(timing)},
        **asdict(switches),
        "modelled_only": switches.modelled_only,
        "clock_hz": clock_hz,
        "cycles": outcome.cycles,
        "fps_at_clock": clock_hz / outcome.cycles,
        "frame_cycles": [each.cycles for each in outcomes],
        "fps_at_clock_lowest": clock_hz / max(each.cycles for each in outcomes),
        "samples": outcome.samples,
        "samples_shaded": outcome.shaded,
        "units": table,
        "bottleneck": analysis.bottleneck(outcome),
        "dram_read_bytes": sum(outcome.read_bytes.values()),
        "dram_write_bytes": outcome.written_bytes,
        "dram_read_bytes_by_kind": outcome.read_bytes,
        "dram_rows": outcome.rows,
        "roofline": analysis.roofline(outcome, accelerator, timing, clock_hz),
        "cycles_simulated_one_by_one": outcome.steps,
        "seconds_preparation": prepared - started,
        "seconds_simulation": finished - prepared,
        "seconds": time.perf_counter() - started,
    }
    save(json_file, "simulate", result)
    for name, row in table.items():
        stalls = ", ".join(f"{cause} {cycles / outcome.cycles:.1%}" for cause, cycles in row["stall_cycles"].items())
        click.echo(f"  {name:<24} busy {row['busy_share']:6.1%}" + (f"  waits for {stalls}" if stalls else ""))
    click.echo(
        f"{outcome.cycles} cycles, {result['fps_at_clock']:.3f} frames/s at {clock_mhz} MHz ({accelerator.name}, "
        f"{camera.width}x{camera.height}, {memory}); busiest: {result['bottleneck']}"
    )


@click.command(**example("rtnerf ablate --size 800 --config edge --frames 3 --json ablation.json"))
@simulation_options
@json_option
def ablate(
    model: Path | None,
    transforms: Path | None,
    index: int,
    size: tuple[int, int | None],
    crop: tuple[int, ...] | None,
    config: str,
    clock_mhz: int,
    memory: str,
    latency: int,
    beat_interval: int,
    frames: int,
    workers: int,
    json_file: Path | None,
) -> None:
    """Simulate the same frames with each idea of RT-NeRF switched off, one at a time, and with all off.

    Only the exact order gives the right picture: the others are cycles only.
    """
    check_targets(json=json_file)
    from nerf.checkpoint import load_model
    from nerf.contract.config import load_config

    accelerator = load_config(config)
    cameras = [load_view(transforms, index + frame, size, crop)[1] for frame in range(frames)]
    scene = load_model(model)
    from sim.ablation import IDEAS, outcome_row
    from sim.simulate import simulate_all

    timing = timing_of(memory, latency, beat_interval)
    clock_hz = clock_mhz * 1e6
    rows = {}
    with progress_bar("runs") as advance:
        for number, (name, switches) in enumerate(IDEAS.items()):
            advance(number, len(IDEAS), name)
            decoded, views = encoded_views(scene, cameras, accelerator, switches)
            outcomes = simulate_all(
                decoded,
                views,
                accelerator,
                workers,
                timing=timing,
                clock_hz=clock_hz,
                uniform=switches.sampling == "uniform",
            )
            rows[name] = outcome_row(switches, outcomes, clock_hz)
        advance(len(IDEAS), len(IDEAS), "")
    result = {
        **describe_view(model, transforms, index, cameras[0]),
        "frames": frames,
        "config": accelerator.name,
        "config_digest": accelerator.digest,
        "memory": {"kind": memory, **asdict(timing)},
        "clock_hz": clock_hz,
        "runs": rows,
    }
    save(json_file, "ablate", result)
    click.echo(f"  {'run':<22} {'frames/s':>9} {'GB/s':>7}  busiest unit")
    for name, row in rows.items():
        click.echo(
            f"  {name:<22} {row['fps_at_clock_lowest']:>9.3f} {row['dram_gigabytes_per_second']:>7.2f}"
            f"  {row['bottleneck']} {row['bottleneck_share']:.1%}" + ("  (modelled only)" * bool(row["modelled_only"]))
        )


def timing_of(memory: str, latency: int, beat_interval: int) -> Any:
    """The memory that the options of a simulation describe."""
    from nerf.contract.memory import MemoryTiming
    from sim.memory.lpddr4 import Lpddr4

    return Lpddr4() if memory == "lpddr4" else MemoryTiming(latency, beat_interval)


def encoded_views(scene: Any, cameras: list[Camera], accelerator: Any, switches: Switches) -> tuple[Any, list[Any]]:
    """The scene as the hardware decodes it, and its views."""
    from nerf.encode import encode_model
    from nerf.golden.frame import decode_scene
    from nerf.render.integer import camera_view
    from sim.analysis import with_ordering

    image = encode_model(scene, accelerator, form_of(switches.encoding)).scene
    views = [
        with_ordering(camera_view(image, camera, switches.termination), image, switches.ordering) for camera in cameras
    ]
    return decode_scene(image, accelerator), views
