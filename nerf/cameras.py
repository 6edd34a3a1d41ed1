"""Cameras and pictures of a data set in the layout of NeRF-synthetic or nerfstudio (``transforms*.json``)."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from nerf.optics import Optics, read_optics, same_shape
from nerf.pictures import on_white, picture_size, read_premultiplied, resize_area
from rtnerf.base.errors import InputError
from rtnerf.base.files import read_json

DEFAULT_TRANSFORMS = Path(__file__).parent / "data" / "default_transforms.json"
"""Cameras of the embedded model."""

MOST_PIXELS = 8192
"""Of a side of a rendered picture: what the accelerator's registers hold."""

_BLENDER_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
_ROTATION_TOLERANCE = 1e-3
_ENDINGS = tuple(
    ending for each in ("png", "jpg", "jpeg", "webp", "tif", "tiff") for ending in (f".{each}", f".{each.upper()}")
)


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera.

    Parameters
    ----------
    c2w : float64 array (4, 4)
        Camera to world, Blender axes: x right, y up, the camera looks along -z.
    focal : float
        Focal length across, in pixels, above 0.
    width, height : int
        Full picture in pixels, 1 or more.
    crop : (x, y, w, h) or None
        Window, in pixels of the full picture from its upper left, that :meth:`rays` is limited to.
    focal_y : float
        Focal length down, in pixels; by default that across: square pixels.
    centre : (float, float)
        Principal point, in pixels of the full picture from its upper left corner; by default the middle.
    """

    c2w: np.ndarray
    focal: float
    width: int
    height: int
    crop: tuple[int, int, int, int] | None = None
    focal_y: float | None = None
    centre: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1 pixel, not {getattr(self, name)}")
        object.__setattr__(self, "focal_y", self.focal if self.focal_y is None else self.focal_y)
        object.__setattr__(self, "centre", self.centre or (self.width / 2, self.height / 2))
        for name in ("focal", "focal_y"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(f"{name} must be above 0 pixels, not {getattr(self, name)}")
        if not all(math.isfinite(value) for value in self.centre):
            raise InputError(f"centre must be finite, not {self.centre}")
        check_pose("c2w", self.c2w)
        if self.crop is not None:
            x, y, w, h = self.crop
            if min(x, y) < 0 or min(w, h) < 1 or x + w > self.width or y + h > self.height:
                window = ",".join(str(value) for value in self.crop)
                rule = f"a window X,Y,W,H inside {self.width}x{self.height} pixels"
                raise InputError(f"crop must be {rule}, not {window}")

    @property
    def window(self) -> tuple[int, int, int, int]:
        """The crop, or the full picture, as (x, y, w, h)."""
        return self.crop or (0, 0, self.width, self.height)

    @property
    def position(self) -> np.ndarray:
        """Centre of projection in the world, float64 (3,)."""
        return self.c2w[:3, 3]

    def cropped(self, x: int, y: int, w: int, h: int) -> Camera:
        """The same camera limited to a window of the full picture."""
        return replace(self, crop=(x, y, w, h))

    def rays(self) -> tuple[np.ndarray, np.ndarray]:
        """Rays through the pixel centres of the window, row by row.

        Returns origins and unit directions, both float32 (h * w, 3), in world axes.
        """
        x, y, w, h = self.window
        across = (np.arange(x, x + w, dtype=np.float32) + 0.5 - np.float32(self.centre[0])) / np.float32(self.focal)
        down = (np.arange(y, y + h, dtype=np.float32) + 0.5 - np.float32(self.centre[1])) / np.float32(self.focal_y)
        local = np.ones((h, w, 3), dtype=np.float32)
        local[..., 0] = across[None, :]
        local[..., 1] = down[:, None]
        local /= np.sqrt((local * local).sum(axis=-1, keepdims=True))
        pose = (self.c2w @ _BLENDER_TO_OPENCV).astype(np.float32)
        # Written out, not a matrix product: a crop must give the very bits of the full picture.
        directions = sum(local[..., axis, None] * pose[:3, axis] for axis in range(3))
        directions = directions.reshape(-1, 3).astype(np.float32)
        origins = np.broadcast_to(pose[:3, 3], directions.shape).copy()
        return origins, directions


@dataclass(frozen=True, eq=False)
class Cameras:
    """The views of one camera file; ``len()`` counts them.

    Parameters
    ----------
    poses : float64 array (views, 4, 4)
        Camera to world, Blender axes.
    files : list of Path
        Picture of each view; it need not exist, and its ending may be left off.
    optics : list of Optics
        Of each view.
    remarks : dict of int to str
        What the user should know of a view's optics.
    """

    poses: np.ndarray
    files: list[Path]
    optics: list[Optics]
    remarks: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.files)

    def camera(self, index: int, width: int, height: int | None = None) -> Camera:
        """The camera of view ``index`` for a picture of ``width`` by ``height`` pixels.

        ``height`` None keeps the shape of the data set's pictures. Raises
        :class:`rtnerf.base.errors.InputError` for an index out of range or a size below 1 or above
        :data:`MOST_PIXELS`.
        """
        width, height = self._size(index, width, height)
        (focal, focal_y), centre = self.optics[index].scaled(self._full_size(index), width, height)
        return Camera(self.poses[index], focal, width, height, focal_y=focal_y, centre=centre)

    def ground_truth(self, index: int, width: int, height: int | None = None) -> np.ndarray | None:
        """The picture of view ``index`` on white, float32 (height, width, 3) in 0..1.

        Reduced by area average of the premultiplied colour. None where :meth:`no_truth` gives a reason.
        Raises :class:`rtnerf.base.errors.InputError` for an index out of range or an unreadable file.
        """
        width, height = self._size(index, width, height)
        if self.no_truth(index, width, height):
            return None
        return on_white(resize_area(read_premultiplied(self._picture(index)), width, height))

    def no_truth(self, index: int, width: int, height: int | None = None) -> str | None:
        """Say why there is no ground truth of that size: the picture is missing or of another shape."""
        width, height = self._size(index, width, height)
        path = self._picture(index)
        if path is None:
            return f"picture must be a file, not missing: {self.files[index]}"
        size, full = picture_size(path), self._full_size(index)
        if not same_shape(size, full):
            return f"picture must be of the shape that w and h say, {_times(full)}, not {_times(size)}: {path}"
        if not same_shape(full, (width, height)):
            return f"picture must be of the shape asked for, {_times((width, height))}, not {_times(size)}: {path}"
        return None

    @property
    def pictures(self) -> list[Path]:
        """The pictures that are there."""
        return [path for path in map(self._picture, range(len(self))) if path is not None]

    def _size(self, index: int, width: int, height: int | None) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise InputError(f"index must be in 0..{len(self) - 1}, not {index}")
        if width < 1:
            raise InputError(f"width must be at least 1 pixel, not {width}")
        if height is None:
            across, down = self._full_size(index) or (1, 1)
            height = max(1, round(width * down / across))
        if max(width, height) > MOST_PIXELS:
            raise InputError(f"size must be at most {MOST_PIXELS} pixels a side, not {width}x{height}")
        return width, height

    def _full_size(self, index: int) -> tuple[int, int] | None:
        """Size that the focal lengths refer to: the file's, else the picture's, if there is one."""
        optics = self.optics[index]
        if optics.width is not None:
            return optics.width, optics.height
        path = self._picture(index)
        return None if path is None else picture_size(path)

    def _picture(self, index: int) -> Path | None:
        """The file of a picture, by its name as written on whatever system, with or without its ending."""
        named = self.files[index]
        for each in (named, Path(str(named).replace("\\", "/"))):
            for path in (each, *(each.with_name(each.name + ending) for ending in _ENDINGS)):
                with suppress(OSError):  # A name that no file can have.
                    if path.is_file():
                        return path
        return None


def load_cameras(path: str | Path | None = None) -> Cameras:
    """Read a camera file (``transforms*.json``); None = that of the embedded model.

    Each of its ``frames`` has ``file_path``, relative to the file, with or without ending, and
    ``transform_matrix`` of 4 or 3 rows; what else there may be is in :mod:`nerf.optics`. Raises
    :class:`rtnerf.base.errors.InputError` for a file that can not be read, a missing key, one that is not
    honoured, or a matrix that is not a rotation and a translation.

    >>> import rtnerf
    >>> camera = rtnerf.load_cameras().camera(0, 800)
    >>> camera.cropped(40, 40, 16, 8).window
    (40, 40, 16, 8)
    """
    path = DEFAULT_TRANSFORMS if path is None else Path(path)
    content = read_json("transforms", path)
    if not isinstance(content, dict):
        raise InputError(f"transforms must be a JSON object, not a {type(content).__name__}")
    frames = content.get("frames", "missing")
    if not isinstance(frames, list) or not frames:
        raise InputError(f"frames must be a list of at least one view, not {str(frames)[:40]}")
    poses, files, optics, remarks = [], [], [], {}
    for number, frame in enumerate(frames):
        if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
            raise InputError(f"frames[{number}].file_path must be a string, not missing")
        file = path.parent / frame["file_path"]
        if not Path(frame["file_path"]).name:
            raise InputError(f"frames[{number}].file_path must be the name of a picture, not {frame['file_path']!r}")
        seen, remark = read_optics(content, frame, number)
        poses.append(_read_pose(f"frames[{number}].transform_matrix", frame))
        files.append(file)
        optics.append(seen)
        if remark:
            remarks[number] = remark
    return Cameras(np.stack(poses), files, optics, remarks)


def check_pose(name: str, pose: np.ndarray) -> None:
    """Check that ``pose`` (4, 4) is a rotation and a translation, to 1e-3.

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
    if off > _ROTATION_TOLERANCE or np.linalg.det(rotation) < 0:
        raise InputError(f"{name} must be a rotation and a translation, not {off:.3g} away from it")


def _read_pose(name: str, frame: dict) -> np.ndarray:
    if "transform_matrix" not in frame:
        raise InputError(f"{name} must be present, not missing")
    try:
        pose = np.array(frame["transform_matrix"], dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be 4 rows of 4 numbers, not something else") from None
    if pose.shape == (3, 4):
        pose = np.vstack([pose, [0, 0, 0, 1]])
    check_pose(name, pose)
    return pose


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
