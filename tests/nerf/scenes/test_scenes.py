import json
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from nerf.cameras import load_cameras
from nerf.scenes.builtin import SCENES, Scene, contact_sheet, get_scene, write_scene
from nerf.scenes.primitives import Bar, Material, Sphere
from rtnerf.base.errors import InputError

GREY = Material((0.5, 0.5, 0.5))


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


def test_colour_of_a_matt_surface_does_not():
    matt = Scene("matt", (Sphere(np.float32([0, 0, 0]), 1.0, GREY),))
    assert seen_from_elsewhere(matt).max() < 0.01


# ---- The built-in scenes ----


@pytest.mark.parametrize("name", SCENES)
def test_scene_fits_its_box_and_leaves_room_around(name):
    scene = get_scene(name)
    assert scene.name == name
    cameras = scene.cameras("test", 4)
    for view in range(4):
        origins, directions = cameras.camera(view, 48).rays()
        distances = np.min([part.meet(origins, directions) for part in scene.primitives], axis=0)
        hit = np.isfinite(distances)
        assert 0.02 < hit.mean() < 0.7
        points = origins[hit] + distances[hit, None] * directions[hit]
        assert np.abs(points).max() < 1.5


@pytest.mark.parametrize("name", SCENES)
def test_scene_is_the_same_every_time_and_partly_transparent(name):
    first, second = (get_scene(name).picture(get_scene(name).cameras("test", 3).camera(2, 24)) for _ in range(2))
    assert np.array_equal(first, second)
    assert first[..., 3].min() == 0
    assert first[..., 3].max() == 255


def test_lattice_stays_what_the_embedded_model_was_trained_on():
    scene, cameras = get_scene("lattice"), load_cameras()
    kept = np.asarray(Image.open(cameras.files[0].with_suffix(".png")))
    difference = np.abs(scene.picture(cameras.camera(0, 100)).astype(int) - kept)
    assert difference.max() <= 1, "nothing has moved"
    assert (difference > 0).any(axis=2).mean() < 5e-3, "processors may round differently"
    assert min(part.radius for part in scene.primitives if isinstance(part, Bar)) <= 0.04


@pytest.fixture(scope="module")
def characters():
    """Four numbers about every scene, measured on one view of 80x80.

    Shares: covered rays; covered rays on an outline; steep changes between covered neighbours;
    points that change when the line of sight turns.
    """
    result = {}
    for name in SCENES:
        scene = get_scene(name)
        seen = scene.colours(*scene.cameras("test", 4).camera(1, 80).rays()).reshape(80, 80, 4)
        colour, cover = seen[..., :3], seen[..., 3]
        inside = (cover[:, 1:] == 1) & (cover[:, :-1] == 1)
        result[name] = {
            "cover": cover.mean(),
            "outline": np.abs(np.diff(cover, axis=1)).sum() / cover.sum(),
            "detail": (np.abs(np.diff(colour, axis=1)).max(axis=2) > 0.1)[inside].mean(),
            "view": np.mean(seen_from_elsewhere(scene) > 0.05),
        }
    return result


def test_scenes_are_what_their_docstrings_say(characters):
    def most(measure, names=SCENES):
        return max(names, key=lambda name: characters[name][measure])

    assert most("outline") == "helix"
    assert most("view") == "pearls"
    assert most("detail", ("pearls", "mosaic", "hills", "sponge")) == "mosaic"
    assert most("cover") == "sponge"
    assert min(SCENES, key=lambda name: characters[name]["cover"]) == "planets"
    assert characters["lattice"]["view"] > 0.01


@pytest.mark.parametrize(("one", "other"), list(combinations(SCENES, 2)))
def test_scenes_differ_twofold_in_some_number(characters, one, other):
    ratios = [characters[one][measure] / max(characters[other][measure], 1e-3) for measure in characters[one]]
    assert max(max(ratio, 1 / max(ratio, 1e-3)) for ratio in ratios) > 2


def test_contact_sheet_shows_every_scene():
    sheet = contact_sheet(size=12)
    assert sheet.shape == (24, 48, 3)
    assert sheet.dtype == np.uint8
    tiles = [tile for row in np.split(sheet, 2) for tile in np.split(row, 4, axis=1)]
    assert len(tiles) == len(SCENES)
    assert all((tile == 255).any() and (tile < 200).any() for tile in tiles)


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
    with pytest.raises(InputError, match=f"scene must be one of {', '.join(SCENES)}, not 'chair'"):
        get_scene("chair")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="directory must be a folder that can be written"):
        write_scene(get_scene("lattice"), tmp_path / "file", size=4, train=1, test=1)
