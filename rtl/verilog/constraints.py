"""What a physical design is held to, as SDC: clock, times at the ports, and registers that stand still in a frame."""

from collections.abc import Iterable

REGISTERS = "registers"
"""The block that stays a module of its own, as its ports' names are all that lasts through synthesis."""
STILL = ("view", "scene_base", "frame_base", "list_base")
"""Outputs of `rtl.control.control_registers` that a host writes between frames only.

The write is taken a cycle before the start at the latest, and the first who uses them does so a cycle after it: two
cycles. Where the host reads them back is inside the block.
"""

PORT_SHARE = 0.2
"""Of the period, that is left to the outside at each port: assumed."""


def sdc(inputs: Iterable[str], outputs: Iterable[str], core: str, period_ns: float) -> str:
    """Return the constraints.

    Parameters
    ----------
    inputs, outputs : of str
        Ports of the top, without the clock.
    core : str
        Name of the accelerator in the top, which is dissolved.
    period_ns : float
    """
    still = " ".join(f"{core}.{REGISTERS}/{name}*" for name in STILL)
    return f"""# Nanoseconds, as the libraries of sg13g2 and sky130 have them; ASAP7's have picoseconds.
set period {period_ns:.3f}
create_clock -name clk -period $period [get_ports clk]
set outside [expr {PORT_SHARE} * $period]
set_input_delay $outside -clock clk [get_ports {{{_ports(inputs)}}}]
set_output_delay $outside -clock clk [get_ports {{{_ports(outputs)}}}]

# What stands still from a frame's start to its end has two cycles. Where a tool has dissolved the module, it has one.
set still [get_pins -quiet {{{still}}}]
if {{[llength $still] > 0}} {{
  set_multicycle_path 2 -setup -through $still
  set_multicycle_path 1 -hold -through $still
}}
"""


def _ports(names: Iterable[str]) -> str:
    return " ".join(f"{name}*" for name in sorted(names))
