"""One idea of RT-NeRF switched off at a time, and all of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sim.analysis import bottleneck
from sim.simulate import Simulation


@dataclass(frozen=True)
class Switches:
    """How the ideas are switched; by default as they are meant.

    Parameters
    ----------
    termination : float
        Transmittance below which a pixel takes no more samples; 0: never.
    ordering : str
        One of `sim.analysis.ORDERINGS`.
    encoding : str
        ``hybrid``, ``bitmap``, ``coordinate`` or ``dense``.
    sampling : str
        ``cubes``, or ``uniform``: every lattice point, with an occupancy test. Modelled only.
    """

    termination: float = 1e-3
    ordering: str = "exact"
    encoding: str = "hybrid"
    sampling: str = "cubes"

    @property
    def modelled_only(self) -> list[str]:
        """Names of the switches that are as the RTL cannot have them."""
        return ["sampling"] if self.sampling == "uniform" else []


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


def outcome_row(switches: Switches, outcomes: Sequence[Simulation], clock_hz: float) -> dict[str, Any]:
    """Return what some frames took: cycles and traffic of each, frame rates and the busiest unit of all."""
    cycles = [outcome.cycles for outcome in outcomes]
    moved = [outcome.moved_bytes for outcome in outcomes]
    slowest = max(outcomes, key=lambda outcome: outcome.cycles)
    unit = bottleneck(slowest)
    return {
        **asdict(switches),
        "modelled_only": switches.modelled_only,
        "frame_cycles": cycles,
        "fps_at_clock_lowest": clock_hz / max(cycles),
        "fps_at_clock_mean": clock_hz * len(cycles) / sum(cycles),
        "samples": [outcome.samples for outcome in outcomes],
        "samples_shaded": [outcome.shaded for outcome in outcomes],
        "dram_bytes": moved,
        "dram_gigabytes_per_second": max(
            bytes_moved * clock_hz / spent / 1e9 for bytes_moved, spent in zip(moved, cycles, strict=True)
        ),
        "bottleneck": unit,
        "bottleneck_share": slowest.activity[unit]["busy"] / slowest.cycles,
    }
