"""Liberty files: read into `rtnerf.physical.cells`, and written.

Conditional arcs between the same pins are joined by their largest values.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path

import numpy as np

from rtnerf.base.errors import InputError
from rtnerf.physical.cells import FALL, RISE, Arc, Cell, Library, Pin, Table

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<close>\})
    | (?P<stop>;)
    | (?P<name>[A-Za-z_][\w.]*)\s*(?:
        \((?P<arguments>(?:[^()"]|"[^"]*")*)\)\s*(?P<open>\{)?
        | [:=]\s*(?P<value>"[^"]*"|[^;\n{}]*)
      )
    )""",
    re.VERBOSE,
)
# What nobody here asks for is left out before the reading: power tables are most of a file.
_COMMENT = re.compile(
    r"/\*.*?\*/|//[^\n]*|\b(?:internal_power|leakage_current|pg_pin)\s*\([^()]*\)\s*\{(?:[^{}]|\{[^{}]*\})*\}",
    re.DOTALL,
)
_TIME = {"s": 1e12, "ms": 1e9, "us": 1e6, "ns": 1e3, "ps": 1.0, "fs": 1e-3}
_CAPACITANCE = {"f": 1e15, "mf": 1e12, "uf": 1e9, "nf": 1e6, "pf": 1e3, "ff": 1.0}
_POWER = {"w": 1e9, "mw": 1e6, "uw": 1e3, "nw": 1.0, "pw": 1e-3, "fw": 1e-6}
_FIRST_VARIABLES = ("input_net_transition", "related_pin_transition")


@dataclass
class Group:
    """A group of a Liberty file: its kind and name, its attributes, the groups inside."""

    kind: str
    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)

    def of(self, kind: str) -> Iterator[Group]:
        """Yield the groups of a kind."""
        return (group for group in self.groups if group.kind == kind)

    def number(self, name: str, default: float = 0.0) -> float:
        """Return an attribute as a number."""
        return float(self.attributes.get(name, default))


# ---- Reading ----


def parse(text: str, path: object = "text") -> Group:
    """Return the ``library`` group of a Liberty file.

    Raises
    ------
    InputError
        The text is not Liberty, or ends too early.
    """

    def refuse(position: int) -> InputError:
        return InputError(f"library must be a Liberty file, not {path} (line {text.count(chr(10), 0, position) + 1})")

    text = _COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), text).replace("\\\n", " \n")
    stack = [Group("file", "")]
    position = 0
    end = len(text.rstrip())
    while position < end:
        token = _TOKEN.match(text, position)
        if token is None:
            raise refuse(position)
        if token["open"]:
            group = Group(token["name"], _plain(token["arguments"]))
            stack[-1].groups.append(group)
            stack.append(group)
        elif token["close"]:
            if len(stack) == 1:
                raise refuse(position)
            stack.pop()
        elif token["name"]:
            found = token["arguments"] if token["arguments"] is not None else token["value"]
            stack[-1].attributes.setdefault(token["name"], _plain(found))
        position = token.end()
    libraries = list(stack[0].of("library"))
    if len(stack) != 1 or len(libraries) != 1:
        raise refuse(end)
    return libraries[0]


def _plain(text: str) -> str:
    return text.strip().strip('"').strip()


def _numbers(text: str) -> np.ndarray:
    return np.array(text.replace('"', " ").replace(",", " ").split(), float)


def read_library(paths: Iterable[str | Path]) -> Library:
    """Return the cells of Liberty files that belong together; ``.gz`` is unpacked.

    Raises
    ------
    InputError
        A file cannot be read, is not Liberty, or there is no flip-flop or no logic in them.
    """
    cells: dict[str, Cell] = {}
    names = []
    for path in map(Path, paths):
        try:
            content = path.read_bytes()
            text = (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode("utf-8", "replace")
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"library must be a Liberty file that can be read, not {path} ({error})") from None
        group = parse(text, path)
        names.append(group.name)
        try:
            cells.update(_cells_of(group))
        except (ValueError, KeyError, IndexError) as error:
            raise InputError(f"library must be a Liberty file with tables, not {path} ({error})") from None
    library = Library("+".join(names), cells)
    for holds, what in (
        (any(cell.flip_flop for cell in cells.values()), "a flip-flop"),
        (any(cell.is_inverter for cell in cells.values()), "an inverter"),
        (any(not cell.flip_flop and len(cell.inputs) > 1 for cell in cells.values()), "gates"),
    ):
        if not holds:
            raise InputError(f"library must be Liberty files with {what}, not {' '.join(map(str, paths))}")
    return library


def _unit(text: str, units: dict[str, float], default: str) -> float:
    found = re.fullmatch(r"([\d.eE+-]*)\s*,?\s*([a-zA-Z]+)", (text or default).replace('"', "").strip())
    if found is None or found[2].lower() not in units:
        raise ValueError(f"unit {text}")
    return float(found[1] or 1) * units[found[2].lower()]


class _Reader:
    """Units and templates of one file."""

    def __init__(self, library: Group) -> None:
        of = library.attributes
        self.time = _unit(of.get("time_unit", ""), _TIME, "1ns")
        self.load = _unit(of.get("capacitive_load_unit", ""), _CAPACITANCE, "1pf")
        self.power = _unit(of.get("leakage_power_unit", ""), _POWER, "1nW")
        self.templates = {group.name: group.attributes for group in library.of("lu_table_template")}
        self.capacitance = library.number("default_input_pin_cap")

    def table(self, group: Group, *, constraint: bool = False) -> Table:
        """Return a table with the transition of the input or the clock down, in ps and fF."""
        template = {} if group.name == "scalar" else self.templates.get(group.name, {})
        values = _numbers(group.attributes["values"])
        axes = []
        for number in (1, 2):
            variable = template.get(f"variable_{number}")
            if variable is not None:
                index = group.attributes.get(f"index_{number}") or template[f"index_{number}"]
                axes.append((variable, _numbers(index)))
        values = values.reshape([len(index) for _, index in axes]) * self.time
        if len(axes) == 2 and axes[0][0] not in _FIRST_VARIABLES:
            axes.reverse()
            values = values.T
        if len(axes) == 1:
            values = values[:, None] if axes[0][0] in _FIRST_VARIABLES else values[None, :]
        if len(axes) == 0:
            values = values.reshape(1, 1)
        along = {variable in _FIRST_VARIABLES: numbers for variable, numbers in axes}
        scale = self.time if constraint else self.load
        rows, columns = along.get(True, np.zeros(1)) * self.time, along.get(False, np.zeros(1)) * scale
        return Table(rows, columns, np.ascontiguousarray(values))

    def arc(self, timing: Group) -> Arc | None:
        kind = timing.attributes.get("timing_type", "combinational")
        found = {group.kind: group for group in timing.groups}
        source = timing.attributes.get("related_pin", "")
        if kind in ("setup_rising", "rising_edge", "combinational", "combinational_rise", "combinational_fall"):
            setup = kind == "setup_rising"

            def table(name: str) -> Table | None:
                return self.table(found[name], constraint=setup) if name in found else None

            rise, fall = ("rise_constraint", "fall_constraint") if setup else ("cell_rise", "cell_fall")
            delays = table(rise), table(fall)
            if delays == (None, None):
                return None
            transitions = table("rise_transition"), table("fall_transition")
            sense = timing.attributes.get("timing_sense", "non_unate").split("_")[0].replace("non", "both")
            name = "setup" if setup else "clock" if kind == "rising_edge" else "logic"
            return Arc(source, name, sense if name == "logic" else "both", delays, transitions)
        return None

    def pin(self, group: Group) -> Pin:
        base = group.number("capacitance", self.capacitance)
        capacitances = []
        for edge in ("rise", "fall"):
            span = group.attributes.get(f"{edge}_capacitance_range")
            largest = _numbers(span).max() if span else group.number(f"{edge}_capacitance", base)
            capacitances.append(float(largest) * self.load)
        direction = group.attributes.get("direction", "")
        arcs = [arc for arc in map(self.arc, group.of("timing")) if arc is not None]
        return Pin(
            group.name.strip('"'),
            direction,
            (capacitances[RISE], capacitances[FALL]) if direction == "input" else (0.0, 0.0),
            group.attributes.get("function", ""),
            tuple(_joined(arcs)),
            group.attributes.get("clock", "") == "true",
        )


def _largest(tables: Iterable[Table | None]) -> Iterator[Table]:
    """Join tables with equal axes into one of their largest values; the others stay apart."""
    groups: dict[tuple[bytes, bytes], list[Table]] = {}
    for table in tables:
        if table is not None:
            groups.setdefault((table.rows.tobytes(), table.columns.tobytes()), []).append(table)
    for same in groups.values():
        yield same[0]._replace(values=np.max([table.values for table in same], axis=0))


def _joined(arcs: Iterable[Arc]) -> Iterator[Arc]:
    """Join conditional arcs between the same pins."""
    groups: dict[tuple[str, str, str], list[Arc]] = {}
    for arc in arcs:
        groups.setdefault((arc.source, arc.kind, arc.sense), []).append(arc)
    for (source, kind, sense), same in groups.items():
        parts = [arc.delays for arc in same], [arc.transitions for arc in same]
        tables = [list(_largest(pair[edge] for pair in part)) for part in parts for edge in (RISE, FALL)]
        for delay_rise, delay_fall, transition_rise, transition_fall in zip_longest(*tables):
            yield Arc(source, kind, sense, (delay_rise, delay_fall), (transition_rise, transition_fall))


def _flip_flop(group: Group, pins: dict[str, Pin]) -> tuple[tuple[str, str], dict[str, str]] | None:
    """Return state names and attributes of a flip-flop that takes one pin at the rising edge of another."""
    (flip_flop,) = group.of("ff")
    states = tuple(part.strip().strip('"') for part in flip_flop.name.split(","))
    clock = flip_flop.attributes.get("clocked_on", "").strip("() ")
    next_state = flip_flop.attributes.get("next_state", "").strip("()! ")
    if clock not in pins or next_state not in pins or len(states) != 2:
        return None
    return (states[0], states[1]), {**flip_flop.attributes, "clocked_on": clock}


def _is_logic(pins: dict[str, Pin], group: Group) -> bool:
    """Whether a cell is a gate of one output."""
    outputs = [pin for pin in pins.values() if pin.direction == "output"]
    return (
        len(outputs) == 1
        and len(pins) > 1
        and all(pin.direction in ("input", "output") for pin in pins.values())
        and bool(outputs[0].function)
        and not any("three_state" in pin.attributes for pin in group.of("pin"))
    )


def _cells_of(library: Group) -> Iterator[tuple[str, Cell]]:
    """Yield gates of one output and flip-flops on the rising edge; what has no times is left out."""
    reader = _Reader(library)
    for group in library.of("cell"):
        kinds = {inner.kind for inner in group.groups}
        if kinds & {"latch", "statetable", "bus", "memory", "test_cell"} or "dont_use" in group.attributes:
            continue
        pins = {pin.name: pin for pin in map(reader.pin, group.of("pin"))}
        flop = _flip_flop(group, pins) if "ff" in kinds else None
        if flop is None and ("ff" in kinds or not _is_logic(pins, group)):
            continue
        if flop is not None:
            clock = flop[1]["clocked_on"]
            pins[clock] = replace(pins[clock], is_clock=True)
        # One entry for each state and supply pin; those of the ground pin are 0.
        leakage = [value for inner in group.of("leakage_power") if (value := inner.number("value")) > 0]
        mean = group.number("cell_leakage_power", float(np.mean(leakage)) if leakage else 0.0)
        name = group.name.strip('"')
        cell = Cell(name, group.number("area"), pins, mean * reader.power, flop)
        if cell.is_timed:
            yield name, cell


# ---- Writing ----


def _row(numbers: np.ndarray) -> str:
    return '"' + ", ".join(f"{number:.6g}" for number in numbers) + '"'


def _table_lines(kind: str, table: Table, template: str) -> Iterator[str]:
    values = ", ".join(_row(row) for row in table.values)
    size = f"{len(table.rows)}x{len(table.columns)}"
    yield f"        {kind} ({template}_{size}) {{ index_1({_row(table.rows)}); index_2({_row(table.columns)});"
    yield f"          values({values}); }}"


def _template_lines(library: Library) -> Iterator[str]:
    """Yield a template for each size of table: ABC wants one, with an index as long as the table's."""
    sizes = {
        ("constraint" if arc.kind == "setup" else "delay", *table.values.shape)
        for cell in library.cells.values()
        for pin in cell.pins.values()
        for arc in pin.arcs
        for table in (*arc.delays, *arc.transitions)
        if table is not None
    }
    variables = {
        "delay": ("input_net_transition", "total_output_net_capacitance"),
        "constraint": ("related_pin_transition", "constrained_pin_transition"),
    }
    for kind, rows, columns in sorted(sizes):
        first, second = variables[kind]
        yield f"  lu_table_template ({kind}_{rows}x{columns}) {{ variable_1 : {first}; variable_2 : {second};"
        yield f"    index_1({_row(np.arange(rows))}); index_2({_row(np.arange(columns))}); }}"


def _pin_lines(pin: Pin) -> Iterator[str]:
    yield f"    pin ({pin.name}) {{ direction : {pin.direction};"
    if pin.direction == "input":
        rise, fall = pin.capacitance
        yield f"      capacitance : {max(rise, fall):.6g};"
        yield f"      rise_capacitance : {rise:.6g}; fall_capacitance : {fall:.6g};"
    if pin.is_clock:
        yield "      clock : true;"
    if pin.function:
        yield f'      function : "{pin.function}";'
    for arc in pin.arcs:
        kind = {"logic": "combinational", "clock": "rising_edge", "setup": "setup_rising"}[arc.kind]
        yield f'      timing () {{ related_pin : "{arc.source}"; timing_type : {kind};'
        if arc.kind != "setup":
            yield f"        timing_sense : {'non_unate' if arc.sense == 'both' else arc.sense + '_unate'};"
        names = (
            (("rise_constraint", "fall_constraint"),)
            if arc.kind == "setup"
            else (("cell_rise", "cell_fall"), ("rise_transition", "fall_transition"))
        )
        for pair, tables in zip(names, (arc.delays, arc.transitions), strict=False):
            for name, table in zip(pair, tables, strict=True):
                if table is not None:
                    yield from _table_lines(name, table, "constraint" if arc.kind == "setup" else "delay")
        yield "      }"
    yield "    }"


def written(library: Library, comment: str = "") -> str:
    """Return the library as one Liberty file in ps and fF."""
    lines = [f"/* {comment} */"] if comment else []
    lines += [
        f"library ({re.sub(r'[^A-Za-z0-9_]', '_', library.name)[:60]}) {{",
        '  delay_model : table_lookup; time_unit : "1ps"; capacitive_load_unit (1, ff); leakage_power_unit : "1nW";',
        '  voltage_unit : "1V"; current_unit : "1mA"; pulling_resistance_unit : "1kohm";',
        "  default_max_transition : 1000000; nom_voltage : 1; nom_process : 1; nom_temperature : 25;",
        "  input_threshold_pct_rise : 50; input_threshold_pct_fall : 50;",
        "  output_threshold_pct_rise : 50; output_threshold_pct_fall : 50;",
        "  slew_lower_threshold_pct_rise : 10; slew_upper_threshold_pct_rise : 90;",
        "  slew_lower_threshold_pct_fall : 10; slew_upper_threshold_pct_fall : 90;",
    ]
    lines.extend(_template_lines(library))
    for cell in library.cells.values():
        lines.append(f"  cell ({cell.name}) {{ area : {cell.area:.6g}; cell_leakage_power : {cell.leakage:.6g};")
        if cell.flip_flop is not None:
            (state, inverse), attributes = cell.flip_flop
            content = " ".join(f'{name} : "{value}";' for name, value in attributes.items())
            lines.append(f"    ff ({state}, {inverse}) {{ {content} }}")
        for pin in cell.pins.values():
            lines.extend(_pin_lines(pin))
        lines.append("  }")
    return "\n".join([*lines, "}", ""])
