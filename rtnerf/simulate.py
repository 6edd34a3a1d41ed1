"""``rtnerf simulate`` and ``rtnerf ablate``: frames cycle by cycle."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rtnerf.base.options import (
    FRACTION,
    PATH,
    OneOf,
    Whole,
    check_targets,
    example,
    json_option,
    refuse_given,
    together,
)
from rtnerf.options import Subject, form_option, memory_options, progress_bar, refuse_timing, save, subject_options

if TYPE_CHECKING:
    from nerf.contract.memory import MemoryTiming
    from sim.memory.dram import Dram

simulation_options = together(
    subject_options,
    click.option(
        "--clock-mhz", type=Whole(1, 10000), default=1000, show_default=True, help="Assumed clock of the accelerator."
    ),
    memory_options,
    click.option("--frames", type=Whole(1), default=1, show_default=True, help="Views from this index on."),
    click.option("--workers", type=Whole(1), default=1, show_default=True, help="Processes sharing the frames."),
)


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
@click.option(
    "--synthesis",
    type=PATH,
    help="What rtnerf synth --json wrote of the configuration: its clock and its energy; default: what comes along.",
)
@click.option("--timeline", type=PATH, help="What every unit does when, as a trace for Perfetto or Chrome.")
@json_option
def simulate(
    subject: Subject,
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
    synthesis: Path | None,
    timeline: Path | None,
    json_file: Path | None,
) -> None:
    """Simulate a frame cycle by cycle: the RTL's cycles exactly, with what every unit does in them.

    With several frames, the report is of the first, and cycles and frame rates are of all.
    """
    check_targets(timeline=timeline, json=json_file)
    refuse_workers(frames)
    timing = timing_of(memory, latency, beat_interval)
    cameras = [subject.camera(ahead) for ahead in range(frames)]
    job = subject.job(encoding)
    from rtnerf.base.files import write_json
    from rtnerf.explore.cost import record_of, synthesis_of, told
    from sim.ablation import Switches

    synthesised = synthesis_of(job.config, synthesis)
    started = time.perf_counter()
    switches = Switches(termination, ordering, encoding, sampling)
    _ = job.decoded  # Here, to be timed apart.
    prepared = time.perf_counter()
    with progress_bar("simulating") as advance:
        outcomes = job.simulate_all(cameras, workers, timing, clock_mhz * 1e6, **switches.of_frame, progress=advance)
    finished = time.perf_counter()
    frame, cycles = outcomes[0], [each.cycles for each in outcomes]
    if timeline is not None:
        write_json(timeline, frame.timeline())
    result = {
        **subject.record(),
        **switches.record(),
        **(found := record_of(frame, synthesised)),
        "frame_cycles": cycles,
        "fps_at_clock_lowest": frame.clock_hz / max(cycles),
        "seconds_preparation": prepared - started,
        "seconds_simulation": finished - prepared,
        "seconds": time.perf_counter() - started,
    }
    save(json_file, "simulate", result)
    for name, row in frame.units.items():
        stalls = ", ".join(f"{cause} {cycles / frame.cycles:.1%}" for cause, cycles in row["stall_cycles"].items())
        click.echo(f"  {name:<24} busy {row['busy_share']:6.1%}" + (f"  waits for {stalls}" if stalls else ""))
    click.echo(
        f"{frame.cycles} cycles, {frame.fps_at_clock:.3f} frames/s at an assumed {clock_mhz} MHz ({job.config.name}, "
        f"{cameras[0].width}x{cameras[0].height}, {memory}); busiest: {frame.bottleneck}"
    )
    click.echo(told(found))


@click.command(**example("rtnerf ablate --size 800 --config edge --frames 3 --json ablation.json"))
@simulation_options
@json_option
def ablate(
    subject: Subject,
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
    refuse_workers(frames)
    timing, clock_hz = timing_of(memory, latency, beat_interval), clock_mhz * 1e6
    cameras = [subject.camera(ahead) for ahead in range(frames)]
    job = subject.job()
    model = job.floats  # To be encoded in other forms.
    from rtnerf.api import prepare
    from sim.ablation import IDEAS, Ablation

    rows = {}
    with progress_bar("runs") as advance:
        for number, (name, switches) in enumerate(IDEAS.items()):
            advance(number, len(IDEAS), name)
            switched = prepare(model, job.config, switches.encoding)
            outcomes = switched.simulate_all(cameras, workers, timing, clock_hz, **switches.of_frame)
            rows[name] = Ablation(switches, outcomes).record()
        advance(len(IDEAS), len(IDEAS), "")
    result = {
        **subject.record(),
        "frames": frames,
        "memory": timing.record(),
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


def refuse_workers(frames: int) -> None:
    """Refuse processes that would share one frame."""
    if frames == 1:
        refuse_given("with one frame", "workers")


def timing_of(memory: str, latency: int, beat_interval: int) -> MemoryTiming | Dram:
    """The memory that the options describe."""
    refuse_timing(memory)
    from nerf.contract.memory import MemoryTiming
    from sim.memory.dram import PRESETS

    return MemoryTiming(latency, beat_interval) if memory == "fixed" else PRESETS[memory]
