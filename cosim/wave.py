"""The streams of a run as a waveform for GTKWave or Surfer: when each payload was taken, and what was in it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from cosim.fst import Signal, fst
from cosim.scoreboard import unpack
from cosim.wrapper import Transaction
from rtnerf.base.files import write_bytes

TOP = "rtnerf"
TAKEN = "taken"
"""The signal that is 1 in a cycle with a transfer; the fields keep their values until the next one."""
ENDINGS = (".vcd", ".fst")
VIEWS = (".gtkw", ".sucl")
"""Of the files beside it: a view for GTKWave, and commands for Surfer."""

Changes = Mapping[Signal, Sequence[tuple[int, int]]]
"""Of each signal the cycles, rising, and values; unknown before."""


def write_wave(path: Path, trace: Iterable[Transaction], sidecar: Mapping[str, Any]) -> None:
    """Write a waveform, and beside it views of all streams for GTKWave (``.gtkw``) and Surfer (``.sucl``).

    Signals are ``rtnerf.STREAM.taken`` and ``rtnerf.STREAM.FIELD``, the streams in the order of the data flow. A cycle
    is a nanosecond, whatever the clock.

    Parameters
    ----------
    path : Path
        A file that ends with ``.vcd`` or ``.fst``.
    trace : iterable of Transaction
    sidecar : mapping
        The description of the Verilog, whose ``probes`` name the fields.
    """
    fields = {probe["name"]: probe["fields"] for probe in sidecar["probes"]}
    changes = _changes(trace, fields)
    end = 1 + max((found[-1][0] for found in changes.values() if found), default=0)
    content = fst(list(changes), changes, end) if path.suffix == ".fst" else _vcd(changes).encode()
    write_bytes(path, content)
    for ending, text in zip(VIEWS, (_gtkwave(path, fields), _surfer(changes)), strict=True):
        write_bytes(path.with_suffix(ending), text.encode())


def _signal(stream: str, name: str, width: int) -> Signal:
    *parts, last = (name or "value").split(".")
    return Signal((TOP, stream, *parts), last, width)


def _changes(trace: Iterable[Transaction], fields: Mapping[str, Sequence[Mapping[str, Any]]]) -> Changes:
    taken = {name: _signal(name, TAKEN, 1) for name in fields}
    parts = {
        (name, part["name"]): _signal(name, part["name"], part["width"]) for name in fields for part in fields[name]
    }
    order = [signal for name in fields for signal in (taken[name], *(parts[name, one["name"]] for one in fields[name]))]
    found: dict[Signal, list[tuple[int, int]]] = {signal: [] for signal in order}

    def change(signal: Signal, cycle: int, value: int) -> None:
        if not found[signal] or found[signal][-1][1] != value:
            found[signal].append((cycle, value))

    streams: dict[str, list[Transaction]] = {name: [] for name in fields}
    for one in sorted(trace, key=lambda one: one.cycle):
        streams[one.stream].append(one)
    for name, mine in streams.items():
        change(taken[name], 0, 0)
        for cycle, group in groupby(mine, key=lambda one: one.cycle):
            if found[taken[name]][-1] == (cycle, 0):
                found[taken[name]].pop()  # It has been low for no time.
            change(taken[name], cycle, 1)
            for one in group:
                for part, value in unpack(one.payload, fields[name]).items():
                    signal = parts[name, part]
                    change(signal, cycle, value & (1 << signal.width) - 1)
            found[taken[name]].append((cycle + 1, 0))
    return found


def _vcd(changes: Changes) -> str:
    from vcd import VCDWriter

    text = io.StringIO()
    with VCDWriter(text, timescale="1 ns", date="", comment="cycles of the frame, 1 ns each") as writer:
        made = {
            signal: writer.register_var(".".join(signal.scope), signal.name, "wire", signal.width, init="x")
            for signal in changes
        }
        rows = ((cycle, signal, value) for signal, found in changes.items() for cycle, value in found)
        for cycle, signal, value in sorted(rows, key=lambda row: row[0]):
            writer.change(made[signal], cycle, value)
    return text.getvalue()


def _gtkwave(path: Path, fields: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    from vcd.gtkw import GTKWSave

    text = io.StringIO()
    save = GTKWSave(text)
    save.dumpfile(str(path.resolve()))
    for name in fields:
        with save.group(name):
            save.trace(f"{TOP}.{name}.{TAKEN}")
            for field in fields[name]:
                bits = f"[{field['width'] - 1}:0]" if field["width"] > 1 else ""
                form = "signed" if field["signed"] else "dec"
                save.trace(f"{TOP}.{name}.{field['name'] or 'value'}{bits}", datafmt=form)
    return text.getvalue()


def _surfer(changes: Changes) -> str:
    lines, stream = [], ""
    for signal in changes:
        if signal.scope[1] != stream:
            stream = signal.scope[1]
            lines.append(f"divider_add {stream}")
        lines.append(f"variable_add {'.'.join(signal.scope)}.{signal.name}")
    return "\n".join([*lines, "zoom_fit", ""])
