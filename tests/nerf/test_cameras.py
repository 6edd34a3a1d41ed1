import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nerf.cameras import Camera, load_cameras
from nerf.pictures import resize_area
from rtnerf.base.errors import InputError

ANGLE = 0.9


@pytest.fixture
def data_set(tmp_path, look_at):
    """Function that writes a transforms file; keywords replace parts of its content."""

    def write(**changes):
        frames = [{"file_path": f"./test/r_{i}", "transform_matrix": look_at((3, i, 1)).c2w.tolist()} for i in range(3)]
        path = tmp_path / "transforms_test.json"
        path.write_text(json.dumps({"camera_angle_x": ANGLE, "frames": frames} | changes))
        (tmp_path / "test").mkdir(exist_ok=True)
        return path

    return write


def test_camera_of_a_view(data_set):
    cameras = load_cameras(data_set())
    camera = cameras.camera(1, 40, 30)
    assert len(cameras) == 3
    assert (camera.width, camera.height) == (40, 30)
    assert camera.focal == pytest.approx(20 / math.tan(ANGLE / 2))
    assert camera.position.tolist() == [3, 1, 1]
    assert cameras.camera(0, 40).height == 40
    assert load_cameras(data_set(w=200, h=100)).camera(0, 40).height == 20


def test_rays_go_through_pixel_centres(look_at):
    camera = look_at((2.0, -3.0, 1.5), width=6, height=4, focal=5.0)
    origins, directions = camera.rays()
    assert origins.dtype == directions.dtype == np.float32
    assert origins.shape == directions.shape == (24, 3)
    np.testing.assert_allclose(origins, np.tile(camera.position, (24, 1)), rtol=1e-6)
    # Column 4, row 1: right of the centre and above it.
    local = np.array([(4.5 - 3) / 5, (2 - 1.5) / 5, -1])
    expected = camera.c2w[:3, :3] @ (local / np.linalg.norm(local))
    np.testing.assert_allclose(directions[1 * 6 + 4], expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-6)


@pytest.mark.data
def test_rays_of_the_original_program(lego, lego_cameras):
    reference = np.load(lego / "refs" / "rays64_r_70_200.npz")
    rays = np.concatenate(lego_cameras.camera(7, 200).rays(), axis=1)[reference["pixel_index"]]
    np.testing.assert_allclose(rays, reference["rays"], atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_crop_is_a_part_of_the_full_picture(look_at, data):
    camera = look_at((2.0, 1.0, 3.0), width=9, height=7)
    x, y = data.draw(st.integers(0, 8)), data.draw(st.integers(0, 6))
    w, h = data.draw(st.integers(1, 9 - x)), data.draw(st.integers(1, 7 - y))
    for full, part in zip(camera.rays(), camera.cropped(x, y, w, h).rays(), strict=True):
        window = full.reshape(7, 9, 3)[y : y + h, x : x + w].reshape(-1, 3)
        assert np.array_equal(window, part)


@pytest.mark.parametrize("crop", [(-1, 0, 2, 2), (0, 0, 17, 1), (3, 3, 0, 1), (0, 11, 1, 2)])
def test_crop_must_be_inside(look_at, crop):
    rule = "crop must be a window X,Y,W,H inside 16x12 pixels, not " + ",".join(map(str, crop))
    with pytest.raises(InputError, match=f"^{rule}$"):
        look_at((2, 0, 0)).cropped(*crop)


@pytest.mark.parametrize("name", ["r_0", "r_0.png"])
def test_ground_truth_averages_premultiplied_colour_on_white(data_set, tmp_path, name):
    pose = np.eye(4).tolist()
    path = data_set(frames=[{"file_path": f"test/{name}", "transform_matrix": pose}])
    pixels = np.zeros((2, 4, 4), dtype=np.uint8)
    pixels[:, :2] = [[[255, 0, 0, 255], [0, 255, 0, 0]], [[255, 0, 0, 255], [9, 9, 9, 0]]]
    pixels[:, 2:] = [0, 0, 255, 51]
    Image.fromarray(pixels).save(tmp_path / "test" / "r_0.png")
    picture = load_cameras(path).ground_truth(0, 2, 1)
    assert picture.dtype == np.float32
    # Half red and half clear; a fifth of blue.
    np.testing.assert_allclose(picture, [[[1, 0.5, 0.5], [0.8, 0.8, 1]]], atol=1e-6)
    whole = load_cameras(path).ground_truth(0, 4, 2)
    np.testing.assert_allclose(whole[0, 1], [1, 1, 1])


def test_ground_truth_at_other_sizes_keeps_the_mean(data_set, tmp_path):
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (30, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "r.png")
    path = data_set(frames=[{"file_path": "r", "transform_matrix": np.eye(4).tolist()}])
    picture = load_cameras(path).ground_truth(0, 20, 20)
    assert picture.shape == (20, 20, 3)
    np.testing.assert_allclose(picture.mean(axis=(0, 1)), pixels.mean(axis=(0, 1)) / 255, 1e-5)


def test_resizing_weighs_by_overlap():
    line = np.array([[[0.0], [3.0], [6.0]]])
    np.testing.assert_allclose(resize_area(line, 2, 1)[0, :, 0], [1, 5])
    np.testing.assert_allclose(resize_area(line, 6, 2)[1, :, 0], [0, 0, 3, 3, 6, 6])
    with pytest.raises(InputError, match="size must be at least 1x1 pixel, not 0x1"):
        resize_area(line, 0, 1)


def test_missing_picture_is_none_and_a_damaged_one_is_refused(data_set, tmp_path):
    cameras = load_cameras(data_set())
    assert cameras.ground_truth(2, 10, 10) is None
    (tmp_path / "test" / "r_2.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="picture must be readable"):
        cameras.ground_truth(2, 10, 10)


@pytest.mark.parametrize("index", [-1, 3])
def test_index_must_be_in_range(data_set, index):
    cameras = load_cameras(data_set())
    for call in (cameras.camera, cameras.ground_truth):
        with pytest.raises(InputError, match=rf"index must be in 0\.\.2, not {index}"):
            call(index, 10)


def test_size_must_be_positive(data_set):
    cameras = load_cameras(data_set())
    with pytest.raises(InputError, match="width must be at least 1 pixel, not 0"):
        cameras.camera(0, 0)
    with pytest.raises(InputError, match="height must be at least 1 pixel, not -2"):
        cameras.camera(0, 5, -2)


def frame(matrix):
    return {"frames": [{"file_path": "a", "transform_matrix": matrix}]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"camera_angle_x": None}, "camera_angle_x must be an angle in (0, pi) radians, not None"),
        ({"camera_angle_x": 4}, "camera_angle_x must be an angle in (0, pi) radians, not 4"),
        ({"frames": []}, "frames must be a list of at least one view, not []"),
        ({"frames": [{}]}, "frames[0].file_path must be a string, not missing"),
        (
            {"frames": [{"file_path": "a"}]},
            "frames[0].transform_matrix must be present, not missing",
        ),
        (frame([[1, 2], [3]]), "frames[0].transform_matrix must be 4 rows of 4 numbers"),
        (frame([[1, 0], [0, 1]]), "frames[0].transform_matrix must be of shape (4, 4), not (2, 2)"),
        (
            frame(np.diag([2.0, 2, 2, 1]).tolist()),
            "frames[0].transform_matrix must be a rotation and a translation, not 3 away from it",
        ),
        (frame(np.diag([1.0, 1, -1, 1]).tolist()), "must be a rotation and a translation, not a reflection"),
        (frame(np.diag([1.0, 1, math.nan, 1]).tolist()), "transform_matrix must be finite, not nan"),
        ({"w": 0}, "w must be a number of pixels above 0, not 0"),
    ],
)
def test_faulty_transforms_are_refused(data_set, changes, message):
    with pytest.raises(InputError) as caught:
        load_cameras(data_set(**changes))
    assert message in str(caught.value)


def test_unreadable_transforms(tmp_path):
    with pytest.raises(InputError, match=r"transforms must be a readable file, not .*absent"):
        load_cameras(tmp_path / "absent.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match="transforms must be a JSON file"):
        load_cameras(tmp_path / "bad.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(InputError, match="transforms must be a JSON object, not a list"):
        load_cameras(tmp_path / "list.json")


def test_camera_refuses_a_bad_focal_length():
    with pytest.raises(InputError, match="focal must be above 0 pixels, not 0"):
        Camera(np.eye(4), 0.0, 4, 4)
