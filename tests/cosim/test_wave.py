"""Waveforms: every transfer at its cycle, with its fields, and a view that names each signal."""

import re

from cosim.wave import write_wave
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


def test_every_transfer_stands_at_its_cycle_with_its_fields(tmp_path):
    view = write_wave(tmp_path / "run.vcd", TRACE, SIDECAR)
    found = changes((tmp_path / "run.vcd").read_text())
    assert found["rtnerf.samples.taken"] == [(0, 0), (7, 1), (9, 0), (20, 1), (21, 0)]
    assert found["rtnerf.frame.taken"] == [(0, 1), (1, 0), (20, 1), (21, 0)]
    assert found["rtnerf.samples.pixel"][1:] == [(7, 5), (20, 9)]
    assert found["rtnerf.samples.point.x"][1:] == [(7, 15), (20, 3)]
    assert found["rtnerf.frame.ends"] == [(0, 0), (20, 1)]
    assert view == tmp_path / "run.gtkw"
    text = view.read_text()
    assert f'[dumpfile] "{tmp_path.resolve()}/run.vcd"' in text
    for name in found:
        assert name in text
