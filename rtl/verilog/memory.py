"""Memories in Verilog: one module a kind, in the form that synthesis tools recognise.

Amaranth's back end writes a line for each row of each memory; here a loop clears all rows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import ClockSignal, Const, Instance, Shape, ShapeCastable, Value
from amaranth.lib.memory import Memory
from amaranth.utils import ceil_log2

SYNC, TRANSPARENT, COMB = "sync", "transparent", "comb"
"""How a port reads: what a row held, or what is being written to it, in the next cycle; or at once."""


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

    @classmethod
    def of(cls, record: Sequence[Any]) -> "Kind":
        """Return the kind whose ``astuple`` went through JSON."""
        width, depth, blank, rows, reads, parts = record
        return cls(width, depth, blank, tuple((place, row) for place, row in rows), tuple(reads), parts)

    @property
    def address(self) -> str:
        """Range of an address."""
        return f"[{ceil_log2(self.depth) - 1}:0]"

    def ports(self, registered: bool = True) -> list[str]:
        """Return the ports of the module; ``registered``: what is read with a clock is a register of it."""
        data = f"[{self.width - 1}:0]"
        found = ["input clk"]
        if self.parts:
            found += [f"input [{self.parts - 1}:0] write_enable", f"input {self.address} write_address"]
            found += [f"input {data} write_data"]
        for number, kind in enumerate(self.reads):
            port = f"read_{number}"
            found.append(f"input {self.address} {port}_address")
            if kind == COMB:
                found.append(f"output {data} {port}_data")
            else:
                found += [f"input {port}_enable", f"output {'reg ' if registered else ''}{data} {port}_data"]
        return found

    def text(self, name: str, is_set: bool = True) -> str:
        """Return the module; ``is_set``: with the rows' first contents."""
        clocked, beside = [], []
        size = self.width // max(self.parts, 1)
        for part in range(self.parts):
            bits = f"[{(part + 1) * size - 1}:{part * size}]" if self.parts > 1 else ""
            clocked += [f"if (write_enable[{part}])", f"  rows[write_address]{bits} <= write_data{bits};"]
        for number, kind in enumerate(self.reads):
            port, held = f"read_{number}", f"rows[read_{number}_address]"
            if kind == COMB:
                beside += [f"assign {port}_data = {held};"]
                continue
            if kind == TRANSPARENT:
                held = f"write_enable[0] && write_address == {port}_address ? write_data : {held}"
            clocked += [f"if ({port}_enable)", f"  {port}_data <= {held};"]
        lines = [
            f"reg [{self.width - 1}:0] rows [{self.depth - 1}:0];",
            *(self._first_rows() if is_set else ()),
            *beside,
            *(["always @(posedge clk) begin", *(f"  {line}" for line in clocked), "end"] if clocked else []),
        ]
        return module(name, self.ports(), lines)

    def _first_rows(self) -> list[str]:
        return [
            "integer row;",
            "initial begin",
            f"  for (row = 0; row < {self.depth}; row = row + 1)",
            f"    rows[row] = {self.width}'h{self.blank:x};",
            *(f"  rows[{row}] = {self.width}'h{value:x};" for row, value in self.rows),
            "end",
        ]


def module(name: str, ports: Iterable[str], lines: Iterable[str]) -> str:
    """Return a module of some lines."""
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
            if read.domain != COMB:
                ports[f"i_read_{number}_enable"] = read.en
        return Instance(name, **ports)

    @property
    def kinds(self) -> dict[str, Kind]:
        """The kinds by the name of their module."""
        return {name: kind for kind, name in self._names.items()}


def _kind(memory: Memory) -> Kind:
    """Return the kind of a memory."""
    width = Shape.cast(memory.shape).width
    parts = sum(len(port.en) for port in memory.write_ports)
    transparent = any(port.transparent_for for port in memory.read_ports)
    domains = {port.domain for port in (*memory.read_ports, *memory.write_ports)}
    if domains > {SYNC, COMB} or len(memory.write_ports) > 1 or (transparent and parts > 1):
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
        tuple(TRANSPARENT if port.transparent_for else port.domain for port in memory.read_ports),
        parts,
    )
