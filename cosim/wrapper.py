"""Writes the Verilog bench round a generated top: clock, memory, and a record of its streams.

The clock is made in Verilog, so that Python is woken for memory and host traffic only and long
computations run at the speed of the simulator. Two memories can be attached:

``cocotbext``
    Nothing in Verilog: a cocotbext-axi ``AxiRam`` takes the ports ``axi_*``. An independent witness
    of the AXI protocol, about 30 microseconds a beat.
``verilog``
    A memory in the bench, below a microsecond a beat, whose timing is fixed (see `MEMORY_TIMING`).

Python models must be clocked by ``mem_clk``, not ``clk``. In Verilator a callback on a clock that
is made in Verilog comes after the flip-flops have moved: a model would see the next cycle's values.
``mem_clk`` rises one time unit before ``clk``, and what Python drives passes through registers on
``clk``: the model then behaves as one more synchronous block, and no cycle is added. ``mem_clk``
stands still while there is nothing for Python to do: no reset, ``host_active`` low, no valid from
the top on a channel to the memory and no outstanding transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BENCH = "bench"
"""Name of the top module of the bench."""

PERIOD_NS = 10
"""Period of ``clk`` in the bench, simulated nanoseconds; not the clock of the accelerator."""

MEMORIES = ("cocotbext", "verilog")

MEMORY_TIMING = """\
Cycles count rising edges of clk. A read burst accepted in cycle c offers its first beat in cycle
c + latency at the earliest (latency >= 1), bursts in order. After a beat that was taken in cycle c
the next, of whatever burst, is offered in cycle c + interval at the earliest (interval >= 1). Up to
16 read bursts are accepted ahead. One write burst at a time: AW, then its beats, each interval
cycles after the last at the earliest, then B in the next cycle. With pause p (0..255 of 256) a
32-bit xorshift generator (13, 17, 5; seeded with `seed`, stepped once a cycle from the first cycle
without reset) holds back, in a cycle in which the named byte of its state is below p: byte 0
arready, byte 1 a new rvalid, byte 2 awready, byte 3 wready and a new bvalid. A valid that is up
stays up until it is taken."""

_READ = ("arid", "araddr", "arlen", "arsize", "arburst", "arvalid", "arready",
         "rid", "rdata", "rresp", "rlast", "rvalid", "rready")  # fmt: skip
_WRITE = ("awid", "awaddr", "awlen", "awsize", "awburst", "awvalid", "awready", "wdata", "wstrb",
          "wlast", "wvalid", "wready", "bid", "bresp", "bvalid", "bready")  # fmt: skip
AXI_SIGNALS = _READ + _WRITE
"""Members of the AXI4 master interface of the top, lower case."""


@dataclass(frozen=True)
class Port:
    """A port of the top: ``name``, ``direction`` (``input`` or ``output``), ``width`` in bits."""

    name: str
    direction: str
    width: int

    def __post_init__(self) -> None:
        if self.direction not in ("input", "output"):
            raise ValueError(f"port {self.name}: direction must be input or output, not {self.direction}")
        if self.width < 1:
            raise ValueError(f"port {self.name}: width must be at least 1 bit, not {self.width}")

    @property
    def bench_name(self) -> str:
        """Name in the bench: cocotbext-axi wants ``axi_araddr`` for ``axi__araddr``."""
        return self.name.replace("__", "_")


@dataclass(frozen=True)
class Probe:
    """A stream to record, by names of output ports of the top.

    Parameters
    ----------
    name : str
        Its name in the record.
    valid, ready : str
        One-bit ports; ``ready`` empty = always ready.
    payload : tuple of str
        Ports, least significant first.
    """

    name: str
    valid: str
    ready: str
    payload: tuple[str, ...]


@dataclass(frozen=True)
class Transaction:
    """One accepted item of a recorded stream: cycle after reset, stream, payload bits."""

    cycle: int
    stream: str
    payload: int


def ports_of(sidecar: Mapping[str, Any]) -> tuple[Port, ...]:
    """The ports in a generator's sidecar: ``{"ports": [{"name", "direction", "width"}, ...]}``."""
    return tuple(Port(entry["name"], entry["direction"], int(entry["width"])) for entry in sidecar["ports"])


def bench_verilog(
    top: str,
    ports: Sequence[Port],
    *,
    memory: str = "cocotbext",
    memory_bytes: int = 1 << 24,
    probes: Sequence[Probe] = (),
    axi: str = "axi",
) -> str:
    """The Verilog of the module `BENCH` round the module ``top``.

    Signals of the bench for Python: every port but ``clk`` and ``rst`` under `Port.bench_name`;
    ``mem_clk``; ``rst`` (starts high); ``host_active`` (set it round every access that Python
    starts, only after an edge of a signal); ``cycle`` (cycles since reset). The ``verilog`` memory
    adds ``memory.mem`` (words), ``dump_memory``, ``dump_first`` and ``dump_last`` (words, both kept).

    Plusargs: ``+trace=FILE`` records the probes; ``+free_clock`` never stops ``mem_clk``; with the
    ``verilog`` memory ``+memory=FILE`` ($readmemh, one data word a line), ``+memory_out=FILE``
    (words ``dump_first`` to ``dump_last``, by default all, written when ``dump_memory`` rises),
    ``+latency=N`` (default 20), ``+interval=N`` (1), ``+pause=N`` of 256 (0), ``+seed=N`` (1),
    ``+fail_read=N`` answers the N-th read burst, counted from 0, with SLVERR.

    Parameters
    ----------
    top : str
        Module name of the generated Verilog.
    ports : sequence of Port
        All its ports; ``clk`` and ``rst`` must be there, and the AXI4 members under ``axi``.
    memory : str
        One of `MEMORIES`.
    memory_bytes : int
        Size of the ``verilog`` memory, a power of two; other addresses answer DECERR.
    probes : sequence of Probe
        What ``+trace`` records.
    axi : str
        Name of the top's AXI4 master interface.
    """
    by_name = {port.name: port for port in ports}
    for name in ("clk", "rst", *(f"{axi}__{signal}" for signal in AXI_SIGNALS)):
        if name not in by_name:
            raise ValueError(f"ports must have {name}, not be without it")
    if memory not in MEMORIES:
        raise ValueError(f"memory must be one of {', '.join(MEMORIES)}, not {memory}")
    data_bytes = by_name[f"{axi}__rdata"].width // 8
    if memory_bytes < data_bytes or memory_bytes & (memory_bytes - 1):
        raise ValueError(f"memory_bytes must be a power of two of a word or more, not {memory_bytes}")

    in_verilog = memory == "verilog"
    declarations, connections, holds = [], [".clk(clk)", ".rst(rst_held)"], []
    for port in ports:
        if port.name in ("clk", "rst"):
            continue
        name, bits = port.bench_name, f"[{port.width - 1}:0] " if port.width > 1 else ""
        if port.direction == "output":
            declarations.append(f"wire {bits}{name};")
            connections.append(f".{port.name}({name})")
        elif in_verilog and port.name.startswith(f"{axi}__"):
            declarations += [f"wire {bits}{name};", f"wire {bits}{name}_held = {name};"]
            connections.append(f".{port.name}({name})")
        else:
            declarations += [f"reg {bits}{name} = 0;", f"reg {bits}{name}_held = 0;"]
            connections.append(f".{port.name}({name}_held)")
            holds.append(f"{name}_held <= {name};")

    traffic = "" if in_verilog else (
        f" | {axi}_arvalid | {axi}_awvalid | {axi}_wvalid | (reads != 0) | (writes != 0)"
    )  # fmt: skip
    parts = [
        _BENCH.format(
            bench=BENCH,
            top=top,
            axi=axi,
            half=PERIOD_NS // 2,
            early=PERIOD_NS // 2 - 1,
            declarations="\n  ".join(declarations),
            connections=",\n    ".join(connections),
            holds="\n    ".join(holds),
            traffic=traffic,
            memory=_memory_instance(axi, by_name, memory_bytes) if in_verilog else "",
            trace=_trace(probes, by_name),
        )
    ]
    if in_verilog:
        parts.append(_MEMORY)
    return "\n".join(parts)


def read_trace(lines: Iterable[str]) -> list[Transaction]:
    """The transactions of a ``+trace`` file, in order of time."""
    transactions = []
    for line in lines:
        cycle, stream, payload = line.split()
        # Undefined bits, in Icarus, are no number and must not pass for one.
        transactions.append(Transaction(int(cycle), stream, int(payload, 16)))
    return transactions


def memory_words(image: bytes, word_bytes: int) -> str:
    """``image`` as the text of a ``+memory`` file, padded with zeros to a full word."""
    image = image + bytes(-len(image) % word_bytes)
    words = (image[start : start + word_bytes] for start in range(0, len(image), word_bytes))
    return "".join(word[::-1].hex() + "\n" for word in words)


def memory_image(lines: Iterable[str]) -> bytes:
    """The inverse of `memory_words`, for a ``+memory_out`` file."""
    words = (line.split("//")[0].strip() for line in lines)
    return b"".join(bytes.fromhex(word)[::-1] for word in words if word)


def _memory_instance(axi: str, ports: Mapping[str, Port], memory_bytes: int) -> str:
    address, data = ports[f"{axi}__araddr"].width, ports[f"{axi}__rdata"].width
    # Widths of the identifiers may differ between reads and writes.
    parameters = (
        f".ADDRESS({address}), .DATA({data}), .BYTES({memory_bytes}), "
        f".READ_ID({ports[f'{axi}__arid'].width}), .WRITE_ID({ports[f'{axi}__awid'].width})"
    )
    connections = ",\n    ".join(f".{signal}({axi}_{signal})" for signal in AXI_SIGNALS)
    return (
        "reg dump_memory = 0;\n"
        f"  reg [31:0] dump_first = 0, dump_last = {memory_bytes // (data // 8) - 1};\n"
        f"  axi_memory #({parameters}) memory (\n"
        f"    .clk(clk), .rst(rst_held), .dump(dump_memory), .dump_first(dump_first),\n"
        f"    .dump_last(dump_last),\n    {connections}\n  );"
    )


def _trace(probes: Sequence[Probe], ports: Mapping[str, Port]) -> str:
    if not probes:
        return ""
    writes = []
    for probe in probes:
        for name in (probe.valid, *probe.payload, *([probe.ready] if probe.ready else [])):
            if name not in ports:
                raise ValueError(f"probe {probe.name}: {name} must be a port of the top, not absent")
        fire = " && ".join(ports[name].bench_name for name in (probe.valid, probe.ready) if name)
        payload = ", ".join(ports[name].bench_name for name in reversed(probe.payload))
        writes.append(f'      if ({fire}) $fwrite(trace, "%0d {probe.name} %h\\n", cycle, {{{payload}}});')
    return _TRACE.format(writes="\n".join(writes))


_BENCH = """\
`timescale 1ns/1ps
module {bench};
  reg clk = 0, mem_clk = 0, rst = 1, host_active = 1;
  reg rst_held = 1;
  reg [63:0] cycle = 0;
  {declarations}

  {top} dut (
    {connections}
  );

  // What Python drives takes effect at the edge that follows, as the output of any flip-flop.
  always @(posedge clk) begin
    rst_held <= rst;
    cycle <= rst_held ? 64'd0 : cycle + 64'd1;
    {holds}
  end

  reg [15:0] reads = 0, writes = 0;
  reg [1:0] quiet = 0;
  reg free_clock = 0;
  initial if ($test$plusargs("free_clock")) free_clock = 1;
  wire busy = rst | rst_held | host_active | free_clock{traffic};
  wire active = busy | (quiet != 2'd3);
  always @(posedge clk) begin
    if (rst_held) begin
      reads <= 0;
      writes <= 0;
    end else begin
      reads <= reads + {{15'd0, {axi}_arvalid & {axi}_arready_held}}
        - {{15'd0, {axi}_rvalid_held & {axi}_rready & {axi}_rlast_held}};
      writes <= writes + {{15'd0, {axi}_awvalid & {axi}_awready_held}}
        - {{15'd0, {axi}_bvalid_held & {axi}_bready}};
    end
    quiet <= busy ? 2'd0 : quiet == 2'd3 ? 2'd3 : quiet + 2'd1;
  end

  // The gate is read once a cycle, in the low phase, by the process that makes both clocks: it
  // can not glitch.
  always begin
    if (active) begin
      #{early} mem_clk = 1;
      #1;
    end else
      #{half};
    clk = 1;
    #{half} clk = 0;
    mem_clk = 0;
  end
  {memory}
{trace}endmodule
"""

_TRACE = """
  integer trace = 0;
  reg [8*1024-1:0] trace_file;
  initial if ($value$plusargs("trace=%s", trace_file)) trace = $fopen(trace_file, "w");
  always @(posedge clk)
    if (trace != 0 && !rst_held) begin
{writes}
    end
"""

_MEMORY = """\
module axi_memory #(
  parameter ADDRESS = 32, DATA = 128, BYTES = 16777216, READ_ID = 1, WRITE_ID = 1
) (
  input clk, input rst, input dump, input [31:0] dump_first, input [31:0] dump_last,
  input [READ_ID-1:0] arid, input [ADDRESS-1:0] araddr, input [7:0] arlen, input [2:0] arsize,
  input [1:0] arburst, input arvalid, output arready,
  output [READ_ID-1:0] rid, output [DATA-1:0] rdata, output [1:0] rresp, output rlast,
  output rvalid, input rready,
  input [WRITE_ID-1:0] awid, input [ADDRESS-1:0] awaddr, input [7:0] awlen, input [2:0] awsize,
  input [1:0] awburst, input awvalid, output awready,
  input [DATA-1:0] wdata, input [DATA/8-1:0] wstrb, input wlast, input wvalid, output wready,
  output [WRITE_ID-1:0] bid, output [1:0] bresp, output bvalid, input bready
);
  localparam LANES = DATA / 8, LANE_BITS = $clog2(LANES), WORDS = BYTES / LANES;
  localparam WORD_BITS = $clog2(WORDS);
  localparam [1:0] OKAY = 0, SLVERR = 2, DECERR = 3;

  reg [DATA-1:0] mem [0:WORDS-1] /* verilator public_flat_rw */;
  reg [31:0] latency = 20, interval = 1, pause = 0, seed = 1;
  integer fail_read = -1, index;
  reg [8*1024-1:0] memory_file, memory_out;
  initial begin
    if ($value$plusargs("latency=%d", latency)) ;
    if ($value$plusargs("interval=%d", interval)) ;
    if ($value$plusargs("pause=%d", pause)) ;
    if ($value$plusargs("seed=%d", seed)) ;
    if ($value$plusargs("fail_read=%d", fail_read)) ;
    for (index = 0; index < WORDS; index = index + 1) mem[index] = 0;
    if ($value$plusargs("memory=%s", memory_file)) $readmemh(memory_file, mem);
    if (seed == 0 || latency == 0 || interval == 0 || pause > 255) begin
      $display("memory: seed, latency and interval must be at least 1 and pause at most 255");
      $finish;
    end
  end
  always @(posedge dump)
    if ($value$plusargs("memory_out=%s", memory_out))
      $writememh(memory_out, mem, dump_first, dump_last);

  // ---- Random stalls ----
  reg [31:0] random = 0;
  wire [31:0] random_1 = random ^ (random << 13);
  wire [31:0] random_2 = random_1 ^ (random_1 >> 17);
  wire [31:0] random_3 = random_2 ^ (random_2 << 5);
  wire hold_ar = {24'd0, random[7:0]} < pause, hold_r = {24'd0, random[15:8]} < pause;
  wire hold_aw = {24'd0, random[23:16]} < pause, hold_w = {24'd0, random[31:24]} < pause;

  // ---- Reads: a queue of 16 bursts ----
  reg [31:0] now = 0;
  reg [ADDRESS-1:0] queue_address [0:15];
  reg [7:0] queue_length [0:15];
  reg [31:0] queue_time [0:15];
  reg [READ_ID-1:0] queue_id [0:15];
  reg [4:0] head = 0, tail = 0;
  reg [7:0] beat = 0;
  reg r_offered = 0;
  reg [31:0] r_wait = 0;
  integer bursts = 0;
  wire [4:0] waiting = tail - head;
  wire [3:0] first = head[3:0];
  wire due = waiting != 0 && now - queue_time[first] >= latency && r_wait == 0;
  wire [ADDRESS-1:0] r_word = (queue_address[first] >> LANE_BITS) + {{(ADDRESS-8){1'b0}}, beat};
  assign arready = waiting < 16 && !hold_ar;
  assign rvalid = due && (r_offered || !hold_r);
  assign rdata = r_word < WORDS ? mem[r_word[WORD_BITS-1:0]] : {DATA{1'b0}};
  assign rresp = r_word >= WORDS ? DECERR : bursts == fail_read ? SLVERR : OKAY;
  assign rlast = beat == queue_length[first];
  assign rid = queue_id[first];

  // ---- Writes: one burst at a time ----
  reg w_busy = 0, b_due = 0, b_offered = 0, w_failed = 0;
  reg [31:0] w_wait = 0;
  reg [ADDRESS-1:0] w_word = 0;
  reg [7:0] w_left = 0;
  reg [WRITE_ID-1:0] w_id = 0;
  assign awready = !w_busy && !hold_aw;
  assign wready = w_busy && !b_due && w_wait == 0 && !hold_w;
  assign bvalid = b_due && (b_offered || !hold_w);
  assign bresp = w_failed ? DECERR : OKAY;
  assign bid = w_id;

  integer lane;
  always @(posedge clk) begin
    if (rst) begin
      now <= 0; random <= seed; head <= 0; tail <= 0; beat <= 0; r_offered <= 0; bursts <= 0;
      w_busy <= 0; b_due <= 0; b_offered <= 0; r_wait <= 0; w_wait <= 0;
    end else begin
      now <= now + 1;
      random <= random_3;
      if (arvalid && arready) begin
        queue_address[tail[3:0]] <= araddr;
        queue_length[tail[3:0]] <= arlen;
        queue_time[tail[3:0]] <= now;
        queue_id[tail[3:0]] <= arid;
        tail <= tail + 1;
        check_burst(araddr, arlen, arsize, arburst);
      end
      r_offered <= rvalid && !rready;
      r_wait <= rvalid && rready ? interval - 1 : r_wait == 0 ? 0 : r_wait - 1;
      w_wait <= wvalid && wready ? interval - 1 : w_wait == 0 ? 0 : w_wait - 1;
      if (rvalid && rready) begin
        beat <= rlast ? 8'd0 : beat + 8'd1;
        if (rlast) begin
          head <= head + 1;
          bursts <= bursts + 1;
        end
      end
      if (awvalid && awready) begin
        w_busy <= 1; w_failed <= 0; w_word <= awaddr >> LANE_BITS; w_left <= awlen; w_id <= awid;
        check_burst(awaddr, awlen, awsize, awburst);
      end
      if (wvalid && wready) begin
        if (w_word < WORDS) begin
          for (lane = 0; lane < LANES; lane = lane + 1)
            if (wstrb[lane]) mem[w_word[WORD_BITS-1:0]][8*lane +: 8] <= wdata[8*lane +: 8];
        end else
          w_failed <= 1;
        w_word <= w_word + 1;
        w_left <= w_left - 1;
        if (wlast != (w_left == 0)) $error("memory: wlast must be set on the last beat only");
        if (w_left == 0) b_due <= 1;
      end
      b_offered <= bvalid && !bready;
      if (bvalid && bready) begin
        b_due <= 0;
        w_busy <= 0;
      end
    end
  end

  task check_burst(
    input [ADDRESS-1:0] address, input [7:0] length, input [2:0] size, input [1:0] burst
  );
    begin
      if (burst != 2'd1) $error("memory: burst must be INCR (1), not %0d", burst);
      if ((1 << size) != LANES) $error("memory: size must be the full data width, not %0d", size);
      if ({20'd0, address[11:0]} + ((length + 1) << LANE_BITS) > 4096)
        $error("memory: a burst must stay inside 4 KiB, not start at %h with %0d beats",
          address, length + 1);
      if ((address & (LANES - 1)) != 0) $error("memory: address must be aligned, not %h", address);
    end
  endtask
endmodule
"""
