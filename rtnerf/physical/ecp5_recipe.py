"""Map one unit to an ECP5 with Yosys, in a process of its own.

``python -m rtnerf.physical.ecp5_recipe FOLDER`` reads ``unit.il`` there and writes ``netlist.json``, the unit in a
bench of registers, and ``counts.json``, what the unit alone takes.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path

from pyosys import libyosys

FLAT = (
    "read_rtlil unit.il", "hierarchy -top unit", "proc", "flatten", "expose -evert t:child_*", "opt_clean -purge",
    "delete =A:blackbox",
)  # fmt: skip
"""One module; units inside it have become ports."""

BENCH = "bench"


def bench(ports: list[tuple[str, int, bool]]) -> str:
    """Return Verilog that holds a unit between registers, with three pins: every path is timed.

    Parameters
    ----------
    ports : list of (name, width, whether it is an input)
        But for ``clk``.
    """
    ins = sum(width for _, width, is_input in ports if is_input)
    outs = sum(width for _, width, is_input in ports if not is_input)
    pins, given, taken = [".\\clk (clk)"], 0, 0
    for name, width, is_input in ports:
        if is_input:
            pins.append(f".\\{name} (given[{given + width - 1}:{given}])")
            given += width
        else:
            pins.append(f".\\{name} (taken[{taken + width - 1}:{taken}])")
            taken += width
    return f"""module {BENCH}(input clk, input i, output o);
  reg [{ins - 1}:0] given;
  wire [{outs - 1}:0] taken;
  reg [{outs - 1}:0] held, mixed;
  assign o = mixed[{outs - 1}];
  always @(posedge clk) begin
    given <= {{given, i}};
    held <= taken;
    mixed <= {{mixed, 1'b0}} ^ held;
  end
  unit unit ({", ".join(pins)});
endmodule
"""


def main(folder: str) -> None:
    """Map the unit in a folder."""
    os.chdir(folder)
    design = libyosys.Design()

    def run(*commands: str) -> None:
        for command in commands:
            libyosys.run_pass(command, design)

    run(*FLAT)
    (unit,) = (module for name, module in design.modules_.items() if name.str() == "\\unit")
    wires = [wire for _, wire in unit.wires_.items() if wire.port_id]
    ports = [(wire.name.str().lstrip("\\"), wire.width, wire.port_input) for wire in wires]
    Path("bench.v").write_text(bench([port for port in ports if port[0] != "clk"]))
    run("read_verilog bench.v", f"synth_ecp5 -noflatten -top {BENCH} -run :check")
    Path("counts.json").write_text(json.dumps(Counter(cell.type.str().lstrip("\\") for cell in _cells(design))))
    run("blackbox =A:whitebox", "flatten", "opt_clean -purge", "write_json netlist.part")
    Path("netlist.part").replace("netlist.json")


def _cells(design: libyosys.Design):
    (unit,) = (module for name, module in design.modules_.items() if name.str() == "\\unit")
    return (cell for _, cell in unit.cells_.items())


if __name__ == "__main__":
    main(*sys.argv[1:])
