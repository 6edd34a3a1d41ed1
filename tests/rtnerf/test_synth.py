import gzip
import importlib.util
import json

import pytest

needs_pyosys = pytest.mark.skipif(importlib.util.find_spec("pyosys") is None, reason="pyosys is not installed")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--library", "nangate45"],
            "library must be one of asap7, sg13g2, sky130, compact or Liberty files, not nangate45",
        ),
        (
            ["--library", "compact", "--library", "asap7"],
            "library must be one name, or Liberty files that belong together, not compact asap7",
        ),
        (["--library", "/"], "library must be one of asap7, sg13g2, sky130, compact or Liberty files, not /"),
        (
            ["--target", "ecp5", "--unit", "density", "--workers", "2"],
            "workers must be absent with units on an ecp5, not 2",
        ),
        (["--target", "ice40"], "target must be one of cells, ecp5, not ice40"),
        (["--workers", "0"], "workers must be a whole number of at least 1, not 0"),
        (["--config", "gigantic"], "config must be "),
        (["--json", "/"], "json must be a file that can be written, not / (a folder)"),
    ],
)
def test_bad_input_is_one_line(call, arguments, message):
    status, out, err = call("synth", *arguments)
    assert status == 2
    assert out == ""
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


def test_a_broken_library_is_one_line(call, tmp_path):
    broken = tmp_path / "broken.lib"
    broken.write_text("library (broken) {\n  cell (INV) {\n")
    status, _, err = call("synth", "--library", str(broken), "--json", str(tmp_path / "result.json"))
    assert status == 2
    assert err == f"error: library must be a Liberty file, not {broken} (line 2)\n"
    assert not (tmp_path / "result.json").exists()


SCALARS = " ".join(f'{name} (scalar) {{ values ("1"); }}' for name in (
    "cell_rise", "cell_fall", "rise_transition", "fall_transition",
))  # fmt: skip
INVERTER = (
    "cell (INV) { area : 1; pin (A) { direction : input; capacitance : 1; } pin (Y) { direction : output; "
    f'function : "!A"; timing () {{ related_pin : "A"; timing_sense : negative_unate; {SCALARS} }} }} }}'
)
GATE = (
    INVERTER.replace("INV", "NAND")
    .replace('"!A"', '"!(A*B)"')
    .replace("pin (A)", "pin (B) { direction : input; } pin (A)")
)
FLIP_FLOP = (
    'cell (FF) { area : 4; ff (IQ, IQN) { clocked_on : "C"; next_state : "D"; } pin (C) { direction : input; } '
    'pin (D) { direction : input; timing () { related_pin : "C"; timing_type : setup_rising; '
    'rise_constraint (scalar) { values ("1"); } fall_constraint (scalar) { values ("1"); } } } '
    f'pin (Q) {{ direction : output; function : "IQ"; timing () {{ related_pin : "C"; timing_type : rising_edge; '
    f"{SCALARS} }} }} }}"
)


def library(*cells):
    return "\n".join(["library (l) {", *cells, "}\n"]).encode()


def test_a_small_library_is_whole():
    from rtnerf.physical.liberty import parse

    assert len(list(parse(library(INVERTER, GATE, FLIP_FLOP).decode()).of("cell"))) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a Liberty file, not {} (line 1)"),
        (bytes(range(256)), "a Liberty file, not {} (line 1)"),
        (library(INVERTER, GATE, FLIP_FLOP)[:-20], "a Liberty file, not {} (line 4)"),
        (gzip.compress(library(INVERTER), mtime=0)[:-6], "a Liberty file that can be read, not {} ("),
        (gzip.compress(library(INVERTER), mtime=0)[:15] + bytes(40), "a Liberty file that can be read, not {} ("),
        (library(INVERTER, GATE), "Liberty files with a flip-flop, not {}"),
        (library(GATE, FLIP_FLOP), "Liberty files with an inverter, not {}"),
        (library(INVERTER, FLIP_FLOP), "Liberty files with gates, not {}"),
        (library(INVERTER.replace("!A", "A"), GATE, FLIP_FLOP), "Liberty files with an inverter, not {}"),
        (library(INVERTER, GATE, FLIP_FLOP.replace("setup", "hold")), "Liberty files with a flip-flop, not {}"),
        (library(INVERTER.replace("timing ()", "other ()"), GATE, FLIP_FLOP), "Liberty files with an inverter, not {}"),
        (library(INVERTER.replace('"1"', '"one"'), GATE, FLIP_FLOP), "a Liberty file with tables, not {} ("),
        (library("time_unit : parsec;", INVERTER, GATE, FLIP_FLOP), "a Liberty file with tables, not {} (unit parsec)"),
    ],
)
def test_a_library_that_is_broken_or_lacks_a_part_is_one_line(call, tmp_path, content, message):
    path = tmp_path / "cells.lib"
    path.write_bytes(content)
    status, out, err = call("synth", "--library", path, "--json", tmp_path / "result.json")
    assert (status, out) == (2, "")
    assert err.startswith(f"error: library must be {message.format(path)}")
    assert err.count("\n") == 1
    assert not (tmp_path / "result.json").exists()


@pytest.mark.slow
@needs_pyosys
def test_one_unit_of_tiny(call, tmp_path):
    path = tmp_path / "result.json"
    status, out, _ = call("synth", "--library", "compact", "--unit", "cube_sequencer", "--json", str(path))
    assert status == 0
    assert "cube_sequencer" in out
    result = json.loads(path.read_text())
    assert result["units"].keys() == {"cube_sequencer"}
    assert "clock_mhz" not in result
    unit = result["units"]["cube_sequencer"]
    assert {"cells", "area_um2", "flip_flops", "memory_bits", "delay_ps", "path"} <= unit.keys()
    assert unit["path"]["to_source"].startswith("rtl/")

    status, _, err = call("synth", "--library", "compact", "--unit", "warp_drive")
    assert status == 2
    assert err.startswith("error: unit must be one of top, ")
    assert err.endswith(", not warp_drive\n")
