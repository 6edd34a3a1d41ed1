"""Cameras and pictures of a capture. What kinds there are: :mod:`nerf.captures`."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from nerf.captures import colmap, llff, nsvf
from nerf.captures.shot import Shot
from nerf.captures.transforms import read_folder, read_transforms
from nerf.optics import Optics, same_shape
from nerf.pictures import ENDINGS, WHITE, on_background, picture_size, read_premultiplied, resize_area
from nerf.poses import OPENCV_AXES, check_pose
from rtnerf.base.errors import InputError

DEFAULT_TRANSFORMS = Path(__file__).parent / "data" / "default_transforms.json"
"""Cameras of the embedded model."""

MOST_PIXELS = 8192
"""Of a side of a rendered picture: what the accelerator's registers hold."""

AXES = ("blender", "opencv")
"""Of the poses of a camera file."""

_PARTS_OF_A_FOLDER = (nsvf.INTRINSICS, *(f"{name}.{end}" for name in ("cameras", "images") for end in ("bin", "txt")))
"""Files that stand for their folder."""

_BY_THE_OTHERS: Any = None
"""A field that is not given follows from the others."""


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera.

    Parameters
    ----------
    c2w : float64 array (4, 4)
        Camera to world, Blender axes: x right, y up, the camera looks along -z. The world may be a mirror image.
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
    background : (red, green, blue)
        What is behind the scene, 0..255 each; by default white.
    frustum : (float, float)
        Half of what the pictures of the capture show at distance 1, across and down; by default what this one shows.
        Normalised device coordinates are made of it.
    """

    c2w: np.ndarray
    focal: float
    width: int
    height: int
    crop: tuple[int, int, int, int] | None = None
    focal_y: float = _BY_THE_OTHERS
    centre: tuple[float, float] = _BY_THE_OTHERS
    background: tuple[int, int, int] = WHITE
    frustum: tuple[float, float] = _BY_THE_OTHERS

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
        shown = (self.width / (2 * self.focal), self.height / (2 * self.focal_y))
        object.__setattr__(self, "frustum", self.frustum or shown)
        check_pose("c2w", self.c2w, mirrored=True)
        if not all(isinstance(value, int) and 0 <= value <= 255 for value in self.background):
            raise InputError(f"background must be three whole numbers from 0 to 255, not {self.background}")
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

    @property
    def from_world(self) -> np.ndarray:
        """World to camera in OpenCV axes, float64 (3, 4)."""
        axes = (self.c2w @ OPENCV_AXES)[:3, :3].T
        return np.concatenate([axes, -axes @ self.position[:, None]], axis=1)

    def cropped(self, x: int, y: int, w: int, h: int) -> Camera:
        """The same camera limited to a window of the full picture."""
        return replace(self, crop=(x, y, w, h))

    def rays(self, unit: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Rays through the pixel centres of the window, row by row.

        Returns origins and directions, both float32 (h * w, 3), in world axes; the directions of length 1, or of
        depth 1.
        """
        x, y, w, h = self.window
        across = (np.arange(x, x + w, dtype=np.float32) + 0.5 - np.float32(self.centre[0])) / np.float32(self.focal)
        down = (np.arange(y, y + h, dtype=np.float32) + 0.5 - np.float32(self.centre[1])) / np.float32(self.focal_y)
        local = np.ones((h, w, 3), dtype=np.float32)
        local[..., 0] = across[None, :]
        local[..., 1] = down[:, None]
        if unit:
            local /= np.sqrt((local * local).sum(axis=-1, keepdims=True))
        pose = (self.c2w @ OPENCV_AXES).astype(np.float32)
        # Written out, not a matrix product: a crop must give the very bits of the full picture.
        directions = sum((local[..., axis, None] * pose[:3, axis] for axis in range(3)), np.zeros(3, np.float32))
        directions = directions.reshape(-1, 3).astype(np.float32)
        origins = np.broadcast_to(pose[:3, 3], directions.shape).copy()
        return origins, directions


@dataclass(frozen=True, eq=False)
class Cameras:
    """The views of one capture; ``len()`` counts them.

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
    background : (red, green, blue)
        What is behind the scene, 0..255 each.
    box : float64 array (2, 3) or None
        Corners of the box that holds the scene, where the capture gives them.
    """

    poses: np.ndarray
    files: list[Path]
    optics: list[Optics]
    remarks: dict[int, str] = field(default_factory=dict)
    background: tuple[int, int, int] = WHITE
    box: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.files)

    def camera(self, index: int, width: int, height: int | None = None) -> Camera:
        """The camera of view ``index`` for a picture of ``width`` by ``height`` pixels.

        ``height`` None keeps the shape of the data set's pictures. Raises
        :class:`rtnerf.base.errors.InputError` for an index out of range or a size below 1 or above
        :data:`MOST_PIXELS`.
        """
        width, height = self._size(index, width, height)
        full, optics = self._full_size(index), self.optics[index]
        (focal, focal_y), centre = optics.scaled(full, width, height)
        across, down = full or (width, height)
        (whole, whole_y), _ = optics.scaled(full, across, down)
        frustum = (across / (2 * whole), down / (2 * whole_y))
        return Camera(self.poses[index], focal, width, height, None, focal_y, centre, self.background, frustum)

    def ground_truth(self, index: int, width: int, height: int | None = None) -> np.ndarray | None:
        """The picture of view ``index`` on the background, float32 (height, width, 3) in 0..1.

        Straightened where a lens has bent it: NaN where the lens saw nothing. Reduced by area average of the
        premultiplied colour. None where :meth:`no_truth` gives a reason.
        Raises :class:`rtnerf.base.errors.InputError` for an index out of range or an unreadable file.
        """
        width, height = self._size(index, width, height)
        path = self._picture(index)
        if path is None or self.no_truth(index, width, height):
            return None
        pixels, lens = read_premultiplied(path), self.optics[index].lens
        if lens is None:
            return on_background(resize_area(pixels, width, height), self.background)
        rows, columns, _ = pixels.shape
        pixels, seen = lens.straighten(pixels, *self.optics[index].scaled(self._full_size(index), columns, rows))
        truth = on_background(resize_area(pixels, width, height), self.background)
        truth[resize_area(seen[..., None], width, height)[..., 0] < 1 - 1e-6] = np.nan
        return truth

    def truth(self, index: int, width: int, height: int | None = None) -> np.ndarray:
        """As :meth:`ground_truth`, but raises :class:`rtnerf.base.errors.InputError` where there is none."""
        picture = self.ground_truth(index, width, height)
        if picture is None:
            raise InputError(self.no_truth(index, width, height) or "picture must be there, not missing")
        return picture

    def no_truth(self, index: int, width: int, height: int | None = None) -> str | None:
        """Say why there is no ground truth of that size: the picture is missing or of another shape."""
        width, height = self._size(index, width, height)
        path = self._picture(index)
        if path is None:
            return f"picture must be a file, not missing: {self.files[index]}"
        size = picture_size(path)
        full = self._full_size(index) or size
        if not same_shape(size, full):
            return f"picture must be of the shape that w and h say, {_times(full)}, not {_times(size)}: {path}"
        if not same_shape(full, (width, height)):
            return f"picture must be of the shape asked for, {_times((width, height))}, not {_times(size)}: {path}"
        return None

    def look_away(self, point: np.ndarray) -> bool:
        """Tell whether a point of the world, (3,), is behind all cameras."""
        return bool(((point - self.poses[:, :3, 3]) * self.poses[:, :3, 2]).sum(axis=1).min() > 0)

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
        if optics.width is not None and optics.height is not None:
            return optics.width, optics.height
        path = self._picture(index)
        return None if path is None else picture_size(path)

    def _picture(self, index: int) -> Path | None:
        """The file of a picture, by its name as written on whatever system, with or without its ending."""
        named = self.files[index]
        for each in (named, Path(str(named).replace("\\", "/"))):
            for path in (each, *(each.with_name(each.name + ending) for ending in ENDINGS)):
                with suppress(OSError):  # A name that no file can have.
                    if path.is_file():
                        return path
        return None


def load_cameras(
    path: str | Path | None = None,
    axes: str | None = None,
    split: str = "all",
    background: tuple[int, int, int] = WHITE,
    forward_facing: bool = False,
) -> Cameras:
    """Read a capture; None = the cameras of the embedded model.

    Parameters
    ----------
    path : path
        A camera file in the layout of NeRF-synthetic, nerfstudio or instant-ngp, or LLFF's ``poses_bounds.npy``; or a
        folder that holds one of them, or files of NSVF or COLMAP. See ``docs/files.md``.
    axes : str
        ``blender`` (the default) or ``opencv``: what the poses of a camera file mean. Other kinds say it themselves.
    split : str
        ``train``, ``val``, ``test``, or ``all`` views.
    background : (red, green, blue)
        What is behind the scene, 0..255 each: in the pictures where they are clear, and in renderings.
    forward_facing : bool
        Poses of LLFF as a forward-facing model of the original program has them, see `nerf.captures.llff.centred`.

    Raises
    ------
    InputError
        Nothing of a known kind, a file that can not be read, a key that is not honoured, no views.

    >>> import rtnerf
    >>> camera = rtnerf.load_cameras().camera(0, 800)
    >>> camera.cropped(40, 40, 16, 8).window
    (40, 40, 16, 8)
    """
    path = DEFAULT_TRANSFORMS if path is None else Path(path)
    shots, box = _read(path, axes, forward_facing)
    parts = sorted({shot.split for shot in shots if shot.split})
    if split != "all":
        if split not in parts:
            raise InputError(f"split must be one of {', '.join(('all', *parts))} with {path}, not {split}")
        shots = [shot for shot in shots if shot.split == split]
    remarks = {number: shot.remark for number, shot in enumerate(shots) if shot.remark}
    poses = np.stack([shot.pose for shot in shots])
    return Cameras(poses, [shot.file for shot in shots], [shot.optics for shot in shots], remarks, background, box)


def _read(path: Path, axes: str | None, forward_facing: bool) -> tuple[list[Shot], np.ndarray | None]:
    """The shots of a capture of whatever kind, and the box of the scene where it gives one."""
    if path.is_dir() and (files := list(path.glob("transforms*.json"))):
        return read_folder(files, axes or AXES[0]), None
    folder = path.parent if path.name in _PARTS_OF_A_FOLDER else path
    if not folder.is_dir() and path.suffix != ".npy":
        return read_transforms(path, axes or AXES[0]), None
    if axes is not None:
        raise InputError(f"axes must be absent with {path}, whose kind has axes of its own, not {axes}")
    if path.suffix == ".npy":
        return llff.read_llff(path, forward_facing), None
    if (path / llff.FILE).is_file():
        return llff.read_llff(path / llff.FILE, forward_facing), None
    if (folder / nsvf.INTRINSICS).is_file() and (folder / nsvf.POSES).is_dir():
        return nsvf.read_nsvf(folder), nsvf.read_box(folder)
    if found := colmap.find_colmap(folder):
        return colmap.read_colmap(found), None
    kinds = f"transforms*.json, {llff.FILE}, {nsvf.INTRINSICS} with {nsvf.POSES}/, or cameras and images of COLMAP"
    raise InputError(f"transforms must be a camera file or a folder with {kinds}, not {path}")


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
