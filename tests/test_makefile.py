"""The Makefile's targets stay inside the checkout, whatever its path."""

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Stands for every Python: makes an environment whose python takes every command, and clears what is there.
FAKE_PYTHON = """#!/bin/sh
if [ "$2" = venv ]; then
    shift 3
    rm -rf "$@"
    for folder in "$@"; do mkdir -p "$folder/bin"; cp "$0" "$folder/bin/python"; done
fi
"""


@pytest.fixture
def checkout(tmp_path):
    """A checkout whose path has a space, with a bystander's file at each path that an unquoted word would name."""
    folder = tmp_path / "my project"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    for bystander in ("my", "project", "project/.venv", "project/build"):
        (tmp_path / bystander).mkdir(parents=True, exist_ok=True)
        (tmp_path / bystander / "keep").write_text("a bystander's")
        (folder / bystander).mkdir(parents=True, exist_ok=True)
        (folder / bystander / "keep").write_text("a bystander's")
    python = tmp_path / "python"
    python.write_text(FAKE_PYTHON)
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return folder


def make(folder, *arguments):
    command = ["make", *arguments, f"PYTHON={folder.parent / 'python'}"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def bystanders(folder):
    return sorted(folder.parent.glob("**/keep"))


@pytest.mark.parametrize("targets", [["setup"], ["clean"], ["distclean"], ["setup", "clean"]])
def test_nothing_outside_is_touched_where_the_path_has_a_space(checkout, targets):
    before = bystanders(checkout)
    assert len(before) == 8
    make(checkout, *targets)
    assert bystanders(checkout) == before


def test_what_was_made_is_removed(checkout):
    make(checkout, "setup")
    (checkout / "build").mkdir()
    (checkout / "nerf" / "__pycache__").mkdir(parents=True)
    assert (checkout / ".venv" / ".ready").is_file()
    make(checkout, "distclean")
    assert not (checkout / ".venv").exists()
    assert not (checkout / "build").exists()
    assert not (checkout / "nerf" / "__pycache__").exists()


def test_setup_does_its_work_once(checkout):
    make(checkout, "setup")
    ready = checkout / ".venv" / ".ready"
    made = ready.stat().st_mtime_ns
    make(checkout, "setup")
    assert ready.stat().st_mtime_ns == made
