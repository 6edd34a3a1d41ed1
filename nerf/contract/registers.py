"""The accelerator's registers: their map, and the integers that describe a view of a scene.

All registers are 32 bits on AXI4-Lite. The host computes the camera registers once a frame in float64;
from there on every value in the accelerator is an integer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, NamedTuple

import numpy as np

from nerf.contract.config import CUBE
from nerf.contract.formats import (
    DIRECTION,
    DISTANCE,
    IMAGE_RADIUS,
    ORIGIN,
    PIXEL,
    PROJECTION_DEPTH,
    PROJECTION_IMAGE,
    RADIUS,
    UNIT,
    VIEW_SCALE,
    Format,
)
from nerf.contract.scene_image import BEAT, FORWARD_FACING, Scene, cubes_of, exchanged_axes, whole_pages
from rtnerf.base.errors import require

CONTROL_START, CONTROL_ABORT = 1, 2
STATUS_BUSY, STATUS_DONE, STATUS_ERROR = 1, 2, 4
STATUS_CODE_SHIFT = 8
IDENTITY = 0x4E545203
"""Value of the ``identity`` register: the design and its register map version."""

AXES = "xyz"


class Access(Enum):
    """What the host may do with a register."""

    READ_WRITE = "read-write"
    READ_ONLY = "read"
    WRITE_ONLY = "write"
    CLEARED = "read, cleared by any write"


class Flag(NamedTuple):
    """A part of a register with a meaning of its own.

    Parameters
    ----------
    name : str
    mask : int
        Its bits, neighbours.
    text : str
    access : Access, optional
        If other than the register's.
    """

    name: str
    mask: int
    text: str
    access: Access | None = None

    @property
    def first(self) -> int:
        """Number of its lowest bit."""
        return (self.mask & -self.mask).bit_length() - 1


@dataclass(frozen=True)
class Register:
    """A line of the register table: one register, or one for each axis (``NAME_x``, ``NAME_y``, ``NAME_z``).

    Parameters
    ----------
    name : str
    format : Format
        Of the value, in the low bits; the bits above are ignored when written.
    text : str
    access : Access
    vector : bool
        Whether there is one for each axis.
    flags : tuple of Flag
        What the bits mean, where they are not a number.
    """

    name: str
    format: Format
    text: str
    access: Access = Access.READ_WRITE
    vector: bool = False
    flags: tuple[Flag, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the registers, in the order of their addresses."""
        return tuple(f"{self.name}_{axis}" for axis in AXES) if self.vector else (self.name,)

    def fixed(self, value: float | np.ndarray) -> tuple[int, ...]:
        """Return the nearest integers of a real value, one for each of `names`; `InputError` when one does not fit."""
        fmt = self.format
        integers = tuple(int(np.floor(number * 2.0**fmt.fraction + 0.5)) for number in np.atleast_1d(value))
        rule = f"within {fmt.low} to {fmt.high} / 2**{fmt.fraction}"
        require(all(fmt.low <= integer <= fmt.high for integer in integers), self.name, rule, value)
        return integers


def _bits(width: int) -> Format:
    return Format(width, 0, signed=False)


_WORD, _FLAG, _PIXELS = _bits(32), _bits(1), _bits(14)
_UNIT = Format(1, UNIT, signed=False)

HOST_TABLE = (
    Register("control", _bits(2), "Starts and ends a frame", Access.WRITE_ONLY, flags=(
        Flag("start", CONTROL_START, "start a frame; ignored while busy"),
        Flag("abort", CONTROL_ABORT, "end the running frame with an error"),
    )),
    Register("status", _WORD, "State of the running or last frame", Access.CLEARED, flags=(
        Flag("busy", STATUS_BUSY, "a frame is running", Access.READ_ONLY),
        Flag("done", STATUS_DONE, "a frame has ended; interrupts if that is enabled"),
        Flag("error", STATUS_ERROR, "it has ended with an error"),
        Flag("code", 0xFF << STATUS_CODE_SHIFT, "which error"),
    )),
    Register("interrupt_enable", _FLAG, "Whether the end of a frame interrupts"),
    Register("identity", _WORD, "The design and its register map version", Access.READ_ONLY),
    Register("config_digest", _WORD, "The configuration: first 32 bits of its digest", Access.READ_ONLY),
    Register("scene_low", _WORD, "Byte address of the scene image, a multiple of 4096"),
    Register("scene_high", _WORD, "Its upper half"),
    Register("frame_low", _WORD, "Byte address of the pixels, 8 bytes each, a multiple of 8"),
    Register("frame_high", _WORD, "Its upper half"),
    Register("list_low", _WORD, "Byte address of the cube lists, a multiple of 4096; see `list_stride`"),
    Register("list_high", _WORD, "Its upper half"),
)  # fmt: skip
CAMERA_TABLE = (
    Register("origin", ORIGIN, "Camera position in the factor grid, in cells", vector=True),
    Register("direction", DIRECTION, "Ray of the window's first pixel, in cells a step of depth", vector=True),
    Register("direction_column", DIRECTION, "Its change from a column to the next", vector=True),
    Register("direction_row", DIRECTION, "Its change from a row to the next", vector=True),
    Register("slope_x", DIRECTION, "Slope of the first pixel's ray in camera space, to the right"),
    Register("slope_y", DIRECTION, "Slope of the first pixel's ray in camera space, down"),
    Register("slope_column", DIRECTION, "Change of the slope to the right from a column to the next"),
    Register("slope_row", DIRECTION, "Change of the slope down from a row to the next"),
    Register("near", DISTANCE, "Least distance of a ray's first sample, in steps"),
    Register("far", DISTANCE, "Largest distance of a ray's first sample, in steps"),
    Register("sample_limit", _bits(16), "Samples that a ray has at most"),
    Register("view_scale", VIEW_SCALE, "World length of a cell, in steps", vector=True),
    Register("projection_x", PROJECTION_IMAGE, "Depth times image column, in pixels a cell", vector=True),
    Register("projection_y", PROJECTION_IMAGE, "Depth times image row, in pixels a cell", vector=True),
    Register("projection_z", PROJECTION_DEPTH, "Depth, in mean cells a cell", vector=True),
    Register("centre_x", PIXEL, "Column of the principal point, from the window's first"),
    Register("centre_y", PIXEL, "Row of the principal point, from the window's first"),
    Register("radius", RADIUS, "Bounding ball of a cube, in mean cells"),
    Register("image_radius_x", IMAGE_RADIUS, "Bounding ball times focal length across, in mean cells times pixels"),
    Register("image_radius_y", IMAGE_RADIUS, "Bounding ball times focal length down, in mean cells times pixels"),
    Register(
        "start_cube", Format(8, 0), "The camera's cube; -1 before the grid, the count of cubes behind", vector=True
    ),
    Register("window_width", _PIXELS, "Columns of the window"),
    Register("window_height", _PIXELS, "Rows of the window"),
    Register("termination", _UNIT, "A pixel of less transmittance takes no more samples"),
    Register("shading_threshold", _UNIT, "Samples of a larger weight are shaded"),
    Register(
        "background",
        _bits(24),
        "Background, 8 bits a channel",
        flags=(
            Flag("red", 0xFF, "255: full"),
            Flag("green", 0xFF << 8, "255: full"),
            Flag("blue", 0xFF << 16, "255: full"),
        ),
    ),
)
COUNTER_TABLE = tuple(
    Register(name, _WORD, text, Access.READ_ONLY)
    for name, text in (
        ("cycles_low", "Cycles from start to interrupt"),
        ("cycles_high", "Their upper half"),
        ("samples", "Composited samples"),
        ("shaded", "Shaded samples; with deferred shading, rays"),
        ("cubes", "Cubes loaded"),
        ("read_beats", "Beats read from memory"),
    )
)
TABLE = HOST_TABLE + CAMERA_TABLE + COUNTER_TABLE
"""All registers in the order of their addresses; structures, records, documents and exports derive from it."""

CAMERA_REGISTERS = [name for register in CAMERA_TABLE for name in register.names]
COUNTERS = [name for register in COUNTER_TABLE for name in register.names]
REGISTERS = {name: 4 * index for index, name in enumerate(name for register in TABLE for name in register.names)}
"""Byte address of each register."""
LIST_ENTRY_BYTES = BEAT


def background_word(background: tuple[int, int, int]) -> int:
    """Return the value of the background register for red, green and blue, 0..255 each."""
    return sum(value << 8 * channel for channel, value in enumerate(background))


def list_stride(live_cubes: int) -> int:
    """Return the bytes from the cube list of a row of tiles to that of the next: an entry a live cube, whole pages."""
    return whole_pages(LIST_ENTRY_BYTES * live_cubes)


class ErrorCode(IntEnum):
    """Why a frame ended with the error bit set."""

    text: str

    def __new__(cls, code: int, text: str = "") -> "ErrorCode":
        """Return a member of a code and what it means."""
        member = int.__new__(cls, code)
        member._value_, member.text = code, text
        return member

    NONE = 0, "No error"
    BUS = 1, "The memory answered a read or a write with an error"
    SCENE_HEADER = 2, "Wrong magic, version or checksum of the device header"
    CONFIG = 3, "The scene image was made for another configuration"
    TABLES = 4, "Wrong checksum of the tables"
    ROW = 5, "Wrong checksum of an occupancy row"
    RECORD = 6, "Wrong checksum of a cube record"
    BLOCK_HEADER = 7, "A block header that no encoder writes"
    BLOCK_PAYLOAD = 8, "A payload that disagrees with its header"
    ABORTED = 9, "The host wrote `abort`"
    LIST = 10, "Wrong checksum of an entry of the cube list"


@dataclass(frozen=True)
class View:
    """Camera registers of one frame, as signed integers by name (`CAMERA_REGISTERS`)."""

    values: dict[str, int]

    def __getattr__(self, name: str) -> int:
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(name) from None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "View":
        """Return the view of real values, a number or a vector for each line of `CAMERA_TABLE`.

        Raises
        ------
        InputError
            A value outside its register.
        """
        lines = [(register.names, register.fixed(values[register.name])) for register in CAMERA_TABLE]
        return cls({name: value for names, fixed in lines for name, value in zip(names, fixed, strict=True)})

    def vector(self, name: str) -> np.ndarray:
        """Return the three registers ``name_x``, ``name_y``, ``name_z`` as int64."""
        return np.array([self.values[f"{name}_{axis}"] for axis in AXES], np.int64)


def view_registers(
    scene: Scene,
    camera_to_world: np.ndarray,
    focal: float | tuple[float, float],
    width: int,
    height: int,
    window: tuple[int, int, int, int] | None = None,
    centre: tuple[float, float] | None = None,
    termination: float = 1e-3,
    background: tuple[int, int, int] = (255, 255, 255),
) -> View:
    """Compute the camera registers of one view.

    Parameters
    ----------
    scene : Scene
    camera_to_world : array, shape (4, 4)
        Blender axes: x right, y up, the camera looks along -z; world units.
    focal : float or (float, float)
        Focal length across and down, in pixels.
    width, height : int
        Image size, in pixels.
    window : (x, y, width, height), optional
        Part of the image to render, in pixels; all of it by default.
    centre : (float, float), optional
        Principal point, in pixels from the image's upper left corner; its middle by default.
    termination : float
        A pixel whose transmittance is below this takes no more samples; 0 switches termination off.
    background : (red, green, blue)
        0..255 each.

    Raises
    ------
    InputError
        A window outside the image, a value outside its register, or a forward-facing scene, whose rays are not made of
        registers.
    """
    require(not scene.forward_facing, "model", "in coordinates of the world for the accelerator", FORWARD_FACING)
    x, y, window_width, window_height = window or (0, 0, width, height)
    require(
        min(x, y) >= 0
        and min(window_width, window_height) > 0
        and x + window_width <= width
        and y + window_height <= height,
        "crop",
        f"inside the {width}x{height} image",
        f"{x},{y},{window_width},{window_height}",
    )
    require(max(width, height) <= 8192, "size", "at most 8192 pixels", max(width, height))
    pose = np.asarray(camera_to_world, np.float64) @ np.diag([1.0, -1.0, -1.0, 1.0])
    pose = pose[[*exchanged_axes(int(scene.host["exchanged"])), 3]]
    require(bool(np.isfinite(pose).all()), "camera", "finite", "a matrix with NaN or infinity")
    require(np.min(focal) > 0, "focal length", "positive", focal)
    focal_x, focal_y = np.broadcast_to(focal, 2).tolist()
    centre_x, centre_y = centre or (width / 2, height / 2)
    first = ((x + 0.5 - centre_x) / focal_x, (y + 0.5 - centre_y) / focal_y)
    return View.of(
        _rays(scene, pose, (focal_x, focal_y), first)
        | _projection(scene, pose, (focal_x, focal_y))
        | {
            "centre_x": centre_x - x,
            "centre_y": centre_y - y,
            "window_width": window_width,
            "window_height": window_height,
            "termination": termination,
            "shading_threshold": scene.host["shading_threshold"],
            "background": background_word(background),
        }
    )


def _grid(scene: Scene, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the world size of a cell along each axis, and the camera position in the grid."""
    low, unit = (np.array([scene.host[f"{name}_{axis}"] for axis in AXES]) for name in ("low", "unit"))
    return unit, (pose[:3, 3] - low) / unit


def _rays(scene: Scene, pose: np.ndarray, focal: tuple[float, float], first: tuple[float, float]) -> dict[str, Any]:
    """Return the values of the registers that rays are made of; ``first``: slopes of the window's first pixel."""
    unit, origin = _grid(scene, pose)
    step = scene.host["step"]
    to_grid = pose[:3, :3] * (step / unit)[:, None]
    return {
        "origin": origin,
        "direction": to_grid @ np.array([*first, 1.0]),
        "direction_column": to_grid[:, 0] / focal[0],
        "direction_row": to_grid[:, 1] / focal[1],
        "slope_x": first[0],
        "slope_y": first[1],
        "slope_column": 1 / focal[0],
        "slope_row": 1 / focal[1],
        "near": scene.host["near"] / step,
        "far": scene.host["far"] / step,
        "sample_limit": scene.host["sample_count"] - 1,
        "view_scale": unit / step,
    }


def _projection(scene: Scene, pose: np.ndarray, focal: tuple[float, float]) -> dict[str, Any]:
    """Return the values of the registers that project cubes into the image and order them."""
    unit, origin = _grid(scene, pose)
    mean_unit = float(unit.mean())
    rows = pose[:3, :3].T * (unit / mean_unit)[None, :]
    radius = float(np.linalg.norm(unit * CUBE / 2)) / mean_unit * (1 + 1e-6) + 2.0**-10
    return {
        "projection_x": rows[0] * focal[0],
        "projection_y": rows[1] * focal[1],
        "projection_z": rows[2],
        "radius": radius,
        "image_radius_x": radius * focal[0],
        "image_radius_y": radius * focal[1],
        "start_cube": np.clip(np.floor(origin / CUBE), -1, cubes_of(scene.grid)),
    }
