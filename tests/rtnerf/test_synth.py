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
