"""Poses of cameras: 4 x 4 matrices from the camera to the world. Blender's axes: x right, y up, looking along -z."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rtnerf.base.errors import InputError

OPENCV_AXES = np.diag([1.0, -1.0, -1.0, 1.0])
"""Turns a pose in Blender's axes into one in OpenCV's (x right, y down, looking along z), and back."""

_ROTATION_TOLERANCE = 1e-3


def check_pose(name: str, pose: np.ndarray, mirrored: bool = False) -> None:
    """Check that ``pose`` (4, 4) is a rotation, or it and a mirror where that may be, and a translation, to 1e-3.

    Raises :class:`rtnerf.base.errors.InputError` with ``name`` at the start of its message.
    """
    if pose.shape != (4, 4):
        raise InputError(f"{name} must be of shape (4, 4), not {pose.shape}")
    if not np.isfinite(pose).all():
        raise InputError(f"{name} must be finite, not {pose[~np.isfinite(pose)][0]}")
    rotation = pose[:3, :3]
    off = max(
        float(np.abs(rotation @ rotation.T - np.eye(3)).max()),
        float(np.abs(pose[3] - [0, 0, 0, 1]).max()),
    )
    mirrors = off <= _ROTATION_TOLERANCE and np.linalg.det(rotation) < 0
    if off > _ROTATION_TOLERANCE or (mirrors and not mirrored):
        found = "a reflection, as of axes of the other hand" if mirrors else f"{off:.3g} away from it"
        raise InputError(f"{name} must be a rotation and a translation, not {found}")


def checked_pose(name: str, values: object) -> np.ndarray:
    """Return 4 or 3 rows of 4 numbers as a pose, float64 (4, 4). Raises as :func:`check_pose`."""
    try:
        pose = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be 4 rows of 4 numbers, not something else") from None
    if pose.shape == (3, 4):
        pose = np.vstack([pose, [0, 0, 0, 1]])
    check_pose(name, pose)
    return pose


def turned(axis: Sequence[float] | np.ndarray, angle: float) -> np.ndarray:
    """Rotation (3, 3) about a unit vector by ``angle`` radians, counter-clockwise where the vector points at you."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def rotation_of(quaternion: Sequence[float]) -> np.ndarray:
    """Rotation (3, 3) of a quaternion (w, x, y, z) of any length above 0; NaN for one of none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        w, x, y, z = np.asarray(quaternion, np.float64) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
