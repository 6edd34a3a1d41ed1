"""Procedural scenes: pictures and cameras for training and tests without any download.

A scene is a list of primitives. :data:`SCENES` is the registry: a new scene is one more function
that returns a :class:`Scene`. ``python -m nerf.scenes.builtin scenes.png`` draws a picture of them all.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from nerf.cameras import Camera, Cameras
from nerf.optics import Optics
from nerf.pictures import premultiplied
from nerf.scenes.primitives import Bar, Block, Material, Primitive, Sphere, lit, vector
from rtnerf.base.errors import InputError
from rtnerf.base.files import write_bytes

FIELD_OF_VIEW = 0.6911112070083618
"""Horizontal field of view in radians, that of the NeRF-synthetic set."""

CAMERA_DISTANCE = 4.0
"""Distance of every camera from the origin, in scene units."""

_RAYS = 8192
"""Rays whose colours are found at a time: few enough for a processor's cache."""


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
        parts = range(0, len(origins), _RAYS)
        return np.concatenate([self._colours(origins[n : n + _RAYS], directions[n : n + _RAYS]) for n in parts])

    def _colours(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
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
            focal_y=camera.focal_y * oversampling,
            centre=(camera.centre[0] * oversampling, camera.centre[1] * oversampling),
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
            numbers = np.arange(count, dtype=np.float64)
            turns = 2 * math.pi * (numbers + 0.5) / count
            heights = 0.2 + 0.6 * ((numbers * 0.618034) % 1)
        else:
            raise InputError(f"split must be 'train' or 'test', not {split!r}")
        poses = [_looking_in(turn, height) for turn, height in zip(turns, heights, strict=True)]
        files = [Path(split) / f"r_{index}" for index in range(count)]
        return Cameras(np.stack(poses), files, [Optics(1, 1, angle_x=FIELD_OF_VIEW)] * count)


def get_scene(name: str) -> Scene:
    """The built-in scene of that name. Raises :class:`rtnerf.base.errors.InputError` for another name."""
    if name not in SCENES:
        raise InputError(f"scene must be one of {', '.join(SCENES)}, not {name!r}")
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
    training cameras. Raises :class:`rtnerf.base.errors.InputError` where nothing can be written.
    """
    directory = Path(directory)
    for split, count in (("train", train), ("test", test)):
        cameras = scene.cameras(split, count, seed)
        try:
            (directory / split).mkdir(parents=True, exist_ok=True)
            for index, pixels in enumerate(pictures(scene, cameras, size)):
                Image.fromarray(pixels).save(directory / split / f"r_{index}.png", optimize=True)
            text = json.dumps(describe(cameras, size), indent=1) + "\n"
            write_bytes(directory / f"transforms_{split}.json", text.encode())
        except OSError as error:
            rule = "a folder that can be written"
            raise InputError(f"directory must be {rule}, not {directory} ({error})") from None


def pictures(scene: Scene, cameras: Cameras, size: int) -> Iterator[np.ndarray]:
    """The pictures of all views, one by one: uint8 (size, size, 4), straight alpha."""
    for index in range(len(cameras)):
        yield scene.picture(cameras.camera(index, size))


def contact_sheet(size: int = 100) -> np.ndarray:
    """One view of every built-in scene on white, in the order of :data:`SCENES`, four to a row.

    Parameters: ``size`` of each picture in pixels. Returns uint8 (rows, columns, 3).
    """
    tiles = []
    for name in SCENES:
        scene = get_scene(name)
        pixels = premultiplied(scene.picture(scene.cameras("test", 8).camera(7, size)))
        tiles.append(pixels[..., :3] + 1 - pixels[..., 3:])
    rows = [np.concatenate(tiles[first : first + 4], axis=1) for first in range(0, len(tiles), 4)]
    return np.floor(np.concatenate(rows) * 255 + 0.5).astype(np.uint8)


def describe(cameras: Cameras, size: int) -> dict:
    """The content of a ``transforms_*.json`` file for square pictures of ``size`` pixels."""
    frames = [
        {"file_path": f"./{file.as_posix()}", "transform_matrix": pose.tolist()}
        for file, pose in zip(cameras.files, cameras.poses, strict=True)
    ]
    return {"camera_angle_x": FIELD_OF_VIEW, "w": size, "h": size, "frames": frames}


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

    def place(node: Sequence[float]) -> np.ndarray:
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
    low, high = vector(-0.9, -0.9, -0.86), vector(0.9, 0.9, -0.78)
    parts.append(Block(low, high, plate))
    return Scene("lattice", tuple(parts))


def helix() -> Scene:
    """A double helix of thin wires, held together by thinner rungs."""
    wires = [Material(colour, shine=0.5, rim=0.3) for colour in ((0.75, 0.15, 0.12), (0.12, 0.30, 0.70))]
    rung = Material((0.70, 0.70, 0.66), shine=0.4, rim=0.2)
    count = 25  # Nodes of a wire.

    def node(strand: int, index: int) -> np.ndarray:
        turn, height = 2.5 * index / (count - 1) + strand, 2 * index / (count - 1) - 1
        return vector(0.6 * math.cos(math.pi * turn), 0.6 * math.sin(math.pi * turn), height)

    parts: list[Primitive] = []
    for strand, wire in enumerate(wires):
        for index in range(count):
            parts.append(Sphere(node(strand, index), 0.035, wire))
            if index:
                parts.append(Bar(node(strand, index - 1), node(strand, index), 0.035, wire))
    parts += [Bar(node(0, index), node(1, index), 0.015, rung) for index in range(0, count, 2)]
    return Scene("helix", tuple(parts))


def pearls() -> Scene:
    """A pyramid of large balls with hard highlights and a strong rim on a dark, shiny plate."""
    colours = ((0.10, 0.08, 0.22), (0.30, 0.05, 0.10), (0.04, 0.20, 0.18), (0.28, 0.20, 0.04))
    coats = [Material(colour, shine=1.0, hardness=80 - 20 * kind, rim=0.9) for kind, colour in enumerate(colours)]
    plate = Material((0.10, 0.10, 0.12), shine=0.6, hardness=20, rim=0.6)
    radius = 0.3
    parts: list[Primitive] = [Block(vector(-1, -1, -0.75), vector(1, 1, -0.65), plate)]
    for layer in range(3):
        for column, row in product(range(3 - layer), repeat=2):
            side = np.array([column, row]) * 2 * radius - (2 - layer) * radius
            centre = vector(side[0], side[1], radius - 0.65 + layer * math.sqrt(2) * radius)
            parts.append(Sphere(centre, radius, coats[(column + 2 * row + layer) % 4]))
    return Scene("pearls", tuple(parts))


def clutter() -> Scene:
    """Many small balls, boxes and dumbbells, thrown into the air by a fixed seed."""
    generator = np.random.default_rng(0)
    parts: list[Primitive] = []
    for number in range(72):
        away = generator.normal(size=3)
        centre = vector(*(1.1 * away / np.linalg.norm(away) * generator.uniform() ** (1 / 3)))
        material = Material(tuple(generator.uniform(0.05, 0.9, 3)), shine=0.4, rim=0.2)
        if number % 3 == 0:
            parts.append(Sphere(centre, generator.uniform(0.05, 0.12), material))
        elif number % 3 == 1:
            half = vector(*generator.uniform(0.04, 0.12, 3))
            parts.append(Block(centre - half, centre + half, material))
        else:
            arm = vector(*generator.uniform(-0.11, 0.11, 3))
            parts.append(Bar(centre - arm, centre + arm, 0.02, material))
            parts += [Sphere(end, 0.045, material) for end in (centre - arm, centre + arm)]
    return Scene("clutter", tuple(parts))


def mosaic() -> Scene:
    """A large step pyramid with a ball on top, tiled all over: finer and finer upwards."""
    tiles = (
        ((0.85, 0.80, 0.68), (0.10, 0.25, 0.45)),
        ((0.80, 0.42, 0.16), (0.25, 0.08, 0.05)),
        ((0.90, 0.88, 0.80), (0.08, 0.36, 0.28)),
        ((0.88, 0.70, 0.20), (0.30, 0.10, 0.30)),
    )
    parts: list[Primitive] = []
    for storey, (one, other) in enumerate(tiles):
        half, floor = 0.97 - 0.21 * storey, 0.3 * storey - 0.9
        finish = Material(one, other, check=0.16 - 0.03 * storey, shine=0.3, hardness=15, rim=0.1)
        parts.append(Block(vector(-half, -half, floor), vector(half, half, floor + 0.3), finish))
    ball = Material((0.95, 0.95, 0.95), (0.75, 0.08, 0.08), check=0.06, shine=0.6, rim=0.2)
    parts.append(Sphere(vector(0, 0, 0.55), 0.3, ball))
    return Scene("mosaic", tuple(parts))


def hills() -> Scene:
    """Hills of square columns, from water over sand, grass and rock to snow."""
    water = Material((0.08, 0.28, 0.55), shine=0.8, hardness=20, rim=0.5)
    land = [Material(colour, rim=0.05) for colour in ((0.80, 0.72, 0.45), (0.20, 0.48, 0.15), (0.42, 0.38, 0.34))]
    snow = Material((0.95, 0.95, 0.97), shine=0.3, hardness=15, rim=0.1)
    tops = (((-0.4, 0.3), 0.35, 1.45), ((0.5, -0.3), 0.28, 1.0), ((0.4, 0.7), 0.22, 0.6), ((-0.6, -0.7), 0.25, 0.55))
    edge, base, sea = 0.16, -0.85, -0.6
    parts: list[Primitive] = []
    for column, row in product(range(-6, 6), repeat=2):
        x, y = (column + 0.5) * edge, (row + 0.5) * edge
        rise = sum(high * math.exp(-(math.hypot(x - u, y - v) ** 2) / width**2 / 2) for (u, v), width, high in tops)
        height = max(rise - 0.75, sea)
        band = sum(height > limit for limit in (sea, -0.5, -0.1, 0.35))
        low, high = [column * edge, row * edge, base], [(column + 1) * edge, (row + 1) * edge, height]
        parts.append(Block(vector(*low), vector(*high), (water, *land, snow)[band]))
    return Scene("hills", tuple(parts))


def planets() -> Scene:
    """A few small balls far apart, around a slightly larger one."""
    sun = Material((0.95, 0.70, 0.15), shine=0.3, rim=0.5)
    parts: list[Primitive] = [Sphere(np.zeros(3, dtype=np.float32), 0.2, sun)]
    orbits = (
        (0.45, 0.06, (0.55, 0.50, 0.45)),
        (0.65, 0.09, (0.85, 0.60, 0.35)),
        (0.85, 0.09, (0.10, 0.35, 0.75)),
        (1.00, 0.07, (0.75, 0.20, 0.10)),
        (1.15, 0.14, (0.70, 0.55, 0.40)),
        (1.25, 0.10, (0.30, 0.65, 0.65)),
    )
    for number, (distance, radius, colour) in enumerate(orbits):
        turn = 2.4 * number  # Radians; about the golden angle, so that none hides behind another for long.
        flat = np.array([distance * math.cos(turn), distance * math.sin(turn), 0.0])
        centre = _rotation(0, math.radians(15)) @ flat
        parts.append(Sphere(centre.astype(np.float32), radius, Material(colour, shine=0.5, rim=0.3)))
    return Scene("planets", tuple(parts))


def sponge() -> Scene:
    """A Menger sponge, two levels deep: cubes without the middles of their faces and of themselves."""
    middles = (np.indices((3, 3, 3)) == 1).sum(axis=0)
    once = middles < 2
    solid = np.kron(once, once)
    edge = np.float32(0.165)
    parts: list[Primitive] = []
    for x, y in product(range(9), repeat=2):
        colour = (0.75 - 0.05 * x, 0.40, 0.25 + 0.05 * y)
        material = Material(colour, shine=0.2, hardness=15, rim=0.1)
        # Neighbouring cubes of a column are one block: from each first to the next last.
        changes = np.flatnonzero(np.diff(solid[x, y].astype(int), prepend=0, append=0))
        for first, last in changes.reshape(-1, 2):
            low, high = vector(x, y, first) - 4.5, vector(x + 1, y + 1, last) - 4.5
            parts.append(Block(low * edge, high * edge, material))
    return Scene("sponge", tuple(parts))


_BUILDERS = (lattice, helix, pearls, clutter, mosaic, hills, planets, sponge)

SCENES: dict[str, Callable[[], Scene]] = {builder.__name__: builder for builder in _BUILDERS}
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


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m nerf.scenes.builtin FILE.png")
    Image.fromarray(contact_sheet()).save(sys.argv[1], optimize=True)
