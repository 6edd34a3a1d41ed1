"""What a simulation says: where the cycles went, what holds the frame up, where it stands under the roofs."""

from typing import Any

import numpy as np

from nerf.contract.config import COMPONENTS, AcceleratorConfig
from nerf.contract.memory import MemoryTiming
from nerf.contract.network import LAYERS
from nerf.contract.registers import AXES, View
from nerf.contract.scene_image import BEAT, GROUPS, PAIRS, Scene
from sim.memory.lpddr4 import Lpddr4
from sim.parts.activity import BUSY, NAMES
from sim.simulate import Simulation

ORDERINGS = ("exact", "coarse", "none")
NOT_UNITS = ("memory", "frame_controller", "tile_scheduler")
"""Blocks that are busy by what they are, and never the bottleneck."""
VECTOR_MACS = 5 * COMPONENTS
"""Multiplications of one pair's 16 products: three for the plane, one for the line, one for their product."""
SAMPLE_MACS = len(PAIRS) * GROUPS["density"] * VECTOR_MACS
SHADED_MACS = len(PAIRS) * GROUPS["appearance"] * VECTOR_MACS + sum(inputs * outputs for inputs, outputs in LAYERS)


def with_ordering(view: View, scene: Scene, ordering: str) -> View:
    """Return the view with another order of the cubes.

    ``exact``: front to back for every ray. ``coarse``: along each axis the whole grid up or down, by the half of it
    that the camera is in, as if only its octant counted. ``none``: as they lie in memory. Pixels are composited in
    the order of the cubes, so only ``exact`` gives the right picture; the others show what the order costs or saves.
    """
    if ordering == "exact":
        return view
    values = dict(view.values)
    for axis, cubes in zip(AXES, scene.cubes, strict=True):
        down = ordering == "coarse" and 2 * values[f"start_cube_{axis}"] >= cubes
        values[f"start_cube_{axis}"] = cubes if down else -1
    return View(values)


def units(simulation: Simulation) -> dict[str, dict[str, Any]]:
    """Return per unit its busy, stalled (by cause) and idle cycles, which add up to the frame's, and its share."""
    result = {}
    for name, spent in simulation.activity.items():
        if spent["idle"] == simulation.cycles:
            continue
        result[name] = {
            "busy_cycles": spent["busy"],
            "stall_cycles": {cause: spent[cause] for cause in NAMES[BUSY + 1 :] if spent[cause]},
            "idle_cycles": spent["idle"],
            "busy_share": spent["busy"] / simulation.cycles,
        }
    return result


def bottleneck(simulation: Simulation) -> str:
    """Return the unit that is busy most of the time."""
    table = units(simulation)
    return max((name for name in table if name not in NOT_UNITS), key=lambda name: table[name]["busy_cycles"])


def roofline(
    simulation: Simulation, config: AcceleratorConfig, memory: MemoryTiming | Lpddr4, clock_hz: float
) -> dict[str, Any]:
    """Return multiply-accumulates a byte and a cycle, and the roofs: those of the network's lanes, and the memory's."""
    macs = simulation.samples * SAMPLE_MACS + simulation.shaded * SHADED_MACS
    bandwidth = float(BEAT)
    if isinstance(memory, Lpddr4):
        bandwidth = min(bandwidth, memory.peak_bytes_per_second / clock_hz)
    else:
        bandwidth /= memory.beat_interval
    compute = config.multipliers + 2 * len(PAIRS) * VECTOR_MACS
    intensity = macs / simulation.moved_bytes
    return {
        "macs": macs,
        "macs_per_byte": intensity,
        "macs_per_cycle": macs / simulation.cycles,
        "compute_roof_macs_per_cycle": compute,
        "memory_roof_macs_per_cycle": intensity * bandwidth,
        "memory_bytes_per_cycle": bandwidth,
        "bound_by": "compute" if compute <= intensity * bandwidth else "memory",
    }


def timeline(simulation: Simulation, clock_hz: float) -> dict[str, Any]:
    """Return the frame in the Trace Event Format, which Perfetto and Chrome show.

    A row per block with what it mostly does in each window, and a counter of its busy share, in microseconds. Source:
    the format's public description ("Trace Event Format", Google).
    """
    microseconds = 1e6 / clock_hz
    events: list[dict[str, Any]] = []
    for number, name in enumerate(simulation.activity):
        table = simulation.windows[:, number]
        if not table.size or table.sum() == table[:, 0].sum():
            continue
        events.append({"ph": "M", "pid": 0, "tid": number, "name": "thread_name", "args": {"name": name}})
        mostly = table.argmax(axis=1)
        edges = np.flatnonzero(np.diff(mostly, prepend=-1, append=-1))
        for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if mostly[begin]:
                length = int(table[begin:end].sum())
                events.append(
                    {
                        "ph": "X", "pid": 0, "tid": number, "name": NAMES[mostly[begin]],
                        "ts": begin * simulation.window * microseconds, "dur": length * microseconds,
                    }
                )  # fmt: skip
        busy = table[:, BUSY] / table.sum(axis=1)
        events += [
            {"ph": "C", "pid": 0, "name": f"{name} busy", "ts": at * simulation.window * microseconds,
             "args": {"share": round(share, 4)}}
            for at, share in enumerate(busy.tolist())
        ]  # fmt: skip
    return {"traceEvents": events, "displayTimeUnit": "ns"}
