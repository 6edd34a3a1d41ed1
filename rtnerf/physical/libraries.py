"""Where cell libraries come from, and what is assumed beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rtnerf.base.errors import InputError
from rtnerf.base.files import write_bytes
from rtnerf.base.folders import data_folder
from rtnerf.physical.cells import Cell, Library
from rtnerf.physical.liberty import read_library, written
from rtnerf.physical.memories import ASAP7, IHP, SKY130, MemoryModel
from rtnerf.physical.timing import cell_delay

COMPACT = Path(__file__).with_name("data") / "compact.lib"
"""Some 40 cells of ASAP7 as figures: see `rtnerf.physical.compact`."""


@dataclass(frozen=True)
class Source:
    """A library by name: its files below the data's folder ``liberty``, cells to leave out, and its memories."""

    files: tuple[str, ...]
    without: tuple[str, ...]
    memories: MemoryModel


NAMED = {
    # Weak cells (x1p5 and below 1), delay cells and clock cells of the kit; multiple-output cells map nothing.
    "asap7": Source(("asap7/*.lib.gz",), ("*x1p*", "*xp*", "HB*", "CKINV*", "DFFASR*"), ASAP7),
    "sg13g2": Source(("sg13g2_stdcell_typ_1p20V_25C.lib.gz",), ("*_dlygate*", "*_antenna*", "*_sighold*"), IHP),
    "sky130": Source(
        ("sky130hd_tt.lib.gz",), ("*__lpflow*", "*__probe*", "*__dly*", "*__clk*", "*_0", "*__macro*"), SKY130
    ),
}

TARGET = 30
"""What ABC sizes for, in delays of an inverter or buffer that drives four of its kind."""


@dataclass(frozen=True)
class Technology:
    """A library as it is used: joined and thinned out, with its memories.

    Parameters
    ----------
    name : str
    library : Library
    memories : MemoryModel
    """

    name: str
    library: Library
    memories: MemoryModel

    @cached_property
    def text(self) -> str:
        """The library as one Liberty file."""
        return written(self.library)

    @cached_property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of the file and of the memories."""
        return hashlib.sha256(f"{self.memories}\n{self.text}".encode()).hexdigest()

    @cached_property
    def driver(self) -> Cell:
        """The smallest inverter: what stands before every input."""
        ones = [cell for cell in self.library.cells.values() if cell.is_inverter]
        return min(ones, key=lambda cell: (cell.area, cell.name))

    @cached_property
    def _fan_out_of_four(self) -> tuple[float, float]:
        load = self.port_load
        transition = 0.0
        for _ in range(20):
            delay, transition = cell_delay(self.driver, transition, load)
        return delay, transition

    @property
    def port_load(self) -> float:
        """What every output drives: four inverters, fF."""
        return 4 * max(self.driver.inputs[0].capacitance)

    @property
    def fo4_ps(self) -> float:
        """Delay of an inverter that drives four of its kind, ps."""
        return self._fan_out_of_four[0]

    @property
    def input_transition(self) -> float:
        """Of every input, ps: what such an inverter gives."""
        return self._fan_out_of_four[1]

    @property
    def target_ps(self) -> int:
        """What ABC sizes for, ps."""
        return round(TARGET * self.fo4_ps)


def liberty_folder() -> Path:
    """Where the Liberty files of the named libraries are, if they are."""
    return data_folder() / "liberty"


def load_technology(names: Sequence[str] = (), cache: Path | None = None) -> Technology:
    """Return a technology: by one name, or from Liberty files that belong together.

    Parameters
    ----------
    names : sequence of str
        ``asap7``, ``sg13g2``, ``sky130``, ``compact``, or paths; none: ``asap7`` where its files are, else
        ``compact``. Memories of paths are assumed to be those of sg13g2.
    cache : Path, optional
        Folder where joined libraries are kept.

    Raises
    ------
    InputError
        A name is unknown, its files are missing, or a file is not a usable library.
    """
    if not names:
        names = ("asap7",) if _files("asap7") else ("compact",)
    if list(names) == ["compact"]:
        return Technology("compact", read_library([COMPACT]), ASAP7)
    if len(names) == 1 and names[0] in NAMED:
        (name,) = names
        source = NAMED[name]
        paths = _files(name)
        if not paths:
            raise InputError(f"library must be in {liberty_folder()} (RTNERF_DATA says where), not missing: {name}")
        return Technology(name, _joined(paths, source.without, cache), source.memories)
    paths = [Path(name) for name in names]
    if {*NAMED, "compact"}.intersection(names):
        raise InputError(f"library must be one name, or Liberty files that belong together, not {' '.join(names)}")
    for path in paths:
        if not path.is_file():
            raise InputError(f"library must be one of {', '.join([*NAMED, 'compact'])} or Liberty files, not {path}")
    return Technology("+".join(path.name.partition(".")[0] for path in paths), read_library(paths), IHP)


def _files(name: str) -> list[Path]:
    folder = liberty_folder()
    found = [sorted(folder.glob(pattern)) for pattern in NAMED[name].files]
    return [path for paths in found for path in paths] if all(found) else []


def _joined(paths: Sequence[Path], without: Sequence[str], cache: Path | None) -> Library:
    """Return the files as one library, read once for each content."""
    digest = hashlib.sha256(repr(sorted(without)).encode())
    digest.update(Path(__file__).with_name("liberty.py").read_bytes())
    for path in paths:
        digest.update(path.read_bytes())
    kept = None if cache is None else cache / f"library-{digest.hexdigest()[:16]}.lib"
    if kept is not None and kept.is_file():
        return read_library([kept])
    library = read_library(paths).without(without)
    if kept is not None:
        write_bytes(kept, written(library).encode())
    return read_library([kept]) if kept is not None else library
