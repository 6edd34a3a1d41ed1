"""Synthesis of a configuration, unit by unit: area, clock, memories, worst paths. Everything is kept by digest."""

from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from nerf.contract.config import AcceleratorConfig
from rtnerf.base.builds import kept_build, kept_value
from rtnerf.base.errors import InputError
from rtnerf.base.folders import ROOT, plain_folder
from rtnerf.base.processes import run_supervised
from rtnerf.physical.libraries import Technology
from rtnerf.physical.memories import MACRO_BITS, ports
from rtnerf.physical.netlist import Netlist, from_json
from rtnerf.physical.scaling import area_28nm
from rtnerf.physical.units import Design, Unit
from rtnerf.physical.words import KINDS, Word, area_by_kind, operations

WIRES = 0.2
"""Share of the clock that wires are taken to cost."""

PROGRESS = Callable[[int, int, str], None]

_HERE = Path(__file__).parent
_NETLIST, _TIME = "netlist.json.gz", "seconds"
_SECONDS = 6 * 3600


class SynthesisError(RuntimeError):
    """Yosys or ABC failed; says where the log is."""


def _digest(*parts: object) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part if isinstance(part, bytes) else f"{part}\n".encode())
    return found.hexdigest()[:16]


def map_unit(unit: Unit, technology: Technology, cache: Path) -> Path:
    """Return the folder of a unit as cells of a library; made once for each unit, library and recipe.

    Raises
    ------
    SynthesisError
        Yosys or ABC failed.
    """
    settings = [
        str(MACRO_BITS),
        technology.driver.name,
        str(technology.target_ps),
        f"{technology.port_load:.4g}",
    ]
    recipe = (_HERE / "recipe.py").read_bytes()
    version = importlib.metadata.version("pyosys")
    ingredients = _digest(unit.text, technology.text, *settings, recipe, version)

    def make(folder: Path) -> None:
        (folder / "library.lib").write_text(technology.text)
        netlist = run_yosys("recipe", unit, folder, settings, "netlist.json")
        (folder / _NETLIST).write_bytes(gzip.compress(netlist.read_bytes(), 1))
        for name in ("library.lib", netlist.name):
            (folder / name).unlink()

    return kept_build(plain_folder(cache), f"netlist-{unit.name}", ingredients, make)


def words_of(unit: Unit, cache: Path) -> list[Word]:
    """Return a unit as words, before it becomes gates; made once for each unit.

    Raises
    ------
    SynthesisError
        Yosys failed.
    """
    sources = [(_HERE / name).read_bytes() for name in ("words.py", "recipe.py")]
    ingredients = _digest(unit.text, *sources, str(MACRO_BITS), importlib.metadata.version("pyosys"))

    def make(folder: Path) -> None:
        run_yosys("words", unit, folder, [str(MACRO_BITS)], "words.json")

    kept = kept_build(plain_folder(cache), f"words-{unit.name}", ingredients, make) / "words.json"
    return [Word(*word) for word in json.loads(kept.read_text())]


def run_yosys(module: str, unit: Unit, folder: Path, arguments: list[str], result: str) -> Path:
    """Run a module of this package on a unit, in a process of its own; return the file that it writes.

    Raises
    ------
    SynthesisError
        It failed.
    """
    (folder / "unit.il").write_text(unit.text)
    status = run_step([sys.executable, "-m", f"rtnerf.physical.{module}", str(folder), *arguments], folder, "log")
    if status != 0 or not (folder / result).is_file():
        raise SynthesisError(f"{unit.name}: Yosys or ABC failed, see {folder / 'log'}")
    (folder / "unit.il").unlink()
    return folder / result


def run_step(command: Sequence[str], folder: Path, log: str) -> int:
    """Run a command in a folder, with what it says in a file there; return its status."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with open(folder / log, "wb") as lines:
        return run_supervised(command, log=lines, timeout_seconds=_SECONDS, folder=folder, environment=environment)


def netlist_of(unit: Unit, technology: Technology, cache: Path) -> Netlist:
    """Return a unit's mapped netlist, its memories as cells."""
    written = (map_unit(unit, technology, cache) / _NETLIST).read_bytes()
    module = json.loads(gzip.decompress(written))["modules"]["unit"]
    return from_json(module, unit.name, technology.library, technology.memories.cell)


def measure(unit: Unit, technology: Technology, cache: Path) -> dict[str, Any]:
    """Return what a unit takes and how long its paths are; kept for each state of this package."""
    ingredients = [unit.text, technology.digest]
    return kept_value(
        cache, f"unit-{unit.name}", ("rtnerf.physical",), ingredients, lambda: _measure(unit, technology, cache)
    )


def _measure(unit: Unit, technology: Technology, cache: Path) -> dict[str, Any]:
    from rtnerf.physical.timing import Timer

    netlist = netlist_of(unit, technology, cache)
    timing = Timer(netlist, input_transition=technology.input_transition, port_load=technology.port_load).timing()
    cells = technology.library.cells
    counts = netlist.counts
    prices = [technology.memories.price(memory) for memory in netlist.memories]
    register = timing.register
    words = words_of(unit, cache)
    area = sum(count * cells[kind].area for kind, count in counts.items() if kind in cells)
    flip_flops = {kind: count for kind, count in counts.items() if kind in cells and cells[kind].flip_flop}
    registers = sum(count * cells[kind].area for kind, count in flip_flops.items())
    memories = sum(price["area_um2"] for price in prices)
    return {
        "cells": sum(count for kind, count in counts.items() if kind in cells),
        "area_um2": area,
        "area_by_kind_um2": area_by_kind(words, area - registers, registers, memories),
        "operations": operations(words),
        "flip_flops": sum(flip_flops.values()),
        "leakage_uw": sum(count * cells[kind].leakage for kind, count in counts.items() if kind in cells) / 1000,
        "memory_bits": sum(memory.size for memory in netlist.memories),
        "memory_area_um2": memories,
        "processor_s": float((map_unit(unit, technology, cache) / _TIME).read_text()),
        "delay_ps": None if register is None else register.delay_ps,
        "path": None if register is None else _path(register),
        **{
            f"{name}_ps": None if path is None else path.delay_ps
            for name, path in (
                ("arriving", timing.arriving),
                ("leaving", timing.leaving),
                ("through", timing.through),
            )
        },
        "slack": _histogram(timing.end_delays),
        "memories": [
            {
                "name": memory.name,
                "words": memory.words,
                "bits": memory.bits,
                "reads": memory.reads,
                "writes": memory.writes,
                "rom": memory.is_rom,
                "missing": list(ports(memory).missing),
                **price,
            }
            for memory, price in zip(netlist.memories, prices, strict=True)
        ],
    }


def _path(path) -> dict[str, Any]:
    """Return a path by names: where it starts and ends, and the named nets between."""
    named = [step.net for step in path.steps if step.net and "$" not in step.net]
    return {
        "from": path.start,
        "to": path.end,
        "cells": len(path.steps) - 1,
        "through": [name for number, name in enumerate(named) if name not in named[:number]],
    }


def _histogram(delays) -> list[int]:
    """Return how many register inputs have a delay in each tenth of the longest, the longest last."""
    if len(delays) == 0:
        return []
    counts = [0] * 10
    for delay in delays:
        counts[min(max(int(10 * delay / delays[0]), 0), 9)] += 1
    return counts


def choose(units: Sequence[Unit], names: Iterable[str]) -> list[Unit]:
    """Return the units of some names, all without any.

    Raises
    ------
    InputError
        A name is no unit.
    """
    by_name = {unit.name: unit for unit in units}
    names = list(dict.fromkeys(names))
    for name in names:
        if name not in by_name:
            raise InputError(f"unit must be one of {', '.join(by_name)}, not {name}")
    return [by_name[name] for name in names] or list(units)


def synthesize(
    config: AcceleratorConfig,
    technology: Technology,
    names: Iterable[str] = (),
    *,
    cache: Path,
    workers: int = 1,
    progress: PROGRESS | None = None,
) -> dict[str, Any]:
    """Synthesise a configuration, or some of its units.

    Parameters
    ----------
    config : AcceleratorConfig
    technology : Technology
    names : iterable of str
        Units; none: all, and what they come to together.
    cache : Path
        Folder where results are kept.
    workers : int
        Units at a time.
    progress : function, optional
        Takes the number of units done, of all, and the name of the last one.

    Raises
    ------
    InputError
        A name is no unit.
    SynthesisError
        Yosys or ABC failed.
    """
    names = list(names)
    design = Design.of(config)
    units = choose(design.units, names)
    measured: dict[str, dict[str, Any]] = {}
    # The largest first, so that none is left alone at the end.
    order = sorted(units, key=lambda unit: -len(unit.text))
    with ThreadPoolExecutor(workers) as pool:
        running = {pool.submit(measure, unit, technology, cache): unit for unit in order}
        try:
            for done, future in enumerate(as_completed(running), 1):
                unit = running[future]
                measured[unit.name] = future.result()
                if progress is not None:
                    progress(done, len(units), unit.name)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    found = {}
    for unit in units:
        one = {"instances": unit.instances, **measured[unit.name]}
        if one["path"]:
            one["path"] = {**one["path"]}
            for end in ("from", "to"):
                one["path"][f"{end}_source"] = design.source_of(unit, one["path"][end])
        found[unit.name] = one
    result = {
        "config": config.name,
        "config_digest": config.digest,
        "library": technology.name,
        "library_digest": technology.digest,
        "memories": technology.memories.origin,
        "fo4_ps": technology.fo4_ps,
        "units": found,
    }
    if names:
        return result
    sums = summary(found)
    memories = sums["memory_mm2"] / technology.memories.area_scale
    joined = joined_paths(design, technology, cache)
    return {**result, **sums, **area_28nm(technology.name, sums["logic_mm2"], memories), "whole": joined}


def joined_paths(design: Design, technology: Technology, cache: Path) -> dict[str, Any]:
    """Return the worst paths of all units joined; kept for each state of this package."""
    from rtnerf.physical import whole

    units = {module: [unit.digest, unit.modules] for module, unit in design.by_module.items()}
    return kept_value(
        cache,
        "whole",
        ("rtnerf.physical",),
        [units, technology.digest],
        lambda: whole.measure(design, lambda unit: netlist_of(unit, technology, cache), technology),
    )


def summary(units: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what all units come to: clock of the slowest, area, memory."""

    def total(key: str) -> float:
        return sum(unit["instances"] * unit[key] for unit in units.values())

    timed = {name: unit["delay_ps"] for name, unit in units.items() if unit["delay_ps"] is not None}
    slowest = max(timed, key=timed.__getitem__)
    clock = 1e6 / timed[slowest]
    return {
        "slowest": slowest,
        "clock_mhz": clock,
        "clock_mhz_with_wires": clock * (1 - WIRES),
        "cells": total("cells"),
        "flip_flops": total("flip_flops"),
        "logic_mm2": total("area_um2") / 1e6,
        "memory_mm2": total("memory_area_um2") / 1e6,
        "area_mm2": (total("area_um2") + total("memory_area_um2")) / 1e6,
        "area_by_kind_mm2": {
            kind: sum(unit["instances"] * unit["area_by_kind_um2"][kind] for unit in units.values()) / 1e6
            for kind in KINDS
        },
        "memory_bytes": total("memory_bits") // 8,
    }
