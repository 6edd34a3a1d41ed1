"""Factor products and what a ray sees of them, for training: compiled for the CPU, with gradients.

The values are those of :mod:`nerf.model` and :mod:`nerf.render.uniform` to rounding. A training step spends most of its
time here; the loops below take a sample from the mask to its weight, and all channels of a corner at once. For them the
factors must be channels last in memory: :func:`channels_last`. Loops that write one array only become vector code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from nerf.model import LINE_AXES, PLANE_AXES, TensorfModel
from nerf.render.interpolation import VECTOR, feature_sum, pair_products, pair_sum, shares, split
from nerf.render.opacity import Density, density, exponential
from nerf.train.lanes import LANES, add_gradients
from rtnerf.base.compiled import compiled, inlined

LEAST_TRANSMITTANCE = 2.0**-10
"""Below it a ray takes no more samples, and sees the background: that changes no colour of 8 bits."""

LEAST_GRADIENT = 0.01
"""A sample of which the density has less than this much of the mean gradient changes no factors of the density: half of
the samples, with a thousandth of the sum."""

_ZERO = np.float32(0)
_ONE = np.float32(1)
_TWO = np.float32(2)
_HALF = np.float32(0.5)
_FIRST = tuple(first for first, _ in PLANE_AXES)
_SECOND = tuple(second for _, second in PLANE_AXES)
_LINE = LINE_AXES
_FLOOR = np.float32(1e-6)  # Stands for a direction of 0 in divisions, as in :mod:`nerf.render.uniform`.


def channels_last(planes: list[torch.Tensor], lines: list[torch.Tensor]) -> tuple[list[torch.Tensor], ...]:
    """A copy of the factors with all channels of a vertex side by side in memory."""

    def copy(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.movedim(0, -1).clone(memory_format=torch.contiguous_format).movedim(-1, 0)

    return [copy(plane) for plane in planes], [copy(line) for line in lines]


def visibility(
    model: TensorfModel, rays: torch.Tensor, jitter: torch.Tensor, cells: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """What rays meet, up to :data:`LEAST_TRANSMITTANCE`; differentiable in the density factors, which are on the CPU.

    Parameters: ``rays`` (R, 6), origin and unit direction; ``jitter`` (R,) in steps, 0..1; ``cells`` of
    :func:`nerf.train.marching.occupied_cells`. Returns, of the n samples in occupied cells ray by ray, the ray (n,),
    int64, the position in [-1, 1] (n, 3) and the weight (n,); and of every ray the transmittance that is left (R,).
    """
    occupied = np.ones((5, 5, 5), bool) if cells is None else cells.numpy()
    return _Visibility.apply(model, rays, jitter, occupied, *model.density_planes, *model.density_lines)


def app_products(model: TensorfModel, normalised: torch.Tensor) -> torch.Tensor:
    """Appearance products, pair-major: (n, 3) in [-1, 1] to (n, all components); differentiable in the factors."""
    return _Products.apply(normalised, *model.app_planes, *model.app_lines)


class _Visibility(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, model: TensorfModel, rays: torch.Tensor, jitter: torch.Tensor, cells: np.ndarray, *factors):
        planes, lines = _views(factors)
        box = model.mask_aabb.numpy()
        scale = np.array([length - 4 for length in cells.shape[::-1]], np.float32) / (box[1] - box[0])
        in_vectors = {plane.shape[2] for plane in planes} == {planes[0].shape[2] // VECTOR * VECTOR}
        law = Density(
            np.float32(model.density_shift),
            model.density_activation == "softplus",
            np.float32(model.step * model.distance_scale),
            np.float32(model.shading_threshold),
            LEAST_TRANSMITTANCE,
        )
        left = np.ones(len(rays), np.float32)
        seen, done, n = _room(len(rays) * 64), 0, 0
        while done < len(rays):
            done, n = _see(
                rays.numpy(), jitter.numpy(), cells, box[0], scale, model.aabb.numpy(), (2 / model.extent).numpy(),
                np.float32(model.near), np.float32(model.far), np.float32(model.step), model.sample_count,
                law, planes, lines, in_vectors, done, n, *seen, left,
            )  # fmt: skip
            if done < len(rays):
                seen = [
                    np.concatenate([one, more]) for one, more in zip(seen, _room(n + model.sample_count), strict=True)
                ]
        ray, points, slope, weight = (one[:n] for one in seen)
        found = tuple(map(torch.from_numpy, (ray, points, weight, left)))
        ctx.save_for_backward(*found, torch.from_numpy(slope), *factors)
        ctx.mark_non_differentiable(found[0], found[1])
        return found

    @staticmethod
    def backward(ctx: Any, _ray: None, _points: None, by_weight: torch.Tensor, by_left: torch.Tensor):
        ray, points, weight, left, slope, *factors = ctx.saved_tensors
        gradients = [torch.zeros_like(factor) for factor in factors]
        of_feature = torch.empty(len(ray))
        seen = ray.numpy(), weight.numpy(), left.numpy(), slope.numpy()
        given = by_weight.contiguous().numpy(), by_left.contiguous().numpy()
        _feature_gradients(*seen, *given, of_feature.numpy())
        magnitude = of_feature.abs()
        of_feature[magnitude < LEAST_GRADIENT * magnitude.mean()] = 0
        add_product_gradients(points, of_feature[:, None], factors, gradients)
        return None, None, None, None, *gradients


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, normalised: torch.Tensor, *factors: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(normalised, *factors)
        out = normalised.new_empty(len(normalised), sum(len(plane) for plane in factors[:3]))
        products_at(normalised, factors, out)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor):
        normalised, *factors = ctx.saved_tensors
        gradients = [torch.zeros_like(factor) for factor in factors]
        add_product_gradients(normalised, gradient.contiguous(), factors, gradients)
        return None, *gradients


def products_at(normalised: torch.Tensor, factors: Sequence[torch.Tensor], out: torch.Tensor) -> None:
    """Products, pair-major, of three planes and three lines, channels last, to ``out`` (n, all components)."""
    _products(normalised.numpy(), *_views(factors), out.numpy())


def add_product_gradients(
    normalised: torch.Tensor, given: torch.Tensor, factors: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor]
) -> None:
    """Add to ``gradients`` those by the factors, ``given`` those by the products; in a column, the same by each."""
    planes, lines = _views(factors)
    shapes = np.array(
        [(*plane.shape[:2], len(line), plane.shape[2]) for plane, line in zip(planes, lines, strict=True)]
    )
    flat = [tuple(one.reshape(-1) for one in group) for group in (planes, lines, *_views(gradients))]
    _scatter(normalised.numpy(), given.numpy().reshape(-1), shapes, *flat, np.empty(LANES, np.float32))


def _room(samples: int) -> list[np.ndarray]:
    """Ray, position, slope and weight of samples, not filled in."""
    shapes = (((samples,), np.int64), ((samples, 3), np.float32), ((samples,), np.float32), ((samples,), np.float32))
    return [np.empty(shape, kind) for shape, kind in shapes]


def _views(factors) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Three planes (N, N, C) and three lines (N, C) as contiguous arrays on the tensors' own memory."""
    views = [factor.detach().movedim(0, -1) for factor in factors]
    if not all(view.is_contiguous() for view in views):
        raise ValueError("factors must be channels last")
    arrays = [view.numpy() for view in views]
    return tuple(arrays[:3]), tuple(arrays[3:])


@inlined
def _place(coordinate, vertices):
    """Cell and fraction of a normalised coordinate."""
    return split((coordinate + _ONE) * _HALF * np.float32(vertices - 1), vertices)


@inlined
def _cell(point, low, scale, length):
    """Cell of the mask with its margin, along one axis."""
    return min(max(int((point - low) * scale + _TWO), 0), length - 1)


@inlined
def _rise(feature, law):
    """Derivative of the density by the sum of products."""
    if not law.softplus:
        return np.float32(feature > 0)
    shifted = feature + law.shift
    power = exponential(-abs(shifted))
    return (_ONE if shifted >= 0 else power) / (_ONE + power)


@compiled(nogil=True, fastmath={"contract"}, error_model="numpy")
def _see(
    rays, jitter, cells, cells_low, cells_scale, box, scale, near, far, step, most, law,
    planes, lines, in_vectors, done, n, ray, points, slope, weight, left,
):  # fmt: skip
    """Samples of rays from number ``done`` on, see :func:`visibility`, behind the ``n`` of those before.

    ``slope`` is the derivative of a sample's optical depth by its density feature; ``in_vectors``, whether
    :func:`nerf.render.interpolation.feature_sum` takes the factors. Returns the rays done and the
    samples: not all rays where there may be no room for the next.
    """
    for r in range(done, len(rays)):
        enter, leave = np.float32(-np.inf), np.float32(np.inf)
        for axis in range(3):
            direction = rays[r, 3 + axis] if rays[r, 3 + axis] != 0 else _FLOOR
            one, two = (box[0, axis] - rays[r, axis]) / direction, (box[1, axis] - rays[r, axis]) / direction
            enter, leave = max(enter, min(one, two)), min(leave, max(one, two))
        start = min(max(enter, near), far) + jitter[r] * step
        count = min(math.floor((leave - start) / step + _ONE), most)
        if n + count > len(ray):
            return r, n
        x, y, z, dx, dy, dz = rays[r, 0], rays[r, 1], rays[r, 2], rays[r, 3], rays[r, 4], rays[r, 5]
        through = _ONE
        for number in range(count):
            distance = start + np.float32(number) * step
            px, py, pz = x + dx * distance, y + dy * distance, z + dz * distance
            if not (
                cells[
                    _cell(pz, cells_low[2], cells_scale[2], cells.shape[0]),
                    _cell(py, cells_low[1], cells_scale[1], cells.shape[1]),
                    _cell(px, cells_low[0], cells_scale[0], cells.shape[2]),
                ]
            ):
                continue
            points[n, 0] = (px - box[0, 0]) * scale[0] - _ONE
            points[n, 1] = (py - box[0, 1]) * scale[1] - _ONE
            points[n, 2] = (pz - box[0, 2]) * scale[2] - _ONE
            i, fx = _place(points[n, 0], planes[0].shape[1])
            j, fy = _place(points[n, 1], planes[0].shape[0])
            k, fz = _place(points[n, 2], planes[1].shape[0])
            if in_vectors:
                feature = feature_sum(planes, lines, i, fx, j, fy, k, fz)
            else:
                feature = pair_sum(planes[0], lines[0], j, fy, i, fx, k, fz)
                feature += pair_sum(planes[1], lines[1], k, fz, i, fx, j, fy)
                feature += pair_sum(planes[2], lines[2], k, fz, j, fy, i, fx)
            after = through * exponential(-density(feature, law) * law.distance_scale)
            ray[n], slope[n], weight[n] = r, _rise(feature, law) * law.distance_scale, through - after
            n += 1
            through = after
            if through < law.termination:
                break
        left[r] = through
    return len(rays), n


@compiled(nogil=True)
def _feature_gradients(ray, weight, left, slope, by_weight, by_left, out):
    """Gradients by the density features, from those by weights and by what is left.

    A sample's depth takes ``weight`` from what is behind it and gives it to itself: with T the transmittance behind,
    dw/dd = T, and -w of each weight behind, and of what is left.
    """
    n = len(ray)
    while n > 0:
        r = ray[n - 1]
        through = left[r]
        behind = by_left[r] * through
        while n > 0 and ray[n - 1] == r:
            n -= 1
            out[n] = (by_weight[n] * through - behind) * slope[n]
            behind += by_weight[n] * weight[n]
            through += weight[n]


@compiled(nogil=True, fastmath={"contract"})
def _products(normalised, planes, lines, out):
    one, two = planes[0].shape[2], planes[0].shape[2] + planes[1].shape[2]
    for n in range(len(normalised)):
        i, fx = _place(normalised[n, 0], planes[0].shape[1])
        j, fy = _place(normalised[n, 1], planes[0].shape[0])
        k, fz = _place(normalised[n, 2], planes[1].shape[0])
        pair_products(planes[0], lines[0], j, fy, i, fx, k, fz, out[n, :one])
        pair_products(planes[1], lines[1], k, fz, i, fx, j, fy, out[n, one:two])
        pair_products(planes[2], lines[2], k, fz, j, fy, i, fx, out[n, two:])


@compiled(nogil=True, fastmath={"contract"})
def _scatter(normalised, given, shapes, planes, lines, plane_gradients, line_gradients, scratch):
    """Add the gradients of products by the factors; arrays of factors and of gradients by them are flat.

    Parameters: ``given`` (n * channels of all,), or (n,) for the same on all; ``shapes`` (3, 4), second and first
    length of a plane, length of the line, channels; ``scratch`` (`LANES`,).
    """
    shared = len(given) == len(normalised)
    begin = 0
    for n in range(len(normalised)):
        if shared:
            if given[n] == 0:
                continue
            for c in range(LANES):
                scratch[c] = given[n]
        for pair in range(3):
            rows, columns, length, channels = shapes[pair]
            column, across = _place(normalised[n, _FIRST[pair]], columns)
            row, down = _place(normalised[n, _SECOND[pair]], rows)
            index, along = _place(normalised[n, _LINE[pair]], length)
            places = (row * columns + column) * channels, ((row + 1) * columns + column) * channels, index * channels
            around, ends = shares(down, across), (_ONE - along, along)
            factors, gradients = (planes[pair], lines[pair]), (plane_gradients[pair], line_gradients[pair])
            for c in range(0, channels - LANES + 1, LANES):
                upper, lower, line = places[0] + c, places[1] + c, places[2] + c
                if shared:
                    add_gradients(scratch, factors, gradients, around, ends, 0, upper, lower, line, channels)
                else:
                    add_gradients(given, factors, gradients, around, ends, begin + c, upper, lower, line, channels)
            for c in range(channels - channels % LANES, channels):
                by_product = given[n] if shared else given[begin + c]
                _add_gradient(by_product, factors, gradients, around, ends, places, channels, c)
            begin += channels


@inlined
def _add_gradient(by_product, factors, gradients, around, ends, places, channels, c):
    """What :func:`nerf.train.lanes.add_gradients` does, for one channel."""
    plane, line = factors
    upper, lower, index = places[0] + c, places[1] + c, places[2] + c
    on_line = by_product * (ends[0] * line[index] + ends[1] * line[index + channels])
    on_plane = by_product * (
        around[0] * plane[upper]
        + around[1] * plane[upper + channels]
        + around[2] * plane[lower]
        + around[3] * plane[lower + channels]
    )
    gradients[0][upper] += around[0] * on_line
    gradients[0][upper + channels] += around[1] * on_line
    gradients[0][lower] += around[2] * on_line
    gradients[0][lower + channels] += around[3] * on_line
    gradients[1][index] += ends[0] * on_plane
    gradients[1][index + channels] += ends[1] * on_plane
