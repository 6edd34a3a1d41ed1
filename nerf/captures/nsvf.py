"""Captures of NSVF, also of Tanks and Temples: ``intrinsics.txt``, ``pose/*.txt``, ``rgb/``, ``bbox.txt``.

Poses are 4 x 4 matrices from the camera, in OpenCV's axes, to the world. Names that begin with 0, 1 and 2 are training,
validation and test views; without any of 2 those of 1 are the test views.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nerf.captures.shot import Shot
from nerf.optics import Optics, checked
from nerf.pictures import ENDINGS, picture_size
from nerf.poses import OPENCV_AXES, check_pose
from rtnerf.base.errors import InputError

INTRINSICS, POSES, PICTURES, BOX = "intrinsics.txt", "pose", "rgb", "bbox.txt"
_MOST_ROWS = 16
_PARTS = {"0": "train", "1": "val", "2": "test"}


def read_nsvf(folder: Path) -> list[Shot]:
    """Read a folder. Raises :class:`rtnerf.base.errors.InputError` for a file that is not as NSVF writes it."""
    names = sorted(file.stem for file in (folder / POSES).glob("*.txt"))
    if not names:
        raise InputError(f"{folder / POSES} must hold a matrix for each view, not none")
    optics = _optics(folder)
    parts = _PARTS if any(name.startswith("2_") for name in names) else _PARTS | {"1": "test"}
    shots = []
    for name in names:
        file = folder / POSES / f"{name}.txt"
        numbers = np.concatenate(_rows(file))
        if len(numbers) != 16:
            raise InputError(f"{file} must be 4 rows of 4 numbers, not {len(numbers)} numbers")
        pose = numbers.reshape(4, 4)
        check_pose(str(file), pose)
        part = parts.get(name[0], "") if name[1:2] == "_" else ""
        shots.append(Shot(pose @ OPENCV_AXES, folder / PICTURES / name, optics, part))
    return shots


def read_box(folder: Path) -> np.ndarray | None:
    """The lower and upper corner of ``bbox.txt``, float64 (2, 3); None without that file. Raises as `read_nsvf`."""
    file = folder / BOX
    if not file.is_file():
        return None
    numbers = np.concatenate(_rows(file))
    if len(numbers) not in (6, 7) or not (numbers[:3] < numbers[3:6]).all():
        rule = "the lower corner, the upper corner and, perhaps, the size of a voxel"
        raise InputError(f"{file} must be {rule}, not {' '.join(f'{number:g}' for number in numbers)}")
    return numbers[:6].reshape(2, 3)


def _optics(folder: Path) -> Optics:
    """Of a 4 x 4 or 3 x 3 matrix; or of a line ``f cx cy ...``, and ``height width`` where a last line has both."""
    file = folder / INTRINSICS
    rows = _rows(file)
    size = None
    numbers = np.concatenate(rows)
    if len(numbers) in (9, 16) and len({len(row) for row in rows}) == 1:
        matrix = numbers.reshape(3 if len(numbers) == 9 else 4, -1)
        (focal_x, skew, centre_x), (focal_y, centre_y) = matrix[0, :3].tolist(), matrix[1, 1:3].tolist()
        if skew:
            raise InputError(f"{file} must be of pixels with right angles, not of skew {skew:g}")
    elif len(rows[0]) >= 3:
        focal_x, centre_x, centre_y = rows[0][:3].tolist()
        focal_y = focal_x
        if len(rows) > 1 and len(rows[-1]) == 2:
            width, height = (int(checked(f"{file} {key}", key, rows[-1][i])) for key, i in (("w", 1), ("h", 0)))
            size = width, height
    else:
        raise InputError(
            f"{file} must be a matrix, or a focal length and a principal point, not {len(numbers)} numbers"
        )
    if size is None:
        pictures = sorted(path for path in (folder / PICTURES).glob("*") if path.suffix in ENDINGS)
        if not pictures:
            raise InputError(f"{folder / PICTURES} must hold pictures, whose size {INTRINSICS} does not say, not none")
        size = picture_size(pictures[0])
    for key, number in (("fl_x", focal_x), ("fl_y", focal_y), ("cx", centre_x), ("cy", centre_y)):
        checked(f"{file} {key}", key, number)
    return Optics(*size, focal_x, focal_y, centre_x=centre_x, centre_y=centre_y)


def _rows(file: Path) -> list[np.ndarray]:
    """The numbers of a small text file, line by line; at least one."""
    try:
        lines = file.read_text("utf-8-sig").splitlines()
        rows = [np.array([float(word) for word in line.split()]) for line in lines if line.strip()]
    except OSError as error:
        raise InputError(f"{file} must be a readable file, not one that is not ({error.strerror})") from None
    except ValueError:
        raise InputError(f"{file} must be a file of numbers, not of something else") from None
    if not 0 < len(rows) <= _MOST_ROWS or not all(np.isfinite(row).all() for row in rows):
        raise InputError(f"{file} must be 1 to {_MOST_ROWS} rows of finite numbers, not something else")
    return rows
