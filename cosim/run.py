"""Render with the RTL in a simulator and hold every value to the golden model."""

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cosim import cxxrtl
from cosim.scoreboard import compare
from cosim.simulation import Simulation
from cosim.wrapper import BENCH, Probe, bench_verilog, memory_image, memory_words, ports_of, read_trace
from nerf.cameras import Camera
from nerf.contract.config import AcceleratorConfig
from nerf.contract.errors import require
from nerf.contract.memory import MemoryTiming
from nerf.contract.registers import CAMERA_REGISTERS, STATUS_CODE_SHIFT, STATUS_ERROR, ErrorCode, View
from nerf.contract.scene_image import BEAT, PAGE, Scene
from nerf.encode import encode_model
from nerf.golden.frame import Frame, decode_scene, render_frame
from nerf.integer import camera_view
from nerf.metrics import psnr
from nerf.model import TensorfModel
from nerf.uniform import render as render_reference
from rtl.export import TOP, design

WATCHDOG_CYCLES = 2_000_000_000


@dataclass(frozen=True)
class RtlFrame:
    """What the RTL returned.

    Parameters
    ----------
    pixels : uint16 array (height, width, 4)
    error : ErrorCode
    counters : dict
        The counter registers, and ``cycles``.
    trace : list of Transaction
        Empty unless recorded.
    sidecar : dict
    seconds_build, seconds_run : float
    """

    pixels: np.ndarray
    error: ErrorCode
    counters: dict[str, int]
    trace: list
    sidecar: dict[str, Any]
    seconds_build: float
    seconds_run: float


@dataclass(frozen=True)
class Cosimulation:
    """RTL against golden model; see the command ``rtnerf cosim``."""

    pixels: int
    pixel_mismatches: int
    error: str
    cycles_rtl: int
    cycles_sim: int | None
    transactions: int
    transaction_mismatches: int
    stage_mismatches: dict[str, int]
    first_difference: str | None
    samples: int
    samples_shaded: int
    cubes_loaded: int
    dram_read_bytes: int
    dram_write_bytes: int
    psnr_vs_float_db: float
    seconds_build: float
    seconds_simulation: float
    picture: np.ndarray
    """What the RTL returned, float32 (height, width, 3) in 0..1."""

    def as_dict(self) -> dict[str, Any]:
        """Return all fields but the picture, for JSON."""
        values = asdict(self)
        del values["picture"]
        return values


def run_rtl(
    image: bytes,
    view: View,
    config: AcceleratorConfig,
    engine: str = "verilator",
    seed: int = 1,
    pause: float = 0.0,
    memory: str | None = None,
    build_dir: str | Path = "build/simulation",
    record: bool = True,
    abort_after: int | None = None,
    fail_read: int | None = None,
    render_again: bool = False,
    timeout_seconds: float = 3600,
    watchdog_cycles: int = WATCHDOG_CYCLES,
    timing: MemoryTiming | None = None,
) -> RtlFrame:
    """Run one frame of the RTL on a memory that holds a scene image (right or corrupt) at address 0.

    Parameters
    ----------
    image : bytes
    view : View
    config : AcceleratorConfig
    engine : str
        ``verilator``, ``icarus`` or ``cxxrtl`` (see `cosim.cxxrtl`).
    seed : int
        Of the memory's pauses.
    pause : float
        Chance, a cycle and channel, that the memory holds back.
    memory : str, optional
        ``cocotbext`` (default) or ``verilog``, see `cosim.wrapper`; cxxrtl has its own, timed as ``verilog``.
    record : bool
        Record the probed streams.
    abort_after : int, optional
        Cycles after which the host aborts the frame.
    fail_read : int, optional
        Read burst, counted from 0, that the ``verilog`` memory answers with an error.
    render_again : bool
        Render a second frame after the first has ended, and return that one.
    timing : MemoryTiming, optional
        Of the ``verilog`` and cxxrtl memories, pauses included; by default the default timing with ``pause``.
    """
    frame_base = len(image) + -len(image) % PAGE
    frame_bytes = view.window_width * view.window_height * 8
    memory_bytes = 1 << (frame_base + frame_bytes + PAGE).bit_length()
    exact = engine == "cxxrtl" or memory == "verilog"
    require(timing is None or (exact and pause == 0), "timing", "for the memory verilog and in place of pause", timing)
    if timing is None and exact:
        timing = MemoryTiming(pause=min(round(256 * pause), 255), seed=seed or 1)
    if engine == "cxxrtl":
        require(memory in (None, "verilog"), "memory", "verilog for the engine cxxrtl", memory)
        return _run_cxxrtl(
            image, view, config, frame_base, max(memory_bytes, 1 << 24), Path(build_dir),
            timing=timing, fail_read=fail_read, record=record, abort_after=abort_after,
            render_again=render_again, watchdog_cycles=watchdog_cycles, timeout_seconds=timeout_seconds,
        )  # fmt: skip
    memory = memory or "cocotbext"
    text, sidecar = design(config)
    probes = [Probe(p["name"], p["fire"], "", (p["payload"],)) for p in sidecar["probes"]]
    bench = bench_verilog(TOP, ports_of(sidecar), memory=memory, memory_bytes=max(memory_bytes, 1 << 24), probes=probes)
    simulation = Simulation(BENCH, {f"{TOP}.v": text, f"{BENCH}.v": bench}, engine, Path(build_dir))
    started = time.perf_counter()
    simulation.build()
    built = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="rtnerf-") as name:
        folder = Path(name)
        (folder / "scene").write_bytes(image)
        parameters = {
            "scene": str(folder / "scene"),
            "frame": str(folder / "frame"),
            "frame_base": frame_base,
            "frame_bytes": frame_bytes,
            "memory": memory,
            "memory_bytes": memory_bytes,
            "pause": pause,
            "registers": {register: view.values[register] for register in CAMERA_REGISTERS},
            "abort_after": abort_after,
            "render_again": render_again,
            "watchdog_cycles": watchdog_cycles,
        }
        plusargs = [f"+trace={folder / 'trace'}"] if record else []
        if memory == "verilog":
            (folder / "memory").write_text(memory_words(image, BEAT))
            plusargs += [f"+memory={folder / 'memory'}", f"+memory_out={folder / 'memory_out'}"]
            plusargs += [f"+latency={timing.latency}", f"+interval={timing.beat_interval}"]
            plusargs += [f"+pause={timing.pause}", f"+seed={timing.seed}"]
            plusargs += [] if fail_read is None else [f"+fail_read={fail_read}"]
        status = simulation.run(
            "cosim.frame_bench", parameters, seed=seed, plusargs=plusargs, timeout_seconds=timeout_seconds,
            run_folder=folder / "run",
        )  # fmt: skip
        finished = time.perf_counter()
        if memory == "verilog":
            data = memory_image((folder / "memory_out").read_text().splitlines())[frame_base:][:frame_bytes]
        else:
            data = (folder / "frame").read_bytes()
        trace = []
        if record:
            with open(folder / "trace") as lines:
                trace = read_trace(lines)
    return _result(status, data, view, trace, sidecar, built - started, finished - built)


def _run_cxxrtl(
    image: bytes,
    view: View,
    config: AcceleratorConfig,
    frame_base: int,
    memory_bytes: int,
    build_dir: Path,
    **options: Any,
) -> RtlFrame:
    text, sidecar = cxxrtl.design(config)
    started = time.perf_counter()
    library = cxxrtl.build(text, sidecar, build_dir)
    built = time.perf_counter()
    content = np.zeros(memory_bytes, np.uint8)
    content[: len(image)] = np.frombuffer(image, np.uint8)
    outcome = cxxrtl.run(library, sidecar, content, view, frame_base, **options)
    finished = time.perf_counter()
    data = content[frame_base:][: view.window_width * view.window_height * 8].tobytes()
    return _result(outcome.registers, data, view, outcome.trace, sidecar, built - started, finished - built)


def _result(status: dict[str, int], data: bytes, view: View, trace: list, *rest: Any) -> RtlFrame:
    """Make sense of the registers and bytes that a run left."""
    pixels = np.frombuffer(data, "<u2").reshape(view.window_height, view.window_width, 4)
    code = status["status"] >> STATUS_CODE_SHIFT
    if bool(status["status"] & STATUS_ERROR) != bool(code):
        raise AssertionError(f"status {status['status']:#x}: error bit and code disagree")
    counters = {"cycles": status["cycles_low"] | status["cycles_high"] << 32}
    counters |= {name: status[name] for name in ("samples", "shaded", "cubes", "read_beats")}
    return RtlFrame(pixels, ErrorCode(code), counters, trace, *rest)


def golden_frame(scene: Scene, view: View, config: AcceleratorConfig) -> Frame:
    """Render the same frame with the golden model."""
    return render_frame(decode_scene(scene, config), view)


def cosimulate(
    model: TensorfModel,
    camera: Camera,
    config: AcceleratorConfig,
    engine: str = "verilator",
    seed: int = 1,
    pause: float = 0.0,
    memory: str | None = None,
    build_dir: str | Path = "build/simulation",
    termination: float = 1e-3,
    timing: MemoryTiming | None = None,
) -> Cosimulation:
    """Encode a model, render a view with the RTL, and compare with the golden model and the float renderer.

    Raises
    ------
    InputError
        A model or view that the accelerator cannot take.
    SimulationError
        The simulator failed.
    """
    scene = encode_model(model, config).scene
    view = camera_view(scene, camera, termination)
    golden = golden_frame(scene, view, config)
    rtl = run_rtl(scene.data, view, config, engine, seed, pause, memory, build_dir, timing=timing)
    comparison = compare(rtl.trace, rtl.sidecar, golden, view, config.tile)
    picture = (rtl.pixels[..., :3] / np.float32(65535)).astype(np.float32)
    return Cosimulation(
        pixels=rtl.pixels.shape[0] * rtl.pixels.shape[1],
        pixel_mismatches=int((rtl.pixels != golden.pixels).any(axis=-1).sum()),
        error=rtl.error.name,
        cycles_rtl=rtl.counters["cycles"],
        cycles_sim=None,
        transactions=sum(comparison.transactions.values()),
        transaction_mismatches=sum(comparison.mismatches.values()),
        stage_mismatches=comparison.mismatches,
        first_difference=None if comparison.first is None else str(comparison.first),
        samples=rtl.counters["samples"],
        samples_shaded=rtl.counters["shaded"],
        cubes_loaded=rtl.counters["cubes"],
        dram_read_bytes=rtl.counters["read_beats"] * BEAT,
        dram_write_bytes=golden.pixels.size * 2,
        psnr_vs_float_db=psnr(picture, render_reference(model, camera).rgb),
        seconds_build=rtl.seconds_build,
        seconds_simulation=rtl.seconds_run,
        picture=picture,
    )
