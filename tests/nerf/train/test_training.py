from dataclasses import replace

import numpy as np
import pytest
import torch

from nerf.cameras import load_cameras
from nerf.checkpoint import load_model
from nerf.lens import Lens
from nerf.metrics import psnr
from nerf.render import uniform
from nerf.scenes.builtin import Scene, get_scene, write_scene
from nerf.scenes.primitives import Material, Sphere
from nerf.train.factors import channels_last
from nerf.train.grids import initial_model, refresh_mask, shrink, upsample, with_factors
from nerf.train.marching import colours
from nerf.train.settings import TrainingSettings
from nerf.train.training import (
    FINE_TUNING,
    Dataset,
    FineTuning,
    load_dataset,
    train,
    train_dataset,
    train_scene,
)
from rtnerf.base.errors import InputError

SMALL = TrainingSettings(
    steps=120,
    batch_rays=256,
    first_edge=12,
    last_edge=20,
    upsample_at=(0.5,),
    mask_at=(0.45, 0.7),
    density_components=4,
    app_components=6,
    features=9,
    hidden=16,
    bands=1,
    factor_rate=0.08,
    network_rate=5e-3,
)


@pytest.fixture(scope="module")
def ball():
    """Training rays of a red ball off the centre, and a test camera with its picture."""
    centre = np.float32([0.3, 0.1, 0.2])
    scene = Scene("ball", (Sphere(centre, 0.5, Material((0.8, 0.1, 0.1))),))
    rays, colours = [], []
    for split, count in (("train", 12), ("test", 1)):
        cameras = scene.cameras(split, count)
        for view in range(count):
            camera = cameras.camera(view, 24)
            rays.append(np.concatenate(camera.rays(), axis=1))
            rgba = scene.colours(*camera.rays())
            colours.append(rgba[:, :3] + 1 - rgba[:, 3:])
    dataset = Dataset(torch.from_numpy(np.concatenate(rays[:-1])), torch.from_numpy(np.concatenate(colours[:-1])))
    return dataset, camera, colours[-1].reshape(24, 24, 3)


@pytest.fixture(scope="module")
def trained(ball):
    reports = []
    model = train(ball[0], SMALL, lambda *report: reports.append(report))
    return model, reports


def test_training_learns_the_ball(ball, trained):
    model, _ = trained
    _, camera, truth = ball
    blank = psnr(np.ones_like(truth), truth)
    assert psnr(uniform.render(model, camera).rgb, truth) > blank + 8
    assert 0.02 < model.mask.mean() < 0.9
    # Masks shrank the box around the ball.
    assert bool((model.extent < 2.5).all())
    assert not any(tensor.requires_grad for tensor in model.named_tensors().values())


def test_progress_counts_to_the_end(trained):
    _, reports = trained
    assert [step for step, _, _ in reports] == list(range(10, 121, 10))
    assert {steps for _, steps, _ in reports} == {120}
    assert reports[-1][2] > reports[0][2] + 5


def test_training_is_decided_by_the_seed(ball):
    short = replace(SMALL, steps=12)
    one, two, other = (train(ball[0], replace(short, seed=seed)) for seed in (1, 1, 2))
    for name, tensor in one.named_tensors().items():
        assert torch.equal(tensor, two.named_tensors()[name]), name
    assert not torch.equal(one.basis, other.basis)


def test_threads_share_the_rays(ball):
    short = replace(SMALL, steps=5)
    one = train(ball[0], short)
    torch.set_num_threads(2)
    try:
        two, again = train(ball[0], short), train(ball[0], short)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    for name, tensor in one.named_tensors().items():
        torch.testing.assert_close(two.named_tensors()[name], tensor, atol=1e-3, rtol=0)
        assert torch.equal(two.named_tensors()[name], again.named_tensors()[name]), name


@pytest.mark.parametrize("stop", [30, 60, 100])
def test_a_stopped_run_goes_on_to_the_same_bits(ball, trained, tmp_path, stop):
    """Stopped before, at and after masks and upsampling."""
    path = tmp_path / "model.part"

    def interrupt(done, *_):
        if done == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(ball[0], SMALL, interrupt, path, checkpoint_seconds=0)
    steps = []
    model = train(ball[0], SMALL, lambda done, *_: steps.append(done), path)
    assert steps[0] == stop  # From the checkpoint of the step before.
    for name, tensor in trained[0].named_tensors().items():
        assert torch.equal(tensor, model.named_tensors()[name]), name
    assert np.array_equal(trained[0].mask, model.mask)
    assert torch.equal(trained[0].aabb, model.aabb)


def test_a_checkpoint_of_another_run_is_refused(ball, tmp_path):
    path, short = tmp_path / "model.part", replace(SMALL, steps=2)
    train(ball[0], short, None, path, checkpoint_seconds=0)
    brighter = Dataset(ball[0].rays, ball[0].rgb + 0.1)
    for dataset, settings in ((ball[0], replace(short, seed=1)), (brighter, short)):
        with pytest.raises(InputError, match=r"checkpoint must be of this very run .*, not of another: .*model\.part"):
            train(dataset, settings, None, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"checkpoint must be one of this program or absent, not .*model\.part"):
        train(ball[0], short, None, path)


def test_every_tensor_is_made_on_the_device_of_the_run(ball, monkeypatch):
    """A tensor without a device of its own lands elsewhere, here, and meeting the others fails."""
    monkeypatch.setattr("nerf.train.marching.compiled_for", lambda device: False)
    monkeypatch.setattr("nerf.train.training.initial_model", lambda *arguments: made)
    made = initial_model(SMALL, torch.Generator().manual_seed(0))
    short = replace(SMALL, steps=6, mask_at=(0.3, 0.7))
    with torch.device("meta"):
        model = train(ball[0], short, device="cpu")
    assert {tensor.device.type for tensor in model.named_tensors().values()} == {"cpu"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_learns_the_same(ball, trained):
    model = train(ball[0], SMALL, device="cuda")
    _, camera, truth = ball
    on_cpu, on_gpu = (psnr(uniform.render(each, camera).rgb, truth) for each in (trained[0], model))
    assert abs(on_gpu - on_cpu) < 1


@pytest.mark.parametrize("name", ["rays", "rgb"])
def test_data_that_are_not_finite_are_refused(ball, name):
    bad = {"rays": ball[0].rays, "rgb": ball[0].rgb, name: torch.full((3, 6), torch.nan)}
    with pytest.raises(InputError, match=f"{name} must be finite, not nan"):
        Dataset(**bad)


def test_fine_tuning_improves_deferred_shading_and_keeps_the_density(ball, trained, tmp_path):
    _, camera, truth = ball
    start = FineTuning(trained[0], "deferred").start()
    before = {name: tensor.clone() for name, tensor in start.named_tensors().items()}
    settings = replace(FINE_TUNING, steps=40, batch_rays=256)
    tuned = train(ball[0], settings, start=start)
    assert (tuned.shading, tuned.shading_threshold) == ("deferred", 1e-3)
    for name, tensor in tuned.named_tensors().items():
        assert torch.equal(start.named_tensors()[name], before[name]), name
        assert torch.equal(tensor, before[name]) == name.startswith("density"), name
    assert np.array_equal(tuned.mask, start.mask)
    was, now = (psnr(uniform.render(model, camera).rgb, truth) for model in (start, tuned))
    assert now > was

    path = tmp_path / "model.part"
    train(ball[0], settings, None, path, checkpoint_seconds=0, start=start)
    with pytest.raises(InputError, match="checkpoint must be of this very run"):
        train(ball[0], settings, None, path, start=replace(start, shading="sample"))


def test_fine_tuning_shades_what_it_is_told_to(ball, trained, tmp_path):
    start = FineTuning(trained[0], "sample", 0.01)
    assert (start.start().shading_threshold, start.settings().shading_threshold) == (0.01, 0.01)
    path = tmp_path / "model.part"
    settings = replace(start.settings(), steps=2, batch_rays=64)
    tuned = train(ball[0], settings, None, path, checkpoint_seconds=0, start=start.start())
    assert tuned.shading_threshold == 0.01
    emptier = replace(start.start(), mask=start.model.mask & (np.arange(len(start.model.mask)) > 3)[:, None, None])
    with pytest.raises(InputError, match="checkpoint must be of this very run"):
        train(ball[0], settings, None, path, start=emptier)


def test_a_diverging_run_is_stopped(ball, monkeypatch):
    monkeypatch.setattr("nerf.train.run.colours", lambda *arguments: colours(*arguments) * torch.nan)
    with pytest.raises(InputError, match="training error must be finite, not nan in step 1"):
        train(ball[0], SMALL)


def test_upsampling_by_a_whole_factor_keeps_the_field(random_model):
    model = random_model(0)
    finer = upsample(model, tuple(3 * (length - 1) + 1 for length in model.grid_size))
    assert finer.grid_size == (25, 31, 19)
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(3)) * 2 - 1
    torch.testing.assert_close(finer.app_feature(points), model.app_feature(points), atol=1e-4, rtol=0)


def test_shrinking_crops_at_vertices_and_keeps_the_field(random_model):
    mask = np.zeros((7, 11, 9), dtype=bool)
    mask[2:5, 1:9, 3] = True
    model = random_model(0, mask=mask)
    cropped = shrink(model)
    assert cropped.grid_size == (2, 8, 3)
    assert cropped.mask.shape == (3, 8, 2)
    assert cropped.mask[:, :, 1].all()
    low, high = cropped.aabb
    points = low + torch.rand(50, 3, generator=torch.Generator().manual_seed(3)) * (high - low)
    torch.testing.assert_close(
        cropped.density_feature(cropped.normalise(points)),
        model.density_feature(model.normalise(points)),
        atol=1e-4,
        rtol=0,
    )
    with pytest.raises(InputError, match="mask must be set somewhere, not empty"):
        shrink(random_model(0, mask=np.zeros((7, 11, 9), dtype=bool)))


def test_refreshed_mask_is_the_widened_opaque_part(random_model):
    """A field that is opaque at one vertex only: its mask is that vertex and its neighbours."""
    model = random_model(0, density=1, mask=None, density_shift=-20.0)
    for group in (model.density_planes, model.density_lines):
        for tensor in group:
            tensor.zero_()
    model.density_planes[0][0, 5, 4] = 8.0  # x = 4, y = 5
    model.density_lines[0][0, 2] = 3.0  # z = 2
    mask = refresh_mask(model).mask
    expected = np.zeros((7, 11, 9), dtype=bool)
    expected[1:4, 4:7, 3:6] = True
    assert np.array_equal(mask, expected)


def test_refreshed_mask_stays_inside_the_old_one(random_model):
    model = random_model(0, density_shift=5.0, mask=np.zeros((5, 6, 8), dtype=bool))
    assert not refresh_mask(model).mask.any()


def test_train_scene_saves_what_it_returns(tmp_path):
    path = tmp_path / "model.safetensors"
    model = train_scene("lattice", path, steps=2, seed=5, size=10, views=2)
    again = load_model(path)
    np.testing.assert_allclose(model.basis, again.basis, atol=1e-3)
    assert again.density_components == (16, 16, 16)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]
    with pytest.raises(InputError, match="out must be a file in an existing folder"):
        train_scene("lattice", tmp_path / "absent" / "model", steps=1)
    with pytest.raises(InputError, match="steps must be at least 1, not 0"):
        train_scene("lattice", path, steps=0)


def test_train_dataset_reads_transforms(tmp_path):
    write_scene(get_scene("lattice"), tmp_path, size=12, train=2, test=1)
    path = tmp_path / "model.safetensors"
    train_dataset(load_cameras(tmp_path / "transforms_train.json"), path, steps=2, size=6)
    assert load_model(path).sample_count > 0
    (tmp_path / "train" / "r_1.png").unlink()
    with pytest.raises(InputError, match=r"picture must be a file, not missing: .*r_1"):
        train_dataset(load_cameras(tmp_path / "transforms_train.json"), path, steps=2, size=6)


def test_a_box_of_the_capture_is_the_models(tmp_path):
    write_scene(get_scene("lattice"), tmp_path, size=12, train=2, test=1)
    box = np.array([[-1.0, -0.9, -1.2], [0.8, 1.1, 1.0]])
    cameras = replace(load_cameras(tmp_path / "transforms_train.json"), box=box)
    model = train_dataset(cameras, tmp_path / "m", steps=1, size=6)
    np.testing.assert_allclose(model.aabb, box, atol=1e-6)
    assert model.near == 0
    assert 4 < model.far < 7


def test_rays_that_the_lens_did_not_see_are_left_out(tmp_path):
    write_scene(get_scene("lattice"), tmp_path, size=16, train=1, test=1)
    cameras = load_cameras(tmp_path / "transforms_train.json")
    bent = replace(cameras.optics[0], lens=Lens((2.0, 0, 0, 0)))
    whole, part = (load_dataset(each, 16) for each in (cameras, replace(cameras, optics=[bent])))
    assert 100 < len(part.rgb) < len(whole.rgb) == 256
    assert len(part.rays) == len(part.rgb)
    truth = replace(cameras, optics=[bent]).ground_truth(0, 16)
    assert len(part.rgb) == np.isfinite(truth).all(axis=2).sum()


def test_the_background_is_that_of_pictures_and_rays(random_model, tmp_path):
    write_scene(get_scene("planets"), tmp_path, size=16, train=2, test=1)
    red = (255, 0, 0)
    dataset = load_dataset(load_cameras(tmp_path / "transforms_train.json", background=red), 16)
    assert dataset.rgb[0].tolist() == [1, 0, 0]
    assert dataset.background == red
    model = with_factors(random_model(0), channels_last)
    rays = dataset.rays[:1] + 9  # They miss.
    missed = colours(model, rays, torch.zeros(1), None, torch.tensor(red) / 255)
    assert missed.tolist() == [[1, 0, 0]]
    other = replace(dataset, background=(0, 0, 0))
    train(dataset, replace(SMALL, steps=2), checkpoint=tmp_path / "c", checkpoint_seconds=0)
    with pytest.raises(InputError, match="checkpoint must be of this very run"):
        train(other, replace(SMALL, steps=3), checkpoint=tmp_path / "c")


def test_pictures_belong_to_their_rays(tmp_path):
    scene = get_scene("lattice")
    write_scene(scene, tmp_path, size=16, train=2, test=1)

    cameras = load_cameras(tmp_path / "transforms_train.json")
    dataset = load_dataset(cameras, 16)
    assert dataset.rays.shape == (512, 6)
    second = np.concatenate(cameras.camera(1, 16).rays(), axis=1)
    np.testing.assert_array_equal(dataset.rays[256:], second)
    np.testing.assert_array_equal(dataset.rgb[256:], cameras.ground_truth(1, 16).reshape(-1, 3))
