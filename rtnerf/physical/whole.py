"""The whole design as one netlist: its units' cells joined at their ports, so that paths through several are timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rtl.verilog.export import TOP
from rtnerf.physical.boundaries import boundaries
from rtnerf.physical.libraries import Technology
from rtnerf.physical.netlist import UNCONNECTED, Netlist
from rtnerf.physical.timing import REGISTER, Path, Timer
from rtnerf.physical.units import Design, Unit

WORST = 10
"""Paths through several units that are named, the worst to each unit."""


@dataclass(frozen=True)
class Whole:
    """A joined design.

    Parameters
    ----------
    netlist : Netlist
    units : list of str
        Path of each instance of a unit, ``top`` first.
    owners : dict of str to int array
        Of each kind of cell: the unit that each instance stands in.
    """

    netlist: Netlist
    units: list[str]
    owners: dict[str, np.ndarray]


class _Place(NamedTuple):
    """An instance of a unit: its path, its netlist, and the number of its first net."""

    path: str
    part: Netlist
    base: int


def join(design: Design, netlist_of: Callable[[Unit], Netlist]) -> Whole:
    """Join the mapped units of a design, each as often as it stands there.

    Parameters
    ----------
    design : Design
    netlist_of : function
        A unit's mapped netlist.
    """
    netlists: dict[str, Netlist] = {}
    places: list[_Place] = []
    pairs: list[np.ndarray] = []

    def add(path: str, module: str, base: int) -> int:
        """Add an instance and what is inside it; return the number of the first net after them."""
        unit = design.by_module[module]
        if module not in netlists:
            netlists[module] = netlist_of(unit)
        part = netlists[module]
        places.append(_Place(path, part, base))
        after = base + len(part.net_names)
        for child in part.children:
            inner, start = unit.modules[child.module], after
            after = add(f"{path}.{child.name}" if path else child.name, inner, start)
            for port, nets in child.ports.items():
                pair = np.stack([nets, netlists[inner].ports[port].nets]).astype(np.int64)
                pairs.append(pair[:, (pair != UNCONNECTED).all(0)] + np.array([[base], [start]]))
        return after

    nets = add("", TOP, 0)
    joined = np.concatenate(pairs, 1) if pairs else np.zeros((2, 0), np.int64)
    numbers = _unite(nets, joined)
    inside = [numbers[place.part.between + place.base] for place in places]
    netlist = _netlist(places, numbers, np.unique(np.concatenate([numbers[joined].ravel(), *inside])))
    return Whole(netlist, [place.path or "top" for place in places], _owners(places))


def _unite(nets: int, pairs: np.ndarray) -> np.ndarray:
    """Return a number for each net, from 0 without gaps; those of a pair have the same."""
    labels = np.arange(nets)
    while not np.array_equal(labels[pairs[0]], labels[pairs[1]]):
        lower = np.minimum(labels[pairs[0]], labels[pairs[1]])
        for side in pairs:
            np.minimum.at(labels, labels[side], lower)
        labels = labels[labels]
    return np.unique(labels, return_inverse=True)[1]


def _netlist(places: list[_Place], numbers: np.ndarray, between: np.ndarray) -> Netlist:
    kinds = {kind: cell for place in places for kind, cell in place.part.cells.items()}
    names = [""] * (int(numbers.max(initial=-1)) + 1)
    rows: dict[str, list[np.ndarray]] = {kind: [] for kind in kinds}
    instances: dict[str, list[str]] = {kind: [] for kind in kinds}
    for path, part, base in places:
        prefix = f"{path}." if path else ""
        for number, name in zip(numbers[base : base + len(part.net_names)].tolist(), part.net_names, strict=True):
            if name:
                names[number] = prefix + name
        for kind, table in part.nets.items():
            rows[kind].append(np.where(table == UNCONNECTED, UNCONNECTED, numbers[table + base]))
            instances[kind] += [prefix + name for name in part.instances[kind]]
    top = places[0].part.ports.values()

    def ends(direction: str) -> np.ndarray:
        nets = [net for port in top if port.direction == direction for net in port.nets.tolist() if net != UNCONNECTED]
        return np.unique(numbers[nets]).astype(np.int32)

    return Netlist(
        "the whole design",
        kinds,
        {kind: np.concatenate(tables).astype(np.int32) for kind, tables in rows.items()},
        instances,
        ends("input"),
        ends("output"),
        names,
        between=between.astype(np.int32),
    )


def _owners(places: list[_Place]) -> dict[str, np.ndarray]:
    owners: dict[str, list[np.ndarray]] = {}
    for number, place in enumerate(places):
        for kind, table in place.part.nets.items():
            owners.setdefault(kind, []).append(np.full(len(table), number))
    return {kind: np.concatenate(parts) for kind, parts in owners.items()}


def measure(design: Design, netlist_of: Callable[[Unit], Netlist], technology: Technology) -> dict[str, Any]:
    """Return the worst paths of the joined design, the one to each unit, and how many boundaries they cross."""
    whole = join(design, netlist_of)
    timer = Timer(whole.netlist, input_transition=technology.input_transition, port_load=technology.port_load)
    owners = np.concatenate([whole.owners[kind] for kind in whole.netlist.nets])
    crossed = boundaries(timer, owners)
    units = owners[timer.ends.instances]
    worst: dict[int, int] = {}
    for number in np.argsort(-timer.delays[:, REGISTER], kind="stable").tolist():
        if np.isfinite(timer.delays[number, REGISTER]):
            worst.setdefault(int(units[number]), number)
    by_name = {path: number for number, path in enumerate(whole.units)}
    paths = [_record(timer.path_to(number), whole.units[unit], by_name) for unit, number in worst.items()]
    return {
        "delay_ps": paths[0]["delay_ps"] if paths else None,
        "path": paths[0] if paths else None,
        "boundaries": int(crossed.max(initial=-1)),
        "through_several": [path for path in paths if len(path["units"]) > 1][:WORST],
    }


def _record(path: Path, end: str, units: dict[str, int]) -> dict[str, Any]:
    """Return a path with the units on its way, each with the arrival where it is left, ps."""
    passed: list[dict[str, Any]] = []
    for step in path.steps:
        unit = _unit_of(step.cell, units)
        if not passed or passed[-1]["unit"] != unit:
            passed.append({"unit": unit})
        passed[-1]["ps"] = step.arrival_ps
    if passed[-1]["unit"] != end:
        passed.append({"unit": end})
    passed[-1]["ps"] = path.delay_ps
    return {"delay_ps": path.delay_ps, "from": path.start, "to": path.end, "units": passed}


def _unit_of(instance: str, units: dict[str, int]) -> str:
    """Return the innermost unit that an instance's name leads through."""
    path = instance
    while path and path not in units:
        path = path.rpartition(".")[0]
    return path or "top"
