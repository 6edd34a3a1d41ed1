"""Render with the RTL, hold every value to the golden model and every cycle to the simulator."""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cosim import cxxrtl
from cosim.cycles import compare_cycles
from cosim.scoreboard import compare, unpack
from cosim.simulation import Simulation
from cosim.toolchain import require_engine
from cosim.wave import write_wave
from cosim.wrapper import (
    BENCH,
    MEMORIES,
    Probe,
    Watch,
    bench_verilog,
    memory_image,
    memory_words,
    ports_of,
    read_trace,
)  # fmt: skip
from nerf.cameras import Camera
from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import CHANNEL
from nerf.contract.memory import MemoryTiming, Regions, place
from nerf.contract.registers import CAMERA_REGISTERS, LIST_ENTRY_BYTES, STATUS_CODE_SHIFT, STATUS_ERROR, ErrorCode, View
from nerf.contract.scene_image import BEAT, Scene
from nerf.golden.frame import render_frame
from nerf.metrics import psnr
from nerf.prepared import TERMINATION, Prepared
from rtl.verilog.export import TOP, design
from rtnerf.base.errors import require
from rtnerf.base.folders import kept_folder

WATCHDOG_CYCLES = 2_000_000_000
STEPS = ("integer model", "RTL", "comparison with the simulator", "float renderer")
"""Of a co-simulation."""


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
    """RTL against golden model and simulator; see the command ``rtnerf cosim``."""

    pixels: int
    pixel_mismatches: int
    error: str
    cycles_rtl: int
    cycles_sim: int | None
    transactions: int
    transaction_mismatches: int
    value_mismatches: dict[str, int]
    cycle_mismatches: dict[str, int] | None
    first_difference: str | None
    samples: int
    samples_shaded: int
    cubes_loaded: int
    dram_read_bytes: int
    dram_write_bytes: int
    psnr_vs_float_db: float | None
    seconds_build: float
    seconds_rtl: float
    seconds_sim: float
    picture: np.ndarray
    """What the RTL returned, float32 (height, width, 3) in 0..1."""

    def record(self) -> dict[str, Any]:
        """What a result file says of it: all but the picture."""
        values = asdict(self)
        del values["picture"]
        return values


def run_rtl(
    image: bytes,
    view: View,
    config: AcceleratorConfig,
    engine: str = "verilator",
    memory: str = "verilog",
    timing: MemoryTiming | None = None,
    build_dir: str | Path | None = None,
    record: bool = True,
    abort_after: int | None = None,
    fail_read: int | None = None,
    render_again: bool = False,
    timeout_seconds: float = 3600,
    watchdog_cycles: int = WATCHDOG_CYCLES,
    watch: Watch | None = None,
) -> RtlFrame:
    """Run one frame of the RTL on a memory that holds a scene image (right or corrupt) at address 0.

    Parameters
    ----------
    image : bytes
    view : View
    config : AcceleratorConfig
    engine : str
        ``verilator``, ``icarus`` or ``cxxrtl`` (see `cosim.cxxrtl`).
    memory : str
        ``verilog`` or ``cocotbext``, see `cosim.wrapper`; cxxrtl has its own, timed as ``verilog``.
    timing : MemoryTiming, optional
        Of the memory; of ``cocotbext`` only the pauses.
    build_dir : path, optional
        Where builds are kept, by default `rtnerf.base.folders.kept_folder`.
    record : bool
        Record the probed streams.
    abort_after : int, optional
        Cycles after which the host aborts the frame.
    fail_read : int, optional
        Read burst, counted from 0, that the ``verilog`` memory answers with an error.
    render_again : bool
        Render a second frame after the first has ended, and return that one.
    watch : Watch, optional
        Instances whose ports are recorded; not with cxxrtl.
    """
    build_dir, timing = Path(build_dir or kept_folder("simulation")), timing or MemoryTiming()
    regions = place(len(image), view, config)
    frame = (image, view, config, regions, build_dir, timing)
    host: dict[str, Any] = {
        "abort_after": abort_after,
        "render_again": render_again,
        "watchdog_cycles": watchdog_cycles,
    }
    run: dict[str, Any] = {"fail_read": fail_read, "record": record, "timeout_seconds": timeout_seconds}
    if engine == "cxxrtl":
        require(memory == "verilog", "memory", "verilog for the engine cxxrtl", memory)
        require(watch is None, "engine", "verilator or icarus where ports are watched", engine)
        return _run_cxxrtl(*frame, host | run)
    return _run_verilog(*frame, host, engine, memory, watch, **run)


def _memory_bytes(regions: Regions) -> int:
    """Return a size of the memory that holds everything."""
    return max(1 << regions.end.bit_length(), 1 << 24)


def _run_verilog(
    image: bytes,
    view: View,
    config: AcceleratorConfig,
    regions: Regions,
    build_dir: Path,
    timing: MemoryTiming,
    host: Mapping[str, Any],
    engine: str,
    memory: str,
    watch: Watch | None,
    fail_read: int | None,
    record: bool,
    timeout_seconds: float,
) -> RtlFrame:
    require(memory in MEMORIES, "memory", f"one of {', '.join(MEMORIES)}", memory)
    text, sidecar = design(config)
    probes = [Probe(p["name"], p["fire"], "", (p["payload"],)) for p in sidecar["probes"]]
    watched = None if watch is None else watch.ports
    bench = bench_verilog(TOP, ports_of(sidecar), memory_bytes=_memory_bytes(regions), probes=probes, watched=watched)
    simulation = Simulation(BENCH, {f"{TOP}.v": text, f"{BENCH}.v": bench}, engine, build_dir)
    started = time.perf_counter()
    simulation.build()
    built = time.perf_counter()
    first_word = regions.frame_base // BEAT
    with tempfile.TemporaryDirectory(prefix="rtnerf-") as name:
        folder = Path(name)
        (folder / "scene").write_bytes(image)
        parameters = {
            "scene": str(folder / "scene"),
            "frame": str(folder / "frame"),
            "frame_base": regions.frame_base,
            "frame_bytes": regions.frame_bytes,
            "list_base": regions.list_base,
            "dump_words": (first_word, (regions.frame_base + regions.frame_bytes - 1) // BEAT),
            "memory": memory,
            "memory_bytes": 1 << regions.end.bit_length(),
            "pause": timing.pause_of_256 / 256,
            "registers": {register: view.values[register] for register in CAMERA_REGISTERS},
            **host,
        }
        plusargs = [f"+trace={folder / 'trace'}"] if record else []
        if watch is not None:
            plusargs += [f"+watch={watch.file}", f"+watch_ticks={watch.ticks}"]
        if memory == "verilog":
            (folder / "memory").write_text(memory_words(image, BEAT))
            plusargs += _memory_plusargs(folder, timing, fail_read)
        else:
            plusargs.append("+python_memory")
        status = simulation.run(
            "cosim.frame_bench", parameters, seed=timing.seed, plusargs=plusargs, timeout_seconds=timeout_seconds,
            run_folder=folder / "run", scratch=folder,
        )  # fmt: skip
        finished = time.perf_counter()
        if memory == "verilog":
            content = memory_image((folder / "memory_out").read_text().splitlines())
            data = content[regions.frame_base - first_word * BEAT :][: regions.frame_bytes]
        else:
            data = (folder / "frame").read_bytes()
        trace = []
        if record:
            with open(folder / "trace") as lines:
                trace = read_trace(lines)
    return _result(status, data, view, trace, sidecar, built - started, finished - built)


def _memory_plusargs(folder: Path, timing: MemoryTiming, fail_read: int | None) -> list[str]:
    return [
        f"+memory={folder / 'memory'}", f"+memory_out={folder / 'memory_out'}",
        f"+latency={timing.latency}", f"+interval={timing.beat_interval}",
        f"+pause={timing.pause_of_256}", f"+seed={timing.seed}",
        *([] if fail_read is None else [f"+fail_read={fail_read}"]),
    ]  # fmt: skip


def _run_cxxrtl(
    image: bytes,
    view: View,
    config: AcceleratorConfig,
    regions: Regions,
    build_dir: Path,
    timing: MemoryTiming,
    options: Mapping[str, Any],
) -> RtlFrame:
    cxxrtl.require_tools()
    text, sidecar = cxxrtl.design(config)
    started = time.perf_counter()
    library = cxxrtl.build(text, sidecar, build_dir)
    built = time.perf_counter()
    content = np.zeros(_memory_bytes(regions), np.uint8)
    content[: len(image)] = np.frombuffer(image, np.uint8)
    outcome = cxxrtl.run(library, sidecar, content, view, regions, timing=timing, **options)
    finished = time.perf_counter()
    data = content[regions.frame_base :][: regions.frame_bytes].tobytes()
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


def _listed(rtl: RtlFrame, tile: int) -> int:
    """Return the entries of all cube lists: each footprint has one for every row of tiles that it meets."""
    fields = next(probe["fields"] for probe in rtl.sidecar["probes"] if probe["name"] == "footprints")
    footprints = [unpack(one.payload, fields) for one in rtl.trace if one.stream == "footprints"]
    return sum(one["last_y"] // tile - one["first_y"] // tile + 1 for one in footprints if not one["last"])


def cosimulate(
    job: Prepared,
    camera: Camera,
    engine: str = "verilator",
    memory: str = "verilog",
    timing: MemoryTiming | None = None,
    build_dir: str | Path | None = None,
    termination: float = TERMINATION,
    progress: Callable[[int, int, str], None] = lambda done, total, note: None,
    wave: Path | None = None,
) -> Cosimulation:
    """Render a view with the RTL, and compare with golden model, simulator and, but for scene images, float renderer.

    The simulator knows the timing of the memories ``verilog`` and of cxxrtl; with another one no cycles are compared.
    ``progress`` gets steps done, all steps, and the name of the next. ``wave``: where the RTL's streams are written
    (`cosim.wave`).

    Raises
    ------
    InputError
        A model or view that the accelerator cannot take.
    SimulationError
        The simulator failed.
    """
    if engine == "cxxrtl":
        cxxrtl.require_tools()
    else:
        require_engine(engine)
    timing = timing or MemoryTiming()
    progress(0, len(STEPS), STEPS[0])
    config, view = job.config, job.view(camera, termination)
    golden = render_frame(job.decoded, view)
    progress(1, len(STEPS), STEPS[1])
    rtl = run_rtl(job.scene.data, view, config, engine, memory, timing, build_dir)
    if wave is not None:
        write_wave(wave, rtl.trace, rtl.sidecar)
    progress(2, len(STEPS), STEPS[2])
    values = compare(rtl.trace, rtl.sidecar, golden, view, config.tile)
    started = time.perf_counter()
    cycles = None
    if memory == "verilog" and rtl.error == ErrorCode.NONE:
        cycles = compare_cycles(rtl.trace, job.decoded, view, config, timing)
    compared = time.perf_counter()
    progress(3, len(STEPS), STEPS[3])
    reference = None if isinstance(job.model, Scene) else job.render(camera, "uniform").rgb
    progress(4, len(STEPS), "")
    differences = (values.first, None if cycles is None else cycles.first)
    picture = (rtl.pixels[..., :3] / np.float32(CHANNEL.high)).astype(np.float32)
    return Cosimulation(
        pixels=rtl.pixels.shape[0] * rtl.pixels.shape[1],
        pixel_mismatches=int((rtl.pixels != golden.pixels).any(axis=-1).sum()),
        error=rtl.error.name,
        cycles_rtl=rtl.counters["cycles"],
        cycles_sim=None if cycles is None else cycles.cycles_sim,
        transactions=sum(values.transactions.values()),
        transaction_mismatches=sum(values.mismatches.values()) + (sum(cycles.mismatches.values()) if cycles else 0),
        value_mismatches=values.mismatches,
        cycle_mismatches=None if cycles is None else cycles.mismatches,
        first_difference=next((str(first) for first in differences if first is not None), None),
        samples=rtl.counters["samples"],
        samples_shaded=rtl.counters["shaded"],
        cubes_loaded=rtl.counters["cubes"],
        dram_read_bytes=rtl.counters["read_beats"] * BEAT,
        dram_write_bytes=golden.pixels.size * 2 + _listed(rtl, config.tile) * LIST_ENTRY_BYTES,
        psnr_vs_float_db=None if reference is None else psnr(picture, reference),
        seconds_build=rtl.seconds_build,
        seconds_rtl=rtl.seconds_run,
        seconds_sim=compared - started,
        picture=picture,
    )
