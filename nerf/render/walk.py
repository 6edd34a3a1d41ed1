"""Compiled inner loops of the object-order renderer :mod:`nerf.render.cubes`.

Samples and positions are those of the uniform renderer to the bit: only sums over components may be reordered.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from nerf.render.interpolation import cube_index, feature_sum, grid_position, pair_products, split
from nerf.render.slab import numbers_inside, reciprocals, rounding
from rtnerf.base.compiled import allocating, compiled, inlined

_ZERO = np.float32(0)
_ONE = np.float32(1)
_TWO = np.float32(2)
_TRANSMITTANCE_EPSILON = np.float32(1e-10)


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


LANES = 16
"""Samples of a ray that are placed at a time: of each the distance and the fractions of its cell in one array, its
cell of the mask, whether it lies between the mask's vertices and its cell of the grid in another."""

FX, FY, FZ = LANES, 2 * LANES, 3 * LANES
BETWEEN, CELL_X, CELL_Y, CELL_Z = LANES, 2 * LANES, 3 * LANES, 4 * LANES
_OUTSIDE_MASK, _ELSEWHERE = -1, -2  # In place of a cell of the mask; elsewhere: in another cube.

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


@compiled(fastmath={"contract"}, forceinline=True)
def density(feature, law):
    """Density of a sum of products: of log(1 + e^x), log(1 + m) = 2 atanh(m / (2 + m)) with m = e^-|x|, as a series."""
    if not law.softplus:
        return max(feature, _ZERO)
    x = feature + law.shift
    m = np.float32(math.exp(-abs(x)))
    t = m / (_TWO + m)
    square = t * t
    series = _ZERO
    for term in range(13, 0, -2):
        series = series * square + np.float32(2 / term)
    return max(x, _ZERO) + t * series


@compiled
def place(ray, first, cube, edge, rays, mask, box, sizes, lanes):
    """Find where `LANES` samples of a ray, from number ``first`` on, lie in the grid and in the mask."""
    places, cells = lanes
    (size_x, size_y, size_z), (cx, cy, cz) = sizes, (edge * cube[0], edge * cube[1], edge * cube[2])
    start, step = rays.first[ray], rays.step
    ox, oy, oz = rays.origins[ray, 0], rays.origins[ray, 1], rays.origins[ray, 2]
    dx, dy, dz = rays.directions[ray, 0], rays.directions[ray, 1], rays.directions[ray, 2]
    low_x, low_y, low_z = box.lower[0], box.lower[1], box.lower[2]
    high_x, high_y, high_z = box.upper[0], box.upper[1], box.upper[2]
    scale_x, scale_y, scale_z = box.scale[0], box.scale[1], box.scale[2]
    mask_x, mask_y, mask_z = mask.lower[0], mask.lower[1], mask.lower[2]
    mask_scale_x, mask_scale_y, mask_scale_z = mask.scale[0], mask.scale[1], mask.scale[2]
    mask_size_z, mask_size_y, mask_size_x = mask.vertices.shape
    for n in range(LANES):  # One vector: nothing here branches.
        z = start + step * np.float32(first + n)
        px, py, pz = ox + dx * z, oy + dy * z, oz + dz * z
        i, fx = split(grid_position(px, low_x, scale_x, size_x), size_x)
        j, fy = split(grid_position(py, low_y, scale_y, size_y), size_y)
        k, fz = split(grid_position(pz, low_z, scale_z, size_z), size_z)
        inside = (low_x <= px) & (px <= high_x) & (low_y <= py) & (py <= high_y) & (low_z <= pz) & (pz <= high_z)
        inside &= (cx <= i) & (i < cx + edge) & (cy <= j) & (j < cy + edge) & (cz <= k) & (k < cz + edge)
        u = grid_position(px, mask_x, mask_scale_x, mask_size_x)
        v = grid_position(py, mask_y, mask_scale_y, mask_size_y)
        w = grid_position(pz, mask_z, mask_scale_z, mask_size_z)
        a, b, c = math.floor(u), math.floor(v), math.floor(w)
        within = (a >= -1) & (a < mask_size_x) & (b >= -1) & (b < mask_size_y) & (c >= -1) & (c < mask_size_z)
        cell = ((c + 1) * (mask_size_y + 1) + b + 1) * (mask_size_x + 1) + a + 1
        places[n] = z
        places[FX + n], places[FY + n], places[FZ + n] = fx, fy, fz
        cells[n] = (cell if within else _OUTSIDE_MASK) if inside else _ELSEWHERE
        cells[BETWEEN + n] = (a < u) & (b < v) & (c < w)
        cells[CELL_X + n], cells[CELL_Y + n], cells[CELL_Z + n] = i, j, k


@compiled
def march(ray, first, last, cube, edge, rays, mask, factors, law, nothing, lanes, pixels, records, counts):
    """Composite the samples ``first`` to ``last`` of a ray that lie in a cube, given as (x, y, z)."""
    places, cells = lanes
    filled = mask.cells.reshape(-1)
    for begin in range(first, last + 1, LANES):
        place(ray, begin, cube, edge, rays, mask, factors.box, grid_size(factors), lanes)
        for n in range(min(LANES, last + 1 - begin)):
            cell, z = cells[n], places[n]
            if cell == _ELSEWHERE:
                continue
            counts[SAMPLES] += 1
            if cell == _OUTSIDE_MASK or not filled[cell]:
                continue
            # Between vertices all eight have a weight, and one is set; else it depends.
            if not cells[BETWEEN + n] and not is_occupied(
                rays.origins[ray, 0] + rays.directions[ray, 0] * z,
                rays.origins[ray, 1] + rays.directions[ray, 1] * z,
                rays.origins[ray, 2] + rays.directions[ray, 2] * z,
                mask,
            ):
                continue
            counts[EVALUATED] += 1
            number = begin + n
            if number == rays.samples - 1:
                continue  # Its distance to the next sample is 0.
            feature = feature_sum(
                factors.planes, factors.lines,
                cells[CELL_X + n], places[FX + n], cells[CELL_Y + n], places[FY + n], cells[CELL_Z + n], places[FZ + n],
            )  # fmt: skip
            if feature < nothing:
                continue
            after = rays.first[ray] + rays.step * np.float32(number + 1)
            distance = (after - z) * rays.lengths[ray] * law.distance_scale
            alpha = _ONE - np.float32(math.exp(-density(feature, law) * distance))
            if composite(ray, z, alpha, law, pixels, records, counts):
                return


@inlined
def composite(ray, z, alpha, law, pixels, records, counts):
    """Add a sample to its ray; tell whether the ray ends here."""
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
        return True
    return False


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
    inverse, slack = reciprocals(rays.directions), rounding(rays)
    # Below this feature alpha is 0 in float32.
    longest = rays.step * rays.lengths.max() * law.distance_scale
    nothing = math.log(1e-8 / longest) - law.shift if law.softplus else 0.0
    lanes = (np.empty(4 * LANES, np.float32), np.empty(5 * LANES, np.int32))
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
                        first, last = numbers_inside(low, high, rays, inverse, slack, ray)
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
                            nothing,
                            lanes,
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
