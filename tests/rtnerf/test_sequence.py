import json

import numpy as np
import pytest
from PIL import Image


def test_frames_are_the_views_of_single_pictures(call, tmp_path):
    options = ["--size", 6, "--pipeline", "cubes"]
    status, out, err = call("render", *options, "--frames", 3, "--index", 1, "--workers", 2, "--out", tmp_path / "all")
    assert (status, err) == (0, "")
    assert out.startswith(f"{tmp_path / 'all'}: 3 pictures, cubes, ")
    assert sorted(file.name for file in (tmp_path / "all").iterdir()) == ["0000.png", "0001.png", "0002.png"]
    call("render", *options, "--index", 3, "--out", tmp_path / "one.npy", "--png", tmp_path / "one.png")
    assert (tmp_path / "all" / "0002.png").read_bytes() == (tmp_path / "one.png").read_bytes()


def test_an_orbit_is_rendered_and_animated(call, tmp_path):
    options = ["--size", 8, "--path", "orbit:4", "--pipeline", "integer", "--workers", 1]
    targets = ["--out", tmp_path / "o", "--gif", tmp_path / "o.gif", "--fps", 5, "--json", tmp_path / "o.json"]
    assert call("render", *options, *targets)[0] == 0
    result = json.loads((tmp_path / "o.json").read_text())
    assert (result["path"], len(result["files"])) == ("orbit:4", 4)
    pictures = [np.asarray(Image.open(file)) for file in result["files"]]
    assert pictures[0].shape == (8, 8, 3)
    assert all(np.abs(pictures[0] - picture.astype(int)).max() > 30 for picture in pictures[1:])
    with Image.open(tmp_path / "o.gif") as animation:
        assert (animation.n_frames, animation.info["duration"]) == (4, 200)
        shown = np.asarray(animation.convert("RGB"), int)
        assert np.abs(shown - pictures[0]).mean() < 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gif", "o.gif"], "gif must be absent of one picture, not o.gif"),
        (["--workers", "2"], "workers must be absent of one picture, not 2"),
        (["--fps", "9", "--frames", "2"], "fps must be absent without gif, not 9"),
        (["--png", "o.png", "--frames", "2"], "png must be absent of several pictures, which are PNG, not o.png"),
        (["--path", "orbit:1"], "path must be orbit:N with N from 2 to 9999, or a file, not orbit:1"),
        (["--path", "orbit:9", "--frames", "2"], "frames must be absent with a path, not 2"),
        (["--path", "p.json", "--index", "2"], "index must be absent with a path from a file, not 2"),
        (["--frames", "99"], "index must be in 0..7, not 8"),
    ],
)
def test_options_without_effect_are_refused(call, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert call("render", "--out", "o", "--size", 4, *arguments) == (2, "", f"error: {message}\n")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_must_not_be_a_file(call, tmp_path):
    (tmp_path / "f").write_text("")
    status, _, err = call("render", "--out", tmp_path / "f", "--frames", 2)
    message = f"error: out must be a folder where several pictures are rendered, not {tmp_path / 'f'} (a file)\n"
    assert (status, err) == (2, message)
