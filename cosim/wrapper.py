"""Writes the Verilog bench round a generated top: clock, memory, and a record of its streams.

The clock is made in Verilog, so that Python is woken for memory and host traffic only and long
computations run at the speed of the simulator. One build serves with either of two memories:

``cocotbext``
    With ``+python_memory`` a cocotbext-axi ``AxiRam`` takes the ports ``axi_*``. An independent witness
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
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

_BENCH_FILES = Path(__file__).parent / "bench"

BENCH = "bench"
"""Name of the top module of the bench."""

PERIOD_NS = 10
"""Period of ``clk`` in the bench, simulated nanoseconds; not the clock of the accelerator."""

MEMORIES = ("cocotbext", "verilog")

# Verilator evaluates all that depends on a driven signal apart from the clocks: a third more code if all of them were.
_SEEN, _DRIVEN = "/* verilator public_flat_rd */", "/* verilator public_flat_rw */"

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
class Watch:
    """Instances inside the top, and where what stands at their ports is recorded.

    Parameters
    ----------
    ports : mapping of str to sequence of Port
        By the path of the instance below the top: ``sample_generator.lane_0``.
    file : Path
    ticks : int
        Cycles that are recorded, from the first edge of the clock on, reset included.
    """

    ports: Mapping[str, Sequence[Port]]
    file: Path
    ticks: int


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
    memory_bytes: int = 1 << 24,
    probes: Sequence[Probe] = (),
    axi: str = "axi",
    watched: Mapping[str, Sequence[Port]] | None = None,
) -> str:
    """The Verilog of the module `BENCH` round the module ``top``.

    Signals of the bench for Python: every port but ``clk`` and ``rst`` under `Port.bench_name`;
    ``mem_clk``; ``rst`` (starts high); ``host_active`` (set it round every access that Python
    starts, only after an edge of a signal); ``cycle`` (cycles since reset); of the ``verilog`` memory
    ``dump_memory``, ``dump_first`` and ``dump_last`` (words, both kept).

    Plusargs: ``+trace=FILE`` records the probes; ``+free_clock`` never stops ``mem_clk``;
    ``+python_memory`` leaves the memory to Python. For the ``verilog`` memory: ``+memory=FILE``
    ($readmemh, one data word a line), ``+memory_out=FILE`` (words ``dump_first`` to ``dump_last``, by
    default all, written when ``dump_memory`` rises), ``+latency=N`` (default 20), ``+interval=N`` (1),
    ``+pause=N`` of 256 (0), ``+seed=N`` (1); ``+fail_read=N`` answers the N-th read burst, counted
    from 0, with SLVERR. ``+watch=FILE`` and ``+watch_ticks=N`` record ``watched``.

    Parameters
    ----------
    top : str
        Module name of the generated Verilog.
    ports : sequence of Port
        All its ports; ``clk`` and ``rst`` must be there, and the AXI4 members under ``axi``.
    memory_bytes : int
        Size of the ``verilog`` memory, a power of two; other addresses answer DECERR.
    probes : sequence of Probe
        What ``+trace`` records.
    axi : str
        Name of the top's AXI4 master interface.
    watched : mapping, optional
        Instances inside the top whose ports ``+watch`` records, see `Watch` and `read_watch`.
    """
    by_name = {port.name: port for port in ports}
    for name in ("clk", "rst", *(f"{axi}__{signal}" for signal in AXI_SIGNALS)):
        if name not in by_name:
            raise ValueError(f"ports must have {name}, not be without it")
    data_bytes = by_name[f"{axi}__rdata"].width // 8
    if memory_bytes < data_bytes or memory_bytes & (memory_bytes - 1):
        raise ValueError(f"memory_bytes must be a power of two of a word or more, not {memory_bytes}")

    declarations, connections, holds = _wires(ports, axi)
    return "\n".join(
        [
            bench_template("bench.v").substitute(
                bench=BENCH,
                top=top,
                axi=axi,
                seen=_SEEN,
                driven=_DRIVEN,
                half=PERIOD_NS // 2,
                early=PERIOD_NS // 2 - 1,
                declarations="\n  ".join(declarations),
                connections=",\n    ".join(connections),
                holds="\n    ".join(holds),
                memory=_memory_instance(axi, by_name, memory_bytes),
                trace=_trace(probes, by_name) + _watch(watched or {}),
            ),
            bench_text("axi_memory.v"),
        ]
    )


def read_trace(lines: Iterable[str]) -> list[Transaction]:
    """The transactions of a ``+trace`` file, in order of time."""
    transactions = []
    for line in lines:
        cycle, stream, payload = line.split()
        # Undefined bits, in Icarus, are no number and must not pass for one.
        transactions.append(Transaction(int(cycle), stream, int(payload, 16)))
    return transactions


def read_watch(
    lines: Iterable[str], ports: Mapping[str, Sequence[Port]]
) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """Return what a ``+watch`` file says: of each instance and port the ticks at which it has changed, and the values.

    Of the instance without a name there is the port ``rst``, the reset of the top.
    """
    names = _watched(ports)
    found: dict[tuple[str, str], list[tuple[int, int]]] = {name: [] for name in names}
    for line in lines:
        tick, number, value = line.split()
        found[names[int(number)]].append((int(tick), int(value, 16)))
    return found


def _watched(ports: Mapping[str, Sequence[Port]]) -> list[tuple[str, str]]:
    return [("", "rst"), *((path, port.name) for path, mine in ports.items() for port in mine)]


def memory_words(image: bytes, word_bytes: int) -> str:
    """``image`` as the text of a ``+memory`` file, padded with zeros to a full word."""
    image = image + bytes(-len(image) % word_bytes)
    words = np.frombuffer(image, np.uint8).reshape(-1, word_bytes)[:, ::-1]
    return words.tobytes().hex("\n", word_bytes) + "\n"


def memory_image(lines: Iterable[str]) -> bytes:
    """The inverse of `memory_words`, for a ``+memory_out`` file, whose lines of comments and addresses are left out."""
    words = [line for line in lines if not line.startswith(("//", "@"))]
    if not words:
        return b""
    return np.frombuffer(bytes.fromhex("".join(words)), np.uint8).reshape(len(words), -1)[:, ::-1].tobytes()


def _wires(ports: Sequence[Port], axi: str) -> tuple[list[str], list[str], list[str]]:
    """Declarations, connections of the top, and what is registered at each edge."""
    declarations: list[str] = []
    connections = [".clk(clk)", ".rst(rst_held)"]
    holds: list[str] = []
    for port in ports:
        if port.name in ("clk", "rst"):
            continue
        name, bits = port.bench_name, f"[{port.width - 1}:0] " if port.width > 1 else ""
        if port.direction == "output":
            declarations.append(f"wire {bits}{name} {_SEEN};")
            connections.append(f".{port.name}({name})")
            continue
        connections.append(f".{port.name}({name}_held)")
        if port.name.startswith(f"{axi}__"):
            declarations += [
                f"reg {bits}{name} {_DRIVEN} = 0;", f"reg {bits}{name}_python = 0;", f"wire {bits}memory_{name};",
                f"wire {bits}{name}_held = python_memory ? {name}_python : memory_{name};",
            ]  # fmt: skip
            holds.append(f"{name}_python <= {name};")
        else:
            declarations += [f"reg {bits}{name} {_DRIVEN} = 0;", f"reg {bits}{name}_held = 0;"]
            holds.append(f"{name}_held <= {name};")
    return declarations, connections, holds


def _memory_instance(axi: str, ports: Mapping[str, Port], memory_bytes: int) -> str:
    address, data = ports[f"{axi}__araddr"].width, ports[f"{axi}__rdata"].width
    # Widths of the identifiers may differ between reads and writes.
    parameters = (
        f".ADDRESS({address}), .DATA({data}), .BYTES({memory_bytes}), "
        f".READ_ID({ports[f'{axi}__arid'].width}), .WRITE_ID({ports[f'{axi}__awid'].width})"
    )

    def wire(signal: str) -> str:
        name = f"{axi}_{signal}"
        if ports[f"{axi}__{signal}"].direction == "input":
            return f"memory_{name}"
        return f"{name} & ~python_memory" if signal in ("arvalid", "awvalid", "wvalid") else name

    connections = ",\n    ".join(f".{signal}({wire(signal)})" for signal in AXI_SIGNALS)
    return (
        f"reg dump_memory {_DRIVEN} = 0;\n"
        f"  reg [31:0] dump_first {_DRIVEN} = 0, dump_last {_DRIVEN} = {memory_bytes // (data // 8) - 1};\n"
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
    return bench_template("trace.v").substitute(writes="\n".join(writes))


def _watch(watched: Mapping[str, Sequence[Port]]) -> str:
    if not watched:
        return ""
    widths = [1, *(port.width for mine in watched.values() for port in mine)]
    declarations, writes = [], []
    for number, ((path, name), width) in enumerate(zip(_watched(watched), widths, strict=True)):
        signal = "".join(f".\\{part} " for part in (*path.split("."), name)) if path else ""
        signal, last = f"dut{signal}" if path else "rst_held", f"watched_{number}"
        declarations.append(f"reg [{width - 1}:0] {last} = 0;")
        writes.append(
            f"      if (tick == 0 || {signal} !== {last}) "
            f'begin $fwrite(watch, "%0d {number} %h\\n", tick, {signal}); {last} <= {signal}; end'
        )
    return bench_template("watch.v").substitute(declarations="\n  ".join(declarations), writes="\n".join(writes))


class _Template(Template):
    """Verilog with placeholders: ``@@{name}``, which no Verilog has."""

    delimiter = "@@"


def bench_template(name: str) -> Template:
    """Return a file of the bench as a template with placeholders ``@@{name}``."""
    return _Template(bench_text(name))


def bench_text(name: str) -> str:
    """Return a file of the bench."""
    return (_BENCH_FILES / name).read_text(encoding="utf-8")
