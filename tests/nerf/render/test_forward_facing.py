"""Forward-facing models. Their pictures are held to formulas in tests/nerf/captures/compatibility.py."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from nerf.cameras import Camera, load_cameras
from nerf.contract.config import load_config
from nerf.contract.scene_image import Scene
from nerf.metrics import psnr
from nerf.prepared import Prepared
from nerf.render import cubes
from nerf.render.forward_facing import device_rays
from nerf.render.uniform import render
from nerf.train.training import FineTuning
from rtnerf.base.errors import InputError


@pytest.fixture
def model(random_model):
    box = torch.tensor([[-1.5, -1.67, -1.0], [1.5, 1.67, 1.0]])
    return random_model(0, aabb=box, near=0.0, far=1.0, mask=None, distance_scale=0.4)


def test_rays_go_through_the_box_of_the_frustum():
    """From z = -1 to z = 1, through the corners where the camera is at the origin."""
    rays = device_rays(Camera(np.eye(4), 9.0, 8, 6)).reshape(6, 8, 6)
    ends = rays[..., :3] + rays[..., 3:]
    np.testing.assert_allclose(rays[..., 2], -1, atol=1e-6)
    np.testing.assert_allclose(ends[..., 2], 1, atol=1e-6)
    np.testing.assert_allclose(rays[0, 0, :2], [-7 / 8, 5 / 6], atol=1e-6)
    np.testing.assert_allclose(ends[..., :2], rays[..., :2], atol=1e-6)
    beside = np.eye(4)
    beside[0, 3] = 0.5
    moved = device_rays(Camera(beside, 9.0, 8, 6)).reshape(6, 8, 6)
    np.testing.assert_allclose(moved[..., 0] - rays[..., 0], 0.5 * 9 / 4, atol=1e-6)
    np.testing.assert_allclose((moved[..., :3] + moved[..., 3:])[..., :2], ends[..., :2], atol=1e-6)


POSES = {
    "rays that diverge": ((0.1, -0.05, -0.2), 0.0),
    "rays that converge": ((0.1, -0.05, 0.2), 0.0),
    "parallel rays": ((0.3, -0.2, 0.0), 0.0),
    "nearly parallel rays": ((0.3, -0.2, 1e-9), 0.0),
    "a camera that looks aside": ((-0.4, 0.3, 0.3), 0.3),
}


def beside(position, angle):
    """A camera turned about y."""
    pose = np.eye(4)
    pose[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    pose[:3, 3] = position
    return Camera(pose, 15.0, 16, 12, frustum=(0.5, 0.4), background=(9, 90, 200))


@pytest.mark.parametrize(("position", "angle"), POSES.values(), ids=POSES.keys())
@pytest.mark.parametrize("box", [1.5, 0.6])
def test_object_order_renders_the_samples_of_the_reference(model, position, angle, box):
    """Each sample once and front to back, whether rays leave the box at its end or at a side."""
    model = replace(model, aabb=torch.tensor([[-box, -1.1 * box, -1.0], [box, 1.1 * box, 1.0]]))
    reference, actual = render(model, beside(position, angle)), cubes.render(model, beside(position, angle), 0, edge=2)
    assert reference.rgb.std() > 0.05
    np.testing.assert_allclose(actual.rgb, reference.rgb, atol=2e-5)
    np.testing.assert_allclose(actual.depth, reference.depth, atol=2e-5)
    for name in ("samples_occupied", "samples_shaded"):
        assert abs(actual.statistics[name] - reference.statistics[name]) <= 2  # Distances are rounded in other ways.


@pytest.mark.parametrize(("position", "angle"), POSES.values(), ids=POSES.keys())
@pytest.mark.parametrize("law", ["relu", "softplus"])
def test_integers_keep_to_the_reference(model, position, angle, law):
    """Rays of other lengths, too: those of the camera that looks aside are up to half as long again."""
    model = replace(model, density_activation=law, density_shift=-3.0, distance_scale=2.0, mask=None)
    job, camera = Prepared(model, load_config("tiny")), beside(position, angle)
    reference = job.render(camera, "uniform").rgb
    assert psnr(job.render(camera, "integer").rgb, reference) > 40
    image = Prepared(Scene(job.scene.data), job.config)
    assert image.forward_facing
    np.testing.assert_array_equal(image.render(camera).rgb, job.render(camera).rgb)


def test_integers_of_a_grid_whose_axes_are_exchanged(random_model):
    box = torch.tensor([[-1.5, -1.67, -1.0], [1.5, 1.67, 1.0]])
    model = random_model(3, (400, 9, 30), aabb=box, near=0.0, far=1.0, mask=None, distance_scale=0.4)
    job, camera = Prepared(model, load_config("tiny")), beside(*POSES["rays that diverge"])
    assert job.scene.host["exchanged"]
    assert psnr(job.render(camera).rgb, job.render(camera, "uniform").rgb) > 40


def test_a_window_and_a_picture_of_another_shape_are_parts_of_the_picture(model, tmp_path):
    frame = {"file_path": "v", "transform_matrix": np.eye(4).tolist()}
    (tmp_path / "t.json").write_text(json.dumps({"camera_angle_x": 0.9, "w": 16, "h": 12, "frames": [frame]}))
    cameras = load_cameras(tmp_path / "t.json")
    whole = render(model, cameras.camera(0, 16)).rgb
    assert whole.std() > 0.05
    window = render(model, cameras.camera(0, 16).cropped(3, 2, 5, 7)).rgb
    np.testing.assert_allclose(window, whole[2:9, 3:8], atol=1e-6)
    np.testing.assert_allclose(render(model, cameras.camera(0, 16, 8)).rgb, whole[2:10], atol=1e-5)


@pytest.mark.parametrize(
    ("call", "where"),
    [
        (lambda model, camera: Prepared(model, load_config("tiny")).view(camera), "for the accelerator"),
        (lambda model, camera: FineTuning(model, "sample").start(), "for training"),
        (lambda model, camera: replace(model, shading="deferred"), "for deferred shading"),
    ],
)
def test_it_is_refused_elsewhere(model, call, where):
    with pytest.raises(InputError, match=f"model must be in coordinates of the world {where}, not forward-facing in"):
        call(model, Camera(np.eye(4), 9.0, 8, 6))


def test_a_camera_that_looks_elsewhere_is_refused(model, look_at):
    with pytest.raises(InputError, match="view must look along -z of the world with a forward-facing model"):
        render(model, look_at((2, 0, 0)))
