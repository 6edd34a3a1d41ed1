"""``rtnerf board``: a picture from the accelerator on an FPGA board."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rtnerf.base.errors import InputError
from rtnerf.base.options import PATH, Whole, check_targets, example, json_option, refuse_given
from rtnerf.options import Subject, background_option, form_option, save, subject_options

if TYPE_CHECKING:
    from cosim.board import Port
    from nerf.contract.config import AcceleratorConfig

EXIT_MISMATCH = 1
_ANSWER_SECONDS = 10
"""Without a byte from the board, this long, is no answer."""


@click.command(**example("rtnerf board --config nano --size 100 --crop 44,44,12,12 --simulated --png picture.png"))
@subject_options
@background_option
@form_option
@click.option("--port", type=PATH, help="The board's serial line, such as /dev/ttyUSB0.")
@click.option("--simulated", is_flag=True, help="The board's Verilog in Verilator, at the end of a pipe.")
@click.option("--baud", type=Whole(1), default=2_000_000, show_default=True, help="Of the line.")
@click.option("--build-dir", type=PATH, help="Where simulator builds are kept; default: build/simulation.")
@click.option("--out", type=PATH, help="The board's picture, float32 (H, W, 3) in 0..1, as .npy.")
@click.option("--png", type=PATH, help="The same, as PNG.")
@json_option
def board(
    subject: Subject,
    encoding: str,
    port: Path | None,
    simulated: bool,
    baud: int,
    build_dir: Path | None,
    out: Path | None,
    png: Path | None,
    json_file: Path | None,
) -> None:
    """Render with the accelerator on a ULX3S, this computer being its memory; compare with the integer model.

    Exit code 1 where a pixel differs, 3 where the board does not answer.
    """
    check_targets(out=out, png=png, json=json_file)
    if simulated == (port is not None):
        raise InputError("one of port and simulated must be given, not " + ("both" if simulated else "neither"))
    if simulated:
        refuse_given("with simulated", "baud")
    else:
        refuse_given("without simulated", "build-dir")
    job = subject.job(encoding)
    camera = subject.camera()
    from cosim.board import render_on_board

    with _simulated(job.config, build_dir) if port is None else _serial(port, baud) as line:
        started = time.perf_counter()
        frame = render_on_board(job, camera, line)
        seconds = time.perf_counter() - started
    from nerf.pictures import write_npy, write_png

    if out is not None:
        write_npy(out, frame.rgb)
    if png is not None:
        write_png(png, frame.rgb)
    found = {
        "pixels": camera.width * camera.height,
        "pixel_mismatches": frame.mismatches,
        "counters": frame.counters,
        "seconds": seconds,
    }
    save(json_file, "board", {**subject.record(), "encoding": encoding, "port": str(port or "simulated"), **found})
    for key, value in found.items():
        click.echo(f"  {key}: {value}")
    if frame.mismatches:
        raise click.exceptions.Exit(EXIT_MISMATCH)


@contextmanager
def _simulated(config: AcceleratorConfig, build_dir: Path | None) -> Iterator[Port]:
    from cosim.board import simulated_board
    from rtnerf.base.folders import kept_folder

    with simulated_board(config, build_dir or kept_folder("simulation")) as line:
        yield line


@contextmanager
def _serial(port: Path, baud: int) -> Iterator[Port]:
    import serial

    try:
        with serial.Serial(str(port), baud, timeout=_ANSWER_SECONDS) as line:
            yield line
    except serial.SerialException as error:
        raise InputError(f"port must be a serial line that can be opened, not {port} ({error})") from None
