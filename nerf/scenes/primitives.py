"""Surfaces that rays are intersected with exactly, their materials and the light on them, in NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

_LIGHTS = (((0.5, -0.6, 0.8), 0.65), ((-0.8, 0.3, 0.5), 0.25))  # Towards the light, strength.
_AMBIENT = 0.35


def vector(x: float, y: float, z: float) -> np.ndarray:
    """A point, direction or colour, float32 (3,)."""
    return np.array((x, y, z), np.float32)


@dataclass(frozen=True)
class Material:
    """Phong material: two colours of a checker of edge ``check`` (0 = the first only), gloss.

    ``shine`` is the strength of the highlights, ``hardness`` their exponent, ``rim`` the strength
    of the reflection of the sky at grazing angles: all three depend on the view.
    """

    colour: tuple[float, float, float]
    other: tuple[float, float, float] = (0.0, 0.0, 0.0)
    check: float = 0.0
    shine: float = 0.0
    hardness: float = 30.0
    rim: float = 0.0

    def albedo(self, points: np.ndarray) -> np.ndarray:
        """Base colour at points (n, 3). Returns (n, 3)."""
        if not self.check:
            return np.broadcast_to(vector(*self.colour), points.shape)
        odd = np.floor(points[:, :2] / self.check).sum(axis=1) % 2 > 0.5
        return np.where(odd[:, None], vector(*self.other), vector(*self.colour))


class Primitive(Protocol):
    """A closed opaque surface."""

    @property
    def material(self) -> Material:
        """What it is made of."""
        ...

    def meet(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Distance (n,) to the first meeting, infinite for a miss."""

    def normals(self, points: np.ndarray) -> np.ndarray:
        """Outward unit normals (n, 3) at points of the surface."""


@dataclass(frozen=True, eq=False)
class Sphere:
    """A sphere."""

    centre: np.ndarray
    radius: float
    material: Material

    def meet(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """See :class:`Primitive`."""
        away = origins - self.centre
        return _nearest_root(1.0, _dot(away, directions), _dot(away, away) - self.radius**2)

    def normals(self, points: np.ndarray) -> np.ndarray:
        """See :class:`Primitive`."""
        return (points - self.centre) / self.radius


@dataclass(frozen=True, eq=False)
class Bar:
    """A round bar. Its ends are open: put a sphere on each."""

    start: np.ndarray
    end: np.ndarray
    radius: float
    material: Material

    def meet(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """See :class:`Primitive`."""
        axis, length = self._axis()
        away = origins - self.start
        along, speed = away @ axis, directions @ axis
        flat, across = away - along[:, None] * axis, directions - speed[:, None] * axis
        distance = _nearest_root(
            np.maximum(_dot(across, across), 1e-9),
            _dot(flat, across),
            _dot(flat, flat) - self.radius**2,
        )
        with np.errstate(invalid="ignore"):
            place = along + distance * speed
            return np.where((place >= 0) & (place <= length), distance, np.inf)

    def normals(self, points: np.ndarray) -> np.ndarray:
        """See :class:`Primitive`."""
        axis, _ = self._axis()
        away = points - self.start
        return (away - (away @ axis)[:, None] * axis) / self.radius

    def _axis(self) -> tuple[np.ndarray, float]:
        length = float(np.linalg.norm(self.end - self.start))
        return ((self.end - self.start) / length).astype(np.float32), length


@dataclass(frozen=True, eq=False)
class Block:
    """A box with faces parallel to the axes."""

    lower: np.ndarray
    upper: np.ndarray
    material: Material

    def meet(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """See :class:`Primitive`."""
        enter, leave = -np.inf, np.inf
        for axis in range(3):
            origin, speed = origins[:, axis], directions[:, axis]
            divisor = np.where(speed == 0, np.float32(1e-9), speed)
            one, other = (self.lower[axis] - origin) / divisor, (self.upper[axis] - origin) / divisor
            enter = np.maximum(enter, np.minimum(one, other))
            leave = np.minimum(leave, np.maximum(one, other))
        return np.where((enter <= leave) & (enter > 0), enter, np.inf)

    def normals(self, points: np.ndarray) -> np.ndarray:
        """See :class:`Primitive`."""
        half = (self.upper - self.lower) / 2
        place = (points - (self.lower + self.upper) / 2) / half
        # The coordinate closest to its face, measured in scene units, tells the face.
        axis = np.argmin((1 - np.abs(place)) * half, axis=1)
        normals = np.zeros_like(points)
        rows = np.arange(len(points))
        normals[rows, axis] = np.sign(place[rows, axis])
        return normals


# ---- Geometry and light ----


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Products (n,) of vectors (n, 3); several times faster than a sum along the short axis."""
    return one[:, 0] * other[:, 0] + one[:, 1] * other[:, 1] + one[:, 2] * other[:, 2]


def _nearest_root(square: np.ndarray | float, half: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Smaller root of ``square t^2 + 2 half t + rest`` where it is real and positive, else inf."""
    discriminant = half * half - square * rest
    root = (-half - np.sqrt(np.maximum(discriminant, 0))) / square
    return np.where((discriminant > 0) & (root > 0), root, np.inf)


def lit(primitive: Primitive, points: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Colour (n, 3) of points of a primitive, seen along unit ``directions`` (n, 3).

    Two lights give diffuse light and highlights; the sky, brighter above, shines at grazing angles.
    """
    material, normals = primitive.material, primitive.normals(points)
    facing = (normals * directions).sum(axis=1, keepdims=True)
    mirrored = directions - 2 * facing * normals
    colour = material.albedo(points)
    result = colour * _AMBIENT
    for towards, strength in _LIGHTS:
        light = vector(*towards) / np.linalg.norm(vector(*towards))
        diffuse = np.maximum(normals @ light, 0)[:, None]
        gloss = np.maximum(mirrored @ light, 0)[:, None] ** material.hardness
        result = result + strength * (colour * diffuse + material.shine * gloss)
    sky = np.clip(0.5 + 0.5 * mirrored[:, 2:], 0, 1)
    grazing = (1 - np.clip(-facing, 0, 1)) ** 3
    return np.clip(result + material.rim * sky * grazing, 0, 1)
