"""Map one unit to cells with Yosys and ABC, in a process of its own.

``python -m rtnerf.physical.recipe FOLDER MACRO_BITS DRIVER TARGET_PS LOAD_FF`` reads ``unit.il`` and ``library.lib``
there and writes ``netlist.json``. Yosys writes its log to the standard output, and may end the process.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pyosys import libyosys

WORDS = (
    "read_rtlil unit.il", "hierarchy -top unit", "proc", "flatten", "opt_expr", "opt_clean", "opt -nodffe -nosdff",
    "wreduce", "peepopt", "opt_clean", "share", "booth", "alumacc", "opt", "memory -nomap", "opt_clean",
)  # fmt: skip
"""From RTLIL to words: registers, arithmetic, memories. Multiplications become gates in Booth's way."""

GATES = ("opt", "techmap", "opt_expr", "opt_clean", "dfflibmap -liberty library.lib", "opt_clean")
"""From words to gates and flip-flops of the library."""

LARGE_CELLS = 60_000
"""From here on without structural choices, which take minutes and bring some 5 %."""

MAP = "strash; &get -n; &dch -f; &nf; &put; buffer -c; topo; upsize -D {target}; dnsize -D {target}; stime"
MAP_LARGE = "strash; &get -n; &nf; &put; buffer -c; topo; upsize -D {target}; dnsize -D {target}; stime"
"""From gates to cells, sized for the target: scripts for ABC."""


def main(folder: str, macro_bits: str, driver: str, target: str, load: str) -> None:
    """Map the unit in a folder."""
    os.chdir(folder)
    design = libyosys.Design()

    def run(*commands: str) -> None:
        for command in commands:
            libyosys.run_pass(command, design)

    run(*WORDS)
    for cell in _cells(design):
        if cell.type.str() == "$mem_v2" and _is_macro(cell, int(macro_bits)):
            cell.set_bool_attribute(libyosys.IdString("\\macro"), True)
    run("memory_map t:$mem_v2 a:macro %d", *GATES)
    script = MAP_LARGE if sum(1 for _ in _cells(design)) > LARGE_CELLS else MAP
    Path("map.abc").write_text(script.format(target=target).replace("; ", "\n") + "\n")
    Path("constraints").write_text(f"set_driving_cell {driver}\nset_load {load}\n")
    run(
        f"abc -liberty library.lib -constr constraints -D {target} -script map.abc",
        "opt_clean -purge",
        "write_json netlist.part",
    )
    Path("netlist.part").replace("netlist.json")


def _cells(design: libyosys.Design):
    (unit,) = (module for name, module in design.modules_.items() if name.str() == "\\unit")
    return (cell for _, cell in unit.cells_.items())


def _is_macro(cell, least: int) -> bool:
    def number(name: str) -> int:
        return cell.getParam(libyosys.IdString(f"\\{name}")).as_int()

    clocked = cell.getParam(libyosys.IdString("\\RD_CLK_ENABLE"))
    reads = number("RD_PORTS")
    return number("WIDTH") * number("SIZE") > least and all(clocked.at(port).name == "S1" for port in range(reads))


if __name__ == "__main__":
    main(*sys.argv[1:])
