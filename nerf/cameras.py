"""Cameras and pictures of a data set in the NeRF-synthetic layout (``transforms_*.json``)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from rtnerf.base.errors import InputError

DEFAULT_TRANSFORMS = Path(__file__).parent / "data" / "default_transforms.json"
"""Cameras of the embedded model."""

_BLENDER_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
_ROTATION_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera: square pixels, principal point in the centre.

    Parameters
    ----------
    c2w : float64 array (4, 4)
        Camera to world, Blender axes: x right, y up, the camera looks along -z.
    focal : float
        Focal length in pixels, above 0.
    width, height : int
        Full picture in pixels, 1 or more.
    crop : (x, y, w, h) or None
        Window, in pixels of the full picture from its upper left, that :meth:`rays` is limited to.
    """

    c2w: np.ndarray
    focal: float
    width: int
    height: int
    crop: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1 pixel, not {getattr(self, name)}")
        if not (math.isfinite(self.focal) and self.focal > 0):
            raise InputError(f"focal must be above 0 pixels, not {self.focal}")
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
        focal = np.float32(self.focal)
        across = (np.arange(x, x + w, dtype=np.float32) + 0.5 - np.float32(self.width / 2)) / focal
        down = (np.arange(y, y + h, dtype=np.float32) + 0.5 - np.float32(self.height / 2)) / focal
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
    """The views of one ``transforms_*.json`` file; ``len()`` counts them.

    Parameters
    ----------
    angle : float
        Horizontal field of view in radians, in (0, pi).
    poses : float64 array (views, 4, 4)
        Camera to world, Blender axes.
    files : list of Path
        Picture of each view; it need not exist, and ``.png`` may be left off.
    aspect : float
        Height over width of the full pictures.
    """

    angle: float
    poses: np.ndarray
    files: list[Path]
    aspect: float = 1.0

    def __len__(self) -> int:
        return len(self.files)

    def camera(self, index: int, width: int, height: int | None = None) -> Camera:
        """The camera of view ``index`` for a picture of ``width`` by ``height`` pixels.

        ``height`` None keeps the data set's aspect. Raises :class:`rtnerf.base.errors.InputError` for an
        index out of range or a size below 1.
        """
        self._check_index(index)
        if width < 1:
            raise InputError(f"width must be at least 1 pixel, not {width}")
        focal = 0.5 * width / math.tan(0.5 * self.angle)
        return Camera(self.poses[index], focal, width, self._height(width, height))

    def ground_truth(self, index: int, width: int, height: int | None = None) -> np.ndarray | None:
        """The picture of view ``index`` on white, float32 (height, width, 3) in 0..1.

        Reduced by area average of the premultiplied colour. None where the file does not exist.
        Raises :class:`rtnerf.base.errors.InputError` for an index out of range or an unreadable file.
        """
        self._check_index(index)
        path = self._existing(index)
        if path is None:
            return None
        return on_white(resize_area(read_premultiplied(path), width, self._height(width, height)))

    def _height(self, width: int, height: int | None) -> int:
        return max(1, round(width * self.aspect)) if height is None else height

    def _existing(self, index: int) -> Path | None:
        named = self.files[index]
        candidates = (named, named.with_name(named.name + ".png"))
        return next((path for path in candidates if path.is_file()), None)

    def _check_index(self, index: int) -> None:
        if not 0 <= index < len(self):
            raise InputError(f"index must be in 0..{len(self) - 1}, not {index}")


def load_cameras(path: str | Path | None = None) -> Cameras:
    """Read a ``transforms_*.json`` file: ``camera_angle_x`` and ``frames``; None = those of the embedded model.

    Each frame has ``file_path`` (relative to the JSON file, with or without ``.png``) and
    ``transform_matrix``. Raises :class:`rtnerf.base.errors.InputError` for a file that can not be read,
    a missing key or a matrix that is not a rotation and a translation.

    >>> import rtnerf
    >>> camera = rtnerf.load_cameras().camera(0, 800)
    >>> camera.cropped(40, 40, 16, 8).window
    (40, 40, 16, 8)
    """
    path = DEFAULT_TRANSFORMS if path is None else Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"transforms must be a readable file, not {path} ({error.strerror})") from None
    except ValueError:
        raise InputError(f"transforms must be a JSON file, not {path}") from None
    if not isinstance(content, dict):
        raise InputError(f"transforms must be a JSON object, not a {type(content).__name__}")
    angle = content.get("camera_angle_x", "missing")
    if not isinstance(angle, (int, float)) or not 0 < angle < math.pi:
        raise InputError(f"camera_angle_x must be an angle in (0, pi) radians, not {angle!r}")
    frames = content.get("frames", "missing")
    if not isinstance(frames, list) or not frames:
        raise InputError(f"frames must be a list of at least one view, not {str(frames)[:40]}")
    poses, files = [], []
    for number, frame in enumerate(frames):
        if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
            raise InputError(f"frames[{number}].file_path must be a string, not missing")
        poses.append(_read_pose(f"frames[{number}].transform_matrix", frame))
        files.append(path.parent / frame["file_path"])
    return Cameras(float(angle), np.stack(poses), files, _aspect(content))


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


# ---- Pictures ----


def premultiplied(pixels: np.ndarray) -> np.ndarray:
    """Multiply the colour of uint8 RGBA (H, W, 4) by its alpha. Returns float64 (H, W, 4) in 0..1."""
    scaled = pixels.astype(np.float64) / 255
    return np.concatenate([scaled[..., :3] * scaled[..., 3:], scaled[..., 3:]], axis=-1)


def read_premultiplied(path: Path) -> np.ndarray:
    """Read a picture. Returns float64 (H, W, 4) in 0..1, colour multiplied by alpha.

    Raises :class:`rtnerf.base.errors.InputError` for a file that is no picture.
    """
    try:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGBA"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"picture must be readable, not {path} ({error})") from None
    return premultiplied(pixels)


def resize_area(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize (H, W, channels) by area average. Returns (height, width, channels), float64."""
    if width < 1 or height < 1:
        raise InputError(f"size must be at least 1x1 pixel, not {width}x{height}")
    rows, columns, _ = pixels.shape
    across = np.tensordot(pixels, _overlaps(columns, width), axes=(1, 1))
    return np.tensordot(_overlaps(rows, height), across, axes=(1, 0)).transpose(0, 2, 1)


def on_white(pixels: np.ndarray) -> np.ndarray:
    """Composite premultiplied RGBA (H, W, 4) on white. Returns float32 (H, W, 3) in 0..1."""
    return (pixels[..., :3] + 1 - pixels[..., 3:]).astype(np.float32)


def _overlaps(before: int, after: int) -> np.ndarray:
    """Share (after, before) that each old pixel of a line has in each new one; rows sum to 1."""
    edges = np.arange(after + 1)[:, None] * (before / after)
    pixels = np.arange(before)[None]
    covered = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    return np.maximum(covered, 0) * (after / before)


def _read_pose(name: str, frame: dict) -> np.ndarray:
    if "transform_matrix" not in frame:
        raise InputError(f"{name} must be present, not missing")
    try:
        pose = np.array(frame["transform_matrix"], dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be 4 rows of 4 numbers, not something else") from None
    check_pose(name, pose)
    return pose


def _aspect(content: dict) -> float:
    width, height = content.get("w", 1), content.get("h", 1)
    for name, value in (("w", width), ("h", height)):
        if not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise InputError(f"{name} must be a number of pixels above 0, not {value!r}")
    return height / width
