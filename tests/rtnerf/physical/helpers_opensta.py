"""OpenSTA on a mapped netlist: the reference that the timer is held to."""

import re
import shutil
import subprocess
from dataclasses import replace

from rtnerf.physical.liberty import written
from rtnerf.physical.netlist import UNCONNECTED

STA = shutil.which("sta")


def verilog(netlist):
    """Structural Verilog with plain names: net ``n3``, instance ``i5``."""
    driven = set(netlist.inputs.tolist())
    outputs = [net for net in netlist.outputs.tolist() if net not in driven]
    ports = [f"n{net}" for net in [*netlist.inputs.tolist(), *outputs]]
    lines = [f"module unit ({', '.join(ports)});"]
    lines += [f"  input n{net};" for net in netlist.inputs]
    lines += [f"  output n{net};" for net in outputs]
    lines += [f"  wire n{net};" for net in range(len(netlist.net_names))]
    number = 0
    for kind, rows in netlist.nets.items():
        pins = list(netlist.cells[kind].pins)
        for row in rows:
            used = ", ".join(f".{pin}(n{net})" for pin, net in zip(pins, row, strict=True) if net != UNCONNECTED)
            lines.append(f"  {kind} i{number} ({used});")
            number += 1
    return "\n".join([*lines, "endmodule", ""])


def clock_net(netlist):
    """The net of every clock pin."""
    nets = {
        int(net)
        for kind, rows in netlist.nets.items()
        for column, pin in enumerate(netlist.cells[kind].pins.values())
        if pin.is_clock
        for net in rows[:, column]
        if net != UNCONNECTED
    }
    (net,) = nets
    return net


def longest_path(netlist, library, folder, *, input_transition, port_load):
    """Delay of the longest path from register to register with set-up, ps."""
    whole = replace(library, cells={**library.cells, **netlist.cells})
    (folder / "library.lib").write_text(written(whole))
    (folder / "unit.v").write_text(verilog(netlist))
    (folder / "run.tcl").write_text(
        f"""read_liberty {folder}/library.lib
read_verilog {folder}/unit.v
link_design unit
create_clock -name clk -period 100000 [get_ports n{clock_net(netlist)}]
set_input_transition {input_transition} [all_inputs]
set_load {port_load} [all_outputs]
report_checks -path_delay max -digits 4
exit
"""
    )
    result = subprocess.run([STA, "-exit", "run.tcl"], cwd=folder, capture_output=True, text=True, check=False)
    slack = re.search(r"(-?[\d.]+)\s+slack", result.stdout)
    assert slack is not None, result.stdout[-2000:] + result.stderr[-2000:]
    return 100000 - float(slack[1])
