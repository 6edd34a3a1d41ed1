"""Camera files in the layout of NeRF-synthetic, nerfstudio or instant-ngp: ``transforms*.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nerf.captures.shot import Shot
from nerf.optics import read_optics
from nerf.poses import OPENCV_AXES, checked_pose
from rtnerf.base.errors import InputError
from rtnerf.base.files import read_json

SPLITS = ("train", "val", "test")


def read_transforms(path: Path, axes: str = "blender", split: str = "") -> list[Shot]:
    """Read a camera file.

    Each of its ``frames`` has ``file_path``, relative to the file, and ``transform_matrix`` of 4 or 3 rows, whose
    camera has ``blender`` or ``opencv`` ``axes``; what else there may be is in :mod:`nerf.optics`. ``split`` is that
    of all views, where the file does not name them.

    Raises :class:`rtnerf.base.errors.InputError` for a file that can not be read, a missing key, one that is not
    honoured, or a matrix that is not a rotation and a translation.
    """
    content = read_json("transforms", path)
    if not isinstance(content, dict):
        raise InputError(f"transforms must be a JSON object, not a {type(content).__name__}")
    frames = content.get("frames", "missing")
    if not isinstance(frames, list) or not frames:
        raise InputError(f"frames must be a list of at least one view, not {str(frames)[:40]}")
    named = _named(content)
    shots = []
    for number, frame in enumerate(frames):
        if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
            raise InputError(f"frames[{number}].file_path must be a string, not missing")
        if not Path(frame["file_path"]).name:
            raise InputError(f"frames[{number}].file_path must be the name of a picture, not {frame['file_path']!r}")
        optics, remark = read_optics(content, frame, number)
        name = f"frames[{number}].transform_matrix"
        if "transform_matrix" not in frame:
            raise InputError(f"{name} must be present, not missing")
        pose = checked_pose(name, frame["transform_matrix"])
        if axes == "opencv":
            pose = pose @ OPENCV_AXES
        part = named.get(frame["file_path"], split)
        shots.append(Shot(pose, path.parent / frame["file_path"], optics, part, remark or ""))
    return shots


def read_folder(files: list[Path], axes: str = "blender") -> list[Shot]:
    """Read ``transforms_train.json`` and the like of one folder, in the order train, val, test, others."""
    shots = []
    for path in sorted(files, key=lambda file: (_order(file), file.name)):
        part = path.stem.removeprefix("transforms_")
        shots += read_transforms(path, axes, part if part in SPLITS else "")
    return shots


def _order(file: Path) -> int:
    part = file.stem.removeprefix("transforms_")
    return SPLITS.index(part) if part in SPLITS else len(SPLITS)


def _named(content: dict[str, Any]) -> dict[str, str]:
    """Parts of the pictures that a file of nerfstudio names, ``train_filenames`` and so on."""
    named: dict[str, str] = {}
    for part in SPLITS:
        names = content.get(f"{part}_filenames", [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"{part}_filenames must be a list of strings, not {str(names)[:40]}")
        named |= dict.fromkeys(names, part)
    return named
