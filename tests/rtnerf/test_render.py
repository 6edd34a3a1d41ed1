import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import rtnerf
from nerf.checkpoint import load_model, save_model
from nerf.render import uniform


@pytest.mark.parametrize("pipeline", ["uniform", "cubes", "integer"])
def test_render_writes_picture_and_results(call, fakes, tmp_path, pipeline):
    out, png, results = tmp_path / "a" / "rgb.npy", tmp_path / "rgb.png", tmp_path / "results.json"
    arguments = ["--size", "8x6", "--crop", "1,2,4,3", "--index", 2, "--png", png, "--json", results]
    status, text, err = call("render", "--pipeline", pipeline, "--out", out, *arguments)
    assert (status, err) == (0, "")
    assert "20.00 dB" in text
    assert np.load(out).shape == (3, 4, 3)
    assert np.asarray(Image.open(png))[0, 0].tolist() == [153, 153, 153]
    result = json.loads(results.read_text())
    assert result["command"] == "render"
    assert result["psnr_db"] == pytest.approx(20, abs=1e-3)
    assert (result["width_pixels"], result["height_pixels"], result["crop_pixels"]) == (8, 6, [1, 2, 4, 3])
    assert len(result["config_digest"]) == 64
    assert result["statistics"] == {"pixels": 12}
    assert fakes["render"] == ("model", (1, 2, 4, 3), pipeline)
    assert fakes["truth"] == (2, 8, 6)


def test_a_picture_goes_through_standard_output_alone(tmp_path):
    command = [sys.executable, "-m", "rtnerf", "render", "--size", "4", "--out", "/dev/stdout"]
    run = subprocess.run(command, capture_output=True, check=True, timeout=600)
    through = io.BytesIO(run.stdout)
    assert np.load(through).shape == (4, 4, 3)
    assert through.read() == b""
    assert run.stderr.startswith(b"/dev/stdout: uniform, ")


def test_another_model_is_not_measured_against_the_embedded_pictures(call, fakes, tmp_path):
    arguments = ["--size", 4, "--out", tmp_path / "rgb.npy", "--json", tmp_path / "results.json"]
    for model, transforms, measured in (("m", None, False), ("m", "t", True), (None, None, True)):
        chosen = [f"--{name}={value}" for name, value in (("model", model), ("transforms", transforms)) if value]
        assert call("render", *arguments, *chosen)[0] == 0
        assert (json.loads((tmp_path / "results.json").read_text())["psnr_db"] is not None) == measured


def test_a_missing_picture_is_said_and_the_render_goes_on(call, tmp_path):
    frame = {"file_path": "absent", "transform_matrix": np.eye(4).tolist()}
    content = {"camera_angle_x": 0.7, "fl_x": 9, "w": 4, "h": 4, "frames": [frame]}
    (tmp_path / "t.json").write_text(json.dumps(content))
    arguments = ["--transforms", tmp_path / "t.json", "--size", 4, "--out", tmp_path / "rgb.npy"]
    status, out, err = call("render", *arguments)
    assert status == 0
    assert "against" not in out
    first, second = err.splitlines()
    assert first.startswith("note: view 0: fl_x (9 pixels) contradicts camera_angle_x (5.4")
    assert second == f"note: not compared: picture must be a file, not missing: {tmp_path / 'absent'}"
    assert np.load(tmp_path / "rgb.npy").shape == (4, 4, 3)


def test_a_picture_of_the_data_set_is_not_written_over(call, tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "v.png")
    frame = {"file_path": "v", "transform_matrix": np.eye(4).tolist()}
    (tmp_path / "t.json").write_text(json.dumps({"camera_angle_x": 0.7, "frames": [frame]}))
    arguments = ["--transforms", tmp_path / "t.json", "--size", 4, "--out", tmp_path / "rgb.npy"]
    status, _, err = call("render", *arguments, "--png", tmp_path / "v.png")
    message = f"error: png must be another file than a picture of the data set, not {tmp_path / 'v.png'}\n"
    assert (status, err) == (2, message)


def test_black_is_behind_a_forward_facing_model_and_no_path_leads_round_it(call, tmp_path):
    model = replace(load_model(), near=0.0, far=1.0)
    save_model(model, tmp_path / "m")
    frame = {"file_path": "v", "transform_matrix": np.eye(4).tolist()}
    (tmp_path / "t.json").write_text(json.dumps({"camera_angle_x": 0.9, "frames": [frame]}))
    options = ["--model", tmp_path / "m", "--transforms", tmp_path / "t.json", "--size", 8, "--out", tmp_path / "o.npy"]
    camera = rtnerf.load_cameras(tmp_path / "t.json").camera(0, 8)
    for given, colour in (([], 0), (["--background", "white"], 255)):
        assert call("render", *options, *given)[0] == 0
        made = uniform.render(model, replace(camera, background=(colour,) * 3)).rgb
        np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), made)
    status, _, err = call("render", *options[:-1], tmp_path / "o", "--path", "orbit:3")
    assert status == 2
    assert err.startswith("error: path must be absent with a forward-facing model, ")
