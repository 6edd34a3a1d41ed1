import random
import time
from itertools import pairwise
from pathlib import Path

import pytest

from cosim import toolchain
from cosim.simulation import Simulation, SimulationError, lint
from cosim.wrapper import (
    BENCH,
    MEMORIES,
    Port,
    bench_verilog,
    memory_image,
    memory_words,
    ports_of,
    read_trace,
    read_watch,
)
from tests.cosim import copy_engine
from tests.cosim.copy_engine import BURST_BEATS, BURST_BYTES, PROBE, TOP, WORD_BYTES

FOLDER = Path(__file__).parents[2] / "build" / "simulation"
MEMORY_BYTES = 1 << 16
BURSTS = 24

needs = {
    name: pytest.mark.skipif(find() is None, reason=f"{name} is not installed")
    for name, find in toolchain.ENGINES.items()
}
engines = pytest.mark.parametrize(
    "engine", [pytest.param(name, marks=[needs[name], pytest.mark.simulator]) for name in needs]
)


@pytest.fixture(scope="module")
def design():
    return copy_engine.generate()


def simulation(design, engine):
    text, ports = design
    bench = bench_verilog(TOP, ports, memory_bytes=MEMORY_BYTES, probes=[PROBE])
    return Simulation(BENCH, {"bench.v": bench, "top.v": text}, engine, FOLDER)


def copy(simulation, memory, folder, *, pause=0.0, idle=10, latency=20, interval=1, seed=1, free_clock=False):
    data = random.Random(7).randbytes(BURSTS * BURST_BYTES)
    (folder / "memory.hex").write_text(memory_words(data, WORD_BYTES))
    plusargs = [f"+trace={folder / 'trace.txt'}", *(["+free_clock"] if free_clock else [])]
    plusargs += ["+python_memory"] if memory == "cocotbext" else []
    if memory == "verilog":
        plusargs += [
            f"+memory={folder / 'memory.hex'}", f"+memory_out={folder / 'out.hex'}",
            f"+latency={latency}", f"+interval={interval}", f"+pause={round(256 * pause)}", f"+seed={seed}",
        ]  # fmt: skip
    parameters = {
        "memory": memory, "bursts": BURSTS, "idle": idle, "pause": pause, "data": data.hex(),
    }  # fmt: skip
    result = simulation.run(
        "copy_bench", parameters, seed=seed, plusargs=plusargs,
        testcase="copies", python_path=[Path(__file__).parent], run_folder=folder,
    )  # fmt: skip
    inverse = bytes(byte ^ 0xFF for byte in data)
    if memory == "verilog":
        assert memory_image((folder / "out.hex").read_text().splitlines()) == inverse
    else:
        assert bytes.fromhex(result["copy"]) == inverse
    transactions = read_trace((folder / "trace.txt").read_text().splitlines())
    assert [item.payload for item in transactions] == list(range(BURST_BEATS)) * BURSTS
    assert {item.stream for item in transactions} == {PROBE.name}
    return result["cycles"]


@engines
@pytest.mark.parametrize("memory", MEMORIES)
def test_copy_arrives_whole_with_any_pauses(design, engine, memory, tmp_path):
    built = simulation(design, engine)
    cycles = {
        (pause, seed): copy(built, memory, tmp_path, pause=pause, seed=seed)
        for pause, seed in ((0, 1), (0.3, 1), (0.3, 1), (0.7, 2))
    }
    assert cycles[0, 1] < cycles[0.3, 1] < cycles[0.7, 2]


@engines
def test_idle_cycles_wake_no_one(design, engine, tmp_path):
    # One more idle cycle of the design is exactly one more counted cycle: the gate loses none.
    built = simulation(design, engine)
    short, long = (copy(built, "cocotbext", tmp_path, idle=idle) for idle in (10, 1010))
    assert long - short == 1000


@engines
def test_gated_clock_adds_no_cycle(design, engine, tmp_path):
    built = simulation(design, engine)
    gated, free = (copy(built, "cocotbext", tmp_path, free_clock=free) for free in (False, True))
    assert gated == free


@needs["verilator"]
@needs["icarus"]
@pytest.mark.simulator
@pytest.mark.parametrize("memory", MEMORIES)
def test_both_simulators_count_the_same_cycles(design, memory, tmp_path):
    first, second = (
        copy(simulation(design, engine), memory, tmp_path, pause=0.3, seed=3) for engine in toolchain.ENGINES
    )
    assert first == second


@engines
def test_memory_timing_is_as_stated(design, engine, tmp_path):
    # The first beat comes `latency` cycles after its burst is accepted.
    built = simulation(design, engine)
    first = []
    for latency in (1, 30):
        copy(built, "verilog", tmp_path, latency=latency)
        first.append(read_trace((tmp_path / "trace.txt").read_text().splitlines())[0].cycle)
    assert first[1] - first[0] == 29
    # The master takes every beat at once, so that a burst shows the interval.
    for interval in (1, 2, 5):
        copy(built, "verilog", tmp_path, latency=40, interval=interval)
        cycles = [item.cycle for item in read_trace((tmp_path / "trace.txt").read_text().splitlines())]
        assert {after - before for before, after in pairwise(cycles[:BURST_BEATS])} == {interval}


COUNTER = """
  reg [3:0] counted = 0;
  always @(posedge clk) counted <= counted + 4'd1;
  watched inner(.\\the.value (counted));
endmodule
module watched(input [3:0] \\the.value );
endmodule
"""


@engines
def test_ports_inside_are_recorded_from_the_first_edge_on(design, engine, tmp_path):
    text, ports = design
    head, tail = text.split(f"module {TOP}(")
    text = head + f"module {TOP}(" + tail.replace("endmodule", COUNTER, 1)
    watched = {"inner": [Port("the.value", "input", 4)]}
    bench = bench_verilog(TOP, ports, memory_bytes=MEMORY_BYTES, watched=watched)
    built = Simulation(BENCH, {"bench.v": bench, "top.v": text}, engine, FOLDER)
    plusargs = [f"+watch={tmp_path / 'watch'}", "+watch_ticks=40", "+python_memory"]
    parameters = {"memory": "cocotbext", "bursts": 1, "idle": 10, "pause": 0, "data": bytes(BURST_BYTES).hex()}
    built.run(
        "copy_bench", parameters, seed=1, plusargs=plusargs,
        testcase="copies", python_path=[Path(__file__).parent], run_folder=tmp_path,
    )  # fmt: skip
    found = read_watch((tmp_path / "watch").read_text().splitlines(), watched)
    assert found["inner", "the.value"] == [(tick, tick % 16) for tick in range(40)]
    (first, second) = found["", "rst"]
    assert (first, second[1]) == ((0, 1), 0)


@needs["verilator"]
@pytest.mark.simulator
def test_second_build_is_skipped(design):
    built = simulation(design, "verilator")
    folder = built.build()
    start = time.perf_counter()
    assert built.build() == folder
    assert time.perf_counter() - start < 1


@needs["verilator"]
@pytest.mark.simulator
def test_failures_become_exceptions_with_the_log(design):
    built = simulation(design, "verilator")
    options = {"python_path": [Path(__file__).parent]}
    with pytest.raises(SimulationError, match="this test fails on purpose"):
        built.run("copy_bench", testcase="fails", **options)
    with pytest.raises(SimulationError, match="took more than 5 seconds"):
        built.run("copy_bench", testcase="hangs", timeout_seconds=5, **options)
    with pytest.raises(SimulationError, match="status 1"):
        built.run("copy_bench", testcase="absent", **options)


@needs["verilator"]
@pytest.mark.simulator
def test_bad_verilog_fails_with_the_log(tmp_path):
    with pytest.raises(SimulationError, match="syntax error"):
        Simulation("top", {"top.v": "module top; oops endmodule"}, "verilator", tmp_path).build()


@needs["verilator"]
def test_lint_accepts_generated_and_refuses_careless_verilog(design, tmp_path):
    path = tmp_path / "top.v"
    path.write_text(design[0])
    lint(path, TOP)
    path.write_text("module top(input a, output reg b); always @* if (a) b = 1; endmodule\n")
    with pytest.raises(SimulationError, match="LATCH"):
        lint(path, "top")


def test_missing_tools_are_named(monkeypatch):
    monkeypatch.setattr(toolchain, "find_compiler", lambda: None)
    monkeypatch.setitem(toolchain.ENGINES, "icarus", lambda: None)
    with pytest.raises(toolchain.ToolMissingError, match="icarus must be installed, not missing"):
        toolchain.require_engine("icarus")
    with pytest.raises(ValueError, match="engine must be one of verilator, icarus, not vcs"):
        toolchain.require_engine("vcs")


def test_environment_survives_make(monkeypatch):
    monkeypatch.setenv("MAKEFLAGS", "--jobserver-auth=3,4 -j -- VM_TRACE=1")
    tool = toolchain.find_verilator()
    assert tool is None or "jobserver" not in tool.environment["MAKEFLAGS"]


def test_wrapper_checks_its_ports(design):
    _, ports = design
    with pytest.raises(ValueError, match="ports must have axi__rlast, not be without it"):
        bench_verilog(TOP, [port for port in ports if port.name != "axi__rlast"])
    with pytest.raises(ValueError, match="power of two"):
        bench_verilog(TOP, ports, memory_bytes=1000)
    with pytest.raises(ValueError, match="port a: width must be at least 1 bit, not 0"):
        Port("a", "input", 0)
    sidecar = {"ports": [{"name": "clk", "direction": "input", "width": 1}]}
    assert ports_of(sidecar) == (Port("clk", "input", 1),)


def test_memory_text_round_trip():
    image = bytes(range(20))
    assert memory_words(image, 8).splitlines()[0] == "0706050403020100"
    assert memory_image(memory_words(image, 8).splitlines()) == image + bytes(4)
