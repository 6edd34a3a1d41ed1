"""The macros of a design as SRAMs of IHP's open PDK, and the configuration of a flow that places and routes them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from rtl.verilog.asic import CHIP, Asic
from rtl.verilog.export import TOP, write_files
from rtl.verilog.memory import Kind, module
from rtnerf.physical.memories import fitted

FLOWS = {"orfs": "OpenROAD-flow-scripts", "librelane": "LibreLane"}
SRAM_FILE = f"{TOP}_sg13g2.v"
"""The macros as SRAMs."""


class Sram(NamedTuple):
    """A memory of two ports that IHP publishes: words, bits, and whether it has test ports and a mask of bits."""

    words: int
    bits: int
    has_test: bool = True

    @property
    def name(self) -> str:
        """As in the PDK."""
        return f"RM_IHPSG13_2P_{self.words}x{self.bits}_c2" + ("_bm_bist" if self.has_test else "")


SRAMS = (
    Sram(64, 32, has_test=False),
    *(Sram(words, bits) for words in (256, 512) for bits in (8, 16, 32)),
    *(Sram(1024, bits) for bits in (16, 32)),
)
"""Of github IHP-GmbH/IHP-Open-PDK, ihp-sg13g2/libs.ref/sg13g2_sram (Apache-2.0). One port writes, the other reads."""

PDK_SRAM = "ihp-sg13g2/libs.ref/sg13g2_sram"

UTILIZATION = 40
"""Share of the core that cells and macros fill, in per cent: a start, as is the space round a macro."""
HALO_UM = 20


class Tiling(NamedTuple):
    """A macro as SRAMs: how many stand above each other, and side by side."""

    sram: Sram
    rows: int
    columns: int


def tiling(macro: Kind, srams: Iterable[Sram] = SRAMS) -> Tiling:
    """Return the SRAMs of a macro that take the least area, as the fit to those of one port has it.

    A part that is written apart is not in the same SRAM as another.
    """
    part = macro.width // macro.parts
    ways = [
        Tiling(sram, math.ceil(macro.depth / sram.words), math.ceil(part / sram.bits) * macro.parts) for sram in srams
    ]
    return min(ways, key=lambda way: way.rows * way.columns * fitted(way.sram.words, way.sram.bits, "area"))


def mapped(name: str, macro: Kind, srams: Iterable[Sram] = SRAMS) -> str:
    """Return Verilog of a macro that is made of SRAMs.

    It equals the macro's model but for a row that is read while it is written: what an SRAM gives then is not promised.
    """
    sram, rows, columns = tiling(macro, srams)
    address, inner = (max((words - 1).bit_length(), 1) for words in (macro.depth, sram.words))
    parts = macro.parts
    part, across = macro.width // parts, columns // parts
    wide = across * sram.bits
    lines = [f"wire [{inner - 1}:0] write_row = {_low(address, inner, 'write_address')};"]
    lines += [f"wire [{inner - 1}:0] read_row = {_low(address, inner, 'read_0_address')};"]
    if rows > 1:
        top = address - inner
        lines += [
            f"wire [{top - 1}:0] write_bank = write_address[{address - 1}:{inner}];",
            f"wire [{top - 1}:0] read_bank = read_0_address[{address - 1}:{inner}];",
            f"reg [{top - 1}:0] bank;",
            "always @(posedge clk) if (read_0_enable) bank <= read_bank;",
        ]
    for index in range(parts):
        lines.append(f"wire [{wide - 1}:0] new_{index} = write_data[{(index + 1) * part - 1}:{index * part}];")
        held = [f"held_{row}_{index}" for row in range(rows)]
        lines += [f"wire [{wide - 1}:0] {wire};" for wire in held]
        for row in range(rows):
            for column in range(across):
                lines += _instance(sram, row, index, column, rows)
        choice = held[-1]
        for row in reversed(range(rows - 1)):
            choice = f"bank == {row} ? {held[row]} : {choice}"
        lines += [f"wire [{wide - 1}:0] old_{index} = {choice};"]
        lines += [f"assign read_0_data[{(index + 1) * part - 1}:{index * part}] = old_{index}[{part - 1}:0];"]
    return module(name, macro.ports(registered=False), lines)


def _low(have: int, want: int, name: str) -> str:
    """Return the lower bits of an address, or all of it with zeros before."""
    return f"{name}[{want - 1}:0]" if have >= want else f"{{{want - have}'d0, {name}}}"


def _instance(sram: Sram, row: int, part: int, column: int, rows: int) -> list[str]:
    """Return an SRAM: port A writes, port B reads; the delay setting is 1, as IHP recommends."""
    span = f"[{(column + 1) * sram.bits - 1}:{column * sram.bits}]"
    zero, ones = f"{sram.bits}'d0", f"{{{sram.bits}{{1'b1}}}}"
    write, read = f"write_enable[{part}]", "read_0_enable"
    if rows > 1:
        write, read = f"{write} && write_bank == {row}", f"{read} && read_bank == {row}"
    pins = {
        "A_CLK": "clk", "A_MEN": write, "A_WEN": "1'b1", "A_REN": "1'b0", "A_ADDR": "write_row",
        "A_DIN": f"new_{part}{span}", "A_DLY": "1'b1", "A_DOUT": "",
        "B_CLK": "clk", "B_MEN": read, "B_WEN": "1'b0", "B_REN": "1'b1", "B_ADDR": "read_row",
        "B_DIN": zero, "B_DLY": "1'b1", "B_DOUT": f"held_{row}_{part}{span}",
    }  # fmt: skip
    if sram.has_test:
        nothing = f"{math.ceil(math.log2(sram.words))}'d0"
        for port in "AB":
            pins |= {f"{port}_BM": ones, f"{port}_BIST_ADDR": nothing}
            pins |= {f"{port}_BIST_{pin}": "1'b0" for pin in ("CLK", "EN", "MEN", "WEN", "REN")}
            pins |= {f"{port}_BIST_{pin}": zero for pin in ("DIN", "BM")}
    inside = [f"  .{pin}({wire})," for pin, wire in pins.items()]
    return [f"{sram.name} sram_{row}_{part}_{column} (", *inside[:-1], inside[-1].rstrip(","), ");"]


# ---- The folder ----


def write_hand_off(out: str | Path, made: Asic, config: str, flow: str, clock_mhz: float) -> list[dict[str, Any]]:
    """Write what a flow needs besides `rtl.verilog.asic.generate_asic`'s files: return the list of macros.

    Parameters
    ----------
    out : path
        The folder of those files.
    made : Asic
    config : str
        Name of the configuration.
    flow : str
        Of `FLOWS`.
    clock_mhz : float
    """
    macros = macro_list(made)
    used = sorted({macro["sram"] for macro in macros})
    settings = {"orfs": orfs, "librelane": librelane}[flow](config, used, 1000 / clock_mhz)
    contents = {
        SRAM_FILE: "\n".join(mapped(name, kind) for name, kind in made.macros.items()),
        "macros.json": json.dumps(macros, indent=1) + "\n",
        **settings,
    }
    write_files(Path(out), contents)
    return macros


def macro_list(made: Asic) -> list[dict[str, Any]]:
    """Return for each macro its shape, how many there are, and the SRAMs of one."""
    found = []
    for name, kind in made.macros.items():
        way = tiling(kind)
        found.append(
            {
                "macro": name, "words": kind.depth, "bits": kind.width, "write_parts": kind.parts,
                "instances": made.instances[name], "sram": way.sram.name, "rows": way.rows, "columns": way.columns,
                "used_share": kind.depth * kind.width / (way.rows * way.columns * way.sram.words * way.sram.bits),
            }
        )  # fmt: skip
    return found


def orfs(config: str, srams: Iterable[str], period_ns: float) -> dict[str, str]:
    """Return ``config.mk`` of OpenROAD-flow-scripts: ``make DESIGN_CONFIG=FOLDER/config.mk``, with IHP_PDK set."""

    def views(kind: str, ending: str) -> str:
        return " ".join(f"$(IHP_PDK)/{PDK_SRAM}/{kind}/{name}{ending}" for name in srams)

    lines = {
        "DESIGN_NAME": CHIP,
        "DESIGN_NICKNAME": f"{TOP}_{config}",
        "PLATFORM": "ihp-sg13g2",
        "VERILOG_FILES": f"$(HERE){TOP}.v $(HERE){SRAM_FILE}",
        "SDC_FILE": f"$(HERE){TOP}.sdc",
        "ADDITIONAL_LEFS": views("lef", ".lef"),
        "ADDITIONAL_LIBS": views("lib", "_typ_1p20V_25C.lib"),
        "ADDITIONAL_GDS": views("gds", ".gds"),
        "SYNTH_HIERARCHICAL": "0",
        "CORE_UTILIZATION": str(UTILIZATION),
        "MACRO_PLACE_HALO": f"{HALO_UM} {HALO_UM}",
    }
    head = f"# {TOP} {config} in sg13g2, {period_ns:g} ns. IHP_PDK: a checkout of IHP's open PDK.\n"
    head += "HERE := $(dir $(lastword $(MAKEFILE_LIST)))\n"
    return {"config.mk": head + "".join(f"export {name} = {value}\n" for name, value in lines.items())}


def librelane(config: str, srams: Iterable[str], period_ns: float) -> dict[str, str]:
    """Return ``config.json`` of LibreLane: ``librelane --pdk ihp-sg13g2 FOLDER/config.json``."""

    def view(kind: str, name: str, ending: str) -> str:
        return f"pdk_dir::libs.ref/sg13g2_sram/{kind}/{name}{ending}"

    settings = {
        "meta": {"version": 2, "flow": "Classic"},
        "DESIGN_NAME": CHIP,
        "VERILOG_FILES": [f"dir::{TOP}.v", f"dir::{SRAM_FILE}"],
        "CLOCK_PORT": "clk",
        "CLOCK_PERIOD": period_ns,
        "PNR_SDC_FILE": f"dir::{TOP}.sdc",
        "SIGNOFF_SDC_FILE": f"dir::{TOP}.sdc",
        "FP_CORE_UTIL": UTILIZATION,
        "MACROS": {
            name: {
                "gds": [view("gds", name, ".gds")],
                "lef": [view("lef", name, ".lef")],
                "lib": {"*": [view("lib", name, "_typ_1p20V_25C.lib")]},
                "instances": {},
            }
            for name in srams
        },
    }
    return {"config.json": json.dumps(settings, indent=1) + "\n"}
