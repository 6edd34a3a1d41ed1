"""A board at the end of a serial line, simulated or real: what a program on the computer renders with it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from cosim.simulation import SimulationError
from cosim.toolchain import require_engine
from cosim.wrapper import bench_text
from nerf.cameras import Camera
from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import CHANNEL
from nerf.contract.memory import place
from nerf.contract.registers import CAMERA_REGISTERS
from nerf.golden.frame import render_frame
from nerf.prepared import Prepared
from rtl.board.export import board_verilog, serial_verilog
from rtl.verilog.drivers.rtnerf_driver import Driver
from rtl.verilog.drivers.rtnerf_serial import Computer
from rtl.verilog.export import TOP, describe
from rtnerf.base.builds import kept_build
from rtnerf.base.files import write_bytes
from rtnerf.base.folders import plain_folder
from rtnerf.base.processes import run_supervised

BOARD = "ulx3s"
SIMULATED_CYCLES = 4
"""Of a bit on a simulated line: as few as it takes."""
_BUILD_SECONDS = 1800
_FLAGS = (
    "--cc", "--exe", "--build", "-O3", "--top-module", BOARD, "-Wno-fatal", "-Wno-lint", "-Wno-style",
    "-Wno-TIMESCALEMOD", "--x-assign", "fast", "--x-initial", "fast", "-o", "board",
)  # fmt: skip


class BoardError(RuntimeError):
    """A board that does not answer, is of another configuration, or ends a frame with an error."""


class Port(Protocol):
    """A serial line."""

    def read(self, count: int, /) -> bytes:
        """Return so many bytes, fewer where time is over."""
        ...

    def write(self, data: bytes, /) -> object:
        """Send."""
        ...


@dataclass(frozen=True)
class BoardFrame:
    """What a board returned.

    Parameters
    ----------
    pixels : uint16 array (height, width, 4)
    mismatches : int
        Pixels that are not the integer model's.
    counters : dict
        The counter registers, and ``cycles``.
    """

    pixels: np.ndarray
    mismatches: int
    counters: dict[str, int]

    @property
    def rgb(self) -> np.ndarray:
        """The picture, float32 (height, width, 3) in 0..1."""
        return (self.pixels[..., :3] / CHANNEL.high).astype(np.float32)


def render_on_board(job: Prepared, camera: Camera, port: Port) -> BoardFrame:
    """Render a view with the accelerator at the end of a line, and hold it to the integer model.

    Raises
    ------
    BoardError
    InputError
        A model or view that the accelerator cannot take.
    """
    view = job.view(camera)
    regions = place(len(job.scene.data), view, job.config)
    memory = bytearray(job.scene.data) + bytearray(regions.end - len(job.scene.data))
    computer = Computer(port.read, port.write, memory)
    with tempfile.TemporaryDirectory() as folder:
        description = Path(folder) / f"{TOP}.json"
        write_bytes(description, json.dumps(describe(job.config, [])).encode())
        accelerator = Driver(computer.read, computer.write, description)
    try:
        accelerator.check()
        accelerator.place(0, regions.frame_base, regions.list_base)
        accelerator.set_view({name: view.values[name] for name in CAMERA_REGISTERS})
        counters = accelerator.render()
    except RuntimeError as error:
        raise BoardError(f"board: {error}") from None
    found = np.frombuffer(memory, "<u2", regions.frame_bytes // 2, regions.frame_base)
    pixels = found.reshape(camera.height, camera.width, 4).copy()
    golden = render_frame(job.decoded, view).pixels
    return BoardFrame(pixels, int((pixels != golden).any(axis=-1).sum()), counters)


@contextmanager
def simulated_board(config: AcceleratorConfig, folder: Path) -> Iterator[Port]:
    """Run the board's Verilog in Verilator, with a short bit; its port ends with the context.

    Raises
    ------
    ToolMissingError
        As `cosim.toolchain.require_engine`.
    SimulationError
        The Verilog does not build.
    """
    program = _build(config, folder)
    pipe = subprocess.PIPE
    with subprocess.Popen([program, str(SIMULATED_CYCLES)], stdin=pipe, stdout=pipe, bufsize=0) as process:
        try:
            yield _Pipes(process)
        finally:
            process.kill()


class _Pipes:
    """The line of a simulated board."""

    def __init__(self, process: subprocess.Popen) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count and (more := self._out.read(count - len(data))):
            data += more
        return data

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._in.write(view) :]


def _build(config: AcceleratorConfig, folder: Path) -> Path:
    tool = require_engine("verilator")
    sources = {
        f"{TOP}.v": serial_verilog(config, SIMULATED_CYCLES),
        f"{BOARD}.v": board_verilog(BOARD, 50),
        **{name: bench_text(name) for name in ("ehxplll.v", "serial_line.cc")},
    }

    def make(build: Path) -> None:
        for name, text in sources.items():
            (build / name).write_text(text, encoding="utf-8")
        command = [str(tool.path), *_FLAGS, *sources]
        with open(build / "build.log", "wb") as log:
            status = run_supervised(
                command, log=log, timeout_seconds=_BUILD_SECONDS, folder=build, environment=dict(tool.environment)
            )
        if status != 0:
            raise SimulationError(f"{BOARD}: the build failed with status {status} ({build / 'build.log'})")

    ingredients = [tool.version, str(tool.path), _FLAGS, sources]
    return kept_build(plain_folder(folder), f"{BOARD}-{config.name}", ingredients, make) / "obj_dir" / "board"
