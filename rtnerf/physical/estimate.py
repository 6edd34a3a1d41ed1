"""Area and energy of configurations that nobody has synthesised: estimated from two that are.

Memories are counted in the elaborated design, each with its words and bits. The logic of a unit is taken from the
results that come along, of `tiny` and `edge-deferred`, on the straight line between them along what the unit grows
with (`GROWS_WITH`). At these two the logic is therefore theirs; between and beyond it is an estimate.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from nerf.contract.config import AcceleratorConfig, load_config
from rtnerf.physical.inventory import macros_mm2, placed
from rtnerf.physical.kept import SYNTHESISED, Synthesis, SynthesisedUnit
from rtnerf.physical.memories import MACRO_BITS
from rtnerf.physical.netlist import Memory

LIBRARY = "asap7"
ENDS = ("tiny", "edge-deferred")
ALIKE = (
    "density_components", "appearance_components", "features", "hidden", "feature_bands", "view_bands", "colours",
    "interpolated_components",
)  # fmt: skip
"""Fields that the two have in common: of other values nothing is known."""
PARTS = re.compile(r"(sample_generator\.lane|mlp_engine\.sample|ray_setup\.unit)_(\d+)\.?")
"""Units within units, of which there are several."""
INSTANCES: dict[str, Callable[[AcceleratorConfig], int]] = {
    "sample_generator.lane_0": lambda config: config.sample_lanes,
    "mlp_engine.sample_0": lambda config: config.mlp_batch,
    "ray_setup.unit_0": lambda config: config.ray_units,
}
GROWS_WITH: dict[str, Callable[[AcceleratorConfig], float]] = {
    "tile_scheduler": lambda config: config.tiles,
    "ray_setup": lambda config: config.ray_units,
    "sample_generator": lambda config: config.sample_lanes,
    "density_loader": lambda config: config.windows["density"] ** 2,
    "appearance_loader": lambda config: config.windows["appearance"] ** 2,
    "density_buffer": lambda config: config.density_lanes,
    "density_interpolator": lambda config: config.density_lanes,
    "density": lambda config: config.density_lanes,
    "compositor": lambda config: config.density_lanes,
    "appearance_buffer": lambda config: config.appearance_lanes,
    "appearance_interpolator": lambda config: config.appearance_lanes,
    "mlp_engine.sample_0": lambda config: config.mlp_lanes,
}
"""Units that are not here are alike in all configurations, or nearly."""
ONLY = {
    "product_buffer": lambda config: config.shading == "deferred",
    "serialiser": lambda config: config.density_lanes == 2,
}
"""Units that not every configuration has."""


def estimated_synthesis(config: AcceleratorConfig) -> Synthesis | None:
    """Return what a synthesis of a configuration would come to, or None where too little is known.

    The clock is the lower one of the two.
    """
    low, high = (load_config(name) for name in ENDS)
    if any(getattr(config, name) != getattr(low, name) for name in ALIKE):
        return None
    runs = {run["config"]: run for run in json.loads(SYNTHESISED.read_text(encoding="utf-8"))["runs"]
            if run["library"] == LIBRARY}  # fmt: skip
    first, second = (runs[name] for name in ENDS)
    memories = _memories(config)
    units: dict[str, SynthesisedUnit] = {}
    cells_um2 = 0.0
    for name in dict.fromkeys([*first["units"], *second["units"]]):
        if (PARTS.match(name) and name not in INSTANCES) or not ONLY.get(name, lambda _: True)(config):
            continue
        one, other = (run["units"].get(name) for run in (first, second))
        one, other = one or other, other or one
        grows = GROWS_WITH.get(name)
        along = 1.0
        if grows is not None and grows(low) != grows(high):
            along = (grows(config) - grows(low)) / (grows(high) - grows(low))
        elif config.shading != "deferred":
            along = 0.0
        unit = _unit(one, other, along, INSTANCES.get(name, lambda _: 1)(config), memories.get(name, ()))
        units[name] = unit
        cells_um2 += unit.instances * _between(one["area_um2"], other["area_um2"], along)
    slowest = min((first, second), key=lambda run: run["clock_mhz_with_wires"])
    return Synthesis(
        config.name,
        LIBRARY,
        f"estimated between those of {' and '.join(ENDS)} ({SYNTHESISED.name})",
        slowest["slowest"],
        float(slowest["clock_mhz_with_wires"]),
        cells_um2 / 1e6 + macros_mm2(config),
        units,
    )


def _unit(
    one: Mapping[str, Any], other: Mapping[str, Any], along: float, instances: int, memories: tuple[Memory, ...]
) -> SynthesisedUnit:
    """Return a unit on the line between two."""

    def area(*kinds: str) -> float:
        low, high = (sum(unit["area_by_kind_um2"][kind] for kind in kinds) for unit in (one, other))
        return _between(low, high, along)

    operations = {
        name: round(_between(one["operations"].get(name, 0), other["operations"].get(name, 0), along))
        for name in [*one["operations"], *other["operations"]]
    }
    return SynthesisedUnit(
        instances,
        round(_between(one["flip_flops"], other["flip_flops"], along)),
        area("selection", "control"),
        area("multipliers", "adders"),
        _between(one["leakage_uw"], other["leakage_uw"], along),
        {name: count for name, count in operations.items() if count},
        memories,
    )


def _between(low: float, high: float, along: float) -> float:
    return max(low + along * (high - low), 0.0)


def _memories(config: AcceleratorConfig) -> dict[str, tuple[Memory, ...]]:
    """Return the macros of one instance of each unit."""
    found: dict[str, list[Memory]] = {}
    for place, memory in placed(config):
        if memory.size <= MACRO_BITS or not memory.synchronous:
            continue
        part = PARTS.match(place)
        unit = f"{part[1]}_0" if part else place.partition(".")[0]
        if part is None or part[2] == "0":
            name = place[part.end() :] if part else place.partition(".")[2]
            found.setdefault(unit, []).append(replace(memory, name=name))
    return {unit: tuple(memories) for unit, memories in found.items()}
