"""``rtnerf generate`` and ``rtnerf cosim``: the accelerator as Verilog, written and run."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtnerf.base.errors import InputError
from rtnerf.base.options import (
    FRACTION,
    PATH,
    Number,
    OneOf,
    check_targets,
    example,
    json_option,
    refuse_given,
    seed_option,
)
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

if TYPE_CHECKING:
    from nerf.contract.config import AcceleratorConfig

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
@click.option(
    "--target",
    type=OneOf("simulation", "asic"),
    default="simulation",
    show_default=True,
    help="asic: large memories as macros with models beside them, no initial values, constraints (SDC).",
)
@click.option(
    "--hand-off",
    type=OneOf("orfs", "librelane"),
    help="For an ASIC, with what OpenROAD-flow-scripts or LibreLane needs to place and route it in IHP's sg13g2.",
)
@click.option(
    "--board",
    type=OneOf("ulx3s"),
    help="For an FPGA board whose serial line leads to a computer that is memory and host: with its top and its pins.",
)
@click.option(
    "--soc",
    is_flag=True,
    help="Besides, in soc/: a system in plain Verilog that renders 16 pixels of the embedded model in any simulator.",
)
@click.option(
    "--clock-mhz",
    type=Number(0, min_open=True),
    default=50.0,
    show_default=True,
    help="Of the constraints of an ASIC, or of a board.",
)
@json_option
def generate(
    config: str,
    out: Path,
    target: str,
    hand_off: str | None,
    board: str | None,
    soc: bool,
    clock_mhz: float,
    json_file: Path | None,
) -> None:
    """Write the accelerator's Verilog, with a description of its ports and registers."""
    check_targets(json=json_file)
    if out.exists() and not out.is_dir():
        raise InputError(f"out must be a folder, not {out} (a file)")
    if hand_off is not None:
        if target != "asic":
            refuse_given("with hand-off, which is for target asic", "target")
        target = "asic"
    if board is not None:
        refuse_given("with a board", "target", "hand-off", "soc")
    elif target != "asic":
        refuse_given("without target asic, hand-off or board", "clock-mhz")
    else:
        refuse_given("with target asic, whose memories are macros", "soc")
    from nerf.contract.config import load_config

    accelerator = load_config(config)
    from rtl.verilog.export import generate as write_verilog

    started = time.perf_counter()
    with progress_bar("modules") as advance:
        told = itertools.count()

        def tell(module: str) -> None:
            advance(next(told), MODULES, module)

        if target == "asic":
            sidecar = _generate_asic(accelerator, out, hand_off, clock_mhz, tell)
        elif board is not None:
            from rtl.board.export import generate_for_board

            sidecar = generate_for_board(accelerator, out, board, clock_mhz, tell=tell)
        else:
            sidecar = write_verilog(accelerator, out, tell=tell)
            if soc:
                _write_soc(accelerator, out, sidecar)
        advance(MODULES, MODULES)
    result = {
        "config": accelerator.name,
        "config_digest": accelerator.digest,
        "target": target,
        "hand_off": hand_off,
        "board": board,
        "out": str(out),
        "sidecar": sidecar,
        "seconds": time.perf_counter() - started,
    }
    save(json_file, "generate", result)
    held = sum(sidecar["on_chip_memory_bytes"].values())
    click.echo(f"{out}: Verilog of {accelerator.name}, {held / 2**20:.2f} MiB on chip, {result['seconds']:.1f} s")
    if target == "asic":
        _show_asic(sidecar)


def _write_soc(accelerator: AcceleratorConfig, out: Path, sidecar: dict[str, Any]) -> None:
    from cosim.soc import SOC, write_soc
    from nerf.cameras import load_cameras
    from nerf.checkpoint import load_model
    from rtnerf.api import prepare

    camera = load_cameras().camera(0, 100).cropped(48, 48, 4, 4)
    write_soc(out / SOC, prepare(load_model(), accelerator), camera, sidecar)


def _generate_asic(
    accelerator: AcceleratorConfig, out: Path, hand_off: str | None, clock_mhz: float, tell: Callable[[str], None]
) -> dict[str, Any]:
    from rtl.verilog.asic import generate_asic
    from rtnerf.physical.memories import MACRO_BITS

    made, sidecar = generate_asic(accelerator, out, MACRO_BITS, clock_mhz, tell)
    if hand_off is None:
        return sidecar
    from rtnerf.physical.hand_off import write_hand_off

    return {**sidecar, "macros": write_hand_off(out, made, accelerator.name, hand_off, clock_mhz)}


def _show_asic(sidecar: dict[str, Any]) -> None:
    macros, start = sidecar["macros"], sidecar["at_power_up"]
    click.echo(f"macros: {sum(macro['instances'] for macro in macros)} of {len(macros)} kinds")
    if "sram" in macros[0]:
        srams = sum(macro["instances"] * macro["rows"] * macro["columns"] for macro in macros)
        click.echo(f"SRAMs of sg13g2: {srams} of {len({macro['sram'] for macro in macros})} kinds")
    click.echo(f"memories that begin with a content and are written later: {_listed(start['memories_with_content'])}")
    click.echo(f"ROMs, as logic: {_listed(start['roms'])}")
    unset = start["registers_without_reset"]
    parts = sorted({name.rpartition(".")[0] for name in unset})
    click.echo(f"registers without reset, written before they are used: {len(unset)}, in {_listed(parts)}")


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


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
@click.option(
    "--wave",
    type=PATH,
    help="The RTL's streams as a waveform, .fst or .vcd, with views for GTKWave (.gtkw) and Surfer (.sucl) beside it.",
)
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
    wave: Path | None,
    build_dir: Path | None,
    seed: int,
    json_file: Path | None,
) -> None:
    """Render with the RTL in a simulator; compare values with the integer model, cycles with the simulator.

    Exit code 1 where they differ, 3 where the simulator is missing or fails.
    """
    from cosim.wave import ENDINGS, VIEWS

    if wave is not None and wave.suffix not in ENDINGS:
        raise InputError(f"wave must be a file name that ends with {' or '.join(ENDINGS)}, not {wave}")
    views = {} if wave is None else {ending[1:]: wave.with_suffix(ending) for ending in VIEWS}
    check_targets(out=out, wave=wave, json=json_file, **views)
    if memory == "cocotbext":
        refuse_given("with memory cocotbext, which has its own timing", "latency", "beat-interval")
    if not pause:
        refuse_given("without pause", "seed")
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
            wave=wave,
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
