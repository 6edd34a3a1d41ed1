"""``rtnerf generate`` and ``rtnerf cosim``: the accelerator as Verilog, written and run."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import click

from rtnerf.base.errors import InputError
from rtnerf.base.options import FRACTION, PATH, OneOf, check_targets, example, json_option, refuse_given, seed_option
from rtnerf.options import (
    Subject,
    background_option,
    config_option,
    form_option,
    progress_bar,
    save,
    subject_options,
    timing_options,
)

EXIT_MISMATCH = 1

MODULES = 3
"""That are converted one after the other: the top, a ray unit, a datapath of the network."""

_COSIM_SUMMARY = (
    "pixels", "pixel_mismatches", "transactions", "transaction_mismatches", "first_difference", "error",
    "cycles_rtl", "cycles_sim", "psnr_vs_float_db",
)  # fmt: skip


@click.command(**example("rtnerf generate --config tiny --out build/rtl"))
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
    with progress_bar("modules") as advance:
        told = itertools.count()
        sidecar = write_verilog(accelerator, out, tell=lambda module: advance(next(told), MODULES, module))
        advance(MODULES, MODULES)
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


@click.command(**example("rtnerf cosim --size 100 --crop 40,40,16,16 --engine verilator --pause 0.3 --json cosim.json"))
@subject_options
@background_option
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
    subject: Subject,
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
    if memory == "cocotbext":
        refuse_given("with memory cocotbext, which has its own timing", "latency", "beat-interval")
    job = subject.job(encoding)
    from nerf.contract.memory import MemoryTiming

    timing = MemoryTiming(latency, beat_interval, pause, seed or 1)
    started = time.perf_counter()
    with progress_bar("cosim") as advance:
        outcome = job.cosimulate(
            subject.camera(),
            engine=engine,
            memory=memory,
            timing=timing,
            build_dir=build_dir,
            progress=advance,
        )
    found = outcome.record()
    result = {
        **subject.record(),
        "engine": engine,
        "seed": seed,
        "memory": {**timing.record(), "kind": memory},
        "encoding": encoding,
        **found,
        "seconds": time.perf_counter() - started,
    }
    if out is not None:
        from nerf.pictures import write_npy

        write_npy(out, outcome.picture)
    save(json_file, "cosim", result)
    for key in _COSIM_SUMMARY:
        if found.get(key) is not None:
            click.echo(f"  {key}: {found[key]}")
    if found["error"] != "NONE" or found["pixel_mismatches"] or found["transaction_mismatches"]:
        raise click.exceptions.Exit(EXIT_MISMATCH)
