"""Verilog for silicon: large memories as named macros with a model of each beside them, and nothing set at power-up."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from amaranth.hdl import Fragment
from amaranth.lib import wiring

from nerf.contract.config import AcceleratorConfig
from rtl.accelerator import Accelerator
from rtl.parts.shared_module import Platform
from rtl.verilog.constraints import REGISTERS, sdc
from rtl.verilog.export import TOP, beside, design_in_parts, write_files
from rtl.verilog.memory import COMB, SYNC, TRANSPARENT, Kind, module
from rtl.verilog.on_chip_memory import instances_of, memory_bytes

_SET_AT_START = re.compile(r"^(  reg [^=\n]*?) += \d+'[^;\n]*;$", re.MULTILINE)
_CONSTANT = re.compile(r"^  initial\n(    [^\n=]+ = \d+'h[0-9a-f]+;)$", re.MULTILINE)


CHIP, CORE = "rtnerf_chip", "core"
"""The top, which has no probes, and the accelerator in it."""


class Asic(NamedTuple):
    """A design for silicon.

    Parameters
    ----------
    logic : str
        Verilog with instances of the macros; the top is `CHIP`.
    macros : dict of str to Kind
        By the name of their module: each with one read, and one write port.
    instances : dict of str to int
        How many of each there are.
    at_power_up : dict of str to list of str
        See `at_power_up`.
    """

    logic: str
    macros: dict[str, Kind]
    instances: dict[str, int]
    at_power_up: dict[str, list[str]]

    @property
    def models(self) -> str:
        """Verilog of the macros, for simulation."""
        return "\n".join(kind.text(name, is_set=False) for name, kind in self.macros.items())


def asic(config: AcceleratorConfig, macro_bits: int, tell: Callable[[str], None] = lambda module: None) -> Asic:
    """Return a configuration for silicon.

    Parameters
    ----------
    config : AcceleratorConfig
    macro_bits : int
        A memory of more bits, whose reads are registered, is a macro.
    tell : function
        As in `rtl.verilog.export.verilog_of`.
    """
    logic, kinds, sidecar = design_in_parts(config, tell)
    memories, macros = with_macros(kinds, macro_bits)
    logic = "\n".join([kept_module(without_start(logic)), *memories, chip(sidecar["ports"])])
    made = Asic(logic, macros, {}, at_power_up(kinds, without_reset(Accelerator(config))))
    counts = instances_of(f"{logic}\n{made.models}", CHIP)
    return made._replace(instances={name: counts[name] for name in macros})


def without_start(logic: str) -> str:
    """Return Verilog whose registers are set by logic alone."""
    return _CONSTANT.sub(r"  always_comb\n\1", _SET_AT_START.sub(r"\1 ;", logic))


def kept_module(logic: str) -> str:
    """Return Verilog whose block of registers stays a module: see `rtl.verilog.constraints`."""
    head = f"module \\{TOP}.{REGISTERS} "
    return logic.replace(head, f"(* keep_hierarchy *)\n{head}")


def with_macros(kinds: Mapping[str, Kind], macro_bits: int) -> tuple[list[str], dict[str, Kind]]:
    """Return the modules of memories, and the macros in them by name."""
    texts: list[str] = []
    macros: dict[str, Kind] = {}
    for name, kind in kinds.items():
        if not kind.parts:
            texts.append(rom(kind, name))
        elif is_macro(kind, macro_bits):
            one = Kind(kind.width, kind.depth, 0, (), (SYNC,), kind.parts)
            macros[macro_name(one)] = one
            texts.append(around_macros(kind, name, macro_name(one)))
        else:
            texts.append(kind.text(name, is_set=False))
    return texts, macros


def chip(ports: Iterable[Mapping[str, Any]]) -> str:
    """Return the top: the accelerator without its probes."""
    own = [port for port in ports if not port["name"].startswith("probe_")]
    ranges = [f"[{port['width'] - 1}:0] " if port["width"] > 1 else "" for port in own]
    names = [f"{port['direction']} {bits}{port['name']}" for port, bits in zip(own, ranges, strict=True)]
    pins = [f"  .{port['name']}({port['name']})" for port in own]
    return module(CHIP, names, [f"{TOP} {CORE} (", *(f"{pin}," for pin in pins[:-1]), pins[-1], ");"])


def is_macro(kind: Kind, macro_bits: int) -> bool:
    """Whether a memory is made of macros: large, written, and read with a clock."""
    return bool(kind.parts) and COMB not in kind.reads and kind.width * kind.depth > macro_bits


def macro_name(kind: Kind) -> str:
    """Return ``ram_WORDSxBITS``, with the number of its parts that are written apart."""
    return f"ram_{kind.depth}x{kind.width}" + (f"_w{kind.parts}" if kind.parts > 1 else "")


def around_macros(kind: Kind, name: str, macro: str) -> str:
    """Return the module of a memory as one macro for each read port; what is being written is handed on beside it."""
    data = f"[{kind.width - 1}:0]"
    lines = []
    for number, read in enumerate(kind.reads):
        port = f"read_{number}"
        held = f"{port}_data" if read == SYNC else f"{port}_held"
        if read == TRANSPARENT:
            lines += [
                f"wire {data} {held};",
                f"reg {port}_written;",
                f"reg {data} {port}_new;",
                "always @(posedge clk)",
                f"  if ({port}_enable) begin",
                f"    {port}_written <= write_enable[0] && write_address == {port}_address;",
                f"    {port}_new <= write_data;",
                "  end",
                f"assign {port}_data = {port}_written ? {port}_new : {held};",
            ]
        same = [f".{wire}({wire})," for wire in ("clk", "write_enable", "write_address", "write_data")]
        ends = [f".read_0_address({port}_address),", f".read_0_enable({port}_enable),", f".read_0_data({held})"]
        lines += [f"{macro} copy_{number} (", *(f"  {line}" for line in same + ends), ");"]
    return module(name, kind.ports(registered=False), lines)


def rom(kind: Kind, name: str) -> str:
    """Return the module of a memory that is never written, as logic."""
    address = kind.address
    rows = dict(kind.rows)
    lines = [
        f"function [{kind.width - 1}:0] row;",
        f"  input {address} place;",
        "  case (place)",
        *(f"    {place}: row = {kind.width}'h{rows[place]:x};" for place in sorted(rows)),
        f"    default: row = {kind.width}'h{kind.blank:x};",
        "  endcase",
        "endfunction",
    ]
    for number, read in enumerate(kind.reads):
        port = f"read_{number}"
        if read == COMB:
            lines.append(f"assign {port}_data = row({port}_address);")
        else:
            lines.append(f"always @(posedge clk) if ({port}_enable) {port}_data <= row({port}_address);")
    return module(name, kind.ports(), lines)


def at_power_up(kinds: Mapping[str, Kind], unset: Iterable[str]) -> dict[str, list[str]]:
    """Return what silicon starts with other contents of than a simulation.

    ``memories_with_content`` are written and yet not blank at the start, which no macro is. ``roms`` are logic.
    ``registers_without_reset`` hold anything until they are written.
    """
    content = [name for name, kind in kinds.items() if kind.parts and (kind.blank or kind.rows)]
    roms = [name for name, kind in kinds.items() if not kind.parts]
    return {"memories_with_content": content, "roms": roms, "registers_without_reset": sorted(unset)}


def without_reset(component: wiring.Component) -> list[str]:
    """Return the registers of a component that have no reset, by their path; those of equal parts once."""
    platform = Platform()
    fragments = [("", Fragment.get(component, platform))]
    found = list(_unset(*fragments[0]))
    # Parts may have parts: the list grows.
    for kind in (kinds := list(platform.components)):
        found += _unset(kind, Fragment.get(platform.components[kind], platform))
        kinds += [new for new in platform.components if new not in kinds]
    return sorted(set(found))


def _unset(path: str, fragment: Fragment) -> Iterator[str]:
    for domain, statements in fragment.statements.items():
        if domain == "comb":
            continue
        for statement in statements:
            for signal in statement._lhs_signals():
                if signal.reset_less:
                    yield f"{path}.{signal.name}" if path else signal.name
    for inner, name, _ in fragment.subfragments:
        yield from _unset(f"{path}.{name}" if path else str(name), inner)


def generate_asic(
    config: AcceleratorConfig,
    out: str | Path,
    macro_bits: int,
    clock_mhz: float,
    tell: Callable[[str], None] = lambda module: None,
) -> tuple[Asic, dict[str, Any]]:
    """Write what `rtl.verilog.export.generate` does, for silicon: return it and the sidecar.

    ``rtnerf.v`` has macros and the top `CHIP`, ``rtnerf_macros.v`` a model of each macro, ``rtnerf.sdc`` the
    constraints.
    """
    made = asic(config, macro_bits, tell)
    sidecar = design_in_parts(config)[2]
    ports = [port for port in sidecar["ports"] if not port["name"].startswith("probe_")]
    sidecar = {
        **sidecar,
        "top": CHIP,
        "ports": ports,
        "probes": [],
        "on_chip_memory_bytes": memory_bytes(f"{made.logic}\n{made.models}", TOP),
        "macros": [
            {
                "name": name, "words": kind.depth, "bits": kind.width, "write_parts": kind.parts,
                "instances": made.instances[name],
            }
            for name, kind in made.macros.items()
        ],
        "at_power_up": made.at_power_up,
    }  # fmt: skip
    names = {way: [port["name"] for port in ports if port["direction"] == way] for way in ("input", "output")}
    constraints = sdc((name for name in names["input"] if name != "clk"), names["output"], CORE, 1000 / clock_mhz)
    contents = {f"{TOP}.v": made.logic, f"{TOP}_macros.v": made.models, f"{TOP}.sdc": constraints}
    sources = [name for name in contents if name.endswith(".v")]
    write_files(Path(out), {**contents, **beside(config, sidecar, sources)})
    return made, sidecar
