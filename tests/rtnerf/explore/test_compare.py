import json

import pytest

from rtnerf.base.errors import InputError
from rtnerf.explore.compare import compare, load_frame

FRAME = {
    "command": "simulate",
    "model": "embedded",
    "index": 0,
    "config_parameters": {"name": "tiny", "tile": 32},
    "memory": {"kind": "fixed", "latency": 20},
    "cycles": 1000,
    "units": {
        "density": {"busy_cycles": 400, "stall_cycles": {"output": 100, "memory": 50}},
        "tile_scheduler": {"busy_cycles": 1000, "stall_cycles": {}},
    },
    "dram_read_bytes": 3000,
    "dram_write_bytes": 1000,
    "dram_read_bytes_by_kind": {"rows": 1000, "records": 2000},
    "on_chip_accesses": {"density.alpha_table": [60, 40]},
    "samples": 10,
    "samples_shaded": 5,
    "energy_mj": [1.0, 3.0],
    "energy_parts_mj": {"density": {"operations": [0.5, 1.5]}, "dram": {"dram": [0.5, 1.5]}},
}


def changed(**values):
    return json.loads(json.dumps(FRAME)) | values


def test_equal_results_differ_in_nothing():
    found = compare(FRAME, FRAME)
    assert (found.settings, found.differences) == ([], [])
    assert list(found.lines())[-1] == "nothing differs"


def test_what_differs_is_told_by_its_share_the_largest_first():
    units = {
        "density": {"busy_cycles": 300, "stall_cycles": {"output": 100, "tree": 70}},
        "tile_scheduler": {"busy_cycles": 1100, "stall_cycles": {}},
    }
    other = changed(
        config_parameters={"name": "mine", "tile": 64},
        cycles=1100,
        units=units,
        dram_read_bytes=3001,
        dram_read_bytes_by_kind={"rows": 1000, "records": 2001},
        on_chip_accesses={"density.alpha_table": [60, 20]},
        energy_mj=[1.0, 2.0],
        energy_parts_mj={"density": {"operations": [0.5, 0.5]}, "dram": {"dram": [0.5, 1.5]}},
    )
    found = compare(FRAME, other)
    settings = [(row.name, row.first, row.second) for row in found.settings]
    assert settings == [("config.name", "tiny", "mine"), ("config.tile", 32, 64)]
    assert [(row.kind, row.name, row.share) for row in found.differences] == [
        ("mJ", "density: operations", -0.25),
        ("accesses", "density.alpha_table: writes", -0.2),
        ("cycles", "density: busy", -0.1),
        ("cycles", "density: waits for tree", 0.07),
        ("cycles", "density: waits for memory", -0.05),
        ("bytes", "read: records", 0.00025),
    ]
    assert found.wholes["cycles"] == (1000, 1100)
    lines = list(found.lines())
    assert lines[0] == "cycles: 1,000 -> 1,100 (+10.00%)"
    assert lines[-1] == "  and 1 of less than 0.1%"


def test_without_a_synthesis_of_both_there_is_no_energy():
    found = compare(FRAME, changed(energy_mj=None))
    assert found.wholes.keys() == {"cycles", "bytes", "accesses", "samples"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", r"^first must be a result of rtnerf simulate --json, or a point of a sweep, not .* \(no JSON object\)$"),
        (
            '{"command": "render"}',
            r"^first must be a result of rtnerf simulate --json, or a point of a sweep, not .* \(of render\)$",
        ),
        ("{}", r"\(of no command of rtnerf\)$"),
        ("{", r"^first must be a JSON file, not "),
    ],
)
def test_other_files_are_refused(content, message, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        load_frame("first", path)


def test_results_of_another_version_are_refused():
    old = changed()
    del old["config_parameters"]
    with pytest.raises(
        InputError, match=r"^results must be of rtnerf simulate in this version, not another \(KeyError"
    ):
        compare(FRAME, old)


def test_two_simulated_configurations(call, tmp_path):
    small = tmp_path / "small.toml"
    small.write_text("sample_queue = 4\n")
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file, options in zip(files, ([], ["--config", small]), strict=True):
        assert call("simulate", "--size", 6, "--memory", "fixed", *options, "--json", file)[0] == 0
    status, out, _ = call("compare", *files, "--json", tmp_path / "c.json")
    assert status == 0
    result = json.loads((tmp_path / "c.json").read_text())
    assert [row["name"] for row in result["settings"]] == ["config.name", "config.sample_queue"]
    cycles = [json.loads(file.read_text())["cycles"] for file in files]
    assert result["wholes"]["cycles"] == cycles
    assert f"cycles: {cycles[0]:,} -> {cycles[1]:,}" in out

    status, out, err = call("compare", files[0], small)
    assert (status, out, err.count("\n")) == (2, "", 1)
