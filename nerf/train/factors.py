"""Factor products for training: compiled for the CPU, with gradients; PyTorch's own elsewhere.

The values are those of :mod:`nerf.model` to rounding. A training step spends most of its time here with
PyTorch's sampling, channel by channel; the loops below take all channels of a corner at once. For them
the factors must be channels last in memory: :func:`channels_last`.
"""

from __future__ import annotations

import numpy as np
import torch

from nerf.model import LINE_AXES, PLANE_AXES, TensorfModel, factor_products
from nerf.render.interpolation import split
from rtnerf.base.compiled import compiled, inlined

_ONE = np.float32(1)
_HALF = np.float32(0.5)


def channels_last(planes: list[torch.Tensor], lines: list[torch.Tensor]) -> tuple[list[torch.Tensor], ...]:
    """A copy of the factors with all channels of a vertex side by side in memory."""

    def copy(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.movedim(0, -1).clone(memory_format=torch.contiguous_format).movedim(-1, 0)

    return [copy(plane) for plane in planes], [copy(line) for line in lines]


def density_feature(model: TensorfModel, normalised: torch.Tensor) -> torch.Tensor:
    """As :meth:`nerf.model.TensorfModel.density_feature`: (n, 3) in [-1, 1] to (n,)."""
    if normalised.device.type != "cpu":
        return model.density_feature(normalised)
    pairs = zip(model.density_planes, model.density_lines, PLANE_AXES, LINE_AXES, strict=True)
    return sum(_Sum.apply(normalised, *pair) for pair in pairs)


def app_products(model: TensorfModel, normalised: torch.Tensor) -> torch.Tensor:
    """Appearance products, pair-major: (n, 3) in [-1, 1] to (n, all components)."""
    if normalised.device.type != "cpu":
        return torch.cat(factor_products(model.app_planes, model.app_lines, normalised)).T
    pairs = zip(model.app_planes, model.app_lines, PLANE_AXES, LINE_AXES, strict=True)
    return torch.cat([_Products.apply(normalised, *pair) for pair in pairs], dim=1)


class _Products(torch.autograd.Function):
    """Bilinear plane times linear line at n points: (n, C)."""

    @staticmethod
    def forward(ctx, normalised, plane, line, axes, axis):
        ctx.save_for_backward(normalised, plane, line)
        ctx.axes = (*axes, axis)
        out = normalised.new_empty(len(normalised), len(plane))
        _products(normalised.numpy(), *ctx.axes, *_views(plane, line), out.numpy())
        return out

    @staticmethod
    def backward(ctx, gradient):
        normalised, plane, line = ctx.saved_tensors
        gradients = torch.zeros_like(plane), torch.zeros_like(line)
        _products_backward(
            normalised.numpy(), *ctx.axes, *_views(plane, line), gradient.contiguous().numpy(), *_views(*gradients)
        )
        return None, *gradients, None, None


class _Sum(torch.autograd.Function):
    """The sum of :class:`_Products` over the channels: (n,)."""

    @staticmethod
    def forward(ctx, normalised, plane, line, axes, axis):
        ctx.save_for_backward(normalised, plane, line)
        ctx.axes = (*axes, axis)
        out = normalised.new_empty(len(normalised))
        _sums(normalised.numpy(), *ctx.axes, *_views(plane, line), out.numpy())
        return out

    @staticmethod
    def backward(ctx, gradient):
        normalised, plane, line = ctx.saved_tensors
        gradients = torch.zeros_like(plane), torch.zeros_like(line)
        shared = gradient.contiguous()[:, None].numpy()
        _products_backward(normalised.numpy(), *ctx.axes, *_views(plane, line), shared, *_views(*gradients))
        return None, *gradients, None, None


def _views(plane: torch.Tensor, line: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Plane (N, N, C) and line (N, C) as contiguous arrays on the tensors' own memory."""
    views = plane.detach().permute(1, 2, 0), line.detach().T
    if not all(view.is_contiguous() for view in views):
        raise ValueError("factors must be channels last")
    return views[0].numpy(), views[1].numpy()


@inlined
def _place(coordinate, vertices):
    """Cell and fraction of a normalised coordinate."""
    return split((coordinate + _ONE) * _HALF * np.float32(vertices - 1), vertices)


@inlined
def _cell(point, first, second, third, plane, line):
    """Row, column and line vertex of a point's cell, the weights of its four corners, and the fraction on the line."""
    column, across = _place(point[first], plane.shape[1])
    row, down = _place(point[second], plane.shape[0])
    index, along = _place(point[third], line.shape[0])
    weights = (
        (_ONE - down) * (_ONE - across),
        (_ONE - down) * across,
        down * (_ONE - across),
        down * across,
    )
    return (row, column, index), weights, along


@inlined
def _corners(plane, row, column):
    """The four corners of a cell: channels each."""
    return plane[row, column], plane[row, column + 1], plane[row + 1, column], plane[row + 1, column + 1]


@compiled(nogil=True, fastmath={"contract"})
def _products(normalised, first, second, third, plane, line, out):
    for n in range(len(normalised)):
        (row, column, index), (w00, w01, w10, w11), along = _cell(normalised[n], first, second, third, plane, line)
        p00, p01, p10, p11 = _corners(plane, row, column)
        l0, l1 = line[index], line[index + 1]
        result = out[n]
        for c in range(plane.shape[2]):
            on_plane = w00 * p00[c] + w01 * p01[c] + w10 * p10[c] + w11 * p11[c]
            result[c] = on_plane * ((_ONE - along) * l0[c] + along * l1[c])


@compiled(nogil=True, fastmath={"contract", "reassoc"})
def _sums(normalised, first, second, third, plane, line, out):
    for n in range(len(normalised)):
        (row, column, index), (w00, w01, w10, w11), along = _cell(normalised[n], first, second, third, plane, line)
        p00, p01, p10, p11 = _corners(plane, row, column)
        l0, l1 = line[index], line[index + 1]
        total = np.float32(0)
        for c in range(plane.shape[2]):
            on_plane = w00 * p00[c] + w01 * p01[c] + w10 * p10[c] + w11 * p11[c]
            total += on_plane * ((_ONE - along) * l0[c] + along * l1[c])
        out[n] = total


@compiled(nogil=True, fastmath={"contract"})
def _products_backward(normalised, first, second, third, plane, line, gradient, plane_gradient, line_gradient):
    """Add the gradients; ``gradient`` (n, C), or (n, 1) for the same on all channels."""
    stride = 1 if gradient.shape[1] > 1 else 0
    for n in range(len(normalised)):
        (row, column, index), (w00, w01, w10, w11), along = _cell(normalised[n], first, second, third, plane, line)
        p00, p01, p10, p11 = _corners(plane, row, column)
        l0, l1 = line[index], line[index + 1]
        g00, g01, g10, g11 = _corners(plane_gradient, row, column)
        h0, h1 = line_gradient[index], line_gradient[index + 1]
        given = gradient[n]
        for c in range(plane.shape[2]):
            on_plane = given[c * stride] * (w00 * p00[c] + w01 * p01[c] + w10 * p10[c] + w11 * p11[c])
            on_line = given[c * stride] * ((_ONE - along) * l0[c] + along * l1[c])
            g00[c] += w00 * on_line
            g01[c] += w01 * on_line
            g10[c] += w10 * on_line
            g11[c] += w11 * on_line
            h0[c] += (_ONE - along) * on_plane
            h1[c] += along * on_plane
