"""Why two frames differ: cycles, bytes, stalls, energy and configuration of two results, the heaviest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rtnerf.base.errors import InputError
from rtnerf.base.files import read_json
from sim.result import NOT_UNITS

SETTINGS = (
    "model", "transforms", "split", "index", "views", "width_pixels", "height_pixels", "size", "crop_pixels", "crop",
    "background", "encoding", "termination", "ordering", "sampling", "occupancy", "occupancy_alpha", "step_ratio",
    "shading_threshold", "prune_density", "prune_appearance", "factor_bits", "clock_hz", "clock_mhz",
)  # fmt: skip
"""What is set of a frame or a point, besides its configuration and its memory."""
LEAST = 1e-3
"""Share of its whole that a difference has to have to be told."""


@dataclass(frozen=True)
class Setting:
    """A setting that differs."""

    name: str
    first: Any
    second: Any


@dataclass(frozen=True)
class Difference:
    """A quantity that differs.

    Parameters
    ----------
    kind : str
        What is counted: ``cycles``, ``bytes``, ``mJ``, ``accesses`` or ``samples``.
    name : str
    first, second : float
    share : float
        Of the difference, signed, in the whole of that kind in the first result.
    """

    kind: str
    name: str
    first: float
    second: float
    share: float


@dataclass(frozen=True)
class Comparison:
    """Two frames side by side.

    Parameters
    ----------
    wholes : dict of str to pairs
        By kind, what the shares are of.
    settings : list of Setting
    differences : list of Difference
        The largest share first.
    """

    wholes: dict[str, tuple[float, float]]
    settings: list[Setting]
    differences: list[Difference]

    def record(self) -> dict[str, Any]:
        """What a result file says of it."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """Yield the table."""
        for kind, (first, second) in self.wholes.items():
            change = f" ({second / first - 1:+.2%})" if first else ""
            yield f"{kind}: {first:,.6g} -> {second:,.6g}{change}"
        if not self.settings and not self.differences:
            yield "nothing differs"
            return
        yield f"  {'of':<9} {'what':<44} {'first':>16} {'second':>16} {'share':>9}"
        for setting in self.settings:
            yield f"  {'setting':<9} {setting.name:<44} {setting.first!s:>16} {setting.second!s:>16}"
        told = [row for row in self.differences if abs(row.share) >= LEAST]
        for row in told:
            yield f"  {row.kind:<9} {row.name:<44} {row.first:>16,.6g} {row.second:>16,.6g} {row.share:>+9.2%}"
        if rest := len(self.differences) - len(told):
            yield f"  and {rest} of less than {LEAST:.1%}"


def load_frame(name: str, path: Path) -> Mapping[str, Any]:
    """Read a result of ``rtnerf simulate``, which tells of its first frame, or a point of a sweep, its frames together.

    Raises
    ------
    InputError
        The file is none.
    """
    rule = "a result of rtnerf simulate --json, or a point of a sweep"
    found = read_json(name, path)
    if not isinstance(found, dict):
        raise InputError(f"{name} must be {rule}, not {path} (no JSON object)")
    if found.get("command") == "simulate":
        return found
    if found.get("frames"):
        frames = found["frames"]
        return {
            **together(frames),
            **{key: frames[0][key] for key in ("config_parameters", "memory")},
            **found["settings"],
        }
    raise InputError(f"{name} must be {rule}, not {path} (of {found.get('command', 'no command of rtnerf')})")


def together(values: Sequence[Any]) -> Any:
    """Return the sums of numbers, wherever they stand in equal records; of all else the first."""
    first = values[0]
    if isinstance(first, Mapping):
        names = dict.fromkeys(name for value in values for name in value)
        return {name: together([value[name] for value in values if name in value]) for name in names}
    if isinstance(first, list):
        return [together(row) for row in zip(*values, strict=True)]
    return sum(values) if isinstance(first, int | float) else first


def compare(first: Mapping[str, Any], second: Mapping[str, Any]) -> Comparison:
    """Compare two results that `load_frame` has read.

    Raises
    ------
    InputError
        A result lacks what frames say, as those of other versions do.
    """
    try:
        settings = [
            Setting(name, before, after)
            for name, (before, after) in _pairs(_settings(first), _settings(second))
            if before != after
        ]
        quantities = _quantities(first), _quantities(second)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"results must be of rtnerf simulate in this version, not another ({type(error).__name__}: {error})"
        ) from None
    wholes = {kind: (row[""], quantities[1][kind][""]) for kind, row in quantities[0].items() if kind in quantities[1]}
    differences = sorted(_differences(*quantities), key=lambda row: -abs(row.share))
    return Comparison(wholes, settings, differences)


def _pairs(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Yield each name of either, in their order, with both values; None where there is none."""
    for name in dict.fromkeys([*first, *second]):
        yield name, (first.get(name), second.get(name))


def _settings(frame: Mapping[str, Any]) -> dict[str, Any]:
    return (
        {name: frame[name] for name in SETTINGS if name in frame}
        | {f"config.{name}": value for name, value in frame["config_parameters"].items()}
        | {f"memory.{name}": value for name, value in frame["memory"].items()}
    )


def _quantities(frame: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return what is counted of a frame: by kind, by name, and under an empty name what a share is of."""
    cycles = {"": frame["cycles"]}
    for unit, row in frame["units"].items():
        if unit in NOT_UNITS:
            continue
        cycles[f"{unit}: busy"] = row["busy_cycles"]
        cycles |= {f"{unit}: waits for {cause}": count for cause, count in row["stall_cycles"].items()}
    read = {f"read: {kind}": count for kind, count in frame["dram_read_bytes_by_kind"].items()}
    moved = frame["dram_read_bytes"] + frame["dram_write_bytes"]
    accesses: dict[str, float] = {}
    for memory, (reads, writes) in frame["on_chip_accesses"].items():
        accesses |= {f"{memory}: reads": reads, f"{memory}: writes": writes}
    found: dict[str, dict[str, float]] = {
        "cycles": cycles,
        "bytes": {"": moved, **read, "written": frame["dram_write_bytes"]},
        "accesses": {"": sum(accesses.values()), **accesses},
        "samples": {"": frame["samples"], "composited": frame["samples"], "shaded": frame["samples_shaded"]},
    }
    if frame.get("energy_mj") is not None:
        parts = {
            f"{unit}: {cause}": sum(energy) / 2
            for unit, row in frame["energy_parts_mj"].items()
            for cause, energy in row.items()
        }
        found["mJ"] = {"": sum(frame["energy_mj"]) / 2, **parts}
    return found


def _differences(
    first: Mapping[str, Mapping[str, float]], second: Mapping[str, Mapping[str, float]]
) -> Iterator[Difference]:
    for kind in first:
        if kind not in second:
            continue
        whole = first[kind][""] or 1.0
        for name, values in _pairs(first[kind], second[kind]):
            before, after = (value or 0.0 for value in values)
            if name and before != after:
                yield Difference(kind, name, before, after, (after - before) / whole)
