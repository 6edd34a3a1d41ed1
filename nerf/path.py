"""Paths of a camera: a circle round the scene, or the path of a file."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nerf.cameras import MOST_PIXELS, Camera
from nerf.optics import checked
from nerf.poses import checked_pose, turned
from rtnerf.base.errors import InputError
from rtnerf.base.files import read_json


def orbit(camera: Camera, centre: np.ndarray, up: np.ndarray, frames: int) -> list[Camera]:
    """Carry a camera once round a vertical axis, in equal steps from where it is.

    Parameters
    ----------
    camera : Camera
    centre : array (3,)
        A point of the axis, in the world.
    up : array (3,)
        Unit vector along it; seen from its tip the camera goes counter-clockwise.
    frames : int
    """
    cameras = []
    for number in range(frames):
        pose = camera.c2w.copy()
        turn = turned(up, 2 * math.pi * number / frames)
        pose[:3, :3] = turn @ pose[:3, :3]
        pose[:3, 3] = centre + turn @ (pose[:3, 3] - centre)
        cameras.append(replace(camera, c2w=pose))
    return cameras


def upright(poses: np.ndarray) -> np.ndarray:
    """Unit vector (3,) of the world's axis that is nearest to the cameras' mean up; ``poses`` (views, 4, 4)."""
    mean = poses[:, :3, 1].mean(axis=0)
    axis = int(np.abs(mean).argmax())
    return np.eye(3)[axis] * (1.0 if mean[axis] >= 0 else -1.0)


def read_path(path: str | Path, width: int, height: int | None, background: tuple[int, int, int]) -> list[Camera]:
    """Read a camera path of nerfstudio's viewer, for pictures of ``width`` by ``height`` pixels.

    Each entry of ``camera_path`` has ``camera_to_world``, 4 x 4 numbers in rows (Blender axes), and ``fov``, the
    vertical field of view in degrees. ``height`` None: the shape of ``render_width`` and ``render_height``, else a
    square. Raises `InputError` for anything else.
    """
    content = read_json("path", path)
    entries = content.get("camera_path") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise InputError(f"path must have a list camera_path of at least one entry, not {str(entries)[:40]}")
    if height is None:
        across, down = (
            checked(f"render_{key}", key[0], content.get(f"render_{key}", 1)) for key in ("width", "height")
        )
        height = max(1, round(width * down / across))
    if max(width, height) > MOST_PIXELS:
        raise InputError(f"size must be at most {MOST_PIXELS} pixels a side, not {width}x{height}")
    cameras = []
    for number, entry in enumerate(entries):
        name = f"camera_path[{number}]"
        matrix, field = (_of(entry, name, key) for key in ("camera_to_world", "fov"))
        if isinstance(matrix, list) and len(matrix) == 16:
            matrix = [matrix[row : row + 4] for row in range(0, 16, 4)]
        pose = checked_pose(f"{name}.camera_to_world", matrix)
        if isinstance(field, bool) or not isinstance(field, (int, float)) or not 0 < field < 180:
            raise InputError(f"{name}.fov must be an angle in (0, 180) degrees, not {field!r}")
        focal = 0.5 * height / math.tan(math.radians(field) / 2)
        cameras.append(Camera(pose, focal, width, height, background=background))
    return cameras


def _of(entry: Any, name: str, key: str) -> Any:
    if not isinstance(entry, dict) or key not in entry:
        raise InputError(f"{name}.{key} must be present, not missing")
    return entry[key]
