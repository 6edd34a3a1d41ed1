import json
import math

import numpy as np
import pytest

from nerf.path import orbit, read_path, upright
from rtnerf.base.errors import InputError


def test_an_orbit_keeps_height_distance_and_view_of_the_centre(look_at):
    centre = np.array([0.5, -0.2, 0.1])
    start = look_at((3.0, 1.0, 1.5), target=centre)
    cameras = orbit(start, centre, np.array([0.0, 0, 1]), 8)
    assert len(cameras) == 8
    np.testing.assert_allclose(cameras[0].c2w, start.c2w, atol=1e-12)
    for number, camera in enumerate(cameras):
        away = camera.position - centre
        turn = math.atan2(1.2, 2.5) + number * math.pi / 4
        np.testing.assert_allclose(away, [*(math.hypot(2.5, 1.2) * np.array([math.cos(turn), math.sin(turn)])), 1.4])
        np.testing.assert_allclose(camera.c2w[:3, 2], away / np.linalg.norm(away), atol=1e-12)
        assert abs(camera.c2w[2, 0]) < 1e-12  # The horizon stays level.


def test_up_is_the_nearest_axis(look_at):
    poses = np.stack([look_at(eye).c2w for eye in ((3, 0, 1), (0, 3, 2), (-2, -2, 1))])
    assert upright(poses).tolist() == [0, 0, 1]
    assert upright(poses @ np.diag([1.0, -1, -1, 1])).tolist() == [0, 0, -1]


def written(tmp_path, content):
    (tmp_path / "path.json").write_text(json.dumps(content))
    return tmp_path / "path.json"


def test_a_path_of_nerfstudio(tmp_path, look_at):
    pose = look_at((3, 1, 1)).c2w
    entries = [{"camera_to_world": pose.ravel().tolist(), "fov": 60}, {"camera_to_world": pose.tolist(), "fov": 90.0}]
    path = written(tmp_path, {"camera_path": entries, "render_width": 40, "render_height": 20, "fps": 24})
    one, other = read_path(path, 20, None, (1, 2, 3))
    np.testing.assert_allclose(one.c2w, pose)
    assert (one.width, one.height, one.background) == (20, 10, (1, 2, 3))
    assert (one.focal, other.focal) == (pytest.approx(5 / math.tan(math.pi / 6)), pytest.approx(5))
    assert read_path(path, 20, 30, (0, 0, 0))[0].height == 30


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "path must have a list camera_path of at least one entry, not None"),
        ({"camera_path": []}, "path must have a list camera_path of at least one entry, not []"),
        ({"camera_path": [{"fov": 50}]}, "camera_path[0].camera_to_world must be present, not missing"),
        (
            {"camera_path": [{"camera_to_world": [1, 2], "fov": 50}]},
            "camera_path[0].camera_to_world must be of shape (4, 4), not (2,)",
        ),
        (
            {"camera_path": [{"camera_to_world": np.eye(4).tolist(), "fov": 180}]},
            "camera_path[0].fov must be an angle in (0, 180) degrees, not 180",
        ),
    ],
)
def test_faulty_paths_are_refused(tmp_path, content, message):
    with pytest.raises(InputError) as caught:
        read_path(written(tmp_path, content), 8, None, (0, 0, 0))
    assert str(caught.value) == message
