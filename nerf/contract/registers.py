"""The accelerator's registers: their map, and the integers that describe a view of a scene.

All registers are 32 bits on AXI4-Lite. The host computes the camera registers once a frame in float64;
from there on every value in the accelerator is an integer.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from nerf.contract.config import CUBE
from nerf.contract.formats import DIRECTION, DISTANCE, ORIGIN, UNIT, Format
from nerf.contract.scene_image import BEAT, Scene, cubes_of, whole_pages
from rtnerf.base.errors import require

VIEW_SCALE = Format(6, 20, signed=False)
"""World length of a cell, in steps: turns a grid direction into the view direction."""
PROJECTION_DEPTH = Format(3, 16)
"""Row of the projection that gives depth, in mean cells per cell."""
PROJECTION_IMAGE = Format(18, 8)
"""Rows of the projection that give image coordinates times depth, in pixels times mean cells per cell."""
PIXEL = Format(14, 4)
"""An image coordinate, in pixels."""
RADIUS = Format(6, 12, signed=False)
"""Bounding ball of a cube, in mean cells."""
IMAGE_RADIUS = Format(22, 4, signed=False)
"""Bounding ball times focal length, in pixels times mean cells."""

CONTROL_START, CONTROL_ABORT = 1, 2
STATUS_BUSY, STATUS_DONE, STATUS_ERROR = 1, 2, 4
STATUS_CODE_SHIFT = 8
IDENTITY = 0x4E545201
"""Value of the ``identity`` register: the design and its register map version."""

AXES = "xyz"
CAMERA_REGISTERS = (
    [f"origin_{a}" for a in AXES]
    + [f"{row}_{a}" for row in ("direction", "direction_column", "direction_row") for a in AXES]
    + ["slope_x", "slope_y", "slope_pixel", "near", "far", "sample_limit"]
    + [f"view_scale_{a}" for a in AXES]
    + [f"projection_{row}_{a}" for row in AXES for a in AXES]
    + ["centre_x", "centre_y", "radius", "image_radius"]
    + [f"start_cube_{a}" for a in AXES]
    + ["window_width", "window_height", "termination", "visibility", "background"]
)
HOST_REGISTERS = [
    "control",
    "status",
    "interrupt_enable",
    "identity",
    "config_digest",
    "scene_low",
    "scene_high",
    "frame_low",
    "frame_high",
    "list_low",
    "list_high",
]
"""``scene``, ``frame`` and ``list`` are byte addresses: of the scene image, of the pixels, and of a region of
`list_stride` for each row of tiles of the window, aligned to a page, in which the accelerator lists the cubes."""
LIST_ENTRY_BYTES = BEAT
COUNTERS = ["cycles_low", "cycles_high", "samples", "shaded", "cubes", "read_beats"]
"""Read-only: cycles from start to interrupt, composited samples, shaded samples, cubes loaded, beats read."""
REGISTERS = {name: 4 * index for index, name in enumerate(HOST_REGISTERS + CAMERA_REGISTERS + COUNTERS)}
"""Byte address of each register."""
READ_ONLY = {"status", "identity", "config_digest", *COUNTERS}


def list_stride(live_cubes: int) -> int:
    """Return the bytes from the cube list of a row of tiles to that of the next: an entry a live cube, whole pages."""
    return whole_pages(LIST_ENTRY_BYTES * live_cubes)


class ErrorCode(IntEnum):
    """Why a frame ended with the error bit set."""

    NONE = 0
    BUS = 1
    """The memory answered a read or a write with an error."""
    SCENE_HEADER = 2
    """Wrong magic, version or checksum of the device header."""
    CONFIG = 3
    """The scene image was made for another configuration."""
    TABLES = 4
    """Wrong checksum of the tables."""
    ROW = 5
    """Wrong checksum of an occupancy row."""
    RECORD = 6
    """Wrong checksum of a cube record."""
    BLOCK_HEADER = 7
    """A block header that no encoder writes."""
    BLOCK_PAYLOAD = 8
    """A payload that disagrees with its header."""
    ABORTED = 9
    """The host wrote ``CONTROL_ABORT``."""
    LIST = 10
    """Wrong checksum of an entry of the cube list."""


@dataclass(frozen=True)
class View:
    """Camera registers of one frame, as signed integers by name (`CAMERA_REGISTERS`)."""

    values: dict[str, int]

    def __getattr__(self, name: str) -> int:
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(name) from None

    def vector(self, name: str) -> np.ndarray:
        """Return the three registers ``name_x``, ``name_y``, ``name_z`` as int64."""
        return np.array([self.values[f"{name}_{axis}"] for axis in AXES], np.int64)


def _fixed(name: str, value: float, fmt: Format) -> int:
    integer = int(np.floor(value * 2.0**fmt.fraction + 0.5))
    require(fmt.low <= integer <= fmt.high, name, f"within {fmt.low} to {fmt.high} / 2**{fmt.fraction}", value)
    return integer


def view_registers(
    scene: Scene,
    camera_to_world: np.ndarray,
    focal: float,
    width: int,
    height: int,
    window: tuple[int, int, int, int] | None = None,
    termination: float = 1e-3,
    white: bool = True,
) -> View:
    """Compute the camera registers of one view.

    Parameters
    ----------
    scene : Scene
    camera_to_world : array, shape (4, 4)
        Blender axes: x right, y up, the camera looks along -z; world units.
    focal : float
        In pixels.
    width, height : int
        Image size, in pixels.
    window : (x, y, width, height), optional
        Part of the image to render, in pixels; all of it by default.
    termination : float
        A pixel whose transmittance is below this takes no more samples; 0 switches termination off.
    white : bool
        White background, else black.

    Raises
    ------
    InputError
        A window outside the image, or a value outside its register.
    """
    x, y, window_width, window_height = window or (0, 0, width, height)
    require(
        x >= 0
        and y >= 0
        and window_width > 0
        and window_height > 0
        and x + window_width <= width
        and y + window_height <= height,
        "crop",
        f"inside the {width}x{height} image",
        f"{x},{y},{window_width},{window_height}",
    )
    require(max(width, height) <= 8192, "size", "at most 8192 pixels", max(width, height))
    host = scene.host
    unit = np.array([host[f"unit_{axis}"] for axis in AXES])
    low = np.array([host[f"low_{axis}"] for axis in AXES])
    step, mean_unit = host["step"], float(unit.mean())
    pose = np.asarray(camera_to_world, np.float64) @ np.diag([1.0, -1.0, -1.0, 1.0])
    rotation, position = pose[:3, :3], pose[:3, 3]
    require(bool(np.isfinite(pose).all()), "camera", "finite", "a matrix with NaN or infinity")
    require(focal > 0, "focal length", "positive", focal)

    origin = (position - low) / unit
    to_grid = rotation * (step / unit)[:, None]
    slope_x, slope_y = (x + 0.5 - width / 2) / focal, (y + 0.5 - height / 2) / focal
    direction = to_grid @ np.array([slope_x, slope_y, 1.0])
    projection = rotation.T * (unit / mean_unit)[None, :]
    radius = float(np.linalg.norm(unit * CUBE / 2)) / mean_unit * (1 + 1e-6) + 2.0**-10
    cubes = cubes_of(scene.grid)
    values = {
        "slope_x": _fixed("slope_x", slope_x, DIRECTION),
        "slope_y": _fixed("slope_y", slope_y, DIRECTION),
        "slope_pixel": _fixed("slope_pixel", 1 / focal, DIRECTION),
        "near": _fixed("near", host["near"] / step, DISTANCE),
        "far": _fixed("far", host["far"] / step, DISTANCE),
        "sample_limit": int(host["sample_count"]) - 1,
        "centre_x": _fixed("centre_x", width / 2 - x, PIXEL),
        "centre_y": _fixed("centre_y", height / 2 - y, PIXEL),
        "radius": _fixed("radius", radius, RADIUS),
        "image_radius": _fixed("image_radius", radius * focal, IMAGE_RADIUS),
        "window_width": window_width,
        "window_height": window_height,
        "termination": int(np.floor(termination * (1 << UNIT) + 0.5)),
        "visibility": int(np.floor(host["shading_threshold"] * (1 << UNIT) + 0.5)),
        "background": int(white),
    }
    for k, axis in enumerate(AXES):
        values[f"origin_{axis}"] = _fixed("camera position", origin[k], ORIGIN)
        values[f"direction_{axis}"] = _fixed("direction", direction[k], DIRECTION)
        values[f"direction_column_{axis}"] = _fixed("direction", to_grid[k, 0] / focal, DIRECTION)
        values[f"direction_row_{axis}"] = _fixed("direction", to_grid[k, 1] / focal, DIRECTION)
        values[f"view_scale_{axis}"] = _fixed("view_scale", unit[k] / step, VIEW_SCALE)
        values[f"projection_x_{axis}"] = _fixed("projection", projection[0, k] * focal, PROJECTION_IMAGE)
        values[f"projection_y_{axis}"] = _fixed("projection", projection[1, k] * focal, PROJECTION_IMAGE)
        values[f"projection_z_{axis}"] = _fixed("projection", projection[2, k], PROJECTION_DEPTH)
        values[f"start_cube_{axis}"] = int(np.clip(np.floor(origin[k] / CUBE), -1, cubes[k]))
    return View({name: values[name] for name in CAMERA_REGISTERS})
