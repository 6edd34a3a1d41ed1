"""Procedural scenes: pictures and cameras for training and tests without any download.

A scene is a list of primitives that rays are intersected with exactly, in NumPy. :data:`SCENES`
is the registry: a new scene is one more function that returns a :class:`Scene`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from nerf.cameras import Camera, Cameras
from nerf.contract.errors import InputError
from nerf.primitives import Bar, Block, Material, Primitive, Sphere, lit

FIELD_OF_VIEW = 0.6911112070083618
"""Horizontal field of view in radians, that of the NeRF-synthetic set."""

CAMERA_DISTANCE = 4.0
"""Distance of every camera from the origin, in scene units."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Primitives inside the box [-1.5, 1.5] on each axis, lit by two lights and a bright sky."""

    name: str
    primitives: tuple[Primitive, ...]

    def colours(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Colour along rays.

        Parameters: origins, unit directions (n, 3) float32.
        Returns float32 (n, 4) in 0..1: colour, 0 where nothing is met, and coverage 0 or 1.
        """
        nearest = np.full(len(origins), np.inf, dtype=np.float32)
        winner = np.full(len(origins), -1)
        for number, primitive in enumerate(self.primitives):
            distance = primitive.meet(origins, directions)
            closer = distance < nearest
            nearest[closer], winner[closer] = distance[closer], number
        result = np.zeros((len(origins), 4), dtype=np.float32)
        for number in np.unique(winner[winner >= 0]):
            chosen = winner == number
            points = origins[chosen] + nearest[chosen, None] * directions[chosen]
            result[chosen, :3] = lit(self.primitives[number], points, directions[chosen])
            result[chosen, 3] = 1
        return result

    def picture(self, camera: Camera, oversampling: int = 3) -> np.ndarray:
        """Picture of the camera's full frame: uint8 (H, W, 4), straight alpha.

        Each pixel is the mean of ``oversampling`` squared rays.
        """
        fine = Camera(
            camera.c2w,
            camera.focal * oversampling,
            camera.width * oversampling,
            camera.height * oversampling,
        )
        shape = (camera.height, oversampling, camera.width, oversampling, 4)
        premultiplied = self.colours(*fine.rays()).reshape(shape).mean(axis=(1, 3))
        coverage = premultiplied[..., 3:]
        straight = premultiplied[..., :3] / np.maximum(coverage, 1e-6)
        pixels = np.concatenate([straight, coverage], axis=-1)
        return np.floor(pixels * 255 + 0.5).astype(np.uint8)

    def cameras(self, split: str, count: int, seed: int = 0) -> Cameras:
        """Cameras around the scene, all looking at the origin from its upper half.

        "train": directions drawn with ``seed``; "test": a fixed spiral that no seed changes.
        """
        if split == "train":
            generator = np.random.default_rng(seed)
            turns = generator.uniform(0, 2 * math.pi, count)
            heights = generator.uniform(0.05, 0.95, count)
        elif split == "test":
            turns = 2 * math.pi * (np.arange(count) + 0.5) / count
            heights = 0.2 + 0.6 * ((np.arange(count) * 0.618034) % 1)
        else:
            raise InputError(f"split must be 'train' or 'test', not {split!r}")
        poses = [_looking_in(turn, height) for turn, height in zip(turns, heights, strict=True)]
        files = [Path(split) / f"r_{index}" for index in range(count)]
        return Cameras(FIELD_OF_VIEW, np.stack(poses), files)


def get_scene(name: str) -> Scene:
    """The built-in scene of that name. Raises :class:`nerf.contract.errors.InputError` for another name."""
    if name not in SCENES:
        raise InputError(f"scene must be one of {', '.join(sorted(SCENES))}, not {name!r}")
    return SCENES[name]()


def write_scene(
    scene: Scene,
    directory: str | Path,
    size: int = 100,
    train: int = 100,
    test: int = 20,
    seed: int = 0,
) -> None:
    """Write a data set in the NeRF-synthetic layout: ``transforms_*.json`` and PNG pictures.

    Parameters: ``size`` of the square pictures in pixels; numbers of views; ``seed`` of the
    training cameras. Raises :class:`nerf.contract.errors.InputError` where nothing can be written.
    """
    directory = Path(directory)
    for split, count in (("train", train), ("test", test)):
        cameras = scene.cameras(split, count, seed)
        try:
            (directory / split).mkdir(parents=True, exist_ok=True)
            for index, pixels in enumerate(pictures(scene, cameras, size)):
                Image.fromarray(pixels).save(directory / split / f"r_{index}.png", optimize=True)
            text = json.dumps(describe(cameras, size), indent=1) + "\n"
            (directory / f"transforms_{split}.json").write_text(text, encoding="utf-8")
        except OSError as error:
            rule = "a folder that can be written"
            raise InputError(f"directory must be {rule}, not {directory} ({error})") from None


def pictures(scene: Scene, cameras: Cameras, size: int) -> Iterator[np.ndarray]:
    """The pictures of all views, one by one: uint8 (size, size, 4), straight alpha."""
    for index in range(len(cameras)):
        yield scene.picture(cameras.camera(index, size))


def describe(cameras: Cameras, size: int) -> dict:
    """The content of a ``transforms_*.json`` file for square pictures of ``size`` pixels."""
    frames = [
        {"file_path": f"./{file.as_posix()}", "transform_matrix": pose.tolist()}
        for file, pose in zip(cameras.files, cameras.poses, strict=True)
    ]
    return {"camera_angle_x": cameras.angle, "w": size, "h": size, "frames": frames}


# ---- The scenes ----


def lattice() -> Scene:
    """A tilted lattice of thin metal bars that holds glossy balls, above a checkered plate."""
    steel = Material((0.55, 0.57, 0.62), shine=0.5, hardness=25, rim=0.35)
    brass = Material((0.72, 0.53, 0.18), shine=0.6, hardness=40, rim=0.3)
    plate = Material((0.82, 0.80, 0.74), (0.16, 0.30, 0.34), check=0.25, shine=0.25, hardness=12)
    balls = {
        (-1, -1, 1): (0.80, 0.12, 0.10),
        (1, 1, 1): (0.10, 0.32, 0.75),
        (1, -1, -1): (0.12, 0.55, 0.22),
        (-1, 1, -1): (0.85, 0.45, 0.05),
    }
    turn = _rotation(2, math.radians(25)) @ _rotation(0, math.radians(12))
    pitch = 0.52  # Distance between neighbouring nodes.
    lift = np.array([0.0, 0.0, 0.18])

    def place(node: tuple[float, float, float]) -> np.ndarray:
        return (turn @ (np.array(node) * pitch) + lift).astype(np.float32)

    parts: list[Primitive] = []
    for node in product((-1, 0, 1), repeat=3):
        parts.append(Sphere(place(node), 0.07, brass))
    for axis, one, other in product(range(3), (-1, 0, 1), (-1, 0, 1)):
        start, end = ([one, other] for _ in range(2))
        start.insert(axis, -1)
        end.insert(axis, 1)
        parts.append(Bar(place(tuple(start)), place(tuple(end)), 0.03, steel))
    for cell, colour in balls.items():
        glossy = Material(colour, shine=0.9, hardness=50, rim=0.45)
        parts.append(Sphere(place(tuple(0.5 * value for value in cell)), 0.2, glossy))
    low, high = np.float32([-0.9, -0.9, -0.86]), np.float32([0.9, 0.9, -0.78])
    parts.append(Block(low, high, plate))
    return Scene("lattice", tuple(parts))


SCENES: dict[str, Callable[[], Scene]] = {"lattice": lattice}
"""Built-in scenes by name."""


# ---- Geometry ----


def _rotation(axis: int, angle: float) -> np.ndarray:
    """Rotation about a coordinate axis, (3, 3)."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    result = np.eye(3)
    result[first, first] = result[second, second] = math.cos(angle)
    result[second, first] = math.sin(angle)
    result[first, second] = -math.sin(angle)
    return result


def _looking_in(turn: float, height: float) -> np.ndarray:
    """Pose (4, 4) at ``CAMERA_DISTANCE``, Blender axes; ``height`` = sine of the elevation."""
    flat = math.sqrt(1 - height * height)
    backward = np.array([flat * math.cos(turn), flat * math.sin(turn), height])
    right = np.array([-math.sin(turn), math.cos(turn), 0.0])
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2] = right, np.cross(backward, right), backward
    pose[:3, 3] = CAMERA_DISTANCE * backward
    return pose
