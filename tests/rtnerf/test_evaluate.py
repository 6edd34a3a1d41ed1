import json
from dataclasses import replace

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
    data_set.write_text(data_set.read_text().replace("{", '{"aabb_scale": 4, ', 1))
    status, _, err = call("evaluate", "--transforms", data_set, "--size", 12)
    assert status == 2
    assert err.splitlines()[0] == "note: aabb_scale (4) has no effect: the box is the model's"
    assert err.splitlines()[-1] == "error: transforms must have at least one picture to compare with, not 3 without"


def test_a_part_of_a_folder_on_another_background(call, data_set, tmp_path):
    """The same view as a capture of NSVF, its picture clear where nothing is: on black, as the rendering."""
    cameras, folder = load_cameras(data_set), tmp_path / "nsvf"
    (folder / "pose").mkdir(parents=True)
    (folder / "rgb").mkdir()
    camera = cameras.camera(0, 12)
    for name, index in (("0_a", 1), ("2_b", 0)):
        np.savetxt(folder / "pose" / f"{name}.txt", cameras.poses[index] @ np.diag([1.0, -1, -1, 1]))
    (folder / "intrinsics.txt").write_text(f"{camera.focal} 6 6 0\n0 0 0\n0\n1\n12 12\n")
    white, black = (
        uniform.render(load_model(), replace(camera, background=colour)).rgb for colour in ((255,) * 3, (0,) * 3)
    )
    clear = (white - black).mean(axis=2, keepdims=True)
    straight = np.concatenate([black / np.maximum(1 - clear, 1e-3), 1 - clear], axis=2)
    Image.fromarray(np.rint(straight.clip(0, 1) * 255).astype(np.uint8)).save(folder / "rgb" / "2_b.png")
    results = tmp_path / "e.json"
    options = ["--transforms", folder, "--split", "test", "--size", 12, "--background", "black", "--json", results]
    assert call("evaluate", *options)[0] == 0
    result = json.loads(results.read_text())
    assert (len(result["views"]), result["split"], result["background"]) == (1, "test", [0, 0, 0])
    assert result["psnr_db"] > 45
