import json

import numpy as np
import pytest
from PIL import Image

from nerf.cameras import load_cameras
from nerf.contract.errors import InputError
from nerf.scenes import SCENES, Bar, Block, Material, Scene, Sphere, get_scene, write_scene

GREY = Material((0.5, 0.5, 0.5))


def meet(primitive, origin, direction):
    direction = np.float32([direction]) / np.linalg.norm(direction).astype(np.float32)
    return float(primitive.meet(np.float32([origin]), direction)[0])


def test_sphere():
    sphere = Sphere(np.float32([0, 0, 1]), 0.5, GREY)
    assert meet(sphere, (0, 0, 4), (0, 0, -1)) == pytest.approx(2.5)
    assert meet(sphere, (0.6, 0, 4), (0, 0, -1)) == np.inf
    assert meet(sphere, (0, 0, 4), (0, 0, 1)) == np.inf
    assert sphere.normals(np.float32([[0.5, 0, 1]])).tolist() == [[1, 0, 0]]


def test_bar_has_a_length_and_a_radius():
    bar = Bar(np.float32([-1, 0, 0]), np.float32([1, 0, 0]), 0.25, GREY)
    assert meet(bar, (0.9, 0, 3), (0, 0, -1)) == pytest.approx(2.75)
    assert meet(bar, (1.1, 0, 3), (0, 0, -1)) == np.inf
    assert meet(bar, (0, 0.3, 3), (0, 0, -1)) == np.inf
    np.testing.assert_allclose(bar.normals(np.float32([[0.5, 0, 0.25]])), [[0, 0, 1]], atol=1e-6)


def test_block():
    block = Block(np.float32([-1, -2, -3]), np.float32([1, 2, 3]), GREY)
    assert meet(block, (5, 0, 0), (-1, 0, 0)) == pytest.approx(4)
    assert meet(block, (5, 0, 0), (-1, 1, 0)) == np.inf
    assert block.normals(np.float32([[1, 0.5, 0.1]])).tolist() == [[1, 0, 0]]
    assert block.normals(np.float32([[0.2, 0.5, -3]])).tolist() == [[0, 0, -1]]


def test_the_nearest_surface_is_seen():
    near = Sphere(np.float32([0, 0, 1]), 0.2, Material((1.0, 0.0, 0.0)))
    far = Sphere(np.float32([0, 0, -1]), 0.2, Material((0.0, 1.0, 0.0)))
    origins, directions = np.float32([[0, 0, 4], [3, 0, 4]]), np.float32([[0, 0, -1]] * 2)
    for parts in ((near, far), (far, near)):
        seen, missed = Scene("two", parts).colours(origins, directions)
        assert seen[0] > 0.3
        assert seen[1] == 0
        assert seen[3] == 1
        assert missed.tolist() == [0, 0, 0, 0]


def test_checker():
    material = Material((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), check=1.0)
    points = np.float32([[0.5, 0.5, 0], [1.5, 0.5, 0], [-0.5, -0.5, 0], [-0.5, 0.5, 9]])
    assert material.albedo(points)[:, 0].tolist() == [1, 0, 1, 0]


def seen_from_elsewhere(scene):
    """Change of colour of the visible points when the line of sight turns a little."""
    origins, directions = scene.cameras("test", 4).camera(0, 60).rays()
    colours = scene.colours(origins, directions)
    distances = np.min([part.meet(origins, directions) for part in scene.primitives], axis=0)
    hit = np.isfinite(distances)
    points = origins[hit] + distances[hit, None] * directions[hit]
    turned = directions[hit] + np.float32([0.15, -0.1, 0.05])
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    again = scene.colours(points - 0.01 * turned, turned)
    return np.abs(again - colours[hit])[again[:, 3] == 1, :3].max(axis=1)


@pytest.mark.parametrize("name", SCENES)
def test_colour_depends_on_the_view(name):
    assert np.mean(seen_from_elsewhere(get_scene(name)) > 0.05) > 0.01


def test_colour_of_a_matt_surface_does_not():
    matt = Scene("matt", (Sphere(np.float32([0, 0, 0]), 1.0, GREY),))
    assert seen_from_elsewhere(matt).max() < 0.01


@pytest.mark.parametrize("name", SCENES)
def test_scene_fits_its_box_and_has_fine_parts(name):
    scene = get_scene(name)
    assert scene.name == name
    assert min(part.radius for part in scene.primitives if isinstance(part, Bar)) <= 0.04
    camera = scene.cameras("test", 4).camera(1, 80)
    origins, directions = camera.rays()
    distances = np.min([part.meet(origins, directions) for part in scene.primitives], axis=0)
    hit = np.isfinite(distances)
    assert 0.1 < hit.mean() < 0.7
    points = origins[hit] + distances[hit, None] * directions[hit]
    assert np.abs(points).max() < 1.5


def test_picture_has_soft_edges_and_straight_alpha():
    ball = Scene("ball", (Sphere(np.float32([0, 0, 0]), 1.0, Material((1.0, 1.0, 1.0))),))
    pixels = ball.picture(ball.cameras("test", 1).camera(0, 24))
    assert pixels.shape == (24, 24, 4)
    alpha = pixels[..., 3]
    assert 0 < np.mean((alpha > 0) & (alpha < 255)) < 0.3
    # Straight alpha: pixels on the edge are as bright as those beside them, not darker.
    assert pixels[..., 0][(alpha > 0) & (alpha < 128)].min() > 0.3 * 255


def test_training_cameras_follow_the_seed_and_test_cameras_do_not():
    scene = get_scene("lattice")
    poses = [scene.cameras("train", 5, seed).poses for seed in (0, 0, 1)]
    assert np.array_equal(poses[0], poses[1])
    assert not np.allclose(poses[0], poses[2])
    assert np.array_equal(scene.cameras("test", 5, 0).poses, scene.cameras("test", 5, 1).poses)
    with pytest.raises(InputError, match="split must be 'train' or 'test', not 'val'"):
        scene.cameras("val", 3)


def test_written_scene_reads_back(tmp_path):
    scene = get_scene("lattice")
    write_scene(scene, tmp_path / "new" / "lattice", size=20, train=2, test=1, seed=3)
    folder = tmp_path / "new" / "lattice"
    for split, count in (("train", 2), ("test", 1)):
        cameras = load_cameras(folder / f"transforms_{split}.json")
        assert len(cameras) == count
        np.testing.assert_allclose(cameras.poses, scene.cameras(split, count, 3).poses)
        with Image.open(folder / split / "r_0.png") as picture:
            pixels = np.asarray(picture)
        assert np.array_equal(pixels, scene.picture(cameras.camera(0, 20)))
        assert cameras.ground_truth(0, 10).shape == (10, 10, 3)
    assert json.loads((folder / "transforms_test.json").read_text())["w"] == 20


def test_bad_arguments(tmp_path):
    with pytest.raises(InputError, match="scene must be one of lattice, not 'chair'"):
        get_scene("chair")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="directory must be a folder that can be written"):
        write_scene(get_scene("lattice"), tmp_path / "file", size=4, train=1, test=1)
