"""What a physical design is held to, as SDC: clock, times at the ports, and registers that stand still in a frame."""

from collections.abc import Iterable

STILL = ("view", "scene", "frame", "list")
"""Registers of `rtl.control.control_registers` that a host writes between frames only.

The write is taken a cycle before the start at the latest, and the first who uses them does so a cycle after it: two
cycles. Only what reads them back to the host is faster.
"""
READ_BACK = "control__rdata"

PORT_SHARE = 0.2
"""Of the period, that is left to the outside at each port: assumed."""


def sdc(inputs: Iterable[str], outputs: Iterable[str], core: str, period_ns: float) -> str:
    """Return the constraints.

    Parameters
    ----------
    inputs, outputs : of str
        Ports of the top, without the clock.
    core : str
        Name of the accelerator in the top. Registers are named as Yosys does when it flattens.
    period_ns : float
    """
    still = " ".join(f"{core}.registers.{name}*" for name in STILL)
    return f"""# Nanoseconds, as the libraries of sg13g2 and sky130 have them; ASAP7's have picoseconds.
set period {period_ns:.3f}
create_clock -name clk -period $period [get_ports clk]
set outside [expr {PORT_SHARE} * $period]
set_input_delay $outside -clock clk [get_ports {{{_ports(inputs)}}}]
set_output_delay $outside -clock clk [get_ports {{{_ports(outputs)}}}]

# Registers that stand still from a frame's start to its end: two cycles, but to where the host reads them back.
set still [get_nets {{{still}}}]
set_multicycle_path 2 -setup -through $still
set_multicycle_path 1 -hold -through $still
set read_back [get_cells -of_objects [get_nets {{{core}.registers.{READ_BACK}*}}]]
set_multicycle_path 1 -setup -through $still -to $read_back
set_multicycle_path 0 -hold -through $still -to $read_back
"""


def _ports(names: Iterable[str]) -> str:
    return " ".join(f"{name}*" for name in sorted(names))
