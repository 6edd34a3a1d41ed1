"""Energy of the five dominating units of `tiny` under recorded activity: what every net of them does, counted.

A crop of the embedded scene runs in Verilator; what stands at the ports of the units is recorded from the reset on.
Their netlists in the compact library are driven with it, their outputs held to the recorded ones in every cycle, and
the changes of all nets priced as in `rtnerf.physical.operations`. The simulator says in which cycles a unit's block is
busy. The result is `reports/results/recorded_energy.json`; ``--embed`` makes nothing anew, it writes what
`rtnerf.physical.energy` needs of that file into the package.
"""

import argparse
import gzip
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import rtnerf
from benchmarks.options import load_scene
from benchmarks.synthesis import rounded
from cosim.cycles import FRAME
from cosim.run import run_rtl
from cosim.wrapper import Port, Watch, read_watch
from nerf.contract.config import AcceleratorConfig, load_config
from nerf.contract.memory import MemoryTiming
from nerf.contract.registers import View
from rtl.verilog.export import design
from rtnerf.base.files import write_bytes
from rtnerf.base.folders import ROOT, kept_folder
from rtnerf.physical.circuit import Circuit, circuit_of
from rtnerf.physical.energy import RECORDED, cycle_pj, family, operation_pj
from rtnerf.physical.libraries import load_technology
from rtnerf.physical.operations import internal_energies
from rtnerf.physical.replay import Replay, replay
from rtnerf.physical.synthesis import map_unit, words_of
from rtnerf.physical.units import Design, Unit
from rtnerf.physical.words import Word, area_by_kind, operations
from sim.analysis import activity_of
from sim.simulate import simulate
from sim.wiring import BLOCKS

UNITS = (
    "mlp_engine.sample_0", "appearance_interpolator", "density_interpolator", "sample_generator.lane_0",
    "ray_setup.unit_0",
)  # fmt: skip
"""Those that take most of the area and energy of `tiny` and `edge-deferred` together."""
RESULTS = ROOT / "reports" / "results" / "recorded_energy.json"
SIZE, CROP = 24, (10, 10, 4, 4)
"""Pixels of the picture, and x, y, width and height of the part of it that is rendered."""
ENOUGH = 10_000
"""Busy cycles of a unit after which it is driven no longer."""
_PORT = re.compile(r"^  wire (?:width (\d+) )?(?:signed )?(input|output) (\d+) (?:signed )? ?\\(\S+)$", re.MULTILINE)


def ports_in(unit: Unit, verilog: str) -> dict[str, Port]:
    """Return the ports of a unit by their names in its RTLIL: as the Verilog calls them, in the same order."""
    text = re.search(r"^module \\unit\n.*?^end\n", unit.text, re.MULTILINE | re.DOTALL)
    head = re.search(rf"^module \\?{re.escape(unit.modules['unit'])} ?\((.*?)\);", verilog, re.MULTILINE | re.DOTALL)
    assert text is not None
    assert head is not None
    names = [name.strip().removeprefix("\\") for name in head[1].split(",")]
    # Those of signals that pass through have numbers in their names, which differ. Amaranth's port 0 is Yosys's last.
    ordered = sorted(_PORT.findall(text[0]), key=lambda port: int(port[2]) or 1 << 30)
    found = zip(ordered, names, strict=True)
    return {old: Port(new, way, int(width or 1)) for (width, way, _, old), new in found if old != "clk"}


def record(
    units: Sequence[Unit], config: AcceleratorConfig, image: bytes, view: View, ticks: int
) -> tuple[dict[str, dict[str, list[tuple[int, int]]]], int, int]:
    """Run the RTL; return what stood at the ports of each unit, and the ticks of the end of reset and of the start."""
    ports = {unit.name: ports_in(unit, design(config)[0]) for unit in units}
    watched = {path: tuple(mine.values()) for path, mine in ports.items()}
    with tempfile.TemporaryDirectory() as folder:
        watch = Watch(watched, Path(folder) / "watch", ticks)
        frame = run_rtl(image, view, config, watch=watch)
        with open(watch.file) as lines:
            found = read_watch(lines, watched)
    (_, _), (reset_end, _), *_ = found["", "rst"]
    start = next(one.cycle for one in frame.trace if one.stream == FRAME and not one.payload)
    changes = {path: {old: found[path, port.name] for old, port in mine.items()} for path, mine in ports.items()}
    return changes, reset_end, reset_end + start


def per_cycle(values: np.ndarray, busy: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what a busy and any other cycle takes of values by cycle.

    ``busy``: the busy cycles of each window. Other cycles take what they do in windows without busy ones.
    """
    cycles = len(values)
    spent = np.add.reduceat(values, np.arange(0, cycles, window), axis=0)
    other = spent[busy == 0].mean(0) / window
    return (spent.sum(0) - other * (cycles - busy.sum())) / busy.sum(), other


def prices(circuit: Circuit, found: Replay, start: int, busy: np.ndarray, window: int) -> dict:
    """Return energies a cycle, shares that change, and what they come to for an area and a register."""
    flip_flops, whole = len(circuit.flops), circuit.costs.combinational.sum()
    energy = per_cycle(found.energy_fj[start:], busy, window)
    changing = per_cycle(found.register_changes[start:], busy, window)
    rows = {}
    for name, (gates, registers), changed in zip(("busy", "other"), energy, changing, strict=True):
        rows[name] = {
            "combinational_pj": (gates / 1000).tolist(),
            "register_changes_pj": (registers / 1000).tolist(),
            "register_clock_pj": flip_flops * circuit.costs.clock / 1000,
            "gate_changes": (gates / whole).tolist(),
            "register_changes": float(changed) / flip_flops,
            "gates_fj_per_um2": (gates / circuit.gate_um2).tolist(),
            "register_fj": (registers / flip_flops).tolist(),
        }
    return rows


def assumed(words: list[Word], gate_um2: float, passes: float) -> list[float]:
    """Return what the gates of a busy cycle with some passes cost at the prices of units without a recording, pJ."""
    area = area_by_kind(words, gate_um2, 0, 0)
    arithmetic = sum(count * operation_pj(name) for name, count in operations(words).items())
    return (passes * arithmetic + cycle_pj(area["selection"] + area["control"], 0)[0]).tolist()


def embed() -> None:
    """Write the prices into the package."""
    result = json.loads(RESULTS.read_text())
    kept = ("gates_fj_per_um2", "register_fj")
    units = {
        family(name): {
            "passes_per_busy_cycle": unit["passes_per_busy_cycle"],
            **{kind: {key: unit[kind][key] for key in kept} for kind in ("busy", "other")},
        }
        for name, unit in result["units"].items()
    }
    write_bytes(RECORDED, (json.dumps({"made_by": result["command"], "units": units}, indent=1) + "\n").encode())


def main() -> None:
    """Read the options, record, replay, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recorded_energy", description=__doc__)
    parser.add_argument("--cycles", type=int, default=400_000, help="of the frame that are recorded at most")
    parser.add_argument("--embed", action="store_true", help="only write the kept prices into the package")
    options = parser.parse_args()
    if options.embed:
        embed()
        return
    config, cache = load_config("tiny"), kept_folder("synthesis")
    model, cameras = load_scene(argparse.Namespace(model=None, transforms=None))
    job = rtnerf.prepare(model, config)
    view = job.view(cameras.camera(0, SIZE).cropped(*CROP))
    technology = load_technology(["compact"], cache)
    by_name = {unit.name: unit for unit in Design.of(config).units}
    units = [by_name[name] for name in UNITS]
    # The host writes its registers first.
    changes, reset, start = record(units, config, job.scene.data, view, options.cycles + 2000)
    print(f"recorded: reset ends at {reset}, the frame starts at {start}", file=sys.stderr)
    simulation = simulate(job.decoded, view, config, MemoryTiming(), elapsed=start - reset, end=options.cycles)
    blocks = list(BLOCKS.names or ())
    whole = activity_of(simulate(job.decoded, view, config, MemoryTiming(), elapsed=start - reset))
    internal = internal_energies(list(technology.library.cells))
    rows = {}
    for unit in units:
        written = (map_unit(unit, technology, cache) / "netlist.json.gz").read_bytes()
        circuit = circuit_of(json.loads(gzip.decompress(written))["modules"]["unit"], technology.library, internal)
        busy = simulation.windows[:, blocks.index(unit.name.partition(".")[0]), 1]
        busy = busy[: 1 + int(np.searchsorted(busy.cumsum(), ENOUGH))]
        cycles = len(busy) * simulation.window
        passes = whole.passes_of(family(unit.name)) / whole.busy_of(unit.name)
        found = replay(circuit, changes[unit.name], start + cycles, reset)
        rows[unit.name] = {
            "cells": len(circuit.gates.output) + len(circuit.flops),
            "flip_flops": len(circuit.flops),
            "gate_um2": circuit.gate_um2,
            "outputs_compared": found.compared,
            "outputs_different": found.mismatches,
            "cycles": cycles,
            "busy_cycles": int(busy.sum()),
            "passes_per_busy_cycle": passes,
            "assumed_combinational_pj": assumed(words_of(unit, cache), circuit.gate_um2, passes),
            **prices(circuit, found, start, busy, simulation.window),
        }
        print(unit.name, found.first_mismatch, rows[unit.name], file=sys.stderr)
    command = " ".join(["python -m benchmarks.recorded_energy", *sys.argv[1:]])
    result = {"command": command, "library": technology.name, "config": config.name, "size": SIZE, "crop": CROP}
    json.dump({**result, "units": rounded(rows)}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
