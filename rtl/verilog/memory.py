"""Memories in Verilog: one module a kind, in the form that synthesis tools recognise.

Amaranth's back end writes a line for each row of each memory; here a loop clears all rows.
"""

from dataclasses import dataclass

from amaranth.hdl import ClockSignal, Const, Instance, Shape, ShapeCastable, Value
from amaranth.lib.memory import Memory
from amaranth.utils import ceil_log2

_SYNC, _TRANSPARENT, _COMB = "sync", "transparent", "comb"


@dataclass(frozen=True)
class Kind:
    """What makes two memories equal.

    Parameters
    ----------
    width, depth : int
    blank : int
        What a row holds at the start, but for ``rows``: pairs of address and content.
    reads : tuple of str
        Of each read port: ``sync`` (of a row that is written it reads what was there), ``transparent`` or ``comb``.
    parts : int
        Of a row, each with its own write enable; 0: nothing is written.
    """

    width: int
    depth: int
    blank: int
    rows: tuple[tuple[int, int], ...]
    reads: tuple[str, ...]
    parts: int

    def text(self, name: str) -> str:
        """Return the module."""
        address, data = f"[{ceil_log2(self.depth) - 1}:0]", f"[{self.width - 1}:0]"
        ports, clocked, beside = ["input clk"], [], []
        if self.parts:
            ports += [f"input [{self.parts - 1}:0] write_enable", f"input {address} write_address"]
            ports += [f"input {data} write_data"]
        size = self.width // max(self.parts, 1)
        for part in range(self.parts):
            bits = f"[{(part + 1) * size - 1}:{part * size}]" if self.parts > 1 else ""
            clocked += [f"if (write_enable[{part}])", f"  rows[write_address]{bits} <= write_data{bits};"]
        for number, kind in enumerate(self.reads):
            port, held = f"read_{number}", f"rows[read_{number}_address]"
            ports += [f"input {address} {port}_address"]
            if kind == _COMB:
                ports += [f"output {data} {port}_data"]
                beside += [f"assign {port}_data = {held};"]
                continue
            if kind == _TRANSPARENT:
                held = f"write_enable[0] && write_address == {port}_address ? write_data : {held}"
            ports += [f"input {port}_enable", f"output reg {data} {port}_data"]
            clocked += [f"if ({port}_enable)", f"  {port}_data <= {held};"]
        lines = [
            f"reg {data} rows [{self.depth - 1}:0];",
            "integer row;",
            "initial begin",
            f"  for (row = 0; row < {self.depth}; row = row + 1)",
            f"    rows[row] = {self.width}'h{self.blank:x};",
            *(f"  rows[{row}] = {self.width}'h{value:x};" for row, value in self.rows),
            "end",
            *beside,
            *(["always @(posedge clk) begin", *(f"  {line}" for line in clocked), "end"] if clocked else []),
        ]
        body = "\n".join(f"  {line}" for line in lines)
        return f"module {name}({', '.join(ports)});\n{body}\nendmodule\n"


class Memories:
    """The kinds of memory in a design, by the name of their module."""

    def __init__(self) -> None:
        self._names: dict[Kind, str] = {}

    def instance(self, memory: Memory) -> Instance:
        """Return an instance of the module of a memory.

        Raises
        ------
        NotImplementedError
            For a second clock, a second write port, or a row that is written in parts and read in the same cycle.
        """
        kind = _kind(memory)
        name = self._names.setdefault(kind, f"memory_{len(self._names)}_{kind.depth}x{kind.width}")
        ports = {"i_clk": ClockSignal()}
        for write in memory.write_ports:
            ports |= {"i_write_enable": write.en, "i_write_address": write.addr, "i_write_data": Value.cast(write.data)}
        for number, read in enumerate(memory.read_ports):
            ports |= {f"i_read_{number}_address": read.addr, f"o_read_{number}_data": Value.cast(read.data)}
            if read.domain != _COMB:
                ports[f"i_read_{number}_enable"] = read.en
        return Instance(name, **ports)

    def texts(self) -> list[str]:
        """Return the modules."""
        return [kind.text(name) for kind, name in self._names.items()]


def _kind(memory: Memory) -> Kind:
    """Return the kind of a memory."""
    width = Shape.cast(memory.shape).width
    parts = sum(len(port.en) for port in memory.write_ports)
    transparent = any(port.transparent_for for port in memory.read_ports)
    domains = {port.domain for port in (*memory.read_ports, *memory.write_ports)}
    if domains > {_SYNC, _COMB} or len(memory.write_ports) > 1 or (transparent and parts > 1):
        raise NotImplementedError(f"memory {memory.depth} x {width} has ports that Verilog is not written for")

    def bits(row) -> int:
        return Value.cast(Const(row, memory.shape)).value & (1 << width) - 1

    default = None if isinstance(memory.shape, ShapeCastable) else 0
    blank = bits(default)
    rows = ((address, bits(row)) for address, row in enumerate(memory.init) if row != default)
    return Kind(
        width,
        memory.depth,
        blank,
        tuple((address, row) for address, row in rows if row != blank),
        tuple(_TRANSPARENT if port.transparent_for else port.domain for port in memory.read_ports),
        parts,
    )
