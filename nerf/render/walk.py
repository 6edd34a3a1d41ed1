"""Compiled inner loops of the object-order renderer :mod:`nerf.render.cubes`.

Samples and positions are those of the uniform renderer to the bit: only sums over components may be reordered.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from nerf.render.interpolation import cube_index, feature_sum, grid_position, pair_products, split
from nerf.render.opacity import opacity
from nerf.render.slab import numbers_inside, reciprocals, rounding
from rtnerf.base.compiled import allocating, compiled, inlined

_ZERO = np.float32(0)
_ONE = np.float32(1)
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
cell of the mask, whether it lies between the mask's vertices and its cell of the grid in another, with the numbers of
those that are chosen; sums of products in a third."""

FX, FY, FZ = LANES, 2 * LANES, 3 * LANES
BETWEEN, CELL_X, CELL_Y, CELL_Z, CHOSEN = LANES, 2 * LANES, 3 * LANES, 4 * LANES, 5 * LANES
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


@compiled(forceinline=True)
def place(ray, first, cube, edge, rays, mask, box, sizes, lanes):
    """Find where `LANES` samples of a ray, from number ``first`` on, lie in the grid and in the mask."""
    places, cells, _ = lanes
    size_x, size_y, size_z = sizes
    cx, cy, cz = np.float32(edge * cube[0]), np.float32(edge * cube[1]), np.float32(edge * cube[2])
    edge = np.float32(edge)
    start, step = rays.first[ray], rays.step
    ox, oy, oz = rays.origins[ray, 0], rays.origins[ray, 1], rays.origins[ray, 2]
    dx, dy, dz = rays.directions[ray, 0], rays.directions[ray, 1], rays.directions[ray, 2]
    low_x, low_y, low_z = box.lower[0], box.lower[1], box.lower[2]
    high_x, high_y, high_z = box.upper[0], box.upper[1], box.upper[2]
    scale_x, scale_y, scale_z = box.scale[0], box.scale[1], box.scale[2]
    mask_x, mask_y, mask_z = mask.lower[0], mask.lower[1], mask.lower[2]
    mask_scale_x, mask_scale_y, mask_scale_z = mask.scale[0], mask.scale[1], mask.scale[2]
    mask_size_z, mask_size_y, mask_size_x = mask.vertices.shape
    msx, msy, msz = np.float32(mask_size_x), np.float32(mask_size_y), np.float32(mask_size_z)
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
        a, b, c = np.floor(u), np.floor(v), np.floor(w)
        within = (a >= -_ONE) & (a < msx) & (b >= -_ONE) & (b < msy) & (c >= -_ONE) & (c < msz)
        cell = ((np.int32(c) + 1) * (mask_size_y + 1) + np.int32(b) + 1) * (mask_size_x + 1) + np.int32(a) + 1
        places[n] = z
        places[FX + n], places[FY + n], places[FZ + n] = fx, fy, fz
        cells[n] = (cell if within else _OUTSIDE_MASK) if inside else _ELSEWHERE
        cells[BETWEEN + n] = (a < u) & (b < v) & (c < w)
        cells[CELL_X + n], cells[CELL_Y + n], cells[CELL_Z + n] = i, j, k


@compiled(forceinline=True)
def march(ray, first, last, cube, edge, rays, mask, factors, law, lanes, pixels, records, counts):
    """Composite the samples ``first`` to ``last`` of a ray that lie in a cube, given as (x, y, z)."""
    places, cells, features = lanes
    filled = mask.cells.reshape(-1)
    for begin in range(first, last + 1, LANES):
        place(ray, begin, cube, edge, rays, mask, factors.box, grid_size(factors), lanes)
        occupied = 0
        for n in range(min(LANES, last + 1 - begin)):  # Nothing here branches: which are occupied nobody can predict.
            cell = cells[n]
            counts[SAMPLES] += cell != _ELSEWHERE
            cells[CHOSEN + occupied] = n
            occupied += (cell >= 0) & filled[max(cell, 0)]
        evaluated = 0
        for turn in range(occupied):
            n = cells[CHOSEN + turn]
            z = places[n]
            # Between vertices all eight have a weight, and one is set; else it depends.
            if not cells[BETWEEN + n] and not is_occupied(
                rays.origins[ray, 0] + rays.directions[ray, 0] * z,
                rays.origins[ray, 1] + rays.directions[ray, 1] * z,
                rays.origins[ray, 2] + rays.directions[ray, 2] * z,
                mask,
            ):
                continue
            features[n] = feature_sum(
                factors.planes, factors.lines,
                cells[CELL_X + n], places[FX + n], cells[CELL_Y + n], places[FY + n], cells[CELL_Z + n], places[FZ + n],
            )  # fmt: skip
            cells[CHOSEN + evaluated] = n
            evaluated += 1
        if not evaluated:
            continue
        if composite(ray, begin, evaluated, rays, lanes, law, pixels, records, counts):
            return


@compiled(forceinline=True)
def composite(ray, begin, evaluated, rays, lanes, law, pixels, records, counts):
    """Add chosen samples to their ray; tell whether the ray ends here."""
    places, cells, features = lanes
    transmittance, acc, depth = pixels.transmittance[ray], pixels.acc[ray], pixels.depth[ray]
    filled, done, ended = counts[RECORDS], 0, False
    while done < evaluated and not ended:
        n = cells[CHOSEN + done]
        done += 1
        z = places[n]
        number = begin + n
        after = rays.first[ray] + rays.step * np.float32(number + 1)
        distance = (after - z) * rays.lengths[ray] * law.distance_scale
        if number == rays.samples - 1:
            distance = _ZERO  # The last one has no next one.
        alpha = opacity(features[n], distance, law)
        weight = alpha * np.float32(transmittance)
        transmittance *= _ONE - alpha + _TRANSMITTANCE_EPSILON
        acc += weight
        depth += weight * z
        if weight > law.shading_threshold:
            records.ray[filled] = ray
            records.z[filled] = z
            records.weight[filled] = weight
            filled += 1
        ended = transmittance < law.termination
    pixels.transmittance[ray], pixels.acc[ray], pixels.depth[ray] = transmittance, acc, depth
    pixels.stopped[ray] = ended
    counts[RECORDS] = filled
    counts[EVALUATED] += done
    counts[STOPPED] += ended
    return ended


@allocating
def grown(records, needed):
    """The records, in arrays of at least ``needed``."""
    ray, z, weight = records
    while len(ray) < needed:
        ray = np.concatenate((ray, ray))
        z = np.concatenate((z, z))
        weight = np.concatenate((weight, weight))
    return Records(ray, z, weight)


class State(NamedTuple):
    """Of a walk: the orders of the cubes along x and y, what is known of the rays, room for samples, what is found."""

    order_x: np.ndarray
    order_y: np.ndarray
    inverse: np.ndarray
    slack: float
    lanes: tuple[np.ndarray, np.ndarray, np.ndarray]
    pixels: Pixels
    counts: np.ndarray


def walk(cubes, rays, eye, mask, factors, law, tell=lambda layer, layers: None):
    """Visit the live cubes front to back and composite their samples' weights.

    Parameters: `Cubes`, `Rays`, `Eye`, `Mask`, `Factors` (of the density) and `Density`; ``tell(done, all)`` is called
    after each layer of cubes.
    Returns `Records`, one a sample to shade, in visiting order; (acc, depth) per ray; counts, int64 (6,).
    """
    count = rays.origins.shape[0]
    capacity = 4 * count + 1024
    records = Records(np.empty(capacity, np.int32), np.empty(capacity, np.float32), np.empty(capacity, np.float32))
    order_x, order_y, order_z = order_of_axes(cubes, eye, factors)
    state = State(
        order_x,
        order_y,
        reciprocals(rays.directions),
        rounding(rays),
        (np.empty(4 * LANES, np.float32), np.empty(6 * LANES, np.int32), np.empty(LANES, np.float32)),
        Pixels(np.ones(count), np.zeros(count), np.zeros(count), np.zeros(count, np.bool_)),
        np.zeros(6, np.int64),
    )
    for done, cz in enumerate(order_z, 1):
        records = walk_layer(cz, cubes, rays, eye, mask, factors, law, state, records)
        tell(done, len(order_z))
    filled = state.counts[RECORDS]
    return Records(*(part[:filled] for part in records)), (state.pixels.acc, state.pixels.depth), state.counts


@allocating
def walk_layer(cz, cubes, rays, eye, mask, factors, law, state, records):
    """Visit the live cubes of a layer, front to back; return the records, grown where they were full."""
    window, pixels, counts = eye.window, state.pixels, state.counts
    low, high = np.empty(3, np.float64), np.empty(3, np.float64)
    low[2], high[2] = cubes.bounds[2][cz, 0], cubes.bounds[2][cz, 1]
    for cy in state.order_y:
        low[1], high[1] = cubes.bounds[1][cy, 0], cubes.bounds[1][cy, 1]
        for cx in state.order_x:
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
                    first, last = numbers_inside(low, high, rays, state.inverse, state.slack, ray)
                    if first > last:
                        continue
                    counts[MEETINGS] += 1
                    needed = counts[RECORDS] + last - first + 1
                    if needed > len(records.ray):
                        records = grown(records, needed)
                    cube = (cx, cy, cz)
                    march(
                        ray, first, last, cube, cubes.edge, rays, mask, factors, law,
                        state.lanes, pixels, records, counts,
                    )  # fmt: skip
    return records


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
