import json

import numpy as np
import pytest
from PIL import Image

from nerf.cameras import load_cameras
from nerf.checkpoint import load_model, save_model
from nerf.metrics import psnr, ssim
from nerf.render import uniform


@pytest.fixture
def data_set(tmp_path):
    """A camera file of three views of the embedded model, two of them with a picture: its renders, darkened."""
    cameras, model = load_cameras(), load_model()
    frames = []
    for index in range(3):
        frames.append({"file_path": f"v{index}", "transform_matrix": cameras.poses[index].tolist()})
        if index != 1:
            rgb = uniform.render(model, cameras.camera(index, 12)).rgb
            Image.fromarray(np.rint(rgb * (255 - 50 * index)).astype(np.uint8)).save(tmp_path / f"v{index}.png")
    angle = cameras.optics[0].angle_x
    (tmp_path / "t.json").write_text(json.dumps({"camera_angle_x": angle, "w": 12, "h": 12, "frames": frames}))
    return tmp_path / "t.json"


def test_means_over_the_views_with_pictures(call, data_set, tmp_path):
    save_model(load_model(), tmp_path / "m")
    results = tmp_path / "e.json"
    options = [
        "--model",
        tmp_path / "m",
        "--transforms",
        data_set,
        "--size",
        12,
        "--pipeline",
        "uniform",
        "--json",
        results,
    ]
    status, out, err = call("evaluate", *options)
    assert (status, err) == (0, f"note: not compared: picture must be a file, not missing: {tmp_path / 'v1'}\n")
    assert out.endswith(" s\n")
    result = json.loads(results.read_text())
    cameras = load_cameras(data_set)
    expected = []
    for index in (0, 2):
        rgb, truth = uniform.render(load_model(), cameras.camera(index, 12)).rgb, cameras.ground_truth(index, 12)
        expected.append((psnr(rgb, truth), ssim(rgb, truth)))
    assert [view["index"] for view in result["views"]] == [0, 2]
    assert expected[0][0] > 45 > 25 > expected[1][0]
    np.testing.assert_allclose([result["psnr_db"], result["ssim"]], np.mean(expected, axis=0), rtol=1e-3)


def test_without_pictures_there_is_nothing_to_compare(call, data_set, tmp_path):
    for index in (0, 2):
        (tmp_path / f"v{index}.png").unlink()
    status, _, err = call("evaluate", "--transforms", data_set, "--size", 12)
    assert status == 2
    assert err.splitlines()[-1] == "error: transforms must have at least one picture to compare with, not 3 without"
