"""Factor products and what a ray sees of them, for training: compiled for the CPU, with gradients.

The values are those of :mod:`nerf.model` and :mod:`nerf.render.uniform` to rounding. A training step spends most of its
time here; the loops below take a sample from the mask to its weight, and all channels of a corner at once. For them the
factors must be channels last in memory: :func:`channels_last`. Loops that write one array only become vector code.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from nerf.model import LINE_AXES, PLANE_AXES, TensorfModel
from nerf.render.interpolation import pair_products, pair_sum, split
from rtnerf.base.compiled import compiled, inlined

LEAST_TRANSMITTANCE = 2.0**-16
"""Below it a ray takes no more samples: what is behind them changes no colour of 16 bits."""

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
        left = np.ones(len(rays), np.float32)
        seen, done, n = _room(len(rays) * 64), 0, 0
        while done < len(rays):
            done, n = _see(
                rays.numpy(), jitter.numpy(), cells, box[0], scale, model.aabb.numpy(), (2 / model.extent).numpy(),
                np.float32(model.near), np.float32(model.far), np.float32(model.step), model.sample_count,
                np.float32(model.density_shift), model.density_activation == "softplus",
                np.float32(model.step * model.distance_scale), planes, lines, done, n, *seen, left,
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
        scratch = np.empty((3, factors[0].shape[0]), np.float32)
        of_feature = np.empty(len(ray), np.float32)
        seen = ray.numpy(), weight.numpy(), left.numpy(), slope.numpy()
        _feature_gradients(*seen, by_weight.contiguous().numpy(), by_left.contiguous().numpy(), of_feature)
        _scatter(points.numpy(), of_feature[:, None], *_views(factors), *_views(gradients), scratch)
        return None, None, None, None, *gradients


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, normalised: torch.Tensor, *factors: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(normalised, *factors)
        out = normalised.new_empty(len(normalised), sum(len(plane) for plane in factors[:3]))
        _products(normalised.numpy(), *_views(factors), out.numpy())
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor):
        normalised, *factors = ctx.saved_tensors
        gradients = [torch.zeros_like(factor) for factor in factors]
        scratch = np.empty((3, max(len(plane) for plane in factors)), np.float32)
        _scatter(normalised.numpy(), gradient.contiguous().numpy(), *_views(factors), *_views(gradients), scratch)
        return None, *gradients


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
def _activated(shifted):
    """Softplus, and its derivative."""
    power = math.exp(-abs(shifted))
    rise = (_ONE if shifted >= 0 else power) / (_ONE + power)
    return max(shifted, _ZERO) + math.log1p(power), rise


@compiled(nogil=True, fastmath={"contract"}, error_model="numpy")
def _see(
    rays, jitter, cells, cells_low, cells_scale, box, scale, near, far, step, most, shift, softplus, opacity,
    planes, lines, done, n, ray, points, slope, weight, left,
):  # fmt: skip
    """Samples of rays from number ``done`` on, see :func:`visibility`, behind the ``n`` of those before.

    ``slope`` is the derivative of a sample's optical depth by its density feature. Returns the rays done and the
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
            feature = np.float32(0)
            for pair in range(3):
                plane, line = planes[pair], lines[pair]
                column, across = _place(points[n, _FIRST[pair]], plane.shape[1])
                row, down = _place(points[n, _SECOND[pair]], plane.shape[0])
                index, along = _place(points[n, _LINE[pair]], line.shape[0])
                feature += pair_sum(plane, line, row, down, column, across, index, along)
            sigma, rise = _activated(feature + shift) if softplus else (max(feature, _ZERO), np.float32(feature > 0))
            after = through * math.exp(-sigma * opacity)
            ray[n], slope[n], weight[n] = r, rise * opacity, through - after
            n += 1
            through = after
            if through < LEAST_TRANSMITTANCE:
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
    for n in range(len(normalised)):
        begin = 0
        for pair in range(3):
            plane, line = planes[pair], lines[pair]
            column, across = _place(normalised[n, _FIRST[pair]], plane.shape[1])
            row, down = _place(normalised[n, _SECOND[pair]], plane.shape[0])
            index, along = _place(normalised[n, _LINE[pair]], line.shape[0])
            end = begin + plane.shape[2]
            pair_products(plane, line, row, down, column, across, index, along, out[n, begin:end])
            begin = end


@inlined
def _add(to, factor, values, channels):
    for c in range(channels):
        to[c] += factor * values[c]


@compiled(nogil=True, fastmath={"contract"})
def _scatter(normalised, given, planes, lines, plane_gradients, line_gradients, scratch):
    """Add the gradients of products by the factors.

    Parameters: ``given`` (n, all channels), or (n, 1) for the same on all; ``scratch`` (3, channels of a pair).
    """
    on_line, on_plane, shares = scratch[0], scratch[1], scratch[2]
    shared = given.shape[1] == 1
    for n in range(len(normalised)):
        begin = 0
        for pair in range(3):
            plane, line = planes[pair], lines[pair]
            channels = plane.shape[2]
            column, across = _place(normalised[n, _FIRST[pair]], plane.shape[1])
            row, down = _place(normalised[n, _SECOND[pair]], plane.shape[0])
            index, along = _place(normalised[n, _LINE[pair]], line.shape[0])
            w00, w01 = (_ONE - down) * (_ONE - across), (_ONE - down) * across
            w10, w11 = down * (_ONE - across), down * across
            p00, p01, p10, p11 = (
                plane[row, column],
                plane[row, column + 1],
                plane[row + 1, column],
                plane[row + 1, column + 1],
            )
            l0, l1 = line[index], line[index + 1]
            if shared:
                for c in range(channels):
                    shares[c] = given[n, 0]
            else:
                for c in range(channels):
                    shares[c] = given[n, begin + c]
            for c in range(channels):
                on_line[c] = shares[c] * ((_ONE - along) * l0[c] + along * l1[c])
            for c in range(channels):
                on_plane[c] = shares[c] * (w00 * p00[c] + w01 * p01[c] + w10 * p10[c] + w11 * p11[c])
            plane_gradient, line_gradient = plane_gradients[pair], line_gradients[pair]
            _add(plane_gradient[row, column], w00, on_line, channels)
            _add(plane_gradient[row, column + 1], w01, on_line, channels)
            _add(plane_gradient[row + 1, column], w10, on_line, channels)
            _add(plane_gradient[row + 1, column + 1], w11, on_line, channels)
            _add(line_gradient[index], _ONE - along, on_plane, channels)
            _add(line_gradient[index + 1], along, on_plane, channels)
            begin += channels
