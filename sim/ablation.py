"""One idea of RT-NeRF switched off at a time, and all of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nerf.contract.registers import AXES, View
from nerf.contract.scene_image import Scene
from rtnerf.base.errors import require
from sim.result import Simulation

ORDERINGS = ("exact", "coarse", "none")
SAMPLINGS = ("cubes", "uniform")


@dataclass(frozen=True)
class Switches:
    """How the ideas are switched; by default as they are meant.

    Parameters
    ----------
    termination : float
        Transmittance below which a pixel takes no more samples; 0: never.
    ordering : str
        One of `ORDERINGS`; see `with_ordering`.
    encoding : str
        ``hybrid``, ``bitmap``, ``coordinate`` or ``dense``.
    sampling : str
        ``cubes``, or ``uniform``: every lattice point, with an occupancy test. Modelled only.
    """

    termination: float = 1e-3
    ordering: str = "exact"
    encoding: str = "hybrid"
    sampling: str = "cubes"

    def __post_init__(self) -> None:
        require(0 <= self.termination < 1, "termination", "a number of at least 0 and below 1", self.termination)
        for name, words in (("ordering", ORDERINGS), ("sampling", SAMPLINGS)):
            require(getattr(self, name) in words, name, f"one of {', '.join(words)}", getattr(self, name))

    @property
    def of_frame(self) -> dict[str, Any]:
        """Those of a frame; the encoding is the scene's."""
        return {name: getattr(self, name) for name in ("termination", "ordering", "sampling")}

    @property
    def modelled_only(self) -> list[str]:
        """Names of the switches that are as the RTL cannot have them."""
        return ["sampling"] if self.sampling == "uniform" else []

    def record(self) -> dict[str, Any]:
        """What a result file says of them."""
        return {**asdict(self), "modelled_only": self.modelled_only}


IDEAS = {
    "all on": Switches(),
    "no early termination": Switches(termination=0.0),
    "coarse order": Switches(ordering="coarse"),
    "no order": Switches(ordering="none"),
    "dense blocks": Switches(encoding="dense"),
    "bitmap blocks": Switches(encoding="bitmap"),
    "coordinate blocks": Switches(encoding="coordinate"),
    "uniform sampling": Switches(sampling="uniform"),
    "all off": Switches(termination=0.0, encoding="dense", sampling="uniform"),
}


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


@dataclass(frozen=True, eq=False)
class Ablation:
    """What some frames, one or more, took with the ideas switched so."""

    switches: Switches
    frames: Sequence[Simulation]

    def record(self) -> dict[str, Any]:
        """What a result file says of it: cycles and traffic of each, frame rates and the busiest unit of all."""
        frames, cycles = self.frames, [frame.cycles for frame in self.frames]
        slowest = max(frames, key=lambda frame: frame.cycles)
        clock_hz, unit = slowest.clock_hz, slowest.bottleneck
        return {
            **self.switches.record(),
            "frame_cycles": cycles,
            "fps_at_clock_lowest": clock_hz / max(cycles),
            "fps_at_clock_mean": clock_hz * len(cycles) / sum(cycles),
            "samples": [frame.samples for frame in frames],
            "samples_shaded": [frame.shaded for frame in frames],
            "dram_bytes": [frame.moved_bytes for frame in frames],
            "dram_gigabytes_per_second": max(frame.moved_bytes * clock_hz / frame.cycles / 1e9 for frame in frames),
            "bottleneck": unit,
            "bottleneck_share": slowest.activity[unit]["busy"] / slowest.cycles,
        }
