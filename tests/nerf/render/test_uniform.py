import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from nerf.metrics import psnr
from nerf.render.uniform import camera_rays, first_distance, render, trace

TRACED = [
    "z", "in_bbox", "occupied", "sigma_feature", "sigma", "alpha", "weight", "app_mask",
    "xyz_app", "app_feature", "sample_rgb", "acc", "rgb", "depth",
]  # fmt: skip


@pytest.fixture(scope="module")
def reference_rays(lego):
    return np.load(lego / "refs" / "rays64_r_70_200.npz")


@pytest.fixture(scope="module")
def traced(lego_model, reference_rays):
    with torch.no_grad():
        return trace(lego_model, torch.from_numpy(reference_rays["rays"]))


@pytest.mark.data
@pytest.mark.parametrize("name", TRACED)
def test_every_intermediate_value_of_the_original(traced, reference_rays, name):
    key = f"official_{name}" if name in ("rgb", "depth") else name
    expected, actual = reference_rays[key], getattr(traced, name).numpy()
    if expected.dtype == bool:
        assert np.array_equal(actual, expected)
    else:
        np.testing.assert_allclose(actual, expected, atol=1e-4, rtol=0)


@pytest.mark.data
@pytest.mark.parametrize(
    ("view", "size"),
    [
        pytest.param(view, size, marks=[pytest.mark.full] if size == 200 and view != 20 else [])
        for view in (20, 70, 130)
        for size in (200, 100, 50)
    ],
)
def test_pictures_of_the_original(lego, lego_model, lego_cameras, view, size):
    picture = render(lego_model, lego_cameras.camera(view // 10, size))
    reference = np.load(lego / "refs" / f"r_{view}_{size}_rgb_f32.npy")
    depth = np.load(lego / "refs" / f"r_{view}_{size}_depth_f32.npy")
    assert psnr(picture.rgb, reference) >= 100
    np.testing.assert_allclose(picture.depth, depth, atol=1e-3)
    if size == 200:
        truth = lego_cameras.ground_truth(view // 10, size)
        expected = {20: 32.2766, 70: 32.0511, 130: 33.0125}[view]
        assert psnr(picture.rgb, truth) == pytest.approx(expected, abs=1e-3)


def by_hand(model, ray):
    """One ray in float64, sample by sample, straight from the formulas. Returns rgb, depth."""
    origin, direction = ray[:3].double().numpy(), ray[3:].double().numpy()
    low, high = model.aabb.double().numpy()
    with np.errstate(divide="ignore"):
        start = np.max(np.minimum((low - origin) / direction, (high - origin) / direction))
    start = min(max(start, model.near), model.far)
    rgb, depth, acc, left = np.zeros(3), 0.0, 0.0, 1.0
    for i in range(model.sample_count):
        t = start + i * model.step
        point = origin + direction * t
        at = torch.tensor(point, dtype=torch.float32)[None]
        if (point < low).any() or (point > high).any() or not bool(model.occupied(at)):
            continue
        sigma = float(model.density(model.density_feature(model.normalise(at)))[0])
        delta = model.step if i < model.sample_count - 1 else 0.0
        alpha = 1 - math.exp(-sigma * delta * model.distance_scale)
        weight, left = alpha * left, left * (1 - alpha + 1e-10)
        if weight > model.shading_threshold:
            feature = model.app_feature(model.normalise(at))
            rgb += weight * model.shade(feature, ray[None, 3:])[0].double().numpy()
        depth, acc = depth + weight * t, acc + weight
    return np.clip(rgb + 1 - acc, 0, 1), depth + (1 - acc) * direction[2]


@pytest.mark.parametrize("seed", range(3))
def test_rays_against_a_loop_in_double_precision(random_model, look_at, seed):
    model = random_model(seed, shading_threshold=0.01)
    rays = camera_rays(look_at((2.1, -2.3, 1.7)))[60:130:7]
    result = trace(model, rays)
    for number, ray in enumerate(rays):
        rgb, depth = by_hand(model, ray)
        np.testing.assert_allclose(result.rgb[number], rgb, atol=2e-4)
        np.testing.assert_allclose(result.depth[number], depth, atol=2e-4)
    assert float(result.acc.max()) > 0.5


def test_first_sample_is_where_the_ray_enters_between_near_and_far(random_model):
    model = random_model(0, near=0.5, far=3.0)
    rays = torch.tensor(
        [
            [-2.0, 0, 0, 1, 0, 0],  # Enters the face x = -1.
            [0.0, 0, 0, 1, 0, 0],  # Starts inside: near.
            [-9.0, 0, 0, 1, 0, 0],  # Enters at 8: far.
        ]
    )
    np.testing.assert_allclose(first_distance(model, rays), [1, 0.5, 3], rtol=1e-6)


def test_the_last_sample_never_counts(random_model, look_at):
    result = trace(random_model(0, mask=None), camera_rays(look_at((2.5, 1.5, 1))))
    assert bool((result.alpha[:, -1] == 0).all())


def test_rays_that_miss_are_white_and_have_the_original_depth(random_model, look_at):
    camera = look_at((5.0, 0.0, 0.0), target=(9.0, 1.0, 1.0))
    picture = render(random_model(0), camera)
    assert (picture.rgb == 1).all()
    assert picture.statistics["samples_occupied"] == 0
    np.testing.assert_array_equal(picture.depth.reshape(-1), camera.rays()[1][:, 2])


def test_what_is_behind_comes_with_what_is_let_through(random_model, look_at):
    model, camera = random_model(1, shading_threshold=0.0), look_at((2.2, 2.0, 1.0))
    black, grey = (render(model, replace(camera, background=colour)).rgb for colour in ((0, 0, 0), (51, 102, 255)))
    through = 1 - trace(model, camera_rays(camera)).acc.reshape(camera.height, camera.width, 1).numpy()
    assert 0.01 < through.mean() < 0.99
    np.testing.assert_allclose(grey - black, through * [0.2, 0.4, 1], atol=1e-6)


def test_progress_is_told_in_rays(random_model, look_at):
    seen = []
    render(random_model(3), look_at((2.5, 1, 2), width=5, height=4), 8, lambda *counts: seen.append(counts))
    assert seen == [(8, 20), (16, 20), (20, 20)]


@pytest.mark.parametrize("chunk", [1, 7, 10000])
def test_chunks_and_crops_do_not_change_the_picture(random_model, look_at, chunk):
    model, camera = random_model(1), look_at((2.2, 2.0, 1.0))
    whole = render(model, camera)
    part = render(model, camera.cropped(3, 2, 8, 7), chunk)
    assert part.rgb.shape == (7, 8, 3)
    assert part.depth.shape == (7, 8)
    np.testing.assert_allclose(part.rgb, whole.rgb[2:9, 3:11], atol=1e-5)
    assert whole.rgb.dtype == np.float32
    assert whole.statistics["rays"] == 192
    assert whole.statistics["samples_marched"] == 192 * model.sample_count
    assert part.statistics["samples_occupied"] < whole.statistics["samples_occupied"]


def test_shading_threshold_drops_colour_but_keeps_weight(random_model, look_at):
    rays = camera_rays(look_at((2.2, 2.0, 1.0)))
    shaded = trace(random_model(1), rays)
    dark = trace(random_model(1, shading_threshold=1.0), rays)
    assert len(dark.sample_rgb) == 0
    assert torch.equal(shaded.acc, dark.acc)
    torch.testing.assert_close(dark.rgb, (1 - dark.acc)[:, None].expand(-1, 3).clamp(0, 1))


def test_deferred_shading_of_equal_samples_is_that_of_each(random_model, look_at):
    """One colour for all samples of a ray: composited before or after the network, the picture is the same."""
    model = random_model(5, mask=None)
    for tensor in model.app_planes + model.app_lines:
        tensor.copy_(tensor.flatten(1)[:, :1].reshape(-1, *[1] * (tensor.ndim - 1)).expand_as(tensor))
    camera = look_at((3.0, -1.5, 1.0))
    each, once = (render(replace(model, shading=shading), camera) for shading in ("sample", "deferred"))
    np.testing.assert_allclose(once.rgb, each.rgb, atol=2e-6)
    np.testing.assert_array_equal(once.depth, each.depth)
    assert 0 < once.statistics["colours"] < each.statistics["colours"] == each.statistics["samples_shaded"]
    assert once.statistics["samples_shaded"] == each.statistics["samples_shaded"]


def test_deferred_shading_is_the_network_on_mean_products(random_model, look_at):
    model = random_model(6, shading="deferred")
    rays = camera_rays(look_at((3.0, -1.5, 1.0)))
    traced = trace(model, rays)
    ray = int(traced.app_mask.sum(1).argmax())
    mine = traced.app_mask[ray]
    points, weight = (rays[ray, :3] + rays[ray, 3:] * traced.z[ray, mine, None]), traced.weight[ray, mine]
    feature = (weight[:, None] * model.app_feature(model.normalise(points))).sum(0) / weight.sum()
    colour = model.shade(feature[None], rays[ray, None, 3:])[0]
    expected = colour * weight.sum() + 1 - traced.acc[ray]
    torch.testing.assert_close(traced.rgb[ray], expected, atol=1e-5, rtol=0)
