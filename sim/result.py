"""What a simulation found: where the cycles went, what holds the frame up, where it stands under the roofs."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nerf.contract.config import COMPONENTS, AcceleratorConfig
from nerf.contract.memory import MemoryTiming
from nerf.contract.scene_image import BEAT, PAIRS
from sim.memory.dram import Dram
from sim.parts.activity import BUSY, NAMES

STALLS = NAMES[BUSY + 1 :]
"""What a block waits for."""
NOT_UNITS = ("memory", "frame_controller", "tile_scheduler")
"""Blocks that are busy by what they are, and never the bottleneck."""
VECTOR_MACS = 5 * COMPONENTS
"""Multiplications of one pair's 16 products: three for the plane, one for the line, one for their product."""


@dataclass(frozen=True, eq=False)
class Simulation:
    """What a frame took, and where. A notebook shows it as a table.

    Parameters
    ----------
    config : AcceleratorConfig
    timing : MemoryTiming or Dram
        Of the memory.
    clock_hz : float
        Assumed, of the accelerator.
    cycles : int
        From the start of the frame to its end.
    activity : dict
        Per block, the cycles spent on each of `sim.parts.activity.NAMES`; they add up to ``cycles``.
    generated, samples, shaded : int
        Samples that were generated, composited, and shaded.
    read_bytes : dict
        By reader.
    written_bytes : int
    moved : dict
        Transfers on each probed stream.
    tiles : int
        Whose rays were set up: those that a cube may meet.
    rows : dict
        Of LPDDR4: accesses by what they found (``hits``, ``misses``, ``conflicts``) and ``refreshes``; else empty.
    steps : int
        Cycles that were simulated one by one; nothing happened in the others.
    doing : dict
        What each block did in the last cycle.
    transfers : dict of int64 arrays, or None
        Cycle of each transfer on each probed stream, if they were recorded.
    window : int
        Cycles of a window.
    windows : int64 array (windows, blocks, activities)
        Cycles spent in each window; the first is a cycle shorter, the last may be.
    """

    config: AcceleratorConfig
    timing: MemoryTiming | Dram
    clock_hz: float
    cycles: int
    activity: dict[str, dict[str, int]]
    generated: int
    samples: int
    shaded: int
    read_bytes: dict[str, int]
    written_bytes: int
    moved: dict[str, int]
    tiles: int
    rows: dict[str, int]
    steps: int
    doing: dict[str, str]
    transfers: dict[str, np.ndarray] | None
    window: int
    windows: np.ndarray

    @property
    def moved_bytes(self) -> int:
        """Read and written."""
        return sum(self.read_bytes.values()) + self.written_bytes

    @property
    def fps_at_clock(self) -> float:
        """Frames a second, at the assumed clock."""
        return self.clock_hz / self.cycles

    @property
    def units(self) -> dict[str, dict[str, Any]]:
        """Per unit its busy, stalled (by cause) and idle cycles, which add up to the frame's, and its busy share."""
        return {
            name: {
                "busy_cycles": spent["busy"],
                "stall_cycles": {cause: spent[cause] for cause in STALLS if spent[cause]},
                "idle_cycles": spent["idle"],
                "busy_share": spent["busy"] / self.cycles,
            }
            for name, spent in self.activity.items()
            if spent["idle"] < self.cycles
        }

    @property
    def bottleneck(self) -> str:
        """The unit that is busy most of the time."""
        units = self.units
        return max((name for name in units if name not in NOT_UNITS), key=lambda name: units[name]["busy_cycles"])

    @property
    def roofline(self) -> dict[str, Any]:
        """Multiply-accumulates a byte and a cycle, and the roofs: those of the network's lanes, and the memory's."""
        groups = self.config.groups
        interpolated = groups["density"] * self.samples + groups["appearance"] * self.shaded
        macs = len(PAIRS) * VECTOR_MACS * interpolated + self.shaded * self.config.network.multiply_accumulates
        bandwidth = float(BEAT)
        if isinstance(self.timing, Dram):
            bandwidth = min(bandwidth, self.timing.peak_bytes_per_second / self.clock_hz)
        else:
            bandwidth /= self.timing.beat_interval
        lanes = self.config.density_lanes + self.config.appearance_lanes
        compute = self.config.multipliers + lanes * len(PAIRS) * VECTOR_MACS
        intensity = macs / self.moved_bytes
        return {
            "macs": macs,
            "macs_per_byte": intensity,
            "macs_per_cycle": macs / self.cycles,
            "compute_roof_macs_per_cycle": compute,
            "memory_roof_macs_per_cycle": intensity * bandwidth,
            "memory_bytes_per_cycle": bandwidth,
            "bound_by": "compute" if compute <= intensity * bandwidth else "memory",
        }

    def timeline(self) -> dict[str, Any]:
        """The frame in the Trace Event Format, which Perfetto and Chrome show.

        A row per block with what it mostly does in each window, and a counter of its busy share, in microseconds.
        Source: the format's public description ("Trace Event Format", Google).
        """
        microseconds = 1e6 / self.clock_hz
        events: list[dict[str, Any]] = []
        for number, name in enumerate(self.activity):
            table = self.windows[:, number]
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
                            "ts": begin * self.window * microseconds, "dur": length * microseconds,
                        }
                    )  # fmt: skip
            busy = table[:, BUSY] / table.sum(axis=1)
            events += [
                {"ph": "C", "pid": 0, "name": f"{name} busy", "ts": at * self.window * microseconds,
                 "args": {"share": round(share, 4)}}
                for at, share in enumerate(busy.tolist())
            ]  # fmt: skip
        return {"traceEvents": events, "displayTimeUnit": "ns"}

    def record(self) -> dict[str, Any]:
        """What a result file says of it."""
        return {
            "config": self.config.name,
            "config_digest": self.config.digest,
            "config_parameters": asdict(self.config),
            "memory": self.timing.record(),
            "clock_hz": self.clock_hz,
            "cycles": self.cycles,
            "fps_at_clock": self.fps_at_clock,
            "samples": self.samples,
            "samples_shaded": self.shaded,
            "units": self.units,
            "bottleneck": self.bottleneck,
            "dram_read_bytes": sum(self.read_bytes.values()),
            "dram_write_bytes": self.written_bytes,
            "dram_read_bytes_by_kind": self.read_bytes,
            "dram_rows": self.rows,
            "roofline": self.roofline,
            "cycles_simulated_one_by_one": self.steps,
        }

    def _repr_html_(self) -> str:
        """A table of the units, for notebooks."""
        heads = "".join(f"<th>{what}</th>" for what in ("unit", "busy", *(f"waits: {why}" for why in STALLS), "idle"))
        rows = []
        for name in self.units:
            shares = [self.activity[name][what] / self.cycles for what in ("busy", *STALLS, "idle")]
            rows.append(f"<tr><th>{name}</th>{''.join(f'<td>{share:.1%}</td>' for share in shares)}</tr>")
        return (
            f"<p>{self.cycles:,} cycles of {self.config.name}, {self.fps_at_clock:.3g} frames/s at an assumed "
            f"{self.clock_hz / 1e6:g} MHz; busiest: <b>{self.bottleneck}</b></p>"
            f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        )
