"""The engine ``cxxrtl``: the RTL as a C++ class of Yosys, with host and memory in C++, inside this process.

A witness beside Verilator: another reader of the hardware (RTLIL, not Verilog), another simulator, and a memory and a
host of another hand. The memory keeps `cosim.wrapper.MEMORY_TIMING` and the host starts a frame in the same cycle as
the cocotb bench does, so that every recorded transaction must come in the same cycle.

A build takes the RTLIL of the top through ``write_cxxrtl`` and the C++ compiler; it is kept in a folder named after a
digest of everything that goes into it.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import importlib.util
import inspect
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cosim.simulation import SimulationError
from cosim.toolchain import Tool, ToolMissingError, find_compiler
from cosim.wrapper import Transaction
from nerf.contract.config import AcceleratorConfig
from nerf.contract.memory import MemoryTiming, Regions
from nerf.contract.registers import CAMERA_REGISTERS, CONTROL_ABORT, CONTROL_START, COUNTERS, REGISTERS, View
from nerf.contract.scene_image import BEAT
from rtl.parts.shared_module import SOURCE
from rtl.verilog.export import TOP, rtlil_of
from rtnerf.base.builds import kept_build
from rtnerf.base.processes import run_supervised

HARNESS = Path(__file__).parent / "bench" / "cxxrtl_harness.cc"

# opt_dff: a register that keeps its value is not computed, twice the speed. splitnets: fields of a structure that
# depend on each other would look like combinational feedback, and each cycle would take several evaluations.
_YOSYS = (
    "read_rtlil design.il", f"hierarchy -top {TOP}", "proc", "flatten", "opt_clean", "opt_expr", "opt_merge",
    "opt_muxtree", "opt_dff", "opt_expr", "opt_clean", "splitnets -driver", "write_cxxrtl -g0 whole.cc",
)  # fmt: skip
# In a process of its own: Yosys writes its log to the standard output, and may end the process.
_TRANSLATE = """\
import sys
from pyosys import libyosys
design = libyosys.Design()
for command in sys.argv[1:]:
    libyosys.run_pass(command, design)
"""
# As fast as -O2 and nearly twice as quick to build: what pays is the unrolling of loops over 32-bit chunks. The
# assertions of the runtime are off because they forbid an address out of range even where write enable is low.
# A signal that splitnets has cut into bits is one expression, as deep as it has bits: 1024 with a window of 16 blocks.
_COMPILER_FLAGS = (
    "-std=c++17", "-O1", "-fpeel-loops", "-fno-tree-dse", "-fno-tree-fre", "-fvisibility=hidden", "-DCXXRTL_NDEBUG",
    "-shared", "-fPIC", "-ftemplate-depth=4096",
)  # fmt: skip
_PART_CHARACTERS = 4000
_LIBRARY = "bench.so"

# The host of the cocotb bench, in cycles: first access after reset, then from one write to the next.
_FIRST_WRITE = 2
_BETWEEN_WRITES = 1

_SLICE_CYCLES = 1 << 17
_BUILD_SECONDS = 1800
_LOG_LINES = 40

WRITE, READ, _WAIT, _INTERRUPT = range(4)
RUNNING, FINISHED = 0, 1
FAULTS = {
    2: "memory: a burst must be incrementing, aligned, of the full data width and inside 4 KiB",
    3: "memory: wlast must be set on the last beat only",
    4: "memory: reads must stay in the image and the lists, writes in the frame and the lists",
}


@dataclass(frozen=True)
class HarnessRun:
    """What one run of the harness gave.

    Parameters
    ----------
    registers : dict
        Status and counters, by name.
    trace : list of Transaction
    cycles : int
        Simulated, after reset.
    """

    registers: dict[str, int]
    trace: list[Transaction]
    cycles: int


class _Settings(ctypes.Structure):
    _fields_ = (
        ("memory", ctypes.c_void_p),
        ("memory_bytes", ctypes.c_uint64),
        ("image", ctypes.c_uint64 * 2),
        ("frame", ctypes.c_uint64 * 2),
        ("lists", ctypes.c_uint64 * 2),
        ("latency", ctypes.c_uint32),
        ("interval", ctypes.c_uint32),
        ("pause", ctypes.c_uint32),
        ("seed", ctypes.c_uint32),
        ("fail_read", ctypes.c_int32),
        ("flip_beat", ctypes.c_int32),
        ("flip_bit", ctypes.c_uint32),
        ("record", ctypes.c_uint32),
        ("strap", ctypes.c_uint32),
    )


@functools.cache
def design(config: AcceleratorConfig) -> tuple[str, dict[str, Any]]:
    """Return (RTLIL, sidecar) of a configuration."""
    text, sidecar = rtlil_of(config)
    return SOURCE.sub("", text), sidecar


def require_tools() -> tuple[Tool, Path]:
    """Return the C++ compiler and the folder of Yosys's C++ headers.

    Raises
    ------
    ToolMissingError
        One is not installed.
    """
    compiler = find_compiler()
    if compiler is None:
        raise ToolMissingError(
            "g++, make and perl must be installed, not missing: "
            "apt-get install g++ make perl (Debian and Ubuntu, as root)"
        )
    spec = importlib.util.find_spec("pyosys")
    if spec is None or spec.origin is None:
        raise ToolMissingError("pyosys must be installed, not missing: pip install 'rtnerf[cosim]'")
    return compiler, Path(spec.origin).parent / "share" / "include" / "backends" / "cxxrtl" / "runtime"


def build(text: str, sidecar: Mapping[str, Any], folder: Path) -> Path:
    """Return the shared library of a design, built unless it is there already.

    Parameters
    ----------
    text : str
        RTLIL of the top.
    sidecar : mapping
        See `rtl.verilog.export.describe`.
    folder : Path
        Where builds are kept, each in a folder of its own.

    Raises
    ------
    ToolMissingError
        pyosys or the C++ compiler is not installed.
    SimulationError
        The build failed.
    """
    compiler, runtime = require_tools()
    sources = {"design.il": text, "bench.h": _bench_header(sidecar), HARNESS.name: HARNESS.read_text(encoding="utf-8")}
    versions = [importlib.metadata.version("pyosys"), str(compiler.path), compiler.version]

    def make(place: Path) -> None:
        for name, source in sources.items():
            (place / name).write_text(source, encoding="utf-8")
        _step(place, "translate", [sys.executable, "-c", _TRANSLATE, *_YOSYS])
        model = (place / "whole.cc").read_text(encoding="utf-8")
        (place / "model.cc").write_text(split_evaluation(model), encoding="utf-8")
        command = [str(compiler.path), *_COMPILER_FLAGS, "-I", str(runtime), HARNESS.name, "-o", _LIBRARY]
        _step(place, "compile", command)

    ingredients = [sources, versions, _YOSYS, _COMPILER_FLAGS, _PART_CHARACTERS, inspect.getsource(split_evaluation)]
    return kept_build(folder, f"{TOP}-cxxrtl", ingredients, make) / _LIBRARY


def _steps(
    view: View, regions: Regions, abort_after: int | None, render_again: bool, meanwhile: Sequence[tuple[int, str, int]]
) -> list[tuple[int, int, int]]:
    """What the host does up to the last interrupt: programs the registers and starts, or aborts, frames."""
    steps: list[tuple[int, int, int]] = [(_WAIT, 0, _FIRST_WRITE)]

    def write(name: str, value: int) -> None:
        steps.extend([(WRITE, REGISTERS[name], value & 0xFFFFFFFF), (_WAIT, 0, _BETWEEN_WRITES)])

    for name in CAMERA_REGISTERS:
        write(name, view.values[name])
    for name, base in (("scene", 0), ("frame", regions.frame_base), ("list", regions.list_base)):
        write(f"{name}_low", base)
        write(f"{name}_high", 0)
    write("interrupt_enable", 1)
    for frame in range(1 + render_again):
        write("control", CONTROL_START)
        for cycles, name, value in () if frame else meanwhile:
            steps.append((_WAIT, 0, cycles))
            write(name, value)
        if abort_after is not None and frame == 0:
            steps.append((_WAIT, 0, abort_after))
            write("control", CONTROL_ABORT)
        steps.append((_INTERRUPT, 0, 0))
    return steps


def run(
    library: Path,
    sidecar: Mapping[str, Any],
    memory: np.ndarray,
    view: View,
    regions: Regions,
    *,
    timing: MemoryTiming,
    fail_read: int | None = None,
    record: bool = True,
    abort_after: int | None = None,
    render_again: bool = False,
    meanwhile: Sequence[tuple[int, str, int]] = (),
    flip: tuple[int, int] | None = None,
    strap: int = 0,
    watchdog_cycles: int,
    timeout_seconds: float,
) -> HarnessRun:
    """Program the registers, render a frame, and read status and counters.

    Parameters
    ----------
    library : Path
        From `build`.
    sidecar : mapping
    memory : uint8 array (bytes,)
        Content of the memory at address 0; takes the frame.
    view : View
    regions : Regions
        Where the frame and the lists of cubes are written to.
    timing : MemoryTiming
    meanwhile : sequence of (int, str, int)
        What the host writes while the first frame runs: cycles to wait before it, register, value.
    flip : (int, int), optional
        A beat, counted from 0, of those that are read from the lists, and the bit of it that arrives inverted.
    strap : int
        What the input ``strap`` holds, of a top that has one.
    fail_read, record, abort_after, render_again, watchdog_cycles, timeout_seconds
        See `cosim.run.run_rtl`.

    Raises
    ------
    SimulationError
        No interrupt in time, a breach of AXI4, or an access outside the image and the regions.
    """
    read = ("status", *COUNTERS)
    steps = _steps(view, regions, abort_after, render_again, meanwhile) + [(READ, REGISTERS[name], 0) for name in read]
    harness = load(library)
    faults = (-1 if fail_read is None else fail_read, *(flip or (-1, 0)))
    configuration = settings(memory, regions, timing, *faults, record, strap)
    table = np.array(steps, np.uint32)
    bench = harness.bench_create(ctypes.byref(configuration), table.ctypes.data, len(steps))
    try:
        deadline = time.monotonic() + timeout_seconds
        # In slices, so that an interrupt from the keyboard is heard.
        while (outcome := harness.bench_run(bench, _SLICE_CYCLES)) == RUNNING:
            if harness.bench_cycle(bench) > watchdog_cycles:
                raise SimulationError(f"{TOP}: no interrupt in {watchdog_cycles} cycles")
            if time.monotonic() > deadline:
                raise SimulationError(f"{TOP}: the run took more than {timeout_seconds:g} seconds")
        cycles = harness.bench_cycle(bench)
        if outcome != FINISHED:
            raise SimulationError(f"{TOP}: cycle {cycles}: {FAULTS[outcome]}")
        values = np.ctypeslib.as_array(harness.bench_values(bench), (len(read),)).tolist()
        trace = _transactions(harness, bench, sidecar)
    finally:
        harness.bench_destroy(bench)
    return HarnessRun(dict(zip(read, values, strict=True)), trace, cycles)


def settings(
    memory: np.ndarray,
    regions: Regions,
    timing: MemoryTiming,
    fail_read: int = -1,
    flip_beat: int = -1,
    flip_bit: int = 0,
    record: bool = False,
    strap: int = 0,
) -> _Settings:
    """Return what the harness takes: the memory's content and timing, what may be touched in it, and faults."""
    ranges = (
        (0, regions.frame_base),
        (regions.frame_base, regions.frame_base + regions.frame_bytes + -regions.frame_bytes % BEAT),
        (regions.list_base, regions.end),
    )
    return _Settings(
        memory.ctypes.data, memory.nbytes, *ranges,
        timing.latency, timing.beat_interval, timing.pause_of_256, timing.seed,
        fail_read, flip_beat, flip_bit, record, strap,
    )  # fmt: skip


def _transactions(harness: ctypes.CDLL, bench: int, sidecar: Mapping[str, Any]) -> list[Transaction]:
    count = harness.bench_record_count(bench)
    if count == 0:
        return []
    layout = np.dtype([("cycle", "<u8"), ("stream", "<u4"), ("payload", "<u4", (_payload_words(sidecar),))], align=True)
    data = ctypes.string_at(harness.bench_records(bench), count * layout.itemsize)
    records = np.frombuffer(data, layout)
    names = [probe["name"] for probe in sidecar["probes"]]
    width = 4 * _payload_words(sidecar)
    payloads = np.ascontiguousarray(records["payload"]).tobytes()
    return [
        Transaction(cycle, names[stream], int.from_bytes(payloads[width * index : width * (index + 1)], "little"))
        for index, (cycle, stream) in enumerate(
            zip(records["cycle"].tolist(), records["stream"].tolist(), strict=True)
        )
    ]  # fmt: skip


def _payload_words(sidecar: Mapping[str, Any]) -> int:
    """32-bit words of the widest recorded payload."""
    widths = {port["name"]: port["width"] for port in sidecar["ports"]}
    return max(-(-widths[probe["payload"]] // 32) for probe in sidecar["probes"])


def _bench_header(sidecar: Mapping[str, Any]) -> str:
    """What the harness must know of the design; Yosys doubles the underscores of a name."""
    probes = " ".join(
        f"PROBE({index}, p_{'probe_' + probe['name']})".replace("_", "__").replace("p__", "p_", 1)
        for index, probe in enumerate(sidecar["probes"])
    )
    return (
        '#define DESIGN "model.cc"\n'
        f"#define TOP cxxrtl_design::p_{TOP.replace('_', '__')}\n"
        f"#define PAYLOAD_WORDS {_payload_words(sidecar)}\n"
        f"#define PROBES(PROBE) {probes}\n"
        + ("#define STRAP p_strap\n" if any(port["name"] == "strap" for port in sidecar["ports"]) else "")
    )


def load(library: Path) -> ctypes.CDLL:
    """Return a library from `build`, its functions with their types."""
    harness = ctypes.CDLL(str(library))
    pointer, count = ctypes.c_void_p, ctypes.c_uint64
    for name, result, arguments in (
        ("bench_create", pointer, (pointer, pointer, count)),
        ("bench_run", ctypes.c_int32, (pointer, count)),
        ("bench_cycle", count, (pointer,)),
        ("bench_step", None, (pointer, *3 * (ctypes.c_uint32,))),
        ("bench_value_count", count, (pointer,)),
        ("bench_values", ctypes.POINTER(ctypes.c_uint32), (pointer,)),
        ("bench_record_count", count, (pointer,)),
        ("bench_records", pointer, (pointer,)),
        ("bench_destroy", None, (pointer,)),
    ):
        function = getattr(harness, name)
        function.restype, function.argtypes = result, arguments
    return harness


def _step(folder: Path, name: str, command: Sequence[str]) -> None:
    log = folder / f"{name}.log"
    with open(log, "wb") as output:
        try:
            status = run_supervised(command, log=output, timeout_seconds=_BUILD_SECONDS, folder=folder, scratch=folder)
        except subprocess.TimeoutExpired:
            raise SimulationError(f"{TOP}: the {name} step took more than {_BUILD_SECONDS} seconds ({log})") from None
    if status != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
        raise SimulationError(f"{TOP}: the {name} step failed with status {status} ({log})\n{tail}")


def split_evaluation(model: str) -> str:
    """Cut the one long function ``eval`` of a model into short ones that share their variables.

    The time that a compiler takes grows faster than the length of a function: six times less after this.
    """
    declaration = "\tbool eval(performer *performer = nullptr) override;\n"
    matched = re.search(
        rf"^bool p_{TOP}::eval\(performer \*performer\) \{{\n((?:\tbool [^\n]*\n)+)(.*?)^(\treturn converged;\n\}}\n)",
        model,
        re.M | re.S,
    )
    if matched is None or model.count(declaration) != 1:
        raise SimulationError("write_cxxrtl must write one function eval for the flattened top; it did not")
    locals_pattern = re.compile(r"^\tvalue<\d+> \w+;\n", re.M)
    variables = locals_pattern.findall(matched[2])
    parts = [""]
    # A comment at this depth starts each statement.
    for statement in re.split(r"^(?=\t// )", locals_pattern.sub("", matched[2]), flags=re.M):
        if len(parts[-1]) > _PART_CHARACTERS:
            parts.append("")
        parts[-1] += statement
    names = [f"eval_{index}(bool posedge_p_clk)" for index in range(len(parts))]
    functions = [
        f"__attribute__((noinline)) void p_{TOP}::{name} {{\n{part}}}\n"
        for name, part in zip(names, parts, strict=True)
    ]  # fmt: skip
    calls = "".join(f"\teval_{index}(posedge_p_clk);\n" for index in range(len(parts)))
    start = f"bool p_{TOP}::eval(performer *performer) {{\n{matched[1]}"
    members = "".join(variables) + "".join(f"\tvoid {name};\n" for name in names)
    return (
        model[: matched.start()].replace(declaration, members + declaration)
        + "".join(functions)
        + start
        + calls
        + matched[3]
        + model[matched.end() :]
    )
