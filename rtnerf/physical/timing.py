"""Static timing of a mapped netlist: worst arrival times by tables of delay over transition and load.

One ideal clock, no wires: the load of a net is the capacitance of the pins that it drives. At each pin the largest
transition is taken forward, and the latest arrival, apart from each other, as graph-based timers do. Outside the
tables the nearest values are continued straight on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rtnerf.base.compiled import compiled
from rtnerf.physical.cells import FALL, RISE, Arc, Cell, Table
from rtnerf.physical.netlist import UNCONNECTED, Netlist

REGISTER, PORT = 0, 1
"""Where a path starts, and ends."""

_SENSES = {"positive": 0, "negative": 1, "both": 2}
_NONE = -1


class Edges(NamedTuple):
    """Arcs of all instances, by source net: from, to, number of the arc."""

    first: np.ndarray
    targets: np.ndarray
    arcs: np.ndarray
    instances: np.ndarray


class Starts(NamedTuple):
    """Nets that a clock arc drives, and the number of that arc."""

    nets: np.ndarray
    arcs: np.ndarray
    instances: np.ndarray


class Ends(NamedTuple):
    """Nets that a set-up arc watches, and the number of that arc."""

    nets: np.ndarray
    arcs: np.ndarray
    instances: np.ndarray


class Tables(NamedTuple):
    """All tables in one: where each begins, its size, and its two axes and its values one after the other."""

    offsets: np.ndarray
    shapes: np.ndarray
    numbers: np.ndarray


class Arcs(NamedTuple):
    """Of each arc: its sense; the tables of delay and transition to the rising and the falling edge."""

    senses: np.ndarray
    delays: np.ndarray
    transitions: np.ndarray


@dataclass(frozen=True)
class Step:
    """One pin on a path: net, edge, arrival in ps, and the cell that drives it."""

    net: str
    edge: str
    arrival_ps: float
    cell: str


@dataclass(frozen=True)
class Path:
    """A worst path: its delay with the set-up time, where it starts and ends, and its steps."""

    delay_ps: float
    start: str
    end: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Timing:
    """Worst paths by where they start and end.

    Parameters
    ----------
    register : Path or None
        From registers and memories to registers and memories: what bounds the clock.
    arriving, leaving, through : Path or None
        From ports to registers, from registers to ports, from ports to ports.
    end_delays : float array
        The latest arrival with set-up at each register or memory input that a register reaches, ps.
    """

    register: Path | None
    arriving: Path | None
    leaving: Path | None
    through: Path | None
    end_delays: np.ndarray


# ---- The tables ----


class _Compiler:
    """Numbers for the arcs of the cells that a netlist uses."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.shapes: list[tuple[int, int]] = []
        self.numbers: list[np.ndarray] = []
        self.length = 0
        self.senses: list[int] = []
        self.delays: list[tuple[int, int]] = []
        self.transitions: list[tuple[int, int]] = []

    def table(self, table: Table | None) -> int:
        if table is None:
            return _NONE
        self.offsets.append(self.length)
        self.shapes.append((len(table.rows), len(table.columns)))
        for part in (table.rows, table.columns, table.values.ravel()):
            self.numbers.append(part)
            self.length += len(part)
        return len(self.offsets) - 1

    def arc(self, arc: Arc) -> int:
        self.senses.append(_SENSES[arc.sense])
        self.delays.append((self.table(arc.delays[RISE]), self.table(arc.delays[FALL])))
        self.transitions.append((self.table(arc.transitions[RISE]), self.table(arc.transitions[FALL])))
        return len(self.senses) - 1

    def tables(self) -> Tables:
        numbers = np.concatenate(self.numbers) if self.numbers else np.zeros(0)
        return Tables(np.array(self.offsets, np.int64), np.array(self.shapes, np.int64).reshape(-1, 2), numbers)

    def arcs(self) -> Arcs:
        pairs = (np.array(part, np.int64).reshape(-1, 2) for part in (self.delays, self.transitions))
        return Arcs(np.array(self.senses, np.int64), *pairs)


@compiled
def _interval(axis, x):
    low = 0
    while low < len(axis) - 2 and axis[low + 1] <= x:
        low += 1
    return low


@compiled
def look_up(tables, table, row, column):
    """Return a value between, or beyond, the entries of a table."""
    rows, columns = tables.shapes[table, 0], tables.shapes[table, 1]
    start = tables.offsets[table]
    row_axis = tables.numbers[start : start + rows]
    column_axis = tables.numbers[start + rows : start + rows + columns]
    values = start + rows + columns
    i, u = 0, 0.0
    if rows > 1:
        i = _interval(row_axis, row)
        u = (row - row_axis[i]) / (row_axis[i + 1] - row_axis[i])
    j, v = 0, 0.0
    if columns > 1:
        j = _interval(column_axis, column)
        v = (column - column_axis[j]) / (column_axis[j + 1] - column_axis[j])
    below = 1 if columns > 1 else 0
    down = columns if rows > 1 else 0
    at = values + i * columns + j
    upper = tables.numbers[at] * (1 - v) + tables.numbers[at + below] * v
    lower = tables.numbers[at + down] * (1 - v) + tables.numbers[at + down + below] * v
    return upper * (1 - u) + lower * u


@compiled
def _propagate(
    tables, arcs, edges, starts, loads, inputs, input_transition, waiting, order, arrivals, transitions, came
):
    """Fill arrivals (net, edge, start), transitions (net, edge), and from where each arrival came.

    ``waiting`` counts the arcs into each net; it is used up. ``order`` becomes the nets, each behind all that drive it.
    Return how many nets were reached: all but those in loops and behind them.
    """
    nets = len(loads)
    filled = 0
    for number in range(len(starts.nets)):
        net, arc = starts.nets[number], starts.arcs[number]
        for edge in range(2):
            table = arcs.delays[arc, edge]
            if table != _NONE:
                delay = look_up(tables, table, 0.0, loads[net, edge])
                if delay > arrivals[net, edge, REGISTER]:
                    arrivals[net, edge, REGISTER] = delay
                    came[net, edge, REGISTER] = -2 - number
                slope = look_up(tables, arcs.transitions[arc, edge], 0.0, loads[net, edge])
                transitions[net, edge] = max(transitions[net, edge], slope)
    for net in inputs:
        for edge in range(2):
            arrivals[net, edge, PORT] = 0.0
            transitions[net, edge] = max(transitions[net, edge], input_transition)
    for net in range(nets):
        if waiting[net] == 0:
            order[filled] = net
            filled += 1
    taken = 0
    while taken < filled:
        net = order[taken]
        taken += 1
        for number in range(edges.first[net], edges.first[net + 1]):
            target, arc = edges.targets[number], edges.arcs[number]
            sense = arcs.senses[arc]
            for edge in range(2):
                table = arcs.delays[arc, edge]
                if table == _NONE:
                    continue
                for source in range(2):
                    if (sense == 0 and source != edge) or (sense == 1 and source == edge):
                        continue
                    slope = transitions[net, source]
                    load = loads[target, edge]
                    delay = look_up(tables, table, slope, load)
                    if arcs.transitions[arc, edge] != _NONE:
                        result = look_up(tables, arcs.transitions[arc, edge], slope, load)
                        transitions[target, edge] = max(transitions[target, edge], result)
                    for start in range(2):
                        arrival = arrivals[net, source, start] + delay
                        if arrival > arrivals[target, edge, start]:
                            arrivals[target, edge, start] = arrival
                            came[target, edge, start] = 2 * number + source
            waiting[target] -= 1
            if waiting[target] == 0:
                order[filled] = target
                filled += 1
    return filled


@compiled
def _require(tables, arcs, ends, arrivals, transitions, delays, worst):
    """Fill arrival plus set-up at each end (end, start), and the edge that is worst."""
    for number in range(len(ends.nets)):
        net, arc = ends.nets[number], ends.arcs[number]
        for edge in range(2):
            if arcs.delays[arc, edge] == _NONE:
                continue
            setup = look_up(tables, arcs.delays[arc, edge], 0.0, transitions[net, edge])
            for start in range(2):
                delay = arrivals[net, edge, start] + setup
                if delay > delays[number, start]:
                    delays[number, start] = delay
                    worst[number, start] = edge


# ---- From a netlist ----


def _loads(netlist: Netlist, port_load: float) -> np.ndarray:
    loads = np.zeros((len(netlist.net_names), 2))
    for kind, rows in netlist.nets.items():
        for column, pin in enumerate(netlist.cells[kind].pins.values()):
            if pin.direction == "input":
                nets = rows[:, column]
                nets = nets[nets != UNCONNECTED]
                for edge in (RISE, FALL):
                    np.add.at(loads[:, edge], nets, pin.capacitance[edge])
    loads[netlist.outputs] += port_load
    # What a unit drives in others, nothing has sized a driver for: a tree of buffers, one more for each factor of four.
    shared = loads[netlist.between]
    if port_load > 0:
        trees = port_load * (1 + np.log(np.maximum(shared, port_load) / port_load) / np.log(4))
        loads[netlist.between] = np.minimum(shared, trees)
    return loads


def _graph(netlist: Netlist) -> tuple[_Compiler, Edges, Starts, Ends, np.ndarray, list[str]]:
    compiler = _Compiler()
    found: dict[str, list[np.ndarray]] = {"logic": [], "clock": [], "setup": []}
    instances: list[str] = []
    for kind, rows in netlist.nets.items():
        cell = netlist.cells[kind]
        columns = {name: number for number, name in enumerate(cell.pins)}
        numbers = np.arange(len(instances), len(instances) + len(rows))
        instances += netlist.instances[kind]
        numbered: dict[int, int] = {}
        for name, pin in cell.pins.items():
            for arc in pin.arcs:
                if id(arc) not in numbered:
                    numbered[id(arc)] = compiler.arc(arc)
                target = rows[:, columns[name]]
                source = rows[:, columns[arc.source]] if arc.kind == "logic" else np.zeros_like(target)
                used = (target != UNCONNECTED) & (source != UNCONNECTED)
                arcs = np.full(len(rows), numbered[id(arc)])
                found[arc.kind].append(np.stack([source, target, arcs, numbers])[:, used])
    parts = {kind: np.concatenate(lists, 1) if lists else np.zeros((4, 0), int) for kind, lists in found.items()}
    logic = parts["logic"][:, np.argsort(parts["logic"][0], kind="stable")]
    nets = len(netlist.net_names)
    first = np.searchsorted(logic[0], np.arange(nets + 1))
    edges = Edges(first, *(np.ascontiguousarray(row) for row in logic[1:]))
    waiting = np.bincount(logic[1], minlength=nets)
    starts = Starts(*(np.ascontiguousarray(row) for row in parts["clock"][1:]))
    ends = Ends(*(np.ascontiguousarray(row) for row in parts["setup"][1:]))
    return compiler, edges, starts, ends, waiting, instances


class Timer:
    """Arrival times of one netlist.

    Parameters
    ----------
    netlist : Netlist
    input_transition : float
        Of every input port, ps.
    port_load : float
        At every output port, fF.

    Raises
    ------
    ValueError
        The logic has a loop.
    """

    def __init__(self, netlist: Netlist, *, input_transition: float = 0.0, port_load: float = 0.0) -> None:
        self.netlist = netlist
        compiler, self.edges, self.starts, self.ends, waiting, self.instances = _graph(netlist)
        self.sources = np.repeat(np.arange(len(netlist.net_names)), np.diff(self.edges.first))
        tables, arcs = compiler.tables(), compiler.arcs()
        loads = _loads(netlist, port_load)
        nets = len(netlist.net_names)
        self.arrivals = np.full((nets, 2, 2), -np.inf)
        self.came = np.full((nets, 2, 2), _NONE)
        transitions = np.zeros((nets, 2))
        inputs, self.order = netlist.inputs.astype(np.int64), np.empty(nets, np.int64)
        reached = _propagate(
            tables, arcs, self.edges, self.starts, loads, inputs, float(input_transition), waiting, self.order,
            self.arrivals, transitions, self.came,
        )  # fmt: skip
        if reached < nets:
            raise ValueError(f"{netlist.name} must have logic without a loop")
        self.delays = np.full((len(self.ends.nets), 2), -np.inf)
        self.worst = np.zeros((len(self.ends.nets), 2), np.int64)
        _require(tables, arcs, self.ends, self.arrivals, transitions, self.delays, self.worst)

    def timing(self) -> Timing:
        """Return the worst paths."""
        reached = self.delays[:, REGISTER]
        return Timing(
            self._to_register(REGISTER),
            self._to_register(PORT),
            self._to_port(REGISTER),
            self._to_port(PORT),
            np.sort(reached[np.isfinite(reached)])[::-1],
        )

    def _to_register(self, start: int) -> Path | None:
        delays = self.delays[:, start]
        if len(delays) == 0 or not np.isfinite(delays.max()):
            return None
        return self.path_to(int(np.argmax(delays)), start)

    def path_to(self, number: int, start: int = REGISTER) -> Path:
        """Return the worst path to one of `ends`; one must reach it."""
        steps = self._steps(int(self.ends.nets[number]), int(self.worst[number, start]), start)
        end = self._register(int(self.ends.instances[number]))
        return Path(float(self.delays[number, start]), steps[0].net, end, steps)

    def _to_port(self, start: int) -> Path | None:
        arrivals = self.arrivals[self.netlist.outputs, :, start]
        if arrivals.size == 0 or not np.isfinite(arrivals.max()):
            return None
        index, edge = np.unravel_index(int(np.argmax(arrivals)), arrivals.shape)
        net = int(self.netlist.outputs[index])
        return Path(float(arrivals[index, edge]), *self._names(net, int(edge), start))

    def _names(self, net: int, edge: int, start: int) -> tuple[str, str, tuple[Step, ...]]:
        steps = self._steps(net, edge, start)
        return steps[0].net, self.netlist.net_names[net], steps

    def _register(self, instance: int) -> str:
        """Return the name of a register: that of the net that it drives, or of the memory."""
        driven = self.starts.nets[self.starts.instances == instance]
        name = self.instances[instance]
        if len(driven) == 1 and self.netlist.net_names[driven[0]]:
            return self.netlist.net_names[driven[0]]
        return name.lstrip("\\")

    def _steps(self, net: int, edge: int, start: int) -> tuple[Step, ...]:
        steps = []
        while True:
            came = int(self.came[net, edge, start])
            driver = (
                ""
                if came == _NONE
                else (
                    self.instances[self.starts.instances[-2 - came]]
                    if came < _NONE
                    else self.instances[self.edges.instances[came // 2]]
                )
            )
            name = self.netlist.net_names[net]
            arrival = float(self.arrivals[net, edge, start])
            steps.append(Step(name, ("rise", "fall")[edge], arrival, driver))
            if came < 0:
                return tuple(reversed(steps))
            net, edge = int(self.sources[came // 2]), came % 2


def cell_delay(cell: Cell, transition: float, load: float) -> tuple[float, float]:
    """Return the larger delay and the larger transition of a one-input cell, ps."""
    compiler = _Compiler()
    (output,) = cell.outputs
    numbers = [compiler.arc(arc) for arc in output.arcs]
    tables, arcs = compiler.tables(), compiler.arcs()
    results = [
        [look_up(tables, part[number, edge], transition, load) for number in numbers for edge in (RISE, FALL)]
        for part in (arcs.delays, arcs.transitions)
    ]
    return max(results[0]), max(results[1])
