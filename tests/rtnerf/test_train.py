import json
import math

import numpy as np
import pytest
from PIL import Image

from rtnerf import options


def test_train_names_every_built_in_scene(call):
    from nerf.scenes.builtin import SCENES

    assert tuple(SCENES) == tuple(options.SCENE.choices)
    _, out, _ = call("train", "--help")
    assert "{" + ",".join(SCENES) + "}" in "".join(out.split())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"frames": []}, "frames must be a list of at least one view, not []"),
        ({"camera_angle_x": math.nan}, "camera_angle_x must be an angle in (0, pi) radians, not nan"),
        ({"w": math.inf}, "w must be a number of pixels above 0, not inf"),
        ({"matrix": np.full((4, 4), math.nan).tolist()}, "frames[0].transform_matrix must be finite, not nan"),
        ({"file": "absent"}, "picture must be a file, not missing: {folder}/absent"),
        ({"file": "transforms.json"}, "picture must be readable, not {folder}/transforms.json (cannot identify"),
        ({"matrix": (np.eye(4) + 9 * np.eye(4, k=3)).tolist()}, "rays must meet the box of the scene, not all miss it"),
    ],
)  # fmt: skip
def test_bad_training_data_is_one_line_and_exit_2(call, tmp_path, content, message):
    Image.new("RGBA", (4, 4)).save(tmp_path / "view.png")
    content = {"camera_angle_x": 0.7, "file": "view", "matrix": np.eye(4).tolist(), **content}
    frames = [{"file_path": content.pop("file"), "transform_matrix": content.pop("matrix")}]
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": frames, **content}))
    arguments = ["--transforms", tmp_path / "transforms.json", "--out", tmp_path / "model", "--size", 4, "--steps", 1]
    status, out, err = call("train", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: " + message.format(folder=tmp_path))


def test_a_missing_gpu_is_one_line_and_exit_2(call, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    arguments = ["--out", tmp_path / "model", "--size", 4, "--steps", 1, "--device", "cuda"]
    message = "error: device must be auto or cpu where PyTorch finds no GPU, not cuda\n"
    assert call("train", *arguments) == (2, "", message)


def test_tune_writes_a_model_and_what_was_done(call, tmp_path):
    from nerf.checkpoint import load_model, read_model_file

    out, results = tmp_path / "tuned", tmp_path / "tune.json"
    options = ["--occupancy", "tight", "--shading-threshold", "2e-3", "--prune-density", 0.1, "--factor-bits", 7]
    status, text, err = call("tune", *options, "--out", out, "--json", results)
    assert (status, err) == (0, "")
    assert text.count(" -> ") == len(json.loads(results.read_text())["after"])
    model, _, header = read_model_file(out)
    noted = json.loads(header["tuning"])
    assert (noted["model"], noted["knobs"]["occupancy"], noted["knobs"]["factor_bits"]) == ("embedded", "tight", 7)
    assert model.shading_threshold == 2e-3
    assert model.mask.mean() < load_model().mask.mean()
    out.unlink()
    status, _, err = call("tune", "--occupancy", "tight", "--occupancy-alpha", 0.999, "--out", out)
    assert (status, err.count("\n"), list(tmp_path.iterdir())) == (2, 1, [results])
    assert err.startswith("error: occupancy_alpha must be below this model's largest (")
