"""Map one unit to cells with Yosys and ABC, in a process of its own.

``python -m rtnerf.physical.recipe FOLDER MACRO_BITS DRIVER TARGET_PS LOAD_FF`` reads ``unit.il`` and ``library.lib``
there and writes ``netlist.json``, and ``seconds``: the processor time that it took. Yosys writes its log to the
standard output, and may end the process.
"""

from __future__ import annotations

import os
import resource
import sys
from collections import Counter
from pathlib import Path

from pyosys import libyosys

from rtnerf.physical.netlist import BETWEEN

READ = ("read_rtlil unit.il", "hierarchy -top unit", "proc")
WORDS = (
    "opt_expr", "opt_clean", "opt -nodffe -nosdff", "wreduce", "peepopt", "opt_clean", "share", "booth", "alumacc",
    "opt", "memory -nomap", "opt_clean",
)  # fmt: skip
"""From registers and operators to words. Multiplications become gates in Booth's way."""

GATES = ("opt", "techmap", "opt_expr", "opt_clean", "dfflibmap -liberty library.lib", "opt_clean")
"""From words to gates and flip-flops of the library."""

LARGE_CELLS = 60_000
"""From here on without structural choices, which take minutes and bring some 5 %."""

MAP = "strash; &get -n; &dch -f; &nf; &put; buffer -c; topo; upsize -D {target}; dnsize -D {target}; stime"
MAP_LARGE = "strash; &get -n; &nf; &put; buffer -c; topo; upsize -D {target}; dnsize -D {target}; stime"
"""From gates to cells, sized for the target: scripts for ABC."""


def main(folder: str, macro_bits: str, driver: str, target: str, load: str) -> None:
    """Map the unit in a folder: its parts that are built in many times once each, then itself round them."""
    os.chdir(folder)
    design = libyosys.Design()

    def run(*commands: str) -> None:
        for command in commands:
            libyosys.run_pass(command, design)

    parts = read(design)
    run(*WORDS)
    for name in ("unit", *parts):
        for cell in cells_of(design, name):
            if cell.type.str() == "$mem_v2" and _is_macro(cell, int(macro_bits)):
                cell.set_bool_attribute(libyosys.IdString("\\macro"), True)
    run("memory_map t:$mem_v2 a:macro %d", *GATES)
    Path("constraints").write_text(f"set_driving_cell {driver}\nset_load {load}\n")
    for name in (*parts, "unit"):
        script = MAP_LARGE if sum(1 for _ in cells_of(design, name)) > LARGE_CELLS else MAP
        Path("map.abc").write_text(script.format(target=target).replace("; ", "\n") + "\n")
        run(f"abc -liberty library.lib -constr constraints -D {target} -script map.abc {name}")
    run("opt_clean -purge")
    if parts:
        run(f"setattr -set {BETWEEN} 1 {' '.join(f'{name}/x:*' for name in parts)}")
        run(f"setattr -mod -unset keep_hierarchy {' '.join(parts)}", "flatten")
    run("write_json netlist.part")
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    Path("seconds").write_text(f"{sum(process.ru_utime + process.ru_stime for process in used):.1f}\n")
    Path("netlist.part").replace("netlist.json")


def read(design: libyosys.Design) -> list[str]:
    """Read the unit, flattened but for parts that are built in several times and have registers; return their names."""
    for command in READ:
        libyosys.run_pass(command, design)
    modules = [name.str().removeprefix("\\") for name in design.modules_]
    copies = Counter(cell.type.str().removeprefix("\\") for name in modules for cell in cells_of(design, name))
    parts = [
        name for name in modules
        if copies[name] > 1 and any("dff" in cell.type.str() for cell in cells_of(design, name))
    ]  # fmt: skip
    for name in parts:
        libyosys.run_pass(f"setattr -mod -set keep_hierarchy 1 {name}", design)
    libyosys.run_pass("flatten", design)
    return parts


def cells_of(design: libyosys.Design, name: str):
    """Return the cells of a module."""
    module = design.module(libyosys.IdString(f"\\{name}"))
    return (cell for _, cell in module.cells_.items())


def _is_macro(cell, least: int) -> bool:
    def number(name: str) -> int:
        return cell.getParam(libyosys.IdString(f"\\{name}")).as_int()

    clocked = cell.getParam(libyosys.IdString("\\RD_CLK_ENABLE"))
    reads = number("RD_PORTS")
    return number("WIDTH") * number("SIZE") > least and all(clocked.at(port).name == "S1" for port in range(reads))


if __name__ == "__main__":
    main(*sys.argv[1:])
