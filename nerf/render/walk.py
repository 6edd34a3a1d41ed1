"""Compiled inner loops of the object-order renderer :mod:`nerf.render.cubes`.

Positions are computed with the float32 operations, in the order, of the uniform renderer, so that
both see the same samples: only sums over components may be reordered. Factors are stored channel
last, planes (N[second], N[first], C) and lines (N, C), so that a corner is one run of memory.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_ZERO = np.float32(0)
_ONE = np.float32(1)
_HALF = np.float32(0.5)
_TRANSMITTANCE_EPSILON = np.float32(1e-10)
_SOFTPLUS_LINEAR = np.float32(20)  # Above this softplus(x) is x, as in PyTorch.
_PARALLEL = 1e-30  # Stands for a direction of 0 in the slab test.


@njit(cache=True, inline="always")
def grid_position(point, lower, scale, vertices):
    """Position in vertices, 0..vertices - 1, of one coordinate; non-decreasing in ``point``."""
    normalised = (point - lower) * scale - _ONE
    return (normalised + _ONE) * _HALF * np.float32(vertices - 1)


@njit(cache=True, inline="always")
def cube_index(position, vertices, edge):
    """Cube along one axis that holds a position in vertices; the outermost ones are unbounded."""
    cell = min(max(math.floor(position), 0), vertices - 2)
    return cell // edge


@njit(cache=True, inline="always")
def split(position, vertices):
    """Cell and fraction for linear interpolation, clamped to the grid."""
    cell = min(max(math.floor(position), 0), vertices - 2)
    fraction = min(max(position - np.float32(cell), _ZERO), _ONE)
    return cell, fraction


@njit(cache=True, fastmath={"reassoc", "contract"})
def pair_sum(plane, line, row, down, column, across, index, along):
    """Sum over components of bilinear plane times linear line."""
    upper, lower = plane[row], plane[row + 1]
    w00 = (_ONE - down) * (_ONE - across)
    w01 = (_ONE - down) * across
    w10 = down * (_ONE - across)
    w11 = down * across
    total = _ZERO
    for c in range(plane.shape[2]):
        on_plane = (
            w00 * upper[column, c] + w01 * upper[column + 1, c] + w10 * lower[column, c] + w11 * lower[column + 1, c]
        )
        total += on_plane * ((_ONE - along) * line[index, c] + along * line[index + 1, c])
    return total


@njit(cache=True, fastmath={"contract"})
def pair_products(plane, line, row, down, column, across, index, along, out):
    """Products over components of bilinear plane and linear line, written to ``out`` (C,)."""
    upper, lower = plane[row], plane[row + 1]
    w00 = (_ONE - down) * (_ONE - across)
    w01 = (_ONE - down) * across
    w10 = down * (_ONE - across)
    w11 = down * across
    for c in range(plane.shape[2]):
        on_plane = (
            w00 * upper[column, c] + w01 * upper[column + 1, c] + w10 * lower[column, c] + w11 * lower[column + 1, c]
        )
        out[c] = on_plane * ((_ONE - along) * line[index, c] + along * line[index + 1, c])


@njit(cache=True)
def is_occupied(x, y, z, cells, mask, mask_lower, mask_scale):
    """Tell whether the trilinear interpolation of the mask at a point is above 0.

    ``cells`` (Z + 1, Y + 1, X + 1): whether a cell, counted from -1, has a vertex set. Only where a
    fraction is exactly 0, and thus a vertex without weight, are the vertices themselves read.
    """
    u = grid_position(x, mask_lower[0], mask_scale[0], mask.shape[2])
    v = grid_position(y, mask_lower[1], mask_scale[1], mask.shape[1])
    w = grid_position(z, mask_lower[2], mask_scale[2], mask.shape[0])
    i, j, k = math.floor(u), math.floor(v), math.floor(w)
    if not (-1 <= i < mask.shape[2] and -1 <= j < mask.shape[1] and -1 <= k < mask.shape[0]):
        return False
    if not cells[k + 1, j + 1, i + 1]:
        return False
    if u > i and v > j and w > k:
        return True
    for dk in range(2 if w > k else 1):
        for dj in range(2 if v > j else 1):
            for di in range(2 if u > i else 1):
                a, b, c = k + dk, j + dj, i + di
                if a < 0 or b < 0 or c < 0:
                    continue
                if a < mask.shape[0] and b < mask.shape[1] and c < mask.shape[2] and mask[a, b, c]:
                    return True
    return False


@njit(cache=True)
def pixel_bounds(low, high, pose, focal, centre, window):
    """Pixels of the window whose rays can meet a box: (first column, last, first row, last).

    ``pose`` (3, 4) camera to world in OpenCV axes. The answer may be too large, never too small:
    the whole window where the box crosses the plane of the camera, nothing where it is behind.
    """
    least_x, most_x, least_y, most_y = math.inf, -math.inf, math.inf, -math.inf
    in_front = 0
    for corner in range(8):
        x = (high[0] if corner & 1 else low[0]) - pose[0, 3]
        y = (high[1] if corner & 2 else low[1]) - pose[1, 3]
        z = (high[2] if corner & 4 else low[2]) - pose[2, 3]
        depth = pose[0, 2] * x + pose[1, 2] * y + pose[2, 2] * z
        if depth > 1e-6:
            in_front += 1
            across = focal * (pose[0, 0] * x + pose[1, 0] * y + pose[2, 0] * z) / depth
            down = focal * (pose[0, 1] * x + pose[1, 1] * y + pose[2, 1] * z) / depth
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


@njit(cache=True)
def visiting_order(own, count):
    """Cubes of one axis by distance from the camera's own: own, own + 1, ..., own - 1, ..., 0."""
    order = np.empty(count, np.int64)
    for place in range(count - own):
        order[place] = own + place
    for place in range(own):
        order[count - own + place] = own - 1 - place
    return order


@njit(cache=True)
def walk(
    live, bounds_x, bounds_y, bounds_z, edge,
    origins, directions, first, step, samples,
    pose, focal, centre, window,
    lower, upper, scale,
    cells, mask, mask_lower, mask_scale,
    planes, lines,
    shift, softplus, distance_scale, shading_threshold, termination,
):  # fmt: skip
    """Visit the live cubes front to back and composite their samples' weights.

    Parameters: ``live`` bool (nz, ny, nx); ``bounds_*`` float64 (n, 2) faces of the cubes, widened
    by a margin; ``first`` (R,) distance of each ray's first sample; the rest as named in
    :class:`nerf.model.TensorfModel` and :class:`nerf.cameras.Camera`. ``planes`` and ``lines`` are
    tuples of three.
    Returns (record_ray, record_z, record_weight), one record a sample to shade, in visiting order;
    (acc, depth) per ray; counts: cubes visited, ray and cube meetings, samples in live cubes,
    density evaluations, rays stopped early.
    """
    rays = origins.shape[0]
    transmittance = np.ones(rays, np.float64)
    stopped = np.zeros(rays, np.bool_)
    acc, depth = np.zeros(rays, np.float64), np.zeros(rays, np.float64)
    capacity, records = 4 * rays + 1024, 0
    record_ray = np.empty(capacity, np.int32)
    record_z, record_weight = np.empty(capacity, np.float32), np.empty(capacity, np.float32)
    counts = np.zeros(5, np.int64)

    size_z, size_y, size_x = lines[0].shape[0], lines[1].shape[0], lines[2].shape[0]
    camera = np.empty(3, np.float32)
    for axis in range(3):
        camera[axis] = pose[axis, 3]
    own_x = cube_index(grid_position(camera[0], lower[0], scale[0], size_x), size_x, edge)
    own_y = cube_index(grid_position(camera[1], lower[1], scale[1], size_y), size_y, edge)
    own_z = cube_index(grid_position(camera[2], lower[2], scale[2], size_z), size_z, edge)
    order_x = visiting_order(own_x, live.shape[2])
    order_y = visiting_order(own_y, live.shape[1])
    order_z = visiting_order(own_z, live.shape[0])
    low, high = np.empty(3, np.float64), np.empty(3, np.float64)

    for cz in order_z:
        low[2], high[2] = bounds_z[cz, 0], bounds_z[cz, 1]
        for cy in order_y:
            low[1], high[1] = bounds_y[cy, 0], bounds_y[cy, 1]
            for cx in order_x:
                if not live[cz, cy, cx]:
                    continue
                low[0], high[0] = bounds_x[cx, 0], bounds_x[cx, 1]
                left, right, top, bottom = pixel_bounds(low, high, pose, focal, centre, window)
                if left > right:
                    continue
                counts[0] += 1
                for row in range(top, bottom + 1):
                    for column in range(left, right + 1):
                        ray = (row - window[1]) * window[2] + column - window[0]
                        if stopped[ray]:
                            continue
                        enter, leave = -math.inf, math.inf
                        for axis in range(3):
                            along = np.float64(directions[ray, axis])
                            if along == 0:
                                along = _PARALLEL
                            one = (low[axis] - origins[ray, axis]) / along
                            other = (high[axis] - origins[ray, axis]) / along
                            enter = max(enter, min(one, other))
                            leave = min(leave, max(one, other))
                        begin = max((enter - first[ray]) / step - 1, 0.0)
                        end = min((leave - first[ray]) / step + 1, samples - 1.0)
                        if enter > leave or begin > end:
                            continue
                        counts[1] += 1
                        for number in range(math.ceil(begin), math.floor(end) + 1):
                            z = first[ray] + step * np.float32(number)
                            px = origins[ray, 0] + directions[ray, 0] * z
                            py = origins[ray, 1] + directions[ray, 1] * z
                            pz = origins[ray, 2] + directions[ray, 2] * z
                            if (
                                px < lower[0] or px > upper[0]
                                or py < lower[1] or py > upper[1]
                                or pz < lower[2] or pz > upper[2]
                            ):  # fmt: skip
                                continue
                            ux = grid_position(px, lower[0], scale[0], size_x)
                            uy = grid_position(py, lower[1], scale[1], size_y)
                            uz = grid_position(pz, lower[2], scale[2], size_z)
                            if (
                                cube_index(ux, size_x, edge) != cx
                                or cube_index(uy, size_y, edge) != cy
                                or cube_index(uz, size_z, edge) != cz
                            ):
                                continue
                            counts[2] += 1
                            if not is_occupied(px, py, pz, cells, mask, mask_lower, mask_scale):
                                continue
                            counts[3] += 1
                            if number == samples - 1:
                                continue  # Its distance to the next sample is 0.
                            i, fx = split(ux, size_x)
                            j, fy = split(uy, size_y)
                            k, fz = split(uz, size_z)
                            sigma = (
                                pair_sum(planes[0], lines[0], j, fy, i, fx, k, fz)
                                + pair_sum(planes[1], lines[1], k, fz, i, fx, j, fy)
                                + pair_sum(planes[2], lines[2], k, fz, j, fy, i, fx)
                            )
                            if softplus:
                                sigma += shift
                                if sigma <= _SOFTPLUS_LINEAR:
                                    sigma = np.float32(math.log1p(math.exp(sigma)))
                            else:
                                sigma = max(sigma, _ZERO)
                            after = first[ray] + step * np.float32(number + 1)
                            distance = (after - z) * distance_scale
                            alpha = _ONE - np.float32(math.exp(-sigma * distance))
                            weight = alpha * np.float32(transmittance[ray])
                            transmittance[ray] *= _ONE - alpha + _TRANSMITTANCE_EPSILON
                            acc[ray] += weight
                            depth[ray] += weight * z
                            if weight > shading_threshold:
                                if records == capacity:
                                    record_ray = np.concatenate((record_ray, record_ray))
                                    record_z = np.concatenate((record_z, record_z))
                                    record_weight = np.concatenate((record_weight, record_weight))
                                    capacity *= 2
                                record_ray[records] = ray
                                record_z[records] = z
                                record_weight[records] = weight
                                records += 1
                            if transmittance[ray] < termination:
                                stopped[ray] = True
                                counts[4] += 1
                                break
    return (
        (record_ray[:records], record_z[:records], record_weight[:records]), (acc, depth), counts
    )  # fmt: skip


@njit(cache=True)
def appearance_products(ray, z, origins, directions, lower, scale, planes, lines):
    """Appearance products of samples, pair-major: float32 (n, sum of the components)."""
    size_z, size_y, size_x = lines[0].shape[0], lines[1].shape[0], lines[2].shape[0]
    one, two, three = (lines[0].shape[1], lines[1].shape[1], lines[2].shape[1])
    products = np.empty((len(ray), one + two + three), np.float32)
    for sample in range(len(ray)):
        r, t = ray[sample], z[sample]
        px = origins[r, 0] + directions[r, 0] * t
        py = origins[r, 1] + directions[r, 1] * t
        pz = origins[r, 2] + directions[r, 2] * t
        i, fx = split(grid_position(px, lower[0], scale[0], size_x), size_x)
        j, fy = split(grid_position(py, lower[1], scale[1], size_y), size_y)
        k, fz = split(grid_position(pz, lower[2], scale[2], size_z), size_z)
        out = products[sample]
        pair_products(planes[0], lines[0], j, fy, i, fx, k, fz, out[:one])
        pair_products(planes[1], lines[1], k, fz, i, fx, j, fy, out[one : one + two])
        pair_products(planes[2], lines[2], k, fz, j, fy, i, fx, out[one + two :])
    return products


@njit(cache=True)
def accumulate(sums, ray, weight, values):
    """Add weighted values (n, C) to the rows of ``sums``, float64 (R, C), that they belong to."""
    for sample in range(len(ray)):
        for channel in range(values.shape[1]):
            sums[ray[sample], channel] += weight[sample] * values[sample, channel]
