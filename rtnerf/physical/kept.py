"""Results of synthesis that are at hand: those that come along (``data/synthesised.json``), or a file of ours.

The first are made by ``python -m benchmarks.synthesis --embed`` from `reports/results/synthesis.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nerf.contract.config import AcceleratorConfig
from rtnerf.base.errors import InputError
from rtnerf.physical.netlist import Memory
from rtnerf.physical.words import GATE_KINDS

SYNTHESISED = Path(__file__).with_name("data") / "synthesised.json"


@dataclass(frozen=True)
class SynthesisedUnit:
    """A unit: how many equal ones there are, and what one takes.

    Parameters
    ----------
    instances, flip_flops : int
    gates_um2 : float
        Area of gates that are neither arithmetic nor registers.
    arithmetic_um2 : float
        Area of its multipliers and adders.
    leakage_uw : float
        Of its cells.
    operations : dict
        Multipliers and adders, as `rtnerf.physical.words.operations` names them.
    memories : tuple of Memory
        Those that are macros.
    """

    instances: int
    flip_flops: int
    gates_um2: float
    arithmetic_um2: float
    leakage_uw: float
    operations: dict[str, int]
    memories: tuple[Memory, ...]


@dataclass(frozen=True)
class Synthesis:
    """All units of a configuration in a library.

    Parameters
    ----------
    config, library : str
    source : str
        Where the result is from.
    slowest : str
        The unit that sets the clock.
    clock_mhz : float
        Of it, less what wires are taken to cost.
    area_mm2 : float
        Cells and memories.
    units : dict of str to SynthesisedUnit
    """

    config: str
    library: str
    source: str
    slowest: str
    clock_mhz: float
    area_mm2: float
    units: dict[str, SynthesisedUnit]


def kept_synthesis(config: AcceleratorConfig) -> Synthesis | None:
    """Return the result of a configuration that comes along, or None."""
    for record in json.loads(SYNTHESISED.read_text(encoding="utf-8"))["runs"]:
        if record["config_digest"] == config.digest:
            return synthesis_of(record, f"rtnerf/physical/data/{SYNTHESISED.name}")
    return None


def read_synthesis(path: Path, config: AcceleratorConfig) -> Synthesis:
    """Return a configuration's result from a file that `rtnerf synth` has written.

    Raises
    ------
    InputError
        The file is not such a result, or one of other units or of another configuration.
    """
    rule = f"synthesis must be what rtnerf synth --json writes of all units of {config.name}"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["config_digest"] != config.digest:
            raise InputError(f"{rule}, not {path} (of {record['config']})")
        return synthesis_of(record, str(path))
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{rule}, not {path} ({type(error).__name__}: {error})") from None


def short_record(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a result what is read here."""
    units = {
        name: {
            "instances": unit["instances"],
            "flip_flops": unit["flip_flops"],
            "leakage_uw": unit["leakage_uw"],
            "area_um2": unit["area_um2"],
            "area_by_kind_um2": {kind: unit["area_by_kind_um2"][kind] for kind in GATE_KINDS},
            "operations": unit["operations"],
            "memories": [
                {key: memory[key] for key in ("name", "words", "bits", "reads", "writes")}
                for memory in unit["memories"]
            ],
        }
        for name, unit in run["units"].items()
    }
    kept = ("config", "config_digest", "library", "slowest", "clock_mhz", "clock_mhz_with_wires", "area_mm2")
    return {**{key: run[key] for key in kept}, "units": units}


def synthesis_of(record: Mapping[str, Any], source: str) -> Synthesis:
    """Return what `short_record` or a result has; ``source``: where it is from."""
    return Synthesis(
        record["config"],
        record["library"],
        source,
        record["slowest"],
        float(record["clock_mhz_with_wires"]),
        float(record["area_mm2"]),
        {name: _unit(unit) for name, unit in record["units"].items()},
    )


def _unit(record: Mapping[str, Any]) -> SynthesisedUnit:
    area = record["area_by_kind_um2"]
    return SynthesisedUnit(
        int(record["instances"]),
        int(record["flip_flops"]),
        float(area["selection"] + area["control"]),
        float(area["multipliers"] + area["adders"]),
        float(record["leakage_uw"]),
        {str(name): int(count) for name, count in record["operations"].items()},
        tuple(
            Memory(
                **{key: memory[key] for key in ("name", "words", "bits", "reads", "writes")},
                synchronous=True, forwards=False, initialised=False,
            )
            for memory in record["memories"]
        ),
    )  # fmt: skip
