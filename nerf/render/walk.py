"""Compiled inner loops of the object-order renderer :mod:`nerf.render.cubes`.

Samples and positions are those of the uniform renderer to the bit: only sums over components may be reordered.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from nerf.render.interpolation import cube_index, grid_position, lies_in, pair_products, pair_sum, split
from rtnerf.base.compiled import allocating, compiled, inlined

_ZERO = np.float32(0)
_ONE = np.float32(1)
_TRANSMITTANCE_EPSILON = np.float32(1e-10)
_SOFTPLUS_LINEAR = np.float32(20)  # Above this softplus(x) is x, as in PyTorch.
_PARALLEL = 1e-30  # Stands for a direction of 0 in the slab test.


class Box(NamedTuple):
    """An axis-aligned box, float32 (3,) each: ``scale`` is 2 / (upper - lower)."""

    lower: np.ndarray
    upper: np.ndarray
    scale: np.ndarray


class Rays(NamedTuple):
    """Rays, float32 (R, 3) each, with the distance (R,) of the first of ``samples`` samples, ``step`` apart.

    Distances count in directions, whose lengths (R,) are 1 but in normalised device coordinates.
    """

    origins: np.ndarray
    directions: np.ndarray
    lengths: np.ndarray
    first: np.ndarray
    step: np.float32
    samples: int


class Eye(NamedTuple):
    """A camera as its rays are in the scene.

    ``to_camera`` (3, 4): from (x, y, z, 1) of the scene to a multiple, above 0, of the place in OpenCV axes of the
    camera; focal lengths, principal point and window in pixels; ``position`` (3,): where all rays meet, which lead away
    from it, or ``towards`` it.
    """

    to_camera: np.ndarray
    focal: np.ndarray
    centre: np.ndarray
    window: tuple[int, int, int, int]
    position: np.ndarray
    towards: bool


class Cubes(NamedTuple):
    """``live`` bool (nz, ny, nx); faces along x, y, z, float64 (n, 2) each, widened by a margin; edge in cells."""

    live: np.ndarray
    bounds: tuple[np.ndarray, np.ndarray, np.ndarray]
    edge: int


class Mask(NamedTuple):
    """Set ``vertices`` bool (Z, Y, X) in a box.

    ``cells`` (Z + 1, Y + 1, X + 1): whether a cell, counted from -1, has a vertex set.
    """

    vertices: np.ndarray
    cells: np.ndarray
    lower: np.ndarray
    scale: np.ndarray


class Factors(NamedTuple):
    """Three planes and three lines, channel last, of a grid in a box."""

    planes: tuple[np.ndarray, np.ndarray, np.ndarray]
    lines: tuple[np.ndarray, np.ndarray, np.ndarray]
    box: Box


class Density(NamedTuple):
    """From a sum of products to alpha, and what a weight must exceed to be shaded, a transmittance to go on."""

    shift: np.float32
    softplus: bool
    distance_scale: np.float32
    shading_threshold: np.float32
    termination: float


class Records(NamedTuple):
    """Samples to shade in visiting order: ray int32, distance and weight float32; ``counts[RECORDS]`` are filled."""

    ray: np.ndarray
    z: np.ndarray
    weight: np.ndarray


class Pixels(NamedTuple):
    """State of the rays: float64 (R,) each, but for ``stopped``, bool (R,)."""

    transmittance: np.ndarray
    acc: np.ndarray
    depth: np.ndarray
    stopped: np.ndarray


CUBES_VISITED, MEETINGS, SAMPLES, EVALUATED, STOPPED, RECORDS = range(6)
"""Counts of a walk: cubes in view, meetings of a ray with a cube, samples in live cubes, densities, rays stopped early,
samples to shade."""


@compiled
def is_occupied(x, y, z, mask):
    """Tell whether the trilinear interpolation of a `Mask` at a point is above 0.

    Only where a fraction is exactly 0, and thus a vertex without weight, are the vertices themselves read.
    """
    vertices = mask.vertices
    u = grid_position(x, mask.lower[0], mask.scale[0], vertices.shape[2])
    v = grid_position(y, mask.lower[1], mask.scale[1], vertices.shape[1])
    w = grid_position(z, mask.lower[2], mask.scale[2], vertices.shape[0])
    i, j, k = math.floor(u), math.floor(v), math.floor(w)
    if not (-1 <= i < vertices.shape[2] and -1 <= j < vertices.shape[1] and -1 <= k < vertices.shape[0]):
        return False
    if not mask.cells[k + 1, j + 1, i + 1]:
        return False
    if u > i and v > j and w > k:
        return True
    for dk in range(2 if w > k else 1):
        for dj in range(2 if v > j else 1):
            for di in range(2 if u > i else 1):
                a, b, c = k + dk, j + dj, i + di
                if a < 0 or b < 0 or c < 0:
                    continue
                if a < vertices.shape[0] and b < vertices.shape[1] and c < vertices.shape[2] and vertices[a, b, c]:
                    return True
    return False


@inlined
def along(row, x, y, z):
    """A row of ``to_camera`` times (x, y, z, 1)."""
    return row[0] * x + row[1] * y + row[2] * z + row[3]


@compiled
def pixel_bounds(low, high, eye):
    """Pixels of the window whose rays can meet a box: (first column, last, first row, last).

    The answer may be too large, never too small: the whole window where the box crosses the plane of the camera,
    nothing where it is behind.
    """
    to_camera, focal, centre, window = eye.to_camera, eye.focal, eye.centre, eye.window
    least_x, most_x, least_y, most_y = math.inf, -math.inf, math.inf, -math.inf
    in_front = 0
    for corner in range(8):
        x = high[0] if corner & 1 else low[0]
        y = high[1] if corner & 2 else low[1]
        z = high[2] if corner & 4 else low[2]
        depth = along(to_camera[2], x, y, z)
        if depth > 1e-6:
            in_front += 1
            across = focal[0] * along(to_camera[0], x, y, z) / depth
            down = focal[1] * along(to_camera[1], x, y, z) / depth
            least_x, most_x = min(least_x, across), max(most_x, across)
            least_y, most_y = min(least_y, down), max(most_y, down)
    left, top, right, bottom = window[0], window[1], window[0] + window[2], window[1] + window[3]
    if in_front == 0:
        return 0, -1, 0, -1
    if in_front < 8:
        return left, right - 1, top, bottom - 1
    # Compare as floats first: a box close to the camera plane projects beyond any integer.
    first_x = max(np.floor(least_x + centre[0] - 0.5), float(left))
    last_x = min(np.ceil(most_x + centre[0] - 0.5), float(right - 1))
    first_y = max(np.floor(least_y + centre[1] - 0.5), float(top))
    last_y = min(np.ceil(most_y + centre[1] - 0.5), float(bottom - 1))
    if first_x > last_x or first_y > last_y:
        return 0, -1, 0, -1
    return int(first_x), int(last_x), int(first_y), int(last_y)


@allocating
def visiting_order(own, count):
    """Cubes of one axis by distance from the camera's own: own, own + 1, ..., own - 1, ..., 0."""
    order = np.empty(count, np.int64)
    for place in range(count - own):
        order[place] = own + place
    for place in range(own):
        order[count - own + place] = own - 1 - place
    return order


@allocating
def order_of_axes(cubes, eye, factors):
    """Cubes of each axis, x, y and z, in the order in which rays from the camera meet them."""
    sizes = grid_size(factors)
    own = np.empty(3, np.int64)
    for axis in range(3):
        position = grid_position(
            np.float32(eye.position[axis]), factors.box.lower[axis], factors.box.scale[axis], sizes[axis]
        )
        own[axis] = cube_index(position, sizes[axis], cubes.edge)
    count_z, count_y, count_x = cubes.live.shape
    turn = -1 if eye.towards else 1
    return (
        visiting_order(own[0], count_x)[::turn],
        visiting_order(own[1], count_y)[::turn],
        visiting_order(own[2], count_z)[::turn],
    )


@inlined
def grid_size(factors):
    """Vertices of a grid along x, y, z."""
    lines = factors.lines
    return lines[2].shape[0], lines[1].shape[0], lines[0].shape[0]


@inlined
def density(planes, lines, ux, uy, uz, size_x, size_y, size_z, law):
    """Density of a sample at a position in vertices."""
    i, fx = split(ux, size_x)
    j, fy = split(uy, size_y)
    k, fz = split(uz, size_z)
    sigma = (
        pair_sum(planes[0], lines[0], j, fy, i, fx, k, fz)
        + pair_sum(planes[1], lines[1], k, fz, i, fx, j, fy)
        + pair_sum(planes[2], lines[2], k, fz, j, fy, i, fx)
    )
    if not law.softplus:
        return max(sigma, _ZERO)
    sigma += law.shift
    if sigma <= _SOFTPLUS_LINEAR:
        sigma = np.float32(math.log1p(math.exp(sigma)))
    return sigma


@inlined
def numbers_inside(low, high, rays, ray):
    """Numbers of a ray's samples that can lie in a box: (first, last), none if first > last."""
    enter, leave = -math.inf, math.inf
    for axis in range(3):
        along = np.float64(rays.directions[ray, axis])
        if along == 0:
            along = _PARALLEL
        one = (low[axis] - rays.origins[ray, axis]) / along
        other = (high[axis] - rays.origins[ray, axis]) / along
        enter = max(enter, min(one, other))
        leave = min(leave, max(one, other))
    begin = max((enter - rays.first[ray]) / rays.step - 1, 0.0)
    end = min((leave - rays.first[ray]) / rays.step + 1, rays.samples - 1.0)
    if enter > leave or begin > end:
        return 0, -1
    return math.ceil(begin), math.floor(end)


@compiled
def march(ray, first, last, cube, edge, rays, mask, factors, law, pixels, records, counts):
    """Composite the samples ``first`` to ``last`` of a ray that lie in a cube, given as (x, y, z)."""
    cx, cy, cz = edge * cube[0], edge * cube[1], edge * cube[2]
    lower, upper, scale = factors.box
    size_x, size_y, size_z = grid_size(factors)
    for number in range(first, last + 1):
        z = rays.first[ray] + rays.step * np.float32(number)
        px = rays.origins[ray, 0] + rays.directions[ray, 0] * z
        py = rays.origins[ray, 1] + rays.directions[ray, 1] * z
        pz = rays.origins[ray, 2] + rays.directions[ray, 2] * z
        if (
            px < lower[0] or px > upper[0]
            or py < lower[1] or py > upper[1]
            or pz < lower[2] or pz > upper[2]
        ):  # fmt: skip
            continue
        ux = grid_position(px, lower[0], scale[0], size_x)
        uy = grid_position(py, lower[1], scale[1], size_y)
        uz = grid_position(pz, lower[2], scale[2], size_z)
        if not lies_in(ux, size_x, cx, edge) or not lies_in(uy, size_y, cy, edge) or not lies_in(uz, size_z, cz, edge):
            continue
        counts[SAMPLES] += 1
        if not is_occupied(px, py, pz, mask):
            continue
        counts[EVALUATED] += 1
        if number == rays.samples - 1:
            continue  # Its distance to the next sample is 0.
        sigma = density(factors.planes, factors.lines, ux, uy, uz, size_x, size_y, size_z, law)
        after = rays.first[ray] + rays.step * np.float32(number + 1)
        distance = (after - z) * rays.lengths[ray] * law.distance_scale
        alpha = _ONE - np.float32(math.exp(-sigma * distance))
        weight = alpha * np.float32(pixels.transmittance[ray])
        pixels.transmittance[ray] *= _ONE - alpha + _TRANSMITTANCE_EPSILON
        pixels.acc[ray] += weight
        pixels.depth[ray] += weight * z
        if weight > law.shading_threshold:
            place = counts[RECORDS]
            records.ray[place] = ray
            records.z[place] = z
            records.weight[place] = weight
            counts[RECORDS] = place + 1
        if pixels.transmittance[ray] < law.termination:
            pixels.stopped[ray] = True
            counts[STOPPED] += 1
            return


@allocating
def grown(records, needed):
    """The records, in arrays of at least ``needed``."""
    ray, z, weight = records
    while len(ray) < needed:
        ray = np.concatenate((ray, ray))
        z = np.concatenate((z, z))
        weight = np.concatenate((weight, weight))
    return Records(ray, z, weight)


@allocating
def walk(cubes, rays, eye, mask, factors, law):
    """Visit the live cubes front to back and composite their samples' weights.

    Parameters: `Cubes`, `Rays`, `Eye`, `Mask`, `Factors` (of the density) and `Density`.
    Returns `Records`, one a sample to shade, in visiting order; (acc, depth) per ray; counts, int64 (6,).
    """
    count = rays.origins.shape[0]
    pixels = Pixels(
        np.ones(count, np.float64), np.zeros(count, np.float64), np.zeros(count, np.float64), np.zeros(count, np.bool_)
    )
    capacity = 4 * count + 1024
    records = Records(np.empty(capacity, np.int32), np.empty(capacity, np.float32), np.empty(capacity, np.float32))
    counts = np.zeros(6, np.int64)
    order_x, order_y, order_z = order_of_axes(cubes, eye, factors)
    low, high = np.empty(3, np.float64), np.empty(3, np.float64)
    window = eye.window
    for cz in order_z:
        low[2], high[2] = cubes.bounds[2][cz, 0], cubes.bounds[2][cz, 1]
        for cy in order_y:
            low[1], high[1] = cubes.bounds[1][cy, 0], cubes.bounds[1][cy, 1]
            for cx in order_x:
                if not cubes.live[cz, cy, cx]:
                    continue
                low[0], high[0] = cubes.bounds[0][cx, 0], cubes.bounds[0][cx, 1]
                left, right, top, bottom = pixel_bounds(low, high, eye)
                if left > right:
                    continue
                counts[CUBES_VISITED] += 1
                for row in range(top, bottom + 1):
                    for column in range(left, right + 1):
                        ray = (row - window[1]) * window[2] + column - window[0]
                        if pixels.stopped[ray]:
                            continue
                        first, last = numbers_inside(low, high, rays, ray)
                        if first > last:
                            continue
                        counts[MEETINGS] += 1
                        needed = counts[RECORDS] + last - first + 1
                        if needed > len(records.ray):
                            records = grown(records, needed)
                        march(
                            ray,
                            first,
                            last,
                            (cx, cy, cz),
                            cubes.edge,
                            rays,
                            mask,
                            factors,
                            law,
                            pixels,
                            records,
                            counts,
                        )
    filled = counts[RECORDS]
    return (
        Records(records.ray[:filled], records.z[:filled], records.weight[:filled]),
        (pixels.acc, pixels.depth),
        counts,
    )


@allocating
def appearance_products(ray, z, rays, factors):
    """Appearance products of samples, pair-major: float32 (n, sum of the components)."""
    lower, _, scale = factors.box
    planes, lines = factors.planes, factors.lines
    size_x, size_y, size_z = grid_size(factors)
    one, two, three = (lines[0].shape[1], lines[1].shape[1], lines[2].shape[1])
    products = np.empty((len(ray), one + two + three), np.float32)
    for sample in range(len(ray)):
        r, t = ray[sample], z[sample]
        px = rays.origins[r, 0] + rays.directions[r, 0] * t
        py = rays.origins[r, 1] + rays.directions[r, 1] * t
        pz = rays.origins[r, 2] + rays.directions[r, 2] * t
        i, fx = split(grid_position(px, lower[0], scale[0], size_x), size_x)
        j, fy = split(grid_position(py, lower[1], scale[1], size_y), size_y)
        k, fz = split(grid_position(pz, lower[2], scale[2], size_z), size_z)
        out = products[sample]
        pair_products(planes[0], lines[0], j, fy, i, fx, k, fz, out[:one])
        pair_products(planes[1], lines[1], k, fz, i, fx, j, fy, out[one : one + two])
        pair_products(planes[2], lines[2], k, fz, j, fy, i, fx, out[one + two :])
    return products


@compiled
def accumulate(sums, ray, weight, values):
    """Add weighted values (n, C) to the rows of ``sums``, float64 (R, C), that they belong to."""
    for sample in range(len(ray)):
        for channel in range(values.shape[1]):
            sums[ray[sample], channel] += weight[sample] * values[sample, channel]
