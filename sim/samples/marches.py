"""Marches: where a ray begins in a cube, which of its points there are samples, and their alphas.

No configuration changes them. A march is found when its pixel is looked up for the first time, and kept, so that frames
of the same view in other configurations only read it.
"""

from typing import Any, NamedTuple

import numpy as np

from nerf.contract.config import POWERS
from nerf.contract.formats import FINE_BITS, FRACTION_BITS, INVERSE, POSITION
from nerf.contract.registers import View
from nerf.contract.scene_image import MASK_WINDOW
from nerf.golden.density import alpha, table_position
from nerf.golden.frame import DecodedScene, density_sum
from nerf.golden.ray_setup import set_up
from nerf.golden.sample_generator import CUBE_SHIFT, mask_cell
from rtnerf.base.compiled import compiled, merged
from sim.parts.streams import FOOTPRINT, VISIT
from sim.samples.projector import fate

STEPS_FRACTION = POSITION.fraction + INVERSE.fraction
POSITION_FRACTION = POSITION.fraction
LANES_LIMIT = POWERS["sample_lanes"][1]

MARCH = np.dtype([(name, np.int32) for name in ("points", "index", "first")])
"""``points``: how many, or `UNKNOWN` or `MISSES`; ``index``: of the first, along the ray; ``first``: its place in
`Marches.points`."""
UNKNOWN, MISSES = 0, -1
OUTSIDE, EMPTY = -1, -2
"""In the place of an alpha: the point lies in another cube, or in an empty mask cell."""
LEAST_POINTS = 1 << 16


class Marches(NamedTuple):
    """What marches are found from, and those that have been."""

    scene: Any
    limit: int
    """Points of a ray."""
    width: int
    """Of the window, in pixels."""
    rays: np.ndarray
    """First point, step and inverse step of all window pixels, int64 (pixels, 3, 3)."""
    live: np.ndarray
    """Whether each ray meets the box, int64 (pixels,)."""
    rank: np.ndarray
    windows: np.ndarray
    bases: np.ndarray
    """As in `nerf.golden.frame.DecodedScene`, and so are the following three."""
    planes: tuple[np.ndarray, ...]
    lines: tuple[np.ndarray, ...]
    alpha_table: np.ndarray
    footprints: np.ndarray
    """By rank: first column, first row and columns of the pixels that a cube may cover, and the place of the first of
    them in ``marches``; int64 (cubes, 4)."""
    marches: np.ndarray
    """`MARCH` by cube and pixel of its footprint."""
    points: np.ndarray
    """Of all marches, int32: alphas, `OUTSIDE` or `EMPTY`."""
    used: np.ndarray
    """How many of ``points`` are, int64 (1,)."""


def new_marches(decoded: DecodedScene, view: View, scene: Any, camera: Any) -> Marches:
    """Return the marches of a view, none of which has been found; ``scene``, ``camera``: the registers of both."""
    row, column = np.divmod(np.arange(view.window_height * view.window_width, dtype=np.int64), view.window_width)
    rays = set_up(column, row, view, decoded.scene.grid)
    footprints = np.zeros((len(decoded.bases), 4), np.int64)
    pixels = _project(decoded.rank, camera, np.zeros(1, VISIT)[0], np.zeros(1, FOOTPRINT)[0], footprints)
    return Marches(
        scene=scene,
        limit=view.sample_limit,
        width=view.window_width,
        rays=np.stack([rays.position, rays.step, rays.inverse], axis=1),
        live=rays.live.astype(np.int64),
        rank=decoded.rank,
        windows=decoded.windows,
        bases=decoded.bases,
        planes=decoded.density.planes,
        lines=decoded.density.lines,
        alpha_table=decoded.alpha_table,
        footprints=footprints,
        marches=np.zeros(pixels, MARCH),
        points=np.empty(max(LEAST_POINTS, 2 * LANES_LIMIT * view.sample_limit), np.int32),
        used=np.zeros(1, np.int64),
    )


def with_room(marches: Marches) -> Marches:
    """Return the same marches with room for more points, where a cycle may need more than there is."""
    if has_room(marches):
        return marches
    points = np.empty(2 * len(marches.points), np.int32)
    points[: len(marches.points)] = marches.points
    return marches._replace(points=points)


@compiled
def _project(rank, camera, visit, footprint, footprints) -> int:
    """Find all footprints; return how many pixels they have together."""
    pixels = 0
    for z in range(rank.shape[0]):
        for y in range(rank.shape[1]):
            for x in range(rank.shape[2]):
                cube = rank[z, y, x]
                if cube < 0:
                    continue
                visit.x, visit.y, visit.z, visit.rank, visit.last = x, y, z, cube, 0
                if fate(camera, visit, footprint)[3]:
                    footprints[cube, 0], footprints[cube, 1] = footprint.first_x, footprint.first_y
                    footprints[cube, 2] = footprint.last_x - footprint.first_x + 1
                    footprints[cube, 3] = pixels
                    pixels += footprints[cube, 2] * (footprint.last_y - footprint.first_y + 1)
    return pixels


@merged
def has_room(its) -> bool:
    """Return whether the points of all marches that a cycle may find have room."""
    return its.used[0] <= len(its.points) - LANES_LIMIT * its.limit


@merged
def look_up(its, cube, x: int, y: int) -> int:
    """Return the place of the march of a window pixel in a cube, a `RECTANGLE`; or `MISSES`."""
    place = its.footprints[cube.rank, 3]
    place += (y - its.footprints[cube.rank, 1]) * its.footprints[cube.rank, 2] + x - its.footprints[cube.rank, 0]
    march = its.marches[place]
    if march.points == UNKNOWN:
        _find(its, cube, y * its.width + x, march)
    return MISSES if march.points == MISSES else place


@merged
def position_of(its, pixel: int, index: int, axis: int) -> int:
    """Return a coordinate of a point of a window pixel's ray."""
    return (its.rays[pixel, 0, axis] << FINE_BITS) + index * its.rays[pixel, 1, axis] >> FINE_BITS


@compiled
def alpha_at(its, x: int, y: int, z: int) -> int:
    """Return the alpha of a position."""
    scene = its.scene
    at = table_position(density_sum(its.planes, its.lines, x, y, z), scene.density_multiplier, scene.density_offset)
    entry = at >> FRACTION_BITS
    return alpha(at, its.alpha_table[entry, 0], its.alpha_table[entry, 1])


@compiled
def is_occupied(its, x: int, y: int, z: int, rank: int) -> bool:
    """Return whether a position's mask cell lies in a cube's window and is occupied."""
    scene, bases = its.scene, its.bases
    x = mask_cell(x, scene.mask_scale[0], scene.mask_offset[0]) - bases[rank, 0]
    y = mask_cell(y, scene.mask_scale[1], scene.mask_offset[1]) - bases[rank, 1]
    z = mask_cell(z, scene.mask_scale[2], scene.mask_offset[2]) - bases[rank, 2]
    if min(x, y, z) < 0 or max(x, y, z) >= MASK_WINDOW:
        return False
    return its.windows[rank, z, y, x] != 0


@compiled
def _find(its, cube, pixel: int, march) -> None:
    """Find the march of a window pixel in a cube."""
    grid = its.scene.grid
    position, direction = its.rays[pixel, 0], its.rays[pixel, 1]
    index = _first_index(cube, position, direction, its.rays[pixel, 2], grid, its.limit)
    if index == MISSES:
        march.points = MISSES
        return
    by_x, by_y, by_z = direction[0], direction[1], direction[2]
    at_x = (position[0] << FINE_BITS) + index * by_x
    at_y = (position[1] << FINE_BITS) + index * by_y
    at_z = (position[2] << FINE_BITS) + index * by_z
    march.index, march.first = index, its.used[0]
    left = False
    while not left:
        x, y, z = at_x >> FINE_BITS, at_y >> FINE_BITS, at_z >> FINE_BITS
        found = OUTSIDE
        if _inside(x, cube.x, grid[0]) and _inside(y, cube.y, grid[1]) and _inside(z, cube.z, grid[2]):
            found = alpha_at(its, x, y, z) if is_occupied(its, x, y, z, cube.rank) else EMPTY
        its.points[its.used[0]] = found
        its.used[0] += 1
        index += 1
        at_x += by_x
        at_y += by_y
        at_z += by_z
        left = (
            index == its.limit
            or _left(at_x >> FINE_BITS, by_x, cube.x, grid[0])
            or _left(at_y >> FINE_BITS, by_y, cube.y, grid[1])
            or _left(at_z >> FINE_BITS, by_z, cube.z, grid[2])
        )
    march.points = its.used[0] - march.first


@compiled
def _first_index(cube, position, direction, inverse, grid, limit: int) -> int:
    """Return the index of the first point to be marched from, in the cube or one before it, or `MISSES`."""
    index = max(
        _steps_to(cube.x, position[0], direction[0], inverse[0]),
        _steps_to(cube.y, position[1], direction[1], inverse[1]),
        _steps_to(cube.z, position[2], direction[2], inverse[2]),
    )
    if index >= limit:
        return MISSES
    x = (position[0] << FINE_BITS) + index * direction[0] >> FINE_BITS
    y = (position[1] << FINE_BITS) + index * direction[1] >> FINE_BITS
    z = (position[2] << FINE_BITS) + index * direction[2] >> FINE_BITS
    if (
        _left(x, direction[0], cube.x, grid[0])
        or _left(y, direction[1], cube.y, grid[1])
        or _left(z, direction[2], cube.z, grid[2])
    ):
        return MISSES
    if _inside(x, cube.x, grid[0]) and _inside(y, cube.y, grid[1]) and _inside(z, cube.z, grid[2]):
        return index
    return index + 1 if index + 1 < limit else MISSES


@compiled
def _steps_to(cube: int, position: int, direction: int, inverse: int) -> int:
    """Return the index of a ray's lattice point at the cube's face on an axis, or of one before it."""
    low = cube << CUBE_SHIFT
    if direction > 0:
        to_face = low - position
    elif direction < 0:
        to_face = position - low - (1 << CUBE_SHIFT)
    else:
        return 0
    return max(to_face, 0) * inverse >> STEPS_FRACTION


@compiled
def _inside(place: int, cube: int, grid: int) -> bool:
    """Return whether a place on an axis lies in the cube and in the box."""
    return place >> CUBE_SHIFT == cube and place <= grid - 1 << POSITION_FRACTION


@compiled
def _left(place: int, along: int, cube: int, grid: int) -> bool:
    """Return whether a ray at a place on an axis has left cube or box for good."""
    if along > 0:
        return place >> CUBE_SHIFT > cube or place > grid - 1 << POSITION_FRACTION
    if along < 0:
        return place >> CUBE_SHIFT < cube
    return not _inside(place, cube, grid)
