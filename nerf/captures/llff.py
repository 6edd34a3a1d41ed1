"""Captures of LLFF: ``poses_bounds.npy`` beside ``images/``.

A row a picture, in the order of their names: a 3 x 5 matrix and two depths. The matrix is the camera's down, right and
back axis, its position, and the column (height, width, focal length) in pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nerf.captures.shot import Shot, held_out
from nerf.optics import Optics, checked
from nerf.pictures import ENDINGS
from nerf.poses import check_pose
from rtnerf.base.errors import InputError

FILE = "poses_bounds.npy"
_COLUMNS = 17


def read_llff(path: Path, forward_facing: bool = False) -> list[Shot]:
    """Read ``poses_bounds.npy``. The poses are taken as they stand, or as :func:`centred` makes them.

    Raises :class:`rtnerf.base.errors.InputError` for a file that is not one of LLFF, or another number of pictures.
    """
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{FILE} must be a NumPy array, not {path} ({str(error).splitlines()[0]})") from None
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != _COLUMNS or len(rows) == 0:
        raise InputError(f"{FILE} must be of shape (views, {_COLUMNS}), not {getattr(rows, 'shape', 'several arrays')}")
    if rows.dtype.kind not in "fiu":
        raise InputError(f"{FILE} must be of numbers, not {rows.dtype}")
    files = _pictures(path.parent, len(rows))
    shots = []
    for number, (row, file) in enumerate(zip(rows.astype(np.float64), files, strict=True)):
        name = f"{FILE}[{number}]"
        matrix = row[:15].reshape(3, 5)
        pose = np.eye(4)
        pose[:3] = np.stack([matrix[:, 1], -matrix[:, 0], matrix[:, 2], matrix[:, 3]], axis=1)
        check_pose(name, pose)
        height, width, focal = (
            checked(f"{name} {word}", key, float(value))
            for word, key, value in zip(
                ("height", "width", "focal length"), ("h", "w", "fl_x"), matrix[:, 4], strict=True
            )
        )
        shots.append(Shot(pose, file, Optics(int(width), int(height), focal), held_out(number)))
    if not forward_facing:
        return shots
    nearest = float(rows[:, 15:].min())
    if not nearest > 0:
        raise InputError(f"{FILE} must have depths above 0, not {nearest:g}")
    poses = centred(np.stack([shot.pose for shot in shots]), nearest)
    return [shot._replace(pose=pose) for shot, pose in zip(shots, poses, strict=True)]


def centred(poses: np.ndarray, nearest: float) -> np.ndarray:
    """Poses as the original TensoRF program gives them to its forward-facing models.

    In the mean camera's frame, in units of 3/4 of the nearest depth: the near plane at 1 is before everything. Its x
    axis points to the left, so the world is a mirror image, in which the model was trained.

    Parameters: ``poses`` (views, 4, 4); ``nearest`` depth of all views. Returns (views, 4, 4).
    """
    mean = poses.mean(axis=0)
    frame = np.eye(4)
    frame[:3, 2] = mean[:3, 2] / np.linalg.norm(mean[:3, 2])
    left = np.cross(frame[:3, 2], mean[:3, 1])
    frame[:3, 0] = left / np.linalg.norm(left)
    frame[:3, 1] = np.cross(frame[:3, 0], frame[:3, 2])
    frame[:3, 3] = mean[:3, 3]
    moved = np.linalg.inv(frame) @ poses
    moved[:, :3, 3] /= 0.75 * nearest
    return moved


def _pictures(folder: Path, count: int) -> list[Path]:
    """The pictures of ``images``, or of the first ``images_N``, in the order of their names; names only without any."""
    for images in sorted(folder.glob("images*")):
        if files := sorted(file for file in images.glob("*") if file.suffix in ENDINGS):
            if len(files) != count:
                raise InputError(f"{images} must hold {count} pictures, a row of {FILE} each, not {len(files)}")
            return files
    return [folder / "images" / f"{number:03}" for number in range(count)]
