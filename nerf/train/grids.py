"""What happens to a model's grid while it is trained: its beginning, its mask, cropping and refinement."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from nerf.contract.config import CUBE
from nerf.contract.scene_image import CUBE_LIMITS
from nerf.model import LINE_AXES, PLANE_AXES, TensorfModel
from rtnerf.base.errors import InputError

if TYPE_CHECKING:
    from nerf.train.settings import TrainingSettings

LEAST_ALPHA = 1e-4
"""Of an occupied vertex, over one step without the distance scale; as in the original."""


def initial_model(settings: TrainingSettings, generator: torch.Generator) -> TensorfModel:
    """A random model on the first grid of the schedule, not yet trained."""
    aabb = torch.tensor(settings.box)
    size = resolution(aabb[1] - aabb[0], settings.first_edge)

    def noise(*shape: int) -> torch.Tensor:
        return 0.1 * torch.randn(shape, generator=generator)

    def dense(outputs: int, inputs: int) -> torch.Tensor:
        bound = 1 / math.sqrt(inputs)
        return (2 * torch.rand(outputs, inputs, generator=generator) - 1) * bound

    def factors(components: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        planes = [noise(components, size[second], size[first]) for first, second in PLANE_AXES]
        return planes, [noise(components, size[axis]) for axis in LINE_AXES]

    density_planes, density_lines = factors(settings.density_components)
    app_planes, app_lines = factors(settings.app_components)
    inputs = (settings.features + 3) * (1 + 2 * settings.bands)
    widths = (inputs, settings.hidden, settings.hidden, 3)
    mlp = [(dense(outputs, inputs), torch.zeros(outputs)) for inputs, outputs in pairwise(widths)]
    return TensorfModel(
        aabb=aabb,
        density_planes=density_planes,
        density_lines=density_lines,
        app_planes=app_planes,
        app_lines=app_lines,
        basis=dense(settings.features, 3 * settings.app_components),
        mlp=mlp,
        near=settings.near,
        far=settings.far,
        view_bands=settings.bands,
        feature_bands=settings.bands,
    )


@torch.no_grad()
def refresh_mask(model: TensorfModel) -> TensorfModel:
    """The model with a new occupancy mask on the vertices of its own grid.

    A vertex is set where alpha over one step, without the distance scale, reaches 1e-4 there or at
    one of its 26 neighbours. Space outside the old mask stays empty.
    """
    alpha = torch.zeros(model.grid_size[::-1], device=model.device)
    for layer, points in enumerate(vertex_layers(model)):
        kept = model.occupied(points)
        sigma = torch.zeros(len(points), device=model.device)
        sigma[kept] = model.density(model.density_feature(model.normalise(points[kept])))
        alpha[layer] = (1 - torch.exp(-sigma * model.step)).view_as(alpha[layer])
    widened = functional.max_pool3d(alpha[None, None], kernel_size=3, stride=1, padding=1)[0, 0]
    mask = (widened >= LEAST_ALPHA).cpu().numpy()
    return replace(model, mask=mask, mask_aabb=model.aabb)


def vertex_layers(model: TensorfModel) -> Iterator[torch.Tensor]:
    """The vertices of the factor grid, layer by layer along z: points (y * x, 3), x fastest."""
    (lower, upper), size = model.aabb.tolist(), model.grid_size
    z, y, x = (torch.linspace(lower[axis], upper[axis], size[axis], device=model.device) for axis in (2, 1, 0))
    y, x = torch.meshgrid(y, x, indexing="ij")
    for height in z:
        yield torch.stack([x, y, height.expand_as(x)], dim=-1).view(-1, 3)


@torch.no_grad()
def shrink(model: TensorfModel) -> TensorfModel:
    """The model and its mask cropped to the vertices that the mask, on the same grid, occupies.

    Raises :class:`rtnerf.base.errors.InputError` where the mask is empty.
    """
    if model.mask is None or not model.mask.any():
        raise InputError("mask must be set somewhere, not empty")
    occupied = np.argwhere(model.mask)
    # Two vertices at least; z, y, x turned to x, y, z.
    last = np.maximum(occupied.max(axis=0), 1)[::-1]
    first = np.minimum(occupied.min(axis=0)[::-1], last - 1)
    spans = [slice(int(low), int(high) + 1) for low, high in zip(first, last, strict=True)]
    lower, upper = (
        model.aabb[0] + model.unit * torch.tensor(corner.copy(), dtype=torch.float32, device=model.device)
        for corner in (first, last)
    )

    def cropped(planes: list, lines: list) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        return (
            [
                plane[:, spans[second], spans[one]].clone()
                for plane, (one, second) in zip(planes, PLANE_AXES, strict=True)
            ],
            [line[:, spans[axis]].clone() for line, axis in zip(lines, LINE_AXES, strict=True)],
        )

    aabb = torch.stack([lower, upper])
    mask = np.ascontiguousarray(model.mask[tuple(reversed(spans))])
    return with_factors(model, cropped, aabb=aabb, mask=mask, mask_aabb=aabb)


@torch.no_grad()
def upsample(model: TensorfModel, size: tuple[int, int, int]) -> TensorfModel:
    """The model with its factors interpolated linearly to a grid of ``size`` vertices (x, y, z)."""
    return with_factors(model, partial(resized, size=size))


def resized(planes: list, lines: list, size: tuple[int, int, int]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Planes and lines interpolated linearly to a grid of ``size`` vertices (x, y, z)."""
    return (
        [
            functional.interpolate(plane[None], (size[second], size[first]), mode="bilinear", align_corners=True)[0]
            for plane, (first, second) in zip(planes, PLANE_AXES, strict=True)
        ],
        [
            functional.interpolate(line[None], size[axis], mode="linear", align_corners=True)[0]
            for line, axis in zip(lines, LINE_AXES, strict=True)
        ],
    )


def resolution(extent: torch.Tensor, edge: int) -> tuple[int, int, int]:
    """Grid of about ``edge ** 3`` cubic voxels over a box of ``extent``, of coarser ones where the accelerator ends."""
    lengths = extent.tolist()
    finest = [length / (cubes * CUBE) for length, cubes in zip(lengths, CUBE_LIMITS, strict=True)]
    voxel = max((math.prod(lengths) / edge**3) ** (1 / 3), *finest)
    x, y, z = (max(2, int(length / voxel + 1e-6)) for length in lengths)
    return x, y, z


def with_factors(model: TensorfModel, change: Callable, **others: Any) -> TensorfModel:
    """The model with ``change(planes, lines)`` applied to density and appearance."""
    density_planes, density_lines = change(model.density_planes, model.density_lines)
    app_planes, app_lines = change(model.app_planes, model.app_lines)
    return replace(
        model,
        density_planes=density_planes,
        density_lines=density_lines,
        app_planes=app_planes,
        app_lines=app_lines,
        **others,
    )
