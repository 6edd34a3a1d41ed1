"""What the keys of a camera file mean, against rays that this test makes itself from pixel coordinates."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from nerf.cameras import load_cameras
from rtnerf.base.errors import InputError

ANGLE = 0.7
FOCAL = 32 / math.tan(ANGLE / 2)
"""Of pictures 64 pixels wide."""
KEYS = {"camera_angle_x": ANGLE, "w": 64, "h": 48}


@pytest.fixture
def read(tmp_path, look_at):
    """Function that writes a camera file of two frames and reads it: the keys of the file, then of its frames."""

    def read(content, *frames, pictures=None):
        poses = [look_at((3, i, 1)).c2w.tolist() for i in range(2)]
        frames = [
            {"file_path": f"images/v{i}.png", "transform_matrix": pose, **(frames[i] if i < len(frames) else {})}
            for i, pose in enumerate(poses)
        ]
        (tmp_path / "images").mkdir(exist_ok=True)
        for name, size in (pictures or {}).items():
            Image.new("RGB", size, (255, 0, 0)).save(tmp_path / "images" / name)
        (tmp_path / "transforms.json").write_text(json.dumps({"frames": frames, **content}))
        return load_cameras(tmp_path / "transforms.json")

    return read


def expected_rays(c2w, focal, centre, width, height):
    """Unit directions through the pixel centres, by a loop over pixels."""
    rows = []
    for y in range(height):
        for x in range(width):
            local = np.array([(x + 0.5 - centre[0]) / focal[0], -(y + 0.5 - centre[1]) / focal[1], -1])
            rows.append(c2w[:3, :3] @ (local / np.linalg.norm(local)))
    return np.array(rows)


@pytest.mark.parametrize(
    ("content", "frame", "focal", "centre"),
    [
        (KEYS, {}, (FOCAL, FOCAL), (32, 24)),
        (KEYS | {"cx": 40.0, "cy": 19.0, "fl_x": 80}, {}, (80, 80), (40, 19)),
        (KEYS | {"fl_x": 80, "fl_y": 104}, {}, (80, 104), (32, 24)),
        (KEYS | {"camera_angle_y": 0.9}, {}, (FOCAL, 24 / math.tan(0.45)), (32, 24)),
        ({"camera_angle_y": 0.9, "w": 64, "h": 48}, {}, (24 / math.tan(0.45),) * 2, (32, 24)),
        ({"fl_x": 80, "w": 64.0, "h": 48}, {}, (80, 80), (32, 24)),
        (KEYS, {"fl_x": 177.0, "cx": 30, "w": 64, "h": 48}, (177, 177), (30, 24)),
        (KEYS | {"fl_x": 80, "fl_y": 90}, {"camera_angle_x": ANGLE}, (FOCAL, 90), (32, 24)),
        ({}, {"camera_angle_x": ANGLE, "w": 64, "h": 48}, (FOCAL, FOCAL), (32, 24)),
        ({"fl_x": 80, "w": 32, "h": 24, "cx": 10}, {"w": 64, "h": 48}, (80, 80), (10, 24)),
        (KEYS | {"k1": 0, "p2": 0.0, "camera_model": "OPENCV", "is_fisheye": False}, {}, (FOCAL, FOCAL), (32, 24)),
        (KEYS | {"applied_transform": [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0]]}, {}, (FOCAL, FOCAL), (32, 24)),
    ],
)
def test_intrinsics_are_those_of_the_file(read, content, frame, focal, centre):
    cameras = read(content, frame, frame)
    for scale in (1, 2):
        camera = cameras.camera(1, 64 * scale)
        assert (camera.width, camera.height) == (64 * scale, 48 * scale)
        scaled = [np.multiply(pair, scale) for pair in (focal, centre)]
        expected = expected_rays(camera.c2w, *scaled, camera.width, camera.height)
        np.testing.assert_allclose(camera.rays()[1], expected, atol=1e-6)


def test_a_focal_length_goes_before_an_angle_that_contradicts_it_and_says_so(read):
    cameras = read(KEYS | {"fl_x": 133.3}, {}, {"fl_x": FOCAL})
    assert cameras.camera(0, 64).focal == 133.3
    assert list(cameras.remarks) == [0]
    assert cameras.remarks[0].startswith("fl_x (133.3 pixels) contradicts camera_angle_x (87.66")
    assert read(KEYS | {"fl_x": FOCAL * 1.001}).remarks == {}


def test_a_key_of_another_programs_box_says_that_it_has_no_effect(read):
    assert read(KEYS | {"aabb_scale": 16}).remarks[1] == "aabb_scale (16) has no effect: the box is the model's"


def test_the_truth_of_a_lens_is_straightened(read, tmp_path):
    """A picture whose left half is red: its edge goes through the principal point and stays, the corners go."""
    lens = KEYS | {"k1": 0.5, "fl_x": 40, "fl_y": 40}
    cameras = read(lens, {}, {"k1": 0.0}, pictures={"v0.png": (64, 48), "v1.png": (64, 48)})
    pixels = np.full((48, 64, 3), 255, np.uint8)
    pixels[:, :32, 1:] = 0
    for name in ("v0.png", "v1.png"):
        Image.fromarray(pixels).save(tmp_path / "images" / name)
    bent, straight = (cameras.ground_truth(index, 32) for index in range(2))
    assert np.isnan(bent[0, 0]).all()
    assert not np.isnan(straight).any()
    known = ~np.isnan(bent)
    assert 0.4 < known.mean() < 0.9
    np.testing.assert_allclose(bent[known], straight[known], atol=1e-6)
    assert cameras.camera(0, 64).rays()[1].tolist() == read(lens | {"k1": 0}).camera(0, 64).rays()[1].tolist()
    assert read(KEYS | {"camera_model": "OPENCV_FISHEYE", "fl_x": 40}).optics[0].lens.fisheye
    assert read(KEYS | {"k1": 0, "p1": 0.0, "camera_model": "OPENCV"}).optics[0].lens is None


def test_each_frame_has_its_own(read):
    cameras = read({"fl_x": 80}, {"w": 64, "h": 48}, {"w": 20, "h": 40, "cx": 9})
    assert [cameras.camera(i, 20).height for i in range(2)] == [15, 40]
    assert cameras.camera(1, 20).centre == (9, 20)
    assert cameras.camera(0, 20).focal == 25


def test_without_w_and_h_the_size_is_that_of_the_picture(read, tmp_path):
    cameras = read({"fl_x": 80, "cx": 20}, pictures={"v0.png": (64, 48)})
    camera = cameras.camera(0, 32)
    assert (camera.height, camera.focal, camera.centre) == (24, 40, (10, 12))
    assert cameras.ground_truth(0, 32).shape == (24, 32, 3)
    assert cameras.no_truth(0, 32) is None
    with pytest.raises(InputError, match="w must be given beside fl_x and cx where there is no picture, not missing"):
        cameras.camera(1, 32)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (64, 48)).save(tmp_path / "images" / "v0.png", exif=turned)
    assert cameras.camera(0, 48).height == 64


def test_a_picture_of_another_shape_shows_more_or_less_with_square_pixels(read):
    camera = read(KEYS | {"cy": 20}).camera(0, 64, 64)
    np.testing.assert_allclose([camera.focal, camera.focal_y, *camera.centre], [FOCAL, FOCAL, 32, 28])
    assert read(KEYS, pictures={"v0.png": (64, 48)}).no_truth(0, 64, 64).endswith(
        "asked for, 64x64, not 64x48: " + str(read(KEYS).files[0])
    )  # fmt: skip


def test_a_truth_that_is_missing_or_of_another_shape_says_so(read):
    cameras = read(KEYS, pictures={"v0.png": (48, 48)})
    assert cameras.no_truth(0, 64).startswith("picture must be of the shape that w and h say, 64x48, not 48x48: ")
    assert cameras.no_truth(1, 64) == f"picture must be a file, not missing: {cameras.files[1]}"
    assert cameras.ground_truth(0, 64) is cameras.ground_truth(1, 64) is None
    assert read(KEYS, pictures={"v0.png": (128, 96)}).ground_truth(0, 64).shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("written", "there"),
    [
        ("images/a", "a.jpg"),
        ("images/a", "a.JPG"),
        ("./images/a", "a.jpeg"),
        ("images\\a.png", "a.png"),
        (".\\images\\a", "a.png"),
        ("images/a.b", "a.b.png"),
    ],
)
def test_pictures_are_found_by_the_names_that_files_give_them(read, written, there):
    cameras = read(KEYS, {"file_path": written}, pictures={there: (64, 48)})
    np.testing.assert_allclose(cameras.ground_truth(0, 8)[0, 0], [1, 0, 0], atol=0.01)


def test_poses_of_three_rows(read, look_at):
    pose = look_at((1, 2, 3)).c2w
    assert np.array_equal(read(KEYS, {"transform_matrix": pose[:3].tolist()}).poses[0], pose)


@pytest.mark.parametrize(
    ("content", "frame", "message"),
    [
        ({"k1": 1e9}, {}, "k1 must be a number within 1000, not 1000000000.0"),
        ({}, {"p2": "0.1"}, "frames[0].p2 must be a number within 1000, not '0.1'"),
        ({"k5": 0.1}, {}, "k5 must be 0 (this lens is not modelled: undistort the pictures first), not 0.1"),
        ({"is_fisheye": 1}, {}, "is_fisheye must be true or false, not 1"),
        (
            {"is_fisheye": True},
            {},
            "fl_x must be given for a fisheye, whose angle of view is not a pinhole's, not missing",
        ),
        ({"is_fisheye": True, "fl_x": 80, "p1": 0.1}, {}, "p1 and p2 must be 0 for a fisheye, not (0.1, 0.0)"),
        ({"camera_model": "EQUIRECTANGULAR"}, {}, "camera_model must be one of PINHOLE, "),
        ({"aabb_scale": "16"}, {}, "aabb_scale must be a number above 0, not '16'"),
        ({"scale": 0.33}, {}, "scale must be absent or neutral ("),
        ({"offset": [0.5, 0.5, 0.5]}, {}, "offset must be absent or neutral ("),
        ({"orientation_override": "up"}, {}, "orientation_override must be absent ("),
        ({}, {"mask_path": "m.png"}, "frames[0].mask_path must be absent ("),
        ({"fl_x": 0}, {}, "fl_x must be a number of pixels above 0 and at most 1e+07, not 0"),
        ({"fl_y": math.nan}, {}, "fl_y must be a number of pixels above 0 and at most 1e+07, not nan"),
        ({}, {"fl_x": "80"}, "frames[0].fl_x must be a number of pixels above 0 and at most 1e+07, not '80'"),
        ({"cx": 1e20}, {}, "cx must be a number of pixels from -65536 to 65536, not 1e+20"),
        ({"cy": True}, {}, "cy must be a number of pixels from "),
        ({"w": 1e20}, {}, "w must be a whole number of at most 65536 pixels, not 1e+20"),
        ({"w": 64.5}, {}, "w must be a whole number of at most 65536 pixels, not 64.5"),
        ({"h": None}, {}, "h must be a number of pixels above 0, not None"),
        ({"camera_angle_y": 3.2}, {}, "camera_angle_y must be an angle in (0, pi) radians, not 3.2"),
        ({}, {"file_path": "."}, "frames[0].file_path must be the name of a picture, not '.'"),
    ],
)
def test_what_is_not_honoured_is_refused_by_name(read, content, frame, message):
    with pytest.raises(InputError) as caught:
        read(KEYS | content, frame)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"w": 64, "h": 48},
            "camera_angle_x must be an angle in (0, pi) radians, or fl_x a number of pixels, not missing",
        ),
        ({"camera_angle_x": ANGLE, "w": 64}, "h must be given beside w, not missing"),
    ],
)
def test_what_is_missing_is_named(read, content, message):
    with pytest.raises(InputError) as caught:
        read(content)
    assert str(caught.value) == message


def test_sizes_without_sense_are_refused(read):
    with pytest.raises(InputError, match="size must be at most 8192 pixels a side, not 9999999999x7"):
        read(KEYS).camera(0, 9999999999)
