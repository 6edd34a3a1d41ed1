import json

import numpy as np
import pytest
from PIL import Image


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


def test_another_model_is_not_measured_against_the_embedded_pictures(call, fakes, tmp_path):
    arguments = ["--size", 4, "--out", tmp_path / "rgb.npy", "--json", tmp_path / "results.json"]
    for model, transforms, measured in (("m", None, False), ("m", "t", True), (None, None, True)):
        chosen = [f"--{name}={value}" for name, value in (("model", model), ("transforms", transforms)) if value]
        assert call("render", *arguments, *chosen)[0] == 0
        assert (json.loads((tmp_path / "results.json").read_text())["psnr_db"] is not None) == measured
