"""What a frame makes the accelerator do, as a value: counted by a simulator, priced by whoever knows the hardware."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple


class Accesses(NamedTuple):
    """Reads and writes of one or several memories, all together."""

    reads: float
    writes: float


@dataclass(frozen=True)
class Activity:
    """Activity of a frame.

    Parameters
    ----------
    cycles : int
        From the start of the frame to its end.
    busy : dict of str to int
        By block, the cycles in which it works; in the others it waits or has nothing to do.
    passes : dict of str to float
        How often each multiplier and adder of a unit works, over all its instances together. A unit is a block, or
        part of one that is built several times, without its number: ``sample_generator.lane``. Of a unit that is not
        here: its block's busy cycles.
    accesses : dict of str to Accesses
        By pattern of ``UNIT.MEMORY``, the first that matches; several memories share them evenly. Of a memory that
        none matches: a read and a write in each busy cycle of its block.
    read_bytes, written_bytes : int
        Of the DRAM.
    """

    cycles: int
    busy: dict[str, int]
    passes: dict[str, float]
    accesses: dict[str, Accesses]
    read_bytes: int
    written_bytes: int

    def busy_of(self, unit: str) -> int:
        """Return the busy cycles of a unit's block, 0 for a unit that is in none."""
        return self.busy.get(unit.partition(".")[0], 0)

    def passes_of(self, unit: str) -> float:
        """Return the passes of a unit."""
        return self.passes.get(unit, self.busy_of(unit))

    def pattern_of(self, memory: str) -> str | None:
        """Return the pattern that a memory's accesses are under."""
        return next((pattern for pattern in self.accesses if fnmatchcase(memory, pattern)), None)
