import json
from dataclasses import replace

import pytest

from nerf.contract.config import PRESETS, load_config, to_toml
from rtnerf.explore import size
from rtnerf.explore.evaluate import frames_of
from rtnerf.explore.points import point_of

FIXED = ["--memory", "fixed", "--latency", 12]


@pytest.mark.parametrize("name", PRESETS)
def test_a_configuration_comes_back_from_its_toml(name, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(to_toml(PRESETS[name]))
    assert load_config(path) == replace(PRESETS[name], name="mine")


def test_the_queues_found_keep_the_cycles_and_are_taken_as_a_configuration(call, tmp_path, monkeypatch):
    monkeypatch.setattr(size, "QUEUES", ("list_queue", "sample_queue"))
    out, results = tmp_path / "sized.toml", tmp_path / "s.json"
    options = ["--size", 4, *FIXED, "--views", "0,3", "--check-views", 1, "--out", out, "--json", results]
    status, said, _ = call("size", *options)
    assert status == 0
    found = json.loads(results.read_text())
    assert found["queues"]["list_queue"] == [128, load_config(out).list_queue]
    assert load_config(out).list_queue < 128
    assert all(after <= before for before, after in zip(found["cycles_before"], found["cycles_after"], strict=True))
    assert found["on_chip_bytes"][1] < found["on_chip_bytes"][0]
    ((view, before, _),) = found["checked"]
    for number, config, cycles in ((3, out, found["cycles_after"][1]), (view, "tiny", before)):
        assert call("simulate", "--size", 4, *FIXED, "--index", number, "--config", config, "--json", results)[0] == 0
        assert json.loads(results.read_text())["cycles"] == cycles
    assert "guaranteed for these views, fixed and 4 pixels alone" in said


@pytest.mark.parametrize("more", [0, -1])
def test_a_frame_is_given_up_in_the_first_cycle_beyond_its_limit(more, tmp_path):
    point = point_of({"memory": "fixed", "size": 2}, tmp_path)
    (frame,) = frames_of(point)
    assert size._within(point, [frame.cycles + more]) == ([frame.cycles] if more == 0 else None)


def test_bad_views_are_refused(call, tmp_path):
    status, out, err = call("size", "--views", "0,x", "--out", tmp_path / "s.toml")
    assert (status, out) == (2, "")
    assert err == "error: views must be whole numbers of at least 0, separated by commas, not 0,x\n"
    assert not (tmp_path / "s.toml").exists()
