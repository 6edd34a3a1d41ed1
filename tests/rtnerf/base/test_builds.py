"""Builds that are kept: whole or not there, and made once."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from rtnerf.base import builds
from rtnerf.base.builds import kept_build, kept_value

ROOT = Path(__file__).resolve().parents[3]

# Notes each build that is begun, and takes a while in the middle.
BUILDER = """
import sys, time
from pathlib import Path
from rtnerf.base import builds
from rtnerf.base.builds import kept_build, kept_value
folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
def make(place):
    with open(folder / "begun", "a") as begun:
        begun.write("x")
    (place / "first").touch()
    time.sleep(seconds)
    (place / "second").touch()
place = kept_build(folder / "builds", "model", [1], make)
print(place, *sorted(path.name for path in place.iterdir()))
"""


def start(folder, seconds):
    command = [sys.executable, "-c", BUILDER, str(folder), str(seconds)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def begun(folder):
    return len((folder / "begun").read_text()) if (folder / "begun").exists() else 0


def wait_for_a_build(folder):
    end = time.monotonic() + 60
    while not begun(folder):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_processes_that_want_the_same_build_make_it_once(tmp_path):
    children = [start(tmp_path, 1.5) for _ in range(3)]
    (printed,) = {child.communicate(timeout=60)[0] for child in children}
    assert begun(tmp_path) == 1
    assert printed.split()[1:] == ["first", "second"]


def test_a_killed_build_leaves_nothing_that_is_taken_for_one(tmp_path):
    child = start(tmp_path, 60)
    wait_for_a_build(tmp_path)
    child.kill()
    child.communicate()
    out, _ = start(tmp_path, 0).communicate(timeout=60)
    place, *found = out.split()
    assert begun(tmp_path) == 2
    assert found == ["first", "second"]
    assert {path.resolve() for path in (tmp_path / "builds").iterdir() if path.is_dir()} == {Path(place)}


def test_a_failed_build_keeps_its_log_and_is_tried_again(tmp_path):
    def fail(place):
        (place / "log").touch()
        raise RuntimeError("on purpose")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="on purpose"):
            kept_build(tmp_path, "model", {}, fail)
        assert len(list(tmp_path.glob("*/log"))) == 1
    place = kept_build(tmp_path, "model", {}, lambda place: (place / "done").touch())
    assert [path.name for path in place.iterdir()] == ["done"]


def test_each_ingredient_has_a_build_of_its_own(tmp_path):
    made = [kept_build(tmp_path, "model", {"flags": flags}, lambda place: None) for flags in ("-O1", "-O2", "-O1")]
    assert made[0] == made[2] != made[1]


def test_a_build_stays_where_it_was_made(tmp_path):
    noted = []
    assert kept_build(tmp_path, "model", 1, noted.append) == noted[0]
    assert kept_build(tmp_path, "model", 1, noted.append) == noted[0]
    assert len(noted) == 1


def test_a_value_is_made_once_until_a_source_is_edited(tmp_path, monkeypatch):
    values = iter(range(10))

    def value(ingredients, packages=("rtnerf.base",)):
        return kept_value(tmp_path, "value", packages, ingredients, lambda: next(values))

    assert [value("a"), value("a"), value("b"), value("a"), value("a", ["nerf.contract"])] == [0, 0, 1, 0, 2]
    monkeypatch.setattr(builds, "digest_of", lambda packages: "edited before the start")
    assert [value("a"), value("a")] == [3, 3]
    monkeypatch.setattr(builds, "digest_of", lambda packages: None)
    assert [value("a"), value("a")] == [4, 5]


def test_a_value_that_cannot_be_kept_is_made_each_time(tmp_path):
    (tmp_path / "file").touch()
    values = iter(range(10))
    made = [kept_value(tmp_path / "file" / "kept", "value", (), None, lambda: next(values)) for _ in range(2)]
    assert made == [0, 1]
