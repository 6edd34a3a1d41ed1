"""The streams of a run as a waveform for GTKWave or Surfer: when each payload was taken, and what was in it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from cosim.scoreboard import unpack
from cosim.wrapper import Transaction
from rtnerf.base.files import write_bytes

CYCLE_NS = 1
"""Of a cycle in the file, whatever the clock: a time in ns is a number of cycles."""
TAKEN = "taken"
"""The signal that is 1 in a cycle with a transfer; the fields keep their values until the next one."""


def write_wave(path: Path, trace: Iterable[Transaction], sidecar: Mapping[str, Any]) -> Path:
    """Write a value change dump, and beside it a view of all streams for GTKWave (``.gtkw``), which is returned.

    Signals are ``rtnerf.STREAM.taken`` and ``rtnerf.STREAM.FIELD``, the streams in the order of the data flow.

    Parameters
    ----------
    path : Path
        A file that ends with ``.vcd``.
    trace : iterable of Transaction
    sidecar : mapping
        The description of the Verilog, whose ``probes`` name the fields.
    """
    from vcd import VCDWriter
    from vcd.gtkw import GTKWSave

    fields = {probe["name"]: probe["fields"] for probe in sidecar["probes"]}
    text, view = io.StringIO(), io.StringIO()
    with VCDWriter(text, timescale=f"{CYCLE_NS} ns", date="", comment="cycles of the frame, 1 ns each") as writer:
        taken = {name: writer.register_var(f"rtnerf.{name}", TAKEN, "wire", 1, init=0) for name in fields}
        masks = {(name, field["name"]): (1 << field["width"]) - 1 for name in fields for field in fields[name]}
        values = {
            (name, field["name"]): writer.register_var(
                f"rtnerf.{name}", field["name"] or "value", "wire", field["width"], init="x"
            )
            for name in fields
            for field in fields[name]
        }
        up: set[str] = set()
        before = -1
        for cycle, group in groupby(sorted(trace, key=lambda one: one.cycle), key=lambda one: one.cycle):
            now = {one.stream: one.payload for one in group}
            _lower(writer, taken, up - now.keys() if cycle == before + 1 else up, before)
            for name, payload in now.items():
                writer.change(taken[name], cycle, 1)
                for field, value in unpack(payload, fields[name]).items():
                    writer.change(values[name, field], cycle, value & masks[name, field])
            up, before = set(now), cycle
        _lower(writer, taken, up, before)
    write_bytes(path, text.getvalue().encode())
    save = GTKWSave(view)
    save.dumpfile(str(path.resolve()))
    for name in fields:
        with save.group(name):
            save.trace(f"rtnerf.{name}.{TAKEN}")
            for field in fields[name]:
                bits = f"[{field['width'] - 1}:0]" if field["width"] > 1 else ""
                form = "signed" if field["signed"] else "dec"
                save.trace(f"rtnerf.{name}.{field['name'] or 'value'}{bits}", datafmt=form)
    beside = path.with_suffix(".gtkw")
    write_bytes(beside, view.getvalue().encode())
    return beside


def _lower(writer: Any, taken: Mapping[str, Any], up: Iterable[str], cycle: int) -> None:
    """End the cycle of some transfers."""
    for name in up:
        writer.change(taken[name], cycle + 1, 0)
