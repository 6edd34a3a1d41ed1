"""What the keys of a camera file say of a camera, global or per frame. Every key is honoured, or refused by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nerf.lens import Lens
from rtnerf.base.errors import InputError, require

MOST_PIXELS = 65536
"""Of a side of a data set's pictures."""
MOST_FOCAL = 1e7
"""Focal length, in pixels."""

_SIZES = ("w", "h")
_FOCAL_LENGTHS = ("fl_x", "fl_y")
_ANGLES = ("camera_angle_x", "camera_angle_y")
_CENTRE = ("cx", "cy")
_RADIAL = ("k1", "k2", "k3", "k4")
_TANGENTIAL = ("p1", "p2")
_NO_DISTORTION = ("k5", "k6")
_FISHEYES = ("OPENCV_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
_MODELS = ("PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", *_FISHEYES)
_NEUTRAL: dict[str, Any] = {"scale": 1, "offset": [0, 0, 0]}
"""Keys that move or scale the world of instant-ngp's own model, with the values that change nothing."""
_OPTICAL = {*_SIZES, *_FOCAL_LENGTHS, *_ANGLES, *_CENTRE, *_RADIAL, *_TANGENTIAL, *_NO_DISTORTION}
_OPTICAL |= {"camera_model", "is_fisheye"}
_FRAME = {"file_path", "transform_matrix", "rotation", "sharpness", "colmap_im_id", "depth_file_path"}
"""The last four tell where a frame comes from, or what only training by depth would read."""
_GLOBAL = {"frames", "ply_file_path", "applied_transform", "applied_scale", "aabb_scale"}
_GLOBAL |= {"train_filenames", "val_filenames", "test_filenames"}
"""``applied_*`` tell how the poses of the file were made of others; the box of ``aabb_scale`` is remarked upon."""
_MOST_DISTORTION = 1e3


@dataclass(frozen=True)
class Optics:
    """A camera's optics as a file gives them; None is not said.

    Parameters
    ----------
    width, height : int
        Full picture, in pixels.
    focal_x, focal_y : float
        Focal lengths, in pixels of the full picture.
    angle_x, angle_y : float
        Fields of view, in radians, where no focal length is given.
    centre_x, centre_y : float
        Principal point, in pixels of the full picture from its upper left corner.
    lens : Lens
        What bends the pictures; the rays of a rendering are those of a pinhole.
    """

    width: int | None = None
    height: int | None = None
    focal_x: float | None = None
    focal_y: float | None = None
    angle_x: float | None = None
    angle_y: float | None = None
    centre_x: float | None = None
    centre_y: float | None = None
    lens: Lens | None = None

    def scaled(
        self, full: tuple[int, int] | None, width: int, height: int
    ) -> tuple[tuple[float, float], tuple[float, float]]:
        """Focal lengths and principal point for a picture of ``width`` by ``height`` pixels.

        ``full``: size of the full picture. A picture of its shape is the full one made larger or smaller; one of
        another shape shows more or less above and below, with pixels of the same shape.
        """
        if full is None:
            if (self.focal_x, self.focal_y, self.centre_x, self.centre_y) != (None,) * 4:
                raise InputError("w must be given beside fl_x and cx where there is no picture, not missing")
            full = (width, height)
        scale_x = width / full[0]
        scale_y = height / full[1] if same_shape(full, (width, height)) else scale_x
        focal_x = _focal(self.focal_x, scale_x, self.angle_x, width)
        focal_y = _focal(self.focal_y, scale_y, self.angle_y, full[1] * scale_y)
        if focal_x is None:
            if focal_y is None:
                raise InputError("fl_x must be given, or camera_angle_x, not missing")
            focal_x = focal_y * (scale_x / scale_y)
        if focal_y is None:
            focal_y = focal_x * (scale_y / scale_x)
        centre_x = width / 2 if self.centre_x is None else width / 2 + (self.centre_x - full[0] / 2) * scale_x
        centre_y = height / 2 if self.centre_y is None else height / 2 + (self.centre_y - full[1] / 2) * scale_y
        return (focal_x, focal_y), (centre_x, centre_y)


def same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Tell whether a picture (width, height) can be another one made larger or smaller, in whole pixels."""
    return abs(one[1] * other[0] / one[0] - other[1]) < 1 or abs(other[1] * one[0] / other[0] - one[1]) < 1


def read_optics(content: Mapping[str, Any], frame: Mapping[str, Any], number: int) -> tuple[Optics, str | None]:
    """Read the optics of one frame; what it says itself goes before what the whole file says.

    Returns the optics, and a remark where a focal length contradicts an angle of view or a key has no effect.
    Raises :class:`rtnerf.base.errors.InputError`, whose message names the key.
    """
    _check_keys(content, frame, number)
    levels = ((f"frames[{number}].", frame), ("", content))
    found: dict[str, Any] = dict(_numbers(levels))
    if not any(found.get(key) for key in (*_FOCAL_LENGTHS, *_ANGLES)):
        raise InputError("camera_angle_x must be an angle in (0, pi) radians, or fl_x a number of pixels, not missing")
    remarks = []
    for size, focal, angle in zip(_SIZES, _FOCAL_LENGTHS, _ANGLES, strict=True):
        if focal in found and angle in found and size in found:
            implied = 0.5 * found[size] / math.tan(0.5 * found[angle])
            if abs(implied / found[focal] - 1) > 0.01:
                said = f"{focal} ({found[focal]:g} pixels) contradicts {angle} ({implied:g} pixels)"
                remarks.append(f"{said} and goes before it")
    if content.get("aabb_scale", 1) != 1:
        remarks.append(f"aabb_scale ({content['aabb_scale']}) has no effect: the box is the model's")
    for focal, angle in zip(_FOCAL_LENGTHS, _ANGLES, strict=True):
        if focal in found:
            found.pop(angle, None)
    lens = _lens({**content, **frame}, found)
    optics = Optics(*(found.get(key) for key in (*_SIZES, *_FOCAL_LENGTHS, *_ANGLES, *_CENTRE)))
    return replace(optics, lens=lens), "; ".join(remarks) or None


def _lens(keys: Mapping[str, Any], found: Mapping[str, float]) -> Lens | None:
    """The lens of a frame, None for a pinhole; ``found``: its numbers."""
    fisheye = keys.get("camera_model") in _FISHEYES or keys.get("is_fisheye", False)
    p1, p2 = (found.get(key, 0.0) for key in _TANGENTIAL)
    tangential = p1, p2
    if fisheye:
        require(tangential == (0, 0), "p1 and p2", "0 for a fisheye", tangential)
        if not any(found.get(key) for key in _FOCAL_LENGTHS):
            raise InputError("fl_x must be given for a fisheye, whose angle of view is not a pinhole's, not missing")
    k1, k2, k3, k4 = (found.get(key, 0.0) for key in _RADIAL)
    radial = k1, k2, k3, k4
    return Lens(radial, tangential, fisheye) if fisheye or any((*radial, *tangential)) else None


def _focal(length: float | None, scale: float, angle: float | None, side: float) -> float | None:
    if length is not None:
        return length * scale
    return None if angle is None else 0.5 * side / math.tan(0.5 * angle)


def _numbers(levels: tuple[tuple[str, Mapping[str, Any]], ...]) -> dict[str, float]:
    """The optical keys with their checked values, each from the first level that says it."""
    found: dict[str, float] = {}
    said = set()
    for prefix, level in levels:
        here = set()
        for key in (*_SIZES, *_FOCAL_LENGTHS, *_ANGLES, *_CENTRE, *_RADIAL, *_TANGENTIAL):
            if key not in level:
                continue
            value = checked(prefix + key, key, level[key])
            meaning = key.replace("camera_angle", "fl")  # An angle and a focal length say the same.
            here.add(meaning)
            if meaning not in said:
                found[key] = value
        said |= here
    for one, other in (_SIZES, _SIZES[::-1]):
        if one in found and other not in found:
            raise InputError(f"{other} must be given beside {one}, not missing")
    return found


def checked(name: str, key: str, value: Any) -> float:
    """Return the value of an optical key that :func:`read_optics` knows; `InputError` with ``name`` for a bad one."""
    number = value if _is_number(value) else math.nan
    if key in _SIZES:
        require(0 < number < math.inf, name, "a number of pixels above 0", repr(value))
        require(number == int(number) <= MOST_PIXELS, name, f"a whole number of at most {MOST_PIXELS} pixels", value)
        return int(number)
    if key in _ANGLES:
        require(0 < number < math.pi, name, "an angle in (0, pi) radians", repr(value))
    elif key in _FOCAL_LENGTHS:
        require(0 < number <= MOST_FOCAL, name, f"a number of pixels above 0 and at most {MOST_FOCAL:g}", repr(value))
    elif key in (*_RADIAL, *_TANGENTIAL):
        require(abs(number) <= _MOST_DISTORTION, name, f"a number within {_MOST_DISTORTION:g}", repr(value))
    else:
        require(
            abs(number) <= MOST_PIXELS, name, f"a number of pixels from -{MOST_PIXELS} to {MOST_PIXELS}", repr(value)
        )
    return float(number)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_keys(content: Mapping[str, Any], frame: Mapping[str, Any], number: int) -> None:
    for prefix, level, known in ((f"frames[{number}].", frame, _FRAME), ("", content, _GLOBAL)):
        for key, value in level.items():
            name = prefix + key
            shown = repr(value) if len(repr(value)) <= 40 else repr(value)[:37] + "..."
            if key in _NO_DISTORTION:
                rule = "0 (this lens is not modelled: undistort the pictures first)"
                require(_is_number(value) and value == 0, name, rule, shown)
            elif key == "is_fisheye":
                require(isinstance(value, bool), name, "true or false", shown)
            elif key == "camera_model":
                require(value in _MODELS, name, f"one of {', '.join(_MODELS)}", shown)
            elif key == "aabb_scale":
                require(_is_number(value) and value > 0, name, "a number above 0", shown)
            elif key in _NEUTRAL:
                rule = "absent or neutral (poses are taken as they stand in the file, the box from the model)"
                require(value == _NEUTRAL[key], name, rule, shown)
            else:
                rule = "absent (it is not honoured here: remove it where the pictures do not depend on it)"
                require(key in known or key in _OPTICAL, name, rule, shown)
