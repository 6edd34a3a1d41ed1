"""The simulator's memory against the Verilog memory of `cosim.wrapper`, cycle for cycle."""

import random
import subprocess

import pytest

from cosim.toolchain import find_icarus
from cosim.wrapper import BENCH, Port, Probe, bench_verilog, read_trace
from nerf.contract.memory import MEMORY_TIMINGS, MemoryTiming
from nerf.contract.scene_image import BEAT
from rtnerf.base.errors import InputError
from sim.memory import memory
from sim.memory.dram import Dram
from sim.parts.streams import ANSWER, BURST, READ_BEAT, WRITE, WRITE_DATA, new
from tests.sim.replay import put

CYCLES = 3000
INPUTS = {
    "rid": 3, "rdata": 128, "rresp": 2, "rlast": 1, "rvalid": 1, "arready": 1, "awready": 1, "wready": 1,
    "bid": 3, "bresp": 2, "bvalid": 1,
}  # fmt: skip
OUTPUTS = {
    "arid": 3, "araddr": 32, "arlen": 8, "arsize": 3, "arburst": 2, "arvalid": 1, "rready": 1,
    "awid": 3, "awaddr": 32, "awlen": 8, "awsize": 3, "awburst": 2, "awvalid": 1,
    "wdata": 128, "wstrb": 16, "wlast": 1, "wvalid": 1, "bready": 1,
}  # fmt: skip
PORTS = [
    Port("clk", "input", 1),
    Port("rst", "input", 1),
    *(Port(f"axi__{name}", "input", width) for name, width in INPUTS.items()),
    *(Port(f"axi__{name}", "output", width) for name, width in OUTPUTS.items()),
]
PROBES = [
    Probe("burst", "axi__arvalid", "axi__arready", ("axi__araddr",)),
    Probe("beat", "axi__rvalid", "axi__rready", ("axi__rlast", "axi__rid")),
    Probe("address", "axi__awvalid", "axi__awready", ("axi__awlen",)),
    Probe("data", "axi__wvalid", "axi__wready", ("axi__wlast",)),
    Probe("answer", "axi__bvalid", "axi__bready", ("axi__bresp",)),
]
MASTER = """
  reg [2:0] chances [0:{last}];
  reg [63:0] bursts [0:{last}];
  reg [31:0] cycle = 0, number = 0, written = 0;
  reg [7:0] left = 0;
  reg ar = 0, aw = 0, w = 0;
  initial begin
    $readmemb("chances", chances);
    $readmemh("bursts", bursts);
  end
  wire [2:0] chance = cycle > {last} ? 3'd0 : chances[cycle];
  wire [63:0] burst = bursts[number - 1], write = bursts[written - 1];
  assign axi__arvalid = ar, axi__awvalid = aw, axi__wvalid = w, axi__rready = chance[1], axi__bready = 1;
  assign axi__arid = burst[2:0], axi__arlen = burst[15:8], axi__araddr = burst[63:32], axi__arsize = 4;
  assign axi__arburst = 1, axi__awid = 0, axi__awaddr = 64, axi__awsize = 4, axi__awburst = 1;
  assign axi__awlen = write[23:16], axi__wdata = 7, axi__wstrb = 255, axi__wlast = left == 0;
  always @(posedge clk) if (!rst) begin
    cycle <= cycle + 1;
    if (!ar || axi__arready) begin
      ar <= chance[0];
      if (chance[0]) number <= number + 1;
    end
    if (axi__awready) aw <= 0;
    if (!w || axi__wready) begin
      w <= chance[2] && (left != 0 || !aw || axi__awready);
      if (chance[2] && left != 0)
        left <= left - 1;
      else if (chance[2] && (!aw || axi__awready)) begin
        aw <= 1;
        left <= bursts[written][23:16];
        written <= written + 1;
      end
    end
  end
"""
TIMINGS = [
    *MEMORY_TIMINGS.values(),
    MemoryTiming(latency=1, beat_interval=2),
    MemoryTiming(latency=2, beat_interval=6),
    MemoryTiming(pause=60 / 256, seed=9),
    MemoryTiming(latency=4, beat_interval=3, pause=200 / 256, seed=(1 << 32) - 5),
]


def verilog(timing, bursts, chances, folder):
    """Return the transactions of the Verilog memory, behind a master that does what ``bursts`` and ``chances`` say.

    A burst: client, address and last beat of a read; last beat of a write.
    """
    ports = ", ".join(f"{port.direction} [{port.width - 1}:0] {port.name}" for port in PORTS)
    text = f"module master({ports});{MASTER.format(last=CYCLES - 1)}endmodule\n"
    text += bench_verilog("master", PORTS, memory_bytes=1 << 16, probes=PROBES)
    text += f"\nmodule run; initial begin #200 {BENCH}.rst = 0; #{10 * CYCLES + 200} $finish; end endmodule\n"
    (folder / "bench.v").write_text(text)
    (folder / "chances").write_text("".join(f"{chance:03b}\n" for chance in chances))
    (folder / "bursts").write_text("".join(f"{a:08x}{w:04x}{last:02x}{c:02x}\n" for c, a, last, w in bursts))
    tool = find_icarus()
    for command in (
        [str(tool.path), "-g2005", "-s", BENCH, "-s", "run", "-o", "bench", "bench.v"],
        [
            str(tool.path.with_name("vvp")), "bench", "+trace=trace", f"+latency={timing.latency}",
            f"+interval={timing.beat_interval}", f"+pause={timing.pause_of_256}", f"+seed={timing.seed}",
        ],
    ):  # fmt: skip
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    trace = read_trace((folder / "trace").read_text().splitlines())
    return {probe.name: [(t.cycle, t.payload) for t in trace if t.stream == probe.name] for probe in PROBES}


def simulate(timing, bursts, chances, skip):
    """Return the same of the simulator's memory."""
    state = memory.new(timing)
    records = {name: new(kind) for name, kind in (("burst", BURST), ("address", WRITE), ("data", WRITE_DATA))}
    beat, answer = new(READ_BEAT), new(ANSWER)
    done = {probe.name: [] for probe in PROBES}
    number, wake, writes, left = 0, 0, 0, 0
    for now, chance in enumerate(chances):
        memory.offer(now, state, beat, answer)
        if answer["valid"]:
            done["answer"].append((now, 0))
        if beat["valid"] and chance & 2:
            done["beat"].append((now, int(beat["last"] | beat["client"] << 1)))
            beat["valid"] = 0
        before = {name: bool(record["valid"]) for name, record in records.items()}
        payloads = records["burst"]["address"], bursts[writes - 1][-1], records["data"]["last"]
        if not skip or wake <= now or any(before.values()):
            wake = memory.step(now, state, *records.values(), answer)
        answer["valid"] = 0
        for name, payload in zip(records, map(int, payloads), strict=True):
            if before[name] and not records[name]["valid"]:
                done[name].append((now, payload))
        if chance & 1 and not records["burst"]["valid"]:
            put(records["burst"], bursts[number][:3])
            number += 1
        if chance & 4 and not records["data"]["valid"] and (left or not records["address"]["valid"]):
            if left:
                left -= 1
            else:
                records["address"]["valid"], left = 1, bursts[writes][-1]
                writes += 1
            put(records["data"], (8, left == 0))
    assert state["written_bytes"] == 8 * len(done["data"])
    return done


@pytest.mark.skipif(find_icarus() is None, reason="icarus is not installed")
@pytest.mark.parametrize("timing", TIMINGS)
@pytest.mark.parametrize("rates", [(1, 1, 1), (0.1, 0.5, 0.05), (0.02, 1, 0.3), (0.5, 0.1, 1)])
def test_every_transfer_comes_in_the_cycle_of_the_verilog_memory(timing, rates, tmp_path):
    chance = random.Random(f"{timing} {rates}")
    chances = [sum((chance.random() < rate) << bit for bit, rate in enumerate(rates)) for _ in range(CYCLES)]
    lasts = [0, 0, 1, 15], [0, 0, 0, 1, 2, 15]
    bursts = [
        (chance.randrange(5), 256 * chance.randrange(64), *(chance.choice(last) for last in lasts))
        for _ in range(CYCLES)
    ]
    theirs = verilog(timing, bursts, chances, tmp_path)
    theirs = {name: [entry for entry in entries if entry[0] < CYCLES] for name, entries in theirs.items()}
    assert min(map(len, theirs.values())) > 20
    for skip in (False, True):
        assert simulate(timing, bursts, chances, skip) == theirs


def test_a_memory_that_has_run_before_goes_on_with_its_pauses():
    timing = MemoryTiming(pause=99 / 256, seed=4)
    state = memory.new(timing)
    silent = [new(kind) for kind in (BURST, WRITE, WRITE_DATA, ANSWER)]
    for now in range(50):
        memory.step(now, state, *silent)
    assert state["random"] == memory.new(timing, elapsed=50)["random"]


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("latency", 0, "an integer from 1 to 65536, not 0"),
        ("beat_interval", 1.5, "an integer from 1 to 65536, not 1.5"),
        ("pause", 1.0, "a number of at least 0 and below 1, not 1.0"),
        ("seed", 0, "an integer from 1 to 4294967295, not 0"),
    ],
)
def test_a_timing_that_makes_no_sense_is_refused(field, value, rule):
    with pytest.raises(InputError, match=rf"^{field} must be {rule}$"):
        MemoryTiming(**{field: value})


@pytest.mark.parametrize(("first", "beats", "accesses"), [(0, 16, 8), (16, 16, 9), (16, 1, 1), (0, 1, 1), (32, 3, 2)])
def test_banks_serve_a_write_burst_by_their_own_bursts(first, beats, accesses):
    state = memory.new(Dram())
    burst, address, data, answer = (new(kind) for kind in (BURST, WRITE, WRITE_DATA, ANSWER))
    beat = new(READ_BEAT)
    put(address, first)
    put(data, (BEAT, int(beats == 1)))
    taken, answered = 0, []
    for now in range(40):
        memory.offer(now, state, beat, answer)
        if answer["valid"]:
            answered.append(now)
        memory.step(now, state, burst, address, data, answer)
        answer["valid"] = 0
        if not data["valid"] and taken < beats:
            taken += 1
            if taken < beats:
                put(data, (BEAT, int(taken == beats - 1)))
    banks = state["banks"]
    assert banks["row_hits"] + banks["row_misses"] + banks["row_conflicts"] == accesses
    assert state["written_bytes"] == BEAT * beats
    assert answered == [beats + 1]
