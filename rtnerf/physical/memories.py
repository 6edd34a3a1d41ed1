"""Memories as macros: area, access time, energy and leakage by words and bits, and what their ports cost.

Fitted to the ten single-port SRAM macros that IHP publishes for sg13g2 (130 nm, typical, 1.2 V, 25 C; Liberty files of
the open PDK, Apache-2.0). Other nodes take the same shapes scaled by one factor each: assumptions, named as such.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np

from rtnerf.physical.cells import Arc, Cell, Pin, Table
from rtnerf.physical.netlist import Memory

MACRO_BITS = 1000
"""A synchronous memory above this is a macro, any other is made of flip-flops."""

MOST_WORDS, MOST_BITS = 4096, 64
"""Of one macro; larger memories are several."""

_NARROW_WORDS = 2048
_COLUMNS = (4, 8)


class Macro(NamedTuple):
    """A published macro: um2, ns, pJ, nW."""

    words: int
    bits: int
    area: float
    access: float
    read: float
    write: float
    leakage: float


MACROS = (
    Macro(64, 64, 50489.13, 3.0718, 39.0507, 50.4983, 49.5039),
    Macro(256, 48, 70849.89, 3.1242, 37.8200, 48.4430, 148.5116),
    Macro(256, 64, 93180.53, 3.0715, 49.6340, 63.4365, 198.0155),
    Macro(512, 64, 150102.40, 3.8266, 68.8967, 80.0160, 396.0310),
    Macro(1024, 8, 49419.24, 4.2177, 15.5961, 19.9179, 99.0077),
    Macro(1024, 16, 79673.73, 4.2547, 26.4863, 32.9180, 198.0155),
    Macro(1024, 64, 263946.14, 4.3438, 91.8272, 110.9189, 792.0620),
    Macro(2048, 64, 491633.62, 5.3921, 122.3940, 155.3678, 1584.1239),
    Macro(4096, 8, 146413.44, 5.2741, 33.7167, 42.2119, 396.0310),
    Macro(4096, 16, 257608.51, 5.3293, 58.6440, 72.4898, 792.0620),
)
"""Area from the macros' size, access from the clock to the output without load, energy with the port enabled."""

QUANTITIES = ("area", "access", "read", "write", "leakage")


def _features(words: int, bits: int, quantity: str) -> np.ndarray:
    """Rows and columns of the array decide: a column has ``rows`` cells, a bit has 4 or 8 columns."""
    columns = _COLUMNS[words > _NARROW_WORDS]
    rows = words / columns
    if quantity == "access":
        return np.array([1.0, rows])
    if quantity == "leakage":
        return np.array([float(words * bits)])
    if quantity == "area":
        return np.array([1.0, rows, columns * bits, words * bits])
    return np.array([1.0, bits, columns * bits, rows * bits])


@cache
def fit(quantity: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the coefficients of a quantity, least squares of relative errors, and the relative error at each macro."""
    features = np.array([_features(macro.words, macro.bits, quantity) for macro in MACROS])
    values = np.array([getattr(macro, quantity) for macro in MACROS])
    coefficients = np.linalg.lstsq(features / values[:, None], np.ones(len(MACROS)), rcond=None)[0]
    return coefficients, features @ coefficients / values - 1


def fitted(words: int, bits: int, quantity: str) -> float:
    """Return a quantity of one macro of IHP sg13g2, in the units of `Macro`."""
    return float(_features(words, bits, quantity) @ fit(quantity)[0])


@dataclass(frozen=True)
class MemoryModel:
    """What memories take with a library.

    Parameters
    ----------
    origin : str
        ``fitted`` to published macros, or ``assumed``.
    area_scale, energy_scale : float
        Of the fit to IHP sg13g2.
    access_ps, setup_ps : float or None
        From the clock to the output, and before the clock; None: the fitted access.
    """

    origin: str
    area_scale: float = 1.0
    energy_scale: float = 1.0
    access_ps: float | None = None
    setup_ps: float = 300.0

    def price(self, memory: Memory) -> dict[str, float]:
        """Return area (um2), access (ps), energy a read and a write of one port (pJ), leakage (nW), macros and copies.

        A macro has one port. With ``r`` reads and ``w`` writes it takes ``r * w`` copies for one of each at a time in
        two half cycles or banks: see `ports`.
        """
        rows = math.ceil(memory.words / MOST_WORDS)
        across = math.ceil(memory.bits / MOST_BITS)
        words, bits = math.ceil(memory.words / rows), math.ceil(memory.bits / across)
        copies = ports(memory).copies
        macros = rows * across * copies
        one = {quantity: fitted(words, bits, quantity) for quantity in QUANTITIES}
        access = one["access"] * 1000 if self.access_ps is None else self.access_ps
        return {
            "area_um2": macros * one["area"] * self.area_scale,
            "access_ps": access,
            "read_pj": across * one["read"] * self.energy_scale,
            "write_pj": across * copies * one["write"] * self.energy_scale,
            "leakage_nw": macros * one["leakage"],
            "macros": macros,
            "copies": copies,
        }

    def cell(self, memory: Memory, widths: dict[str, int]) -> Cell:
        """Return a cell that stands for the memory in a netlist: a pin for each bit of its ports."""
        price = self.price(memory)
        shape = "_".join(f"{port.lower()}{width}" for port, width in sorted(widths.items()))
        pins = {}
        clock = "RD_CLK_0"
        for port, width in widths.items():
            for number in range(width):
                name = f"{port}_{number}"
                pins[name] = self._pin(name, port, clock, price["access_ps"])
        kind = f"memory_{memory.words}x{memory.bits}_{shape}"
        return Cell(kind, price["area_um2"], pins, price["leakage_nw"])

    def _pin(self, name: str, port: str, clock: str, access: float) -> Pin:
        def constant(value: float) -> Table:
            return Table(np.zeros(1), np.zeros(1), np.full((1, 1), value))

        if port == "RD_DATA":
            delays, slopes = constant(access), constant(self.setup_ps / 3)
            return Pin(name, "output", arcs=(Arc(clock, "clock", "both", (delays, delays), (slopes, slopes)),))
        if port.endswith("CLK"):
            return Pin(name, "input", is_clock=True)
        setup = constant(self.setup_ps)
        return Pin(name, "input", arcs=(Arc(clock, "setup", "both", (setup, setup)),))


class Ports(NamedTuple):
    """How many one-port macros a memory needs side by side, and what no SRAM compiler offers of it."""

    copies: int
    missing: tuple[str, ...]


def ports(memory: Memory) -> Ports:
    """Return what the ports of a memory cost.

    One read and one write is what compilers call a two-port memory; it is priced as one macro. Each further read takes
    a copy that is written too. Several writes need banks: named, not priced. A read that forwards what is being written
    takes a comparison and a register around the macro: named, not priced.
    """
    missing = []
    if memory.reads > 1:
        missing.append(f"{memory.reads} reads: {memory.reads} copies")
    if memory.writes > 1:
        missing.append(f"{memory.writes} writes: banks")
    if memory.forwards:
        missing.append("a read of what is being written: forwarding")
    if not memory.synchronous:
        missing.append("a read without a clock: flip-flops")
    if memory.initialised and not memory.is_rom:
        missing.append("an initial content: written after reset")
    return Ports(max(memory.reads, 1), tuple(missing))


IHP = MemoryModel("fitted", setup_ps=300.0)
"""Macros of the node itself. Set-up: the write enable's, the largest."""

# A bit of ASAP7 takes 0.029 um2 (its six-transistor cell), one of the fit 3.24 um2 with its share of the array. Access
# and set-up are the assumption of a small macro at 7 nm; energy goes with area and the square of the voltage.
ASAP7 = MemoryModel("assumed", area_scale=0.029 / 3.24, energy_scale=0.029 / 3.24 * (0.7 / 1.2) ** 2, access_ps=300.0,
                    setup_ps=30.0)  # fmt: skip
SKY130 = replace(IHP, origin="assumed", access_ps=1500.0, setup_ps=300.0)
