"""Captures that COLMAP has reconstructed: ``cameras`` and ``images``, as text or binary, with ``images/`` near by.

COLMAP gives poses from the world to the camera, in OpenCV's axes. Source of the formats: COLMAP's documentation,
"Output Format", and its ``src/colmap/sensor/models.h``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nerf.captures.shot import Shot, held_out
from nerf.lens import Lens
from nerf.optics import Optics, checked
from nerf.poses import OPENCV_AXES, check_pose, rotation_of
from rtnerf.base.errors import InputError

PLACES = (".", "sparse/0", "sparse", "colmap/sparse/0", "colmap")
"""Where a reconstruction is, from the folder of a capture."""
PICTURES = "images"

_MODELS = {
    "SIMPLE_PINHOLE": "f cx cy",
    "PINHOLE": "fl_x fl_y cx cy",
    "SIMPLE_RADIAL": "f cx cy k1",
    "RADIAL": "f cx cy k1 k2",
    "OPENCV": "fl_x fl_y cx cy k1 k2 p1 p2",
    "OPENCV_FISHEYE": "fl_x fl_y cx cy k1 k2 k3 k4",
    "FULL_OPENCV": "fl_x fl_y cx cy k1 k2 p1 p2 k3 d1 d2 d3",
    "FOV": "",
    "SIMPLE_RADIAL_FISHEYE": "f cx cy k1",
    "RADIAL_FISHEYE": "f cx cy k1 k2",
    "THIN_PRISM_FISHEYE": "",
}
"""Parameters of COLMAP's camera models, in the order of their numbers; none: not modelled here."""


class _Image(NamedTuple):
    quaternion: tuple[float, ...]
    translation: tuple[float, ...]
    camera: int
    name: str


def find_colmap(folder: Path) -> Path | None:
    """The folder of a reconstruction in the folder of a capture, or None."""
    for place in PLACES:
        if all(
            any((folder / place / f"{name}.{end}").is_file() for end in ("bin", "txt"))
            for name in ("cameras", "images")
        ):
            return folder / place
    return None


def read_colmap(folder: Path) -> list[Shot]:
    """Read a reconstruction: the views in the order of their pictures' names.

    Raises :class:`rtnerf.base.errors.InputError` for a damaged file or a camera model that is not modelled here.
    """
    binary = all((folder / f"{name}.bin").is_file() for name in ("cameras", "images"))
    read_cameras, read_images, end = (
        (_binary_cameras, _binary_images, "bin") if binary else (_text_cameras, _text_images, "txt")
    )
    file = folder / f"images.{end}"
    optics = dict(read_cameras(folder / f"cameras.{end}"))
    shots = []
    pictures = _pictures(folder)
    for number, image in enumerate(sorted(read_images(file), key=lambda image: image.name)):
        if image.camera not in optics:
            raise InputError(f"{file} must be of cameras in cameras.{end}, not of camera {image.camera}")
        pose = np.eye(4)
        pose[:3, :3] = rotation_of(image.quaternion).T
        pose[:3, 3] = -pose[:3, :3] @ image.translation
        check_pose(f"{file}: {image.name}", pose)
        shots.append(Shot(pose @ OPENCV_AXES, pictures / image.name, optics[image.camera], held_out(number)))
    if not shots:
        raise InputError(f"{file} must be of at least one picture, not of none")
    return shots


def _pictures(folder: Path) -> Path:
    """The nearest folder ``images``, seen from a reconstruction upwards."""
    near = [parent / PICTURES for parent in (folder, *folder.absolute().parents[:3])]
    return next((path for path in near if path.is_dir()), near[0])


def _optics(file: Path, model: str, width: float, height: float, values: tuple[float, ...]) -> Optics:
    names = _MODELS.get(model, "").split()
    if not names:
        known = ", ".join(name for name, parameters in _MODELS.items() if parameters)
        raise InputError(f"{file} must be of camera models {known}, not {model}: undistort the pictures first")
    if len(values) != len(names):
        raise InputError(f"{file} must give {len(names)} parameters of {model}, not {len(values)}")
    given = dict(zip(names, values, strict=True))
    focal = {"fl_x": given.pop("f"), "fl_y": values[0]} if "f" in given else {}
    found = {
        key: checked(f"{file} {key}", key, value)
        for key, value in {"w": width, "h": height, **focal, **given}.items()
        if key[0] != "d"
    }
    if any(given.get(key) for key in ("d1", "d2", "d3")):
        raise InputError(f"{file} must be without k4, k5, k6 of FULL_OPENCV, not with: undistort the pictures first")
    k1, k2, k3, k4 = (found.get(f"k{number}", 0.0) for number in range(1, 5))
    lens = Lens((k1, k2, k3, k4), (found.get("p1", 0.0), found.get("p2", 0.0)), "FISHEYE" in model)
    plain = not lens.fisheye and not any((*lens.radial, *lens.tangential))
    return Optics(
        int(found["w"]), int(found["h"]), found["fl_x"], found["fl_y"], None, None, found["cx"], found["cy"],
        None if plain else lens,
    )  # fmt: skip


# ---- Text ----


def _lines(file: Path) -> list[str]:
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{file} must be a readable text file, not one that is not ({error})") from None
    return [line for line in lines if not line.startswith("#")]


def _text_cameras(file: Path) -> Iterator[tuple[int, Optics]]:
    for line in filter(str.strip, _lines(file)):
        try:
            number, model, *values = line.split()
            key, (width, height, *parameters) = int(number), [float(value) for value in values]
        except ValueError:
            raise InputError(f"{file} must have lines ID MODEL WIDTH HEIGHT PARAMETERS, not {line[:60]!r}") from None
        yield key, _optics(file, model, width, height, tuple(parameters))


def _text_images(file: Path) -> Iterator[_Image]:
    lines = list(dropwhile(lambda line: not line.strip(), _lines(file)))
    # The other lines hold the points of the one before; they may be empty.
    for line in filter(str.strip, lines[::2]):
        try:
            _, *values, camera, name = line.split(maxsplit=9)
            numbers = tuple(float(value) for value in values)
            yield _Image(numbers[:4], numbers[4:], int(camera), name.strip())
        except ValueError:
            raise InputError(f"{file} must have lines ID QW QX QY QZ TX TY TZ CAMERA NAME, not {line[:60]!r}") from None


# ---- Binary ----


class _Bytes:
    """A binary file, read from its start."""

    def __init__(self, file: Path) -> None:
        self._file, self._at = file, 0
        try:
            self._content = file.read_bytes()
        except OSError as error:
            raise InputError(f"{file} must be readable, not one that is not ({error.strerror})") from None

    def take(self, layout: str) -> tuple:
        """The next values, little-endian."""
        try:
            values = struct.unpack_from(f"<{layout}", self._content, self._at)
        except struct.error:
            self._refuse()
        self._at += struct.calcsize(f"<{layout}")
        return values

    def text(self) -> str:
        """The text up to the next zero."""
        end = self._content.find(0, self._at)
        if end < 0:
            self._refuse()
        text, self._at = self._content[self._at : end].decode("utf-8", "replace"), end + 1
        return text

    def skip(self, count: int) -> None:
        """Pass over ``count`` bytes."""
        self._at += count
        if self._at > len(self._content):
            self._refuse()

    def _refuse(self) -> None:
        raise InputError(
            f"{self._file} must be a whole file of COLMAP, not one that ends after {len(self._content)} bytes"
        )


def _binary_cameras(file: Path) -> Iterator[tuple[int, Optics]]:
    content = _Bytes(file)
    for _ in range(content.take("Q")[0]):
        key, model, width, height = content.take("iiQQ")
        name = list(_MODELS)[model] if 0 <= model < len(_MODELS) else f"number {model}"
        parameters = content.take(f"{len(_MODELS.get(name, '').split())}d")
        yield key, _optics(file, name, width, height, parameters)


def _binary_images(file: Path) -> Iterator[_Image]:
    content = _Bytes(file)
    for _ in range(content.take("Q")[0]):
        _, *pose, camera = content.take("I7dI")
        name = content.text()
        content.skip(24 * content.take("Q")[0])
        yield _Image(tuple(pose[:4]), tuple(pose[4:]), camera, name)
