import json

import pytest

SMALL = ["--effort", 0.03, "--size", 16, "--frame-size", 6, "--views", 2, "--scene", "pearls"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("scenes")


@pytest.mark.full
def test_a_scene_from_pictures_to_frames_a_second(call, folder):
    results = folder / "first.json"
    status, out, _ = call("benchmark", "scenes", "--out", folder / "all", *SMALL, "--json", results)
    assert status == 0
    result = json.loads(results.read_text())
    (row,) = result["scenes"]
    assert (row["scene"], row["views"]) == ("pearls", [5, 15])
    assert set(row["psnr_db"]) == {"l0", "l2", "tuned", "deferred"}
    for kind, config in (("trained", "edge"), ("tuned", "edge"), ("deferred", "edge-deferred")):
        frames = row["frames"][kind]
        assert (frames["config"], len(frames["cycles"])) == (config, 2)
        assert frames["fps_at_clock_lowest"] == pytest.approx(1e9 / max(frames["cycles"]))
        assert frames["fps_at_clock_mean"] == pytest.approx(2e9 / sum(frames["cycles"]))
        assert (folder / "all" / "pearls" / f"{kind}.safetensors").is_file()
    assert row["ideas"]["all on"] == pytest.approx(1e9 / row["frames"]["deferred"]["cycles"][0])
    assert len(set(row["ideas"].values())) > 4
    assert "pearls" in out

    # What is there is not made again.
    (folder / "all" / "pearls" / "trained.safetensors").unlink()
    again = folder / "second.json"
    assert call("benchmark", "scenes", "--out", folder / "all", *SMALL, "--json", again)[0] == 0
    assert json.loads(again.read_text())["scenes"] == result["scenes"]
    assert not (folder / "all" / "pearls" / "trained.safetensors").exists()


def test_another_plan_and_another_scene_are_refused(call, folder):
    target = folder / "other"
    assert call("benchmark", "scenes", "--out", target, "--scene", "chair")[0] == 2
    assert not target.exists()
    target.mkdir()
    (target / "plan.json").write_text('{"effort": 1.0}')
    status, _, err = call("benchmark", "scenes", "--out", target, *SMALL)
    assert status == 2
    assert err.startswith(f"error: out must be a folder of the same plan, not {target} (effort 1.0, size None")
    assert err.count("\n") == 1
    status, _, err = call("benchmark", "scenes", "--out", target, "--data", folder)
    message = f"error: data must be a folder of folders with transforms_train.json, not {folder}\n"
    assert (status, err) == (2, message)
