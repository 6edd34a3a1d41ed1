import json

import pytest
import torch

from nerf.checkpoint import load_model, save_model
from nerf.contract.config import load_config
from nerf.encode import encode_model
from rtnerf.base.files import write_json
from tests.golden.models import small_model
from tests.nerf.test_checkpoint import official


@pytest.fixture
def inspect(call, tmp_path):
    """Function that inspects a file and returns what was said of it."""

    def inspect(path):
        status, out, err = call("inspect", path, "--json", tmp_path / "inspected.json")
        assert (status, err) == (0, "")
        found = json.loads((tmp_path / "inspected.json").read_text())
        assert f"  kind         {found['kind']}\n" in out
        return found

    return inspect


def test_models(inspect, tmp_path):
    save_model(small_model(), tmp_path / "m")
    found = inspect(tmp_path / "m")
    assert (found["kind"], found["runs"], found["reason"], found["grid"]) == ("model", True, None, [18, 13, 22])
    content = official(small_model())
    torch.save(content, tmp_path / "c")
    found = inspect(tmp_path / "c")
    assert (found["kind"], found["runs"], found["reason"]) == ("checkpoint", True, None)
    content["kwargs"]["near_far"] = [0.0, 1.0]
    torch.save(content, tmp_path / "c")
    found = inspect(tmp_path / "c")
    assert (found["kind"], found["runs"]) == ("checkpoint", True)
    assert found["reason"].endswith("only `rtnerf render` has its rays")
    save_model(small_model(components=(17, 6)), tmp_path / "m")
    found = inspect(tmp_path / "m")
    assert found["runs"]
    assert found["reason"].startswith("not on hardware of the presets: config must be one with density_components = 32")


def test_scene_images(inspect, tmp_path):
    data = encode_model(small_model(), load_config("edge")).scene.data
    (tmp_path / "s").write_bytes(data)
    found = inspect(tmp_path / "s")
    assert (found["kind"], found["runs"], found["reason"], found["config"]) == ("scene image", True, None, "edge")
    (tmp_path / "s").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    found = inspect(tmp_path / "s")
    assert (found["kind"], found["runs"]) == ("scene image", False)
    assert found["reason"].startswith("scene must be of CRC-32")


def test_camera_files(inspect, tmp_path):
    frame = {"file_path": "v", "transform_matrix": torch.eye(4).tolist()}
    write_json(tmp_path / "t", {"camera_angle_x": 0.7, "frames": [frame]})
    found = inspect(tmp_path / "t")
    assert (found["kind"], found["runs"], found["views"]) == ("camera file", True, 1)
    assert found["reason"] == "1 of 1 views have no picture to compare with"
    write_json(tmp_path / "t", {"camera_angle_x": 0.7, "k5": 0.1, "frames": [frame]})
    found = inspect(tmp_path / "t")
    assert (found["kind"], found["runs"]) == ("camera file", False)
    assert found["reason"].startswith("k5 must be 0")


def test_results_and_traces(inspect, call, tmp_path):
    files = [tmp_path / "r.json", tmp_path / "t.json"]
    assert call("simulate", "--size", 4, "--json", files[0], "--timeline", files[1])[0] == 0
    found = inspect(files[0])
    assert (found["kind"], found["runs"], found["of_command"]) == ("result file", True, "simulate")
    found = inspect(files[1])
    assert (found["kind"], found["runs"]) == ("trace", True)
    assert found["events"] > 100


@pytest.mark.parametrize(
    ("content", "kind", "reason"),
    [
        (b"", "unknown", "(an empty file)"),
        (b"version https://git-lfs.github.com/spec/v1\n", "unknown", "(a Git LFS pointer"),
        (b"<!DOCTYPE html>", "unknown", "(a web page"),
        (b"words", "unknown", "file must be a checkpoint, model, "),
        (b"[]", "unknown", "file must be a checkpoint, model, "),
        (b"PK\3\4", "checkpoint", "file must be a complete checkpoint, not "),
        (b"\x80\2.", "checkpoint", "file must be "),
    ],
)
def test_other_files(inspect, tmp_path, content, kind, reason):
    (tmp_path / "x").write_bytes(content)
    found = inspect(tmp_path / "x")
    assert (found["kind"], found["runs"]) == (kind, False)
    assert reason in found["reason"]


def test_a_file_that_is_not_there_is_refused(call, tmp_path):
    message = f"error: file must be readable, not {tmp_path / 'x'} (No such file or directory)\n"
    assert call("inspect", tmp_path / "x") == (2, "", message)


def test_the_embedded_model_runs(inspect):
    from nerf.checkpoint import DEFAULT_MODEL

    assert inspect(DEFAULT_MODEL)["grid"] == list(load_model().grid_size)
