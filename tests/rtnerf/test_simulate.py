import json

import pytest


def test_simulate_says_what_every_unit_does_and_what_was_switched(call, tmp_path):
    results, timeline = tmp_path / "s.json", tmp_path / "t.json"
    files = ["--json", results, "--timeline", timeline]
    status, out, _ = call("simulate", "--size", 6, *files, "--memory", "fixed", "--latency", 7)
    assert status == 0
    result = json.loads(results.read_text())
    assert f"{result['cycles']} cycles" in out
    assert result["fps_at_clock"] == pytest.approx(1e9 / result["cycles"])
    assert result["memory"] == {"kind": "fixed", "latency": 7, "beat_interval": 1, "pause": 0, "seed": 1}
    for name, unit in result["units"].items():
        cycles = unit["busy_cycles"] + unit["idle_cycles"] + sum(unit["stall_cycles"].values())
        assert cycles == result["cycles"], name
    assert result["bottleneck"] in result["units"]
    assert result["dram_read_bytes"] == sum(result["dram_read_bytes_by_kind"].values())
    # One tile: what is listed is read once.
    assert result["dram_write_bytes"] == 6 * 6 * 8 + result["dram_read_bytes_by_kind"]["cube_list"]
    assert result["modelled_only"] == []
    assert len(json.loads(timeline.read_text())["traceEvents"]) > 100

    assert result["frame_cycles"] == [result["cycles"]]
    assert call("simulate", "--size", 6, "--frames", 2, "--workers", 2, *files[:2])[0] == 0
    frames = json.loads(results.read_text())
    assert frames["frame_cycles"][0] == frames["cycles"] != frames["frame_cycles"][1]
    assert frames["fps_at_clock_lowest"] == pytest.approx(1e9 / max(frames["frame_cycles"]))

    others = ["--sampling", "uniform", "--encoding", "dense", "--ordering", "none", "--termination", 0]
    assert call("simulate", "--size", 6, "--json", results, *others)[0] == 0
    ablation = json.loads(results.read_text())
    assert ablation["modelled_only"] == ["sampling"]
    assert ablation["memory"]["kind"] == "lpddr4"
    assert ablation["samples"] > result["samples"]


def test_ablate_runs_the_frames_of_simulate_with_each_idea_switched_off(call, tmp_path):
    results = tmp_path / "a.json"
    options = ["--size", 6, "--memory", "fixed", "--json", results]
    status, out, _ = call("ablate", *options, "--frames", 2)
    assert status == 0
    runs = json.loads(results.read_text())["runs"]
    assert all(name in out for name in runs)
    assert [name for name, run in runs.items() if run["modelled_only"]] == ["uniform sampling", "all off"]
    assert sum(runs["no early termination"]["samples"]) > sum(runs["all on"]["samples"])
    for name, switches in (("all on", []), ("dense blocks", ["--encoding", "dense"])):
        assert call("simulate", *options, *switches)[0] == 0
        frame = json.loads(results.read_text())
        assert runs[name]["frame_cycles"][0] == frame["cycles"]
        assert runs[name]["dram_bytes"][0] == frame["dram_read_bytes"] + frame["dram_write_bytes"]
    assert runs["dense blocks"]["dram_bytes"][0] > runs["all on"]["dram_bytes"][0]
