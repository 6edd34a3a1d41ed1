"""Waveforms: every transfer at its cycle, with its fields, and a view that names each signal."""

import re

import pytest

from cosim.wave import VIEWS, write_wave
from cosim.wrapper import Transaction

SIDECAR = {
    "probes": [
        {"name": "samples", "fields": [
            {"name": "pixel", "offset": 0, "width": 6, "signed": False},
            {"name": "point.x", "offset": 6, "width": 4, "signed": True},
        ]},
        {"name": "frame", "fields": [{"name": "ends", "offset": 0, "width": 1, "signed": False}]},
    ]
}  # fmt: skip
TRACE = [
    Transaction(7, "samples", 5 | 15 << 6),
    Transaction(8, "samples", 5 | 15 << 6),
    Transaction(0, "frame", 0),
    Transaction(20, "samples", 9 | 3 << 6),
    Transaction(20, "frame", 1),
]


def changes(text):
    """Of each signal by name: (time, value), the value as an integer, None before the first."""
    names, scopes, found, now = {}, [], {}, 0
    for line in text.splitlines():
        if match := re.match(r"\$scope \w+ (\S+)", line):
            scopes.append(match[1])
        elif line.startswith("$upscope"):
            scopes.pop()
        elif match := re.match(r"\$var wire \d+ (\S+) (\S+)", line):
            names[match[1]] = ".".join([*scopes, match[2]])
        elif line.startswith("#"):
            now = int(line[1:])
        elif match := re.match(r"b([01x]+) (\S+)|([01x])(\S+)", line):
            value, key = match[1] or match[3], match[2] or match[4]
            found.setdefault(names[key], []).append((now, None if "x" in value else int(value, 2)))
    return found


EXPECTED = {
    "rtnerf.samples.taken": [(0, 0), (7, 1), (9, 0), (20, 1), (21, 0)],
    "rtnerf.frame.taken": [(0, 1), (1, 0), (20, 1), (21, 0)],
    "rtnerf.samples.pixel": [(7, 5), (20, 9)],
    "rtnerf.samples.point.x": [(7, 15), (20, 3)],
    "rtnerf.frame.ends": [(0, 0), (20, 1)],
}


def test_every_transfer_stands_at_its_cycle_with_its_fields(tmp_path):
    write_wave(tmp_path / "run.vcd", TRACE, SIDECAR)
    found = changes((tmp_path / "run.vcd").read_text())
    assert {name: [one for one in known if one[1] is not None] for name, known in found.items()} == EXPECTED


def test_surfers_reader_finds_the_same_in_the_compressed_form(tmp_path):
    pywellen = pytest.importorskip("pywellen", reason="pywellen is not installed")
    wide = {"name": "wide", "fields": [{"name": "", "offset": 0, "width": 200, "signed": False}]}
    empty = {"name": "never", "fields": [{"name": "a.b", "offset": 0, "width": 3, "signed": False}]}
    probes = [*SIDECAR["probes"], empty, wide]
    write_wave(tmp_path / "run.fst", [*TRACE, Transaction(300, "wide", 1 << 199 | 7)], {"probes": probes})
    found = pywellen.Waveform(str(tmp_path / "run.fst"))
    assert (found.file_format, str(found.timescale)) == ("FST", "1ns")
    assert {signal.full_name: list(signal.tv) for signal in found.all_vars()} == EXPECTED | {
        "rtnerf.never.taken": [(0, 0)],
        "rtnerf.never.a.b": [],
        "rtnerf.wide.taken": [(0, 0), (300, 1), (301, 0)],
        "rtnerf.wide.value": [(300, 1 << 199 | 7)],
    }


def test_views_name_the_file_and_every_signal(tmp_path):
    write_wave(tmp_path / "run.fst", TRACE, SIDECAR)
    gtkwave, surfer = ((tmp_path / f"run{ending}").read_text() for ending in VIEWS)
    assert f'[dumpfile] "{tmp_path.resolve()}/run.fst"' in gtkwave
    assert surfer.splitlines()[:2] == ["divider_add samples", "variable_add rtnerf.samples.taken"]
    assert surfer.splitlines()[-1] == "zoom_fit"
    for name in EXPECTED:
        assert name in gtkwave
        assert f"variable_add {name}\n" in surfer
