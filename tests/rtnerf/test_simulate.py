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

    # Beside the assumed clock, that of the slowest unit in a library.
    assert result["fps_at_assumed_clock"] == {"fps": result["fps_at_clock"], "assumed_clock_mhz": 1000}
    clock = result["library_clock"]
    assert clock["library"] == "asap7"
    library_hz = 1e6 * clock["mhz_less_20_percent_for_wires"]
    assert result["fps_at_library_clock"] == pytest.approx(library_hz / result["cycles"])
    assert f"{result['fps_at_library_clock']:.3f} frames/s at {library_hz / 1e6:.0f} MHz" in out
    low, high = result["energy_mj"]
    assert 0 < low < high
    for index, whole in enumerate((low, high)):
        parts = [energy[index] for row in result["energy_parts_mj"].values() for energy in row.values()]
        assert sum(parts) == pytest.approx(whole)
    bits = 8 * (result["dram_read_bytes"] + result["dram_write_bytes"])
    assert result["energy_by_cause_mj"]["dram"][0] == pytest.approx(bits * 10.1e-9, rel=1e-2)
    # Activations of 16 bits times weights of 8: 3,888 + 19,200 + 16,384 + 384 multiplications a shaded sample.
    lanes = result["operations"]["mlp_engine.sample_0"]
    assert lanes["mul 16x8"] / result["samples_shaded"] == pytest.approx(39856)

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


def test_a_configuration_without_synthesis_says_so_and_takes_a_file(call, tmp_path):
    import rtnerf
    from rtnerf.explore.cost import cost_of, told

    frame = rtnerf.prepare(rtnerf.load_model()).simulate(rtnerf.load_cameras().camera(0, 4), memory="fixed")
    cost = cost_of(frame, None)
    assert cost["fps_at_library_clock"] is cost["energy_mj"] is None
    assert cost["library_clock_missing"].startswith("no synthesis of tiny comes along: rtnerf synth --config tiny")
    assert told(cost) == cost["library_clock_missing"]

    path = tmp_path / "synth.json"
    path.write_text("{}")
    status, out, err = call("simulate", "--size", 6, "--synthesis", path)
    assert (status, out) == (2, "")
    assert err.startswith("error: synthesis must be what rtnerf synth --json writes of all units of tiny, not ")
    assert err.count("\n") == 1
