"""Captures of every kind, written here from known cameras, give those cameras back."""

import io
import json
import math
import struct

import numpy as np
import pytest
from PIL import Image

from nerf.cameras import load_cameras
from nerf.poses import turned
from rtnerf.base.errors import InputError

WIDTH, HEIGHT, FOCAL, CENTRE = 32, 24, 40.0, (17.0, 11.0)
EYES = [(3, 0, 1), (0, 3, 1), (-3, 1, 0.5)]
FLIP = np.diag([1.0, -1, -1, 1])


@pytest.fixture
def poses(look_at):
    return [look_at(eye).c2w for eye in EYES]


def put_pictures(folder, names):
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        Image.new("RGB", (WIDTH, HEIGHT), (50 * number, 0, 255)).save(folder / name)


def write_llff(folder, poses, pictures=True):
    rows = []
    for pose in poses:
        right, up, back, place = pose[:3].T
        rows.append([*np.stack([-up, right, back, place, [HEIGHT, WIDTH, FOCAL]], axis=1).ravel(), 1.0, 9.0])
    np.save(folder / "poses_bounds.npy", np.array(rows))
    if pictures:
        put_pictures(folder / "images", [f"IMG_{number}.JPG" for number in range(len(poses))])
    return folder


def test_llff_is_centred_as_forward_facing_models_have_it(tmp_path):
    """Cameras side by side: the mean one is at the origin, 3/4 of the nearest depth are 1, left is right."""
    turn = turned(np.array([2, -1, 2]) / 3, 0.7)
    poses = []
    for offset in ((-0.3, 0, 0.1), (0.3, 0.2, -0.1), (0, -0.2, 0)):
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = turn, (7, 8, 9) + turn @ offset
        poses.append(pose)
    cameras = load_cameras(write_llff(tmp_path, poses), forward_facing=True)
    np.testing.assert_allclose(cameras.poses[:, :3, :3], np.diag([-1, 1, 1])[None].repeat(3, 0), atol=1e-12)
    np.testing.assert_allclose(cameras.poses[0, :3, 3], np.array([0.3, 0, 0.1]) / 0.75, atol=1e-12)
    split = load_cameras(tmp_path, split="train", forward_facing=True)
    np.testing.assert_array_equal(split.poses, cameras.poses[1:])
    rows = np.load(tmp_path / "poses_bounds.npy")
    rows[1, 15] = 0
    np.save(tmp_path / "poses_bounds.npy", rows)
    assert len(load_cameras(tmp_path)) == 3
    with pytest.raises(InputError, match=r"poses_bounds.npy must have depths above 0, not 0"):
        load_cameras(tmp_path, forward_facing=True)


def write_nsvf(folder, poses, prefixes="012", rows=None):
    (folder / "pose").mkdir()
    names = [f"{prefix}_{number:03}" for number, prefix in enumerate(prefixes)]
    for name, pose in zip(names, poses, strict=True):
        np.savetxt(folder / "pose" / f"{name}.txt", pose @ FLIP)
    put_pictures(folder / "rgb", [f"{name}.png" for name in names])
    matrix = f"{FOCAL} 0 {CENTRE[0]} 0\n0 {FOCAL} {CENTRE[1]} 0\n0 0 1 0\n0 0 0 1\n"
    (folder / "intrinsics.txt").write_text(matrix if rows is None else rows)
    (folder / "bbox.txt").write_text("-1 -2 -3 1 2 3 0.4\n")
    return folder


def quaternion(rotation):
    """(w, x, y, z) of a rotation, by the eigenvector of Bar-Itzhack's matrix."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    matrix = np.array([[a - e - i, d + b, g + c, h - f], [d + b, e - a - i, h + f, c - g],
                       [g + c, h + f, i - a - e, d - b], [h - f, c - g, d - b, a + e + i]])  # fmt: skip
    x, y, z, w = np.linalg.eigh(matrix)[1][:, -1]
    return w, x, y, z


MODELS = {"PINHOLE": (1, (FOCAL, FOCAL, *CENTRE)), "SIMPLE_RADIAL": (2, (FOCAL, *CENTRE, 0.05))}


def write_colmap(folder, poses, binary, model="PINHOLE", place="sparse/0"):
    put_pictures(folder / "images", [f"{number} a.png" for number in range(len(poses))])
    folder = folder / place
    folder.mkdir(parents=True)
    number, parameters = MODELS[model]
    views = []
    for index, pose in enumerate(poses):
        rotation = (pose @ FLIP)[:3, :3].T
        views.append((*quaternion(rotation), *(-rotation @ pose[:3, 3]), f"{index} a.png"))
    if binary:
        camera = struct.pack(f"<iiQQ{len(parameters)}d", 7, number, WIDTH, HEIGHT, *parameters)
        (folder / "cameras.bin").write_bytes(struct.pack("<Q", 1) + camera)
        content = struct.pack("<Q", len(views))
        for index, (*values, name) in reversed(list(enumerate(views))):
            content += struct.pack("<I7dI", index + 1, *values, 7) + name.encode() + b"\0"
            content += struct.pack("<Q", index) + bytes(24 * index)
        (folder / "images.bin").write_bytes(content)
    else:
        words = " ".join(map(str, parameters))
        (folder / "cameras.txt").write_text(f"# cameras\n7 {model} {WIDTH} {HEIGHT} {words}\n")
        lines = ["# images"]
        for index, (*values, name) in reversed(list(enumerate(views))):
            lines += [f"{index + 1} {' '.join(map(repr, map(float, values)))} 7 {name}", "1.0 2.0 -1" * index]
        (folder / "images.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_transforms(folder, poses):
    put_pictures(folder / "test", [f"{number}.png" for number in range(len(poses))])
    frames = [{"file_path": f"test/{n}", "transform_matrix": (pose @ FLIP).tolist()} for n, pose in enumerate(poses)]
    content = {"fl_x": FOCAL, "cx": CENTRE[0], "cy": CENTRE[1], "w": WIDTH, "h": HEIGHT, "frames": frames}
    (folder / "transforms_test.json").write_text(json.dumps(content))
    return folder


KINDS = {
    "llff": (write_llff, {}, (WIDTH / 2, HEIGHT / 2)),
    "nsvf": (write_nsvf, {}, CENTRE),
    "colmap text": (lambda *given: write_colmap(*given, False), {}, CENTRE),
    "colmap binary": (lambda *given: write_colmap(*given, True), {}, CENTRE),
    "transforms in OpenCV's axes": (write_transforms, {"axes": "opencv"}, CENTRE),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_gives_its_cameras_and_pictures(tmp_path, poses, kind):
    write, options, centre = KINDS[kind]
    write(tmp_path, poses)
    cameras = load_cameras(tmp_path, **options)
    np.testing.assert_allclose(cameras.poses, poses, atol=1e-9)
    camera = cameras.camera(2, 2 * WIDTH)
    assert (camera.height, camera.focal, camera.focal_y) == (2 * HEIGHT, 2 * FOCAL, 2 * FOCAL)
    assert camera.centre == (2 * centre[0], 2 * centre[1])
    for number in range(3):
        np.testing.assert_allclose(cameras.ground_truth(number, 4)[0, 0], [50 * number / 255, 0, 1], atol=0.02)


def test_files_of_a_folder_stand_for_it(tmp_path, poses):
    expected = np.array(poses)
    for kind in ("llff", "nsvf", "colmap text"):
        (tmp_path / kind).mkdir()
        KINDS[kind][0](tmp_path / kind, poses)
    for file in (
        "llff/poses_bounds.npy",
        "nsvf/intrinsics.txt",
        "colmap text/sparse/0/images.txt",
        "colmap text/sparse/0",
    ):
        cameras = load_cameras(tmp_path / file)
        np.testing.assert_allclose(cameras.poses, expected, atol=1e-9)
        assert len(cameras.pictures) == 3


def test_axes_that_are_not_said_look_away_from_the_scene(tmp_path, poses):
    write_transforms(tmp_path, poses)
    assert load_cameras(tmp_path).look_away(np.zeros(3))
    assert not load_cameras(tmp_path, axes="opencv").look_away(np.zeros(3))


def test_parts_of_a_folder(tmp_path, poses):
    write_nsvf(tmp_path, poses)
    assert [len(load_cameras(tmp_path, split=part)) for part in ("all", "train", "val", "test")] == [3, 1, 1, 1]
    for old, new in (("2_002", "1_002"),):
        (tmp_path / "pose" / f"{old}.txt").rename(tmp_path / "pose" / f"{new}.txt")
    np.testing.assert_allclose(load_cameras(tmp_path, split="test").poses, poses[1:], atol=1e-9)
    with pytest.raises(InputError, match=r"^split must be one of all, test, train with .*, not val$"):
        load_cameras(tmp_path, split="val")


def test_every_eighth_view_is_held_out(tmp_path, poses):
    write_llff(tmp_path, poses * 3)
    assert [file.name for file in load_cameras(tmp_path, split="test").files] == ["IMG_0.JPG", "IMG_8.JPG"]
    assert len(load_cameras(tmp_path, split="train")) == 7


def test_camera_files_of_a_folder_are_its_parts(tmp_path, poses):
    write_transforms(tmp_path, poses)
    (tmp_path / "transforms_train.json").write_text((tmp_path / "transforms_test.json").read_text())
    assert len(load_cameras(tmp_path)) == 6
    assert len(load_cameras(tmp_path, split="train")) == 3
    content = json.loads((tmp_path / "transforms_test.json").read_text())
    named = {"train_filenames": ["test/0", "test/1"], "val_filenames": ["test/2"]}
    (tmp_path / "transforms.json").write_text(json.dumps(content | named))
    assert len(load_cameras(tmp_path / "transforms.json", split="val")) == 1


def test_the_box_of_the_scene(tmp_path, poses):
    assert load_cameras(write_nsvf(tmp_path, poses)).box.tolist() == [[-1, -2, -3], [1, 2, 3]]
    (tmp_path / "bbox.txt").unlink()
    assert load_cameras(tmp_path).box is None


def test_intrinsics_as_a_line(tmp_path, poses):
    write_nsvf(tmp_path, poses, rows=f"{FOCAL} {CENTRE[0]} {CENTRE[1]} 0.\n0. 0. 0.\n0.\n1.\n{HEIGHT} {WIDTH}\n")
    camera = load_cameras(tmp_path).camera(0, WIDTH)
    assert (camera.height, camera.focal, camera.focal_y, camera.centre) == (HEIGHT, FOCAL, FOCAL, CENTRE)
    write = tmp_path / "intrinsics.txt"
    write.write_text(f"{FOCAL} {CENTRE[0]} {CENTRE[1]} 0.\n0. 0. 0.\n0.\n1.\n")  # As many numbers as a 3 x 3 matrix.
    assert load_cameras(tmp_path).camera(0, WIDTH).centre == CENTRE
    write.write_text(f"{FOCAL} 0 {CENTRE[0]}\n0 50 {CENTRE[1]}\n0 0 1\n")
    assert load_cameras(tmp_path).camera(0, WIDTH).focal_y == 50


@pytest.mark.parametrize("binary", [False, True])
def test_a_lens_of_colmap(tmp_path, poses, binary):
    write_colmap(tmp_path, poses, binary, "SIMPLE_RADIAL")
    optics = load_cameras(tmp_path).optics[0]
    assert optics.lens.radial == (0.05, 0, 0, 0)
    assert not optics.lens.fisheye
    assert (optics.focal_x, optics.focal_y, optics.centre_x) == (FOCAL, FOCAL, CENTRE[0])


def array(*shape):
    """A file of NumPy with an array of ones."""
    stream = io.BytesIO()
    np.save(stream, np.ones(shape))
    return stream.getvalue()


CAMERAS, IMAGES = "sparse/0/cameras.txt", "sparse/0/images.txt"
SKEWED = b"40 1 16 0\n0 40 12 0\n0 0 1 0\n0 0 0 1"


@pytest.mark.parametrize(
    ("kind", "file", "content", "message"),
    [
        ("llff", "poses_bounds.npy", array(3, 15), "poses_bounds.npy must be of shape (views, 17), not (3, 15)"),
        ("llff", "poses_bounds.npy", b"x", "poses_bounds.npy must be a NumPy array, not "),
        ("llff", "poses_bounds.npy", array(3, 17), "poses_bounds.npy[0] must be a rotation and a translation, not "),
        (
            "llff",
            "poses_bounds.npy",
            array(2, 17),
            "images must hold 2 pictures, a row of poses_bounds.npy each, not 3",
        ),
        ("nsvf", "intrinsics.txt", SKEWED, "intrinsics.txt must be of pixels with right angles, not of skew 1"),
        ("nsvf", "intrinsics.txt", b"40 x", "intrinsics.txt must be a file of numbers, not of something else"),
        ("nsvf", "intrinsics.txt", b"", "intrinsics.txt must be 1 to 16 rows of finite numbers, not something else"),
        ("nsvf", "pose/0_000.txt", b"1 2", "0_000.txt must be 4 rows of 4 numbers, not 2 numbers"),
        (
            "nsvf",
            "bbox.txt",
            b"1 1 1 0 2 2",
            "bbox.txt must be the lower corner, the upper corner and, perhaps, the size",
        ),
        ("colmap text", CAMERAS, ("PINHOLE", "FOV"), "cameras.txt must be of camera models SIMPLE_PINHOLE, PINHOLE, "),
        ("colmap text", CAMERAS, (" 11.0", ""), "cameras.txt must give 4 parameters of PINHOLE, not 3"),
        (
            "colmap text",
            CAMERAS,
            ("40.0", "-1"),
            "cameras.txt fl_x must be a number of pixels above 0 and at most 1e+07",
        ),
        ("colmap text", IMAGES, (" 7 ", " 8 "), "images.txt must be of cameras in cameras.txt, not of camera 8"),
        ("colmap text", IMAGES, b"a b", "images.txt must have lines ID QW QX QY QZ TX TY TZ CAMERA NAME, not 'a b'"),
        ("colmap text", IMAGES, b"1 0 0 0 0 1 1 1 7 a\n", "images.txt: a must be finite, not nan"),
        ("colmap text", IMAGES, b"# none\n", "images.txt must be of at least one picture, not of none"),
        (
            "colmap binary",
            "sparse/0/images.bin",
            struct.pack("<QI", 1 << 60, 4),
            "COLMAP, not one that ends after 12 bytes",
        ),
    ],
)
def test_faulty_captures_are_refused(tmp_path, poses, kind, file, content, message):
    KINDS[kind][0](tmp_path, poses)
    file = tmp_path / file
    file.write_bytes(content if isinstance(content, bytes) else file.read_bytes().replace(*map(str.encode, content)))
    with pytest.raises(InputError) as caught:
        load_cameras(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_of_no_known_kind_and_axes_of_another_kind_are_refused(tmp_path, poses):
    with pytest.raises(InputError, match=r"^transforms must be a camera file or a folder with transforms\*.json, "):
        load_cameras(tmp_path)
    write_llff(tmp_path, poses, pictures=False)
    with pytest.raises(InputError, match=r"^axes must be absent with .*, whose kind has axes of its own, not opencv$"):
        load_cameras(tmp_path, axes="opencv")
    assert load_cameras(tmp_path).no_truth(0, 8).startswith("picture must be a file, not missing: ")


def test_a_half_turn_of_a_quaternion_of_any_length():
    from nerf.poses import rotation_of, turned

    angle = 2 * math.atan2(0.5, 2)
    np.testing.assert_allclose(rotation_of((2, 0, 0, 0.5)), turned((0, 0, 1), angle), atol=1e-12)
    np.testing.assert_allclose(turned((0, 0, 1), math.pi / 2) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
