"""The accelerator's registers as a program on a host sees them: each access runs the RTL until it is answered."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cosim import cxxrtl
from cosim.simulation import SimulationError
from nerf.contract.memory import MemoryTiming, Regions

ANSWER_CYCLES = 1000
"""An access that takes longer is not answered any more."""


class Bus:
    """The RTL behind a bus, in the engine cxxrtl; a context manager, which ends it.

    Parameters
    ----------
    text : str
        RTLIL of the top.
    sidecar : mapping
        See `rtl.verilog.export.describe`.
    folder : Path
        Where builds are kept.
    memory : uint8 array (bytes,)
        What the accelerator's memory holds; it changes while a frame runs.
    regions : Regions
        Where the host lets it write.
    timing : MemoryTiming, optional

    Raises
    ------
    ToolMissingError, SimulationError
        As `cosim.cxxrtl.build`.
    """

    def __init__(
        self,
        text: str,
        sidecar: Mapping[str, Any],
        folder: Path,
        memory: np.ndarray,
        regions: Regions,
        timing: MemoryTiming | None = None,
    ) -> None:
        self._harness = cxxrtl.load(cxxrtl.build(text, sidecar, folder))
        self._memory = memory  # The bench holds its address.
        settings = cxxrtl.settings(memory, regions, timing or MemoryTiming())
        self._bench = self._harness.bench_create(ctypes.byref(settings), None, 0)

    def __enter__(self) -> Bus:
        return self

    def __exit__(self, *_: object) -> None:
        self._harness.bench_destroy(self._bench)

    @property
    def cycle(self) -> int:
        """Cycles since reset."""
        return self._harness.bench_cycle(self._bench)

    def read(self, address: int) -> int:
        """Return a register's 32 bits."""
        self._access(cxxrtl.READ, address, 0)
        count = self._harness.bench_value_count(self._bench)
        return self._harness.bench_values(self._bench)[count - 1]

    def write(self, address: int, value: int) -> None:
        """Write a register's 32 bits."""
        self._access(cxxrtl.WRITE, address, value)

    def _access(self, action: int, address: int, value: int) -> None:
        self._harness.bench_step(self._bench, action, address, value)
        outcome = self._harness.bench_run(self._bench, ANSWER_CYCLES)
        if outcome == cxxrtl.RUNNING:
            raise SimulationError(
                f"cycle {self.cycle}: address {address:#x} must answer, not wait {ANSWER_CYCLES} cycles"
            )
        if outcome != cxxrtl.FINISHED:
            raise SimulationError(f"cycle {self.cycle}: {cxxrtl.FAULTS[outcome]}")
