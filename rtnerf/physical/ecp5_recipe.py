"""Map one unit, or a whole board, to an ECP5 with Yosys, in a process of its own.

``python -m rtnerf.physical.ecp5_recipe FOLDER`` reads ``unit.il`` there and writes ``netlist.json``, the unit in a
bench of registers, and ``counts.json``, what the unit alone takes. ``... FOLDER TOP FILE.v ...`` reads Verilog, and
writes the same of its top.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyosys import libyosys

FLAT = (
    "read_rtlil unit.il", "hierarchy -top unit", "proc", "flatten", "expose -evert t:child_*", "opt_clean -purge",
    "delete =A:blackbox",
)  # fmt: skip
"""One module; units inside it have become ports."""

BENCH = "bench"
_MAP = (
    "synth_ecp5 -no-rw-check {options} -top {top} -run :map_luts",
    "rename -hide w:*",
    "rename -enumerate -pattern net_% w:*",
    "synth_ecp5 {options} -top {top} -run map_luts:check",
)
"""What a memory gives of a row that is written in the same cycle is nowhere used: `tests/cosim/test_collisions.py`.

Wires are numbered, since Yosys takes bit 1 of ``a`` for a wire ``a[1]``. Without the last step, which names all cells:
in a large design that takes longer than the rest.
"""
_PLAIN = ("blackbox =A:whitebox", "opt_clean -purge")
GLOBAL_NETS, WIDE_NET = 15, 250
"""Of the 16 nets that the device brings to every tile, those beside the clock; flip-flops from which on a reset or an
enable is one of them. By other wires that of a whole board goes past every tile, and there is no room for them.
"""


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


def main(folder: str, top: str = "", *sources: str) -> None:
    """Map the unit in a folder, or a top."""
    os.chdir(folder)
    design = libyosys.Design()

    def run(*commands: str) -> None:
        for command in commands:
            libyosys.run_pass(command, design)

    if top:
        run(*(f"read_verilog -sv {source}" for source in sources), *_mapped(top), *_PLAIN)
        _count(design, top)
    else:
        _map_unit(design, run)
    run("write_json netlist.part")
    if top:
        netlist = json.loads(Path("netlist.part").read_text())
        use_global_network(netlist["modules"][top])
        Path("netlist.part").write_text(json.dumps(netlist))
    Path("netlist.part").replace("netlist.json")


def _map_unit(design: libyosys.Design, run: Callable[..., None]) -> None:
    run(*FLAT)
    (unit,) = (module for name, module in design.modules_.items() if name.str() == "\\unit")
    wires = [wire for _, wire in unit.wires_.items() if wire.port_id]
    ports = [(wire.name.str().lstrip("\\"), wire.width, wire.port_input) for wire in wires]
    Path("bench.v").write_text(bench([port for port in ports if port[0] != "clk"]))
    # What `-no-rw-check` does for memories that are read from Verilog.
    run("setparam -set COLLISION_X_MASK 1'1 t:$memrd_v2 r:CLK_ENABLE=1'1 %i r:TRANSPARENCY_MASK=1'0 %i")
    run("read_verilog bench.v", *_mapped(BENCH, "-noflatten"))
    _count(design, "unit")
    run("flatten", *_PLAIN)


def use_global_network(module: dict[str, Any]) -> None:
    """Put a buffer of the global network into the widest resets and enables, `GLOBAL_NETS` at most.

    Parameters
    ----------
    module : dict
        A flat module of Yosys's JSON, which is changed.
    """
    users: dict[tuple[int, str], list[dict[str, Any]]] = {}
    last = 0
    for cell in module["cells"].values():
        connections = cell["connections"]
        last = max([last, *(bit for bits in connections.values() for bit in bits if isinstance(bit, int))])
        if cell["type"] == "TRELLIS_FF":
            for port in ("LSR", "CE"):
                (bit,) = connections.get(port, ["x"])
                if isinstance(bit, int):
                    users.setdefault((bit, port), []).append(cell)
    widest = sorted(users.items(), key=lambda item: -len(item[1]))[:GLOBAL_NETS]
    for number, ((bit, port), cells) in enumerate(widest):
        if len(cells) < WIDE_NET:
            break
        last += 1
        module["netnames"][f"global_{number}"] = {"hide_name": 0, "bits": [last], "attributes": {}}
        module["cells"][f"buffer_{number}"] = {
            "hide_name": 0,
            "type": "DCCA",
            "parameters": {},
            "attributes": {},
            "port_directions": {"CLKI": "input", "CE": "input", "CLKO": "output"},
            "connections": {"CLKI": [bit], "CE": ["1"], "CLKO": [last]},
        }
        for cell in cells:
            cell["connections"][port] = [last]


def _mapped(top: str, options: str = "") -> list[str]:
    """Return the commands that map a top."""
    return [command.format(options=options, top=top) for command in _MAP]


def _count(design: libyosys.Design, name: str) -> None:
    (module,) = (module for found, module in design.modules_.items() if found.str() == f"\\{name}")
    kinds = Counter(cell.type.str().lstrip("\\") for _, cell in module.cells_.items())
    Path("counts.json").write_text(json.dumps(kinds))


if __name__ == "__main__":
    main(*sys.argv[1:])
