"""A simulated frame beside its synthesised accelerator: frames a second at the clock of a library, and energy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtnerf.base.errors import InputError
from rtnerf.base.files import read_json

if TYPE_CHECKING:
    from nerf.contract.config import AcceleratorConfig
    from rtnerf.physical.kept import Synthesis
    from sim.result import Simulation


def synthesis_of(config: AcceleratorConfig, path: Path | None, estimates: bool = False) -> Synthesis | None:
    """Return a configuration's synthesis from a file, or the one that comes along, if there is one; or its estimate.

    Raises
    ------
    InputError
        The file is no such result.
    """
    from rtnerf.physical.kept import kept_synthesis, read_synthesis

    if path is not None:
        return read_synthesis(path, config)
    found = kept_synthesis(config)
    if found is None and estimates:
        from rtnerf.physical.estimate import estimated_synthesis

        return estimated_synthesis(config)
    return found


def synthesis_files(paths: Sequence[Path]) -> dict[str, Path]:
    """Return the files that rtnerf synth has written, by digest of their configuration.

    Raises
    ------
    InputError
        A file is none.
    """
    found = {}
    for path in paths:
        record = read_json("synthesis", path)
        if not isinstance(record, dict) or "config_digest" not in record:
            raise InputError(f"synthesis must be what rtnerf synth --json writes, not {path}")
        found[record["config_digest"]] = path
    return found


def record_of(frame: Simulation, synthesis: Synthesis | None) -> dict[str, Any]:
    """Return what a result file says of a frame: what it took, accesses of memories on chip, and `cost_of` it.

    ``on_chip_accesses``: reads and writes by pattern of memory, as `nerf.contract.activity.Activity` has them.
    """
    from sim.analysis import activity_of

    accesses = {name: list(count) for name, count in activity_of(frame).accesses.items()}
    return {**frame.record(), "on_chip_accesses": accesses, **cost_of(frame, synthesis)}


def cost_of(frame: Simulation, synthesis: Synthesis | None) -> dict[str, Any]:
    """Return frame rates and energy of a frame: at the assumed clock, and at that of the slowest unit in a library.

    The cycles are those of the assumed clock; with LPDDR4 a slower clock takes fewer of them.
    """
    from rtnerf.physical.energy import LIBRARIES, frame_energy
    from sim.analysis import activity_of

    found: dict[str, Any] = {
        "fps_at_assumed_clock": {"fps": frame.fps_at_clock, "assumed_clock_mhz": frame.clock_hz / 1e6},
        "fps_at_library_clock": None,
        "library_clock": None,
        "energy_mj": None,
    }
    name = frame.config.name
    if synthesis is None:
        missing = f"no synthesis of {name} comes along: rtnerf synth --config {name} --json F, then --synthesis F"
        return {**found, "library_clock_missing": missing, "energy_missing": missing}
    found["fps_at_library_clock"] = synthesis.clock_mhz * 1e6 / frame.cycles
    found["library_clock"] = {
        "library": synthesis.library,
        "mhz_less_20_percent_for_wires": synthesis.clock_mhz,
        "slowest_unit": synthesis.slowest,
        "synthesis": synthesis.source,
    }
    if synthesis.library not in LIBRARIES:
        return {
            **found,
            "energy_missing": f"energies are known in {' and '.join(LIBRARIES)}, not in {synthesis.library}",
        }
    return {**found, **frame_energy(activity_of(frame), synthesis)}


def told(cost: dict[str, Any]) -> str:
    """Return what `cost_of` has found, or `record_of`, in a line."""
    clock = cost["library_clock"]
    if clock is None:
        return cost["library_clock_missing"]
    line = (
        f"{cost['fps_at_library_clock']:.3f} frames/s at {clock['mhz_less_20_percent_for_wires']:.0f} MHz: "
        f"{clock['slowest_unit']} in {clock['library']}, less 20 % for wires"
    )
    if cost["energy_mj"] is None:
        return f"{line}; {cost['energy_missing']}"
    low, high = cost["energy_mj"]
    return f"{line}; {low:.3g} to {high:.3g} mJ"
