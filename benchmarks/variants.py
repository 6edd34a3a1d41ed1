"""What an idea saves in hardware: area, clock and energy with it, and of what would stand in its place.

One tree that sums, counts and searches beside a tree for each; one decoder of all forms beside a decoder for each. The
single ones are the same RTL with the rest left out. Energy: of a cycle at work, and of the clock in a cycle without, at
the prices of `rtnerf.physical.energy`. The exact order beside a sorter of each tile's cubes, sized by the tiles of the
embedded scene. All units of `tiny` with a network that runs for each sample, and for each ray: area, and energy of a
frame of the embedded scene's samples. The result is `reports/results/variants.json`.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import wiring

import rtnerf
from benchmarks.merge_sorter import MergeSorter, sorting_cycles
from benchmarks.synthesis import rounded, told
from nerf.cameras import load_cameras
from nerf.checkpoint import load_model
from nerf.contract.blocks import Form
from nerf.contract.config import SHADINGS, load_config
from nerf.golden.occupancy_walker import walk
from nerf.golden.projector import project
from rtl.factors.hybrid_decoder import HybridDecoder
from rtl.factors.search_tree import BidirectionalTree
from rtl.parts.shared_module import text_of
from rtl.payloads import Mode, TileLayouts
from rtl.verilog.export import TOP
from rtnerf.base.folders import kept_folder
from rtnerf.physical.energy import MEMORY_SCALES, cycle_pj, frame_energy
from rtnerf.physical.kept import short_record, synthesis_of
from rtnerf.physical.libraries import Technology, load_technology
from rtnerf.physical.memories import ASAP7
from rtnerf.physical.netlist import Memory
from rtnerf.physical.synthesis import WIRES, measure, summary, synthesize
from rtnerf.physical.units import Design
from sim.analysis import activity_of
from sim.memory.dram import PRESETS as DRAMS
from sim.simulate import simulate

KEYS = ("cells", "area_um2", "flip_flops", "delay_ps")
SUMS = ("cells", "flip_flops", "logic_mm2", "memory_mm2", "area_mm2", "memory_bytes")
CACHE = kept_folder("synthesis")
SORTED_SIZE, SHADED_SIZE = 800, 100
"""Pixels of the pictures of the embedded scene whose cubes are sorted, and which is shaded."""
DEPTH_BITS = 16
"""Of the key by which cubes are sorted."""


class Around(wiring.Component):
    """A top round a component, which is then a unit with all that is in it."""

    def __init__(self, component: wiring.Component) -> None:
        self._component = component
        super().__init__(component.signature)

    def elaborate(self, platform) -> Module:
        """Return the component, connected."""
        m = Module()
        m.submodules.component = self._component
        wiring.connect(m, wiring.flipped(self), self._component)
        return m


def variants() -> Iterator[tuple[str, str, wiring.Component]]:
    """Yield idea, name and component of each."""
    config = load_config("tiny")
    yield "tree", "shared", BidirectionalTree()
    for mode in Mode:
        yield "tree", mode.name.lower(), BidirectionalTree([mode])
    yield "decoder", "shared", HybridDecoder(config)
    for form in Form:
        yield "decoder", form.name.lower(), HybridDecoder(config, [form])


def one_unit(component: wiring.Component, technology: Technology) -> dict[str, Any]:
    """Return what a component takes as a unit."""
    (unit,) = (unit for unit in Design(text_of(Around(component), TOP)).units if unit.name != "top")
    return measure(unit, technology, CACHE)


def with_energy(found: dict[str, Any]) -> dict[str, Any]:
    """Return a unit's figures, with what its cycles cost."""
    gates = found["area_um2"] - found["area_by_kind_um2"]["registers"]
    busy, idle = cycle_pj(gates, found["flip_flops"])
    return {**{key: found[key] for key in KEYS}, "busy_pj": busy, "idle_pj": idle}


def cubes_of_tiles() -> np.ndarray:
    """Return how many cubes each tile of the embedded scene has: int array (rows, columns)."""
    config = load_config("tiny")
    job = rtnerf.prepare(load_model(None), config)
    view = job.view(load_cameras(None).camera(0, SORTED_SIZE))
    counts = np.zeros((-(-SORTED_SIZE // config.tile),) * 2, int)
    for x, y, z, _ in walk(job.scene, (-1, -1, -1)):
        box = project((x, y, z), view)
        if box is not None:
            first_x, first_y, last_x, last_y = (edge // config.tile for edge in box)
            counts[first_y : last_y + 1, first_x : last_x + 1] += 1
    return counts


def sorting(technology: Technology) -> dict[str, Any]:
    """Return what a sorter of the cubes of a tile takes, and of a frame cycles and energy, lower and upper."""
    counts = cubes_of_tiles().ravel()
    capacity = 1 << int(counts.max() - 1).bit_length()
    other = TileLayouts(load_config("tiny")).Rectangle.size - 1  # The end of a list it has anyway.
    found = one_unit(MergeSorter(DEPTH_BITS, other, capacity), technology)
    sorted_in = [int(count) for count in counts if count]
    cycles = sum(sorting_cycles(count) + 3 * count for count in sorted_in)
    moves = sum(count * (1 + (count - 1).bit_length()) for count in sorted_in)
    row = with_energy(found)
    memory = Memory("", capacity, DEPTH_BITS + other, 1, 1, synchronous=True, forwards=False, initialised=False)
    prices = [replace(ASAP7, energy_scale=scale).price(memory) for scale in MEMORY_SCALES]
    return {
        "size": SORTED_SIZE,
        "tiles": len(sorted_in),
        "cubes_of_tiles": sum(sorted_in),
        "most_cubes_of_a_tile": int(counts.max()),
        "capacity": capacity,
        "item_bits": DEPTH_BITS + other,
        **row,
        "memory_bits": found["memory_bits"],
        "memory_area_um2": found["memory_area_um2"],
        "frame_cycles": cycles,
        "frame_memory_uj": [moves * (price["read_pj"] + price["write_pj"]) / 1e6 for price in prices],
        "frame_logic_uj": [cycles * busy / 1e6 for busy in row["busy_pj"]],
    }


def shading(technology: Technology) -> dict[str, Any]:
    """Return all units of `tiny` with either kind of shading, and the energy of a frame of the same samples."""
    model, camera = load_model(None), load_cameras(None).camera(0, SHADED_SIZE)
    found = {}
    for kind in SHADINGS:
        config = replace(load_config("tiny"), name=f"tiny, {kind}", shading=kind)
        run = synthesize(
            config, technology, [unit.name for unit in Design.of(config).units], cache=CACHE, progress=told
        )
        sums = summary(run["units"])
        record = short_record({**run, **sums})
        # The factors stay; the network gets them once a sample, or once a ray.
        job = rtnerf.prepare(replace(model, shading=kind), config)
        frame = simulate(job.decoded, job.view(camera), config, DRAMS["lpddr4"], sums["clock_mhz"] * (1 - WIRES) * 1e6)
        energy, units = frame_energy(activity_of(frame), synthesis_of(record, "here")), run["units"]
        found[kind] = {
            **{key: sums[key] for key in SUMS},
            "units_um2": {
                name: unit["instances"] * (unit["area_um2"] + unit["memory_area_um2"]) for name, unit in units.items()
            },
            "size": SHADED_SIZE, "cycles": frame.cycles, "samples": frame.samples, "shaded": frame.shaded,
            **{key: energy[key] for key in ("energy_mj", "energy_by_cause_mj", "energy_by_unit_mj")},
        }  # fmt: skip
    return found


def main() -> None:
    """Read the options, synthesise, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.variants", description=__doc__)
    parser.add_argument("--library", default="asap7", help="library by name")
    parser.add_argument("--idea", nargs="+", default=["tree", "decoder", "sorting", "shading"], help="only these")
    options = parser.parse_args()
    technology = load_technology([options.library], CACHE)
    ideas: dict[str, dict[str, dict]] = {}
    for idea, name, component in variants():
        if idea in options.idea:
            ideas.setdefault(idea, {})[name] = with_energy(one_unit(component, technology))
            print(f"{idea} {name}: {ideas[idea][name]}", file=sys.stderr)
    result: dict[str, Any] = {"command": " ".join(["python -m benchmarks.variants", *sys.argv[1:]])}
    result |= {"library": technology.name, "ideas": ideas}
    for idea, measured in (("sorting", sorting), ("shading", shading)):
        if idea in options.idea:
            result[idea] = measured(technology)
    json.dump(rounded(result), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
