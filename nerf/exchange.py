"""A model with two axes of its world exchanged: a grid that is too long along x may fit along y or z."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from nerf.contract.config import CUBE
from nerf.contract.scene_image import CUBE_LIMITS, exchanged_axes
from nerf.model import HARMONICS, LINE_AXES, PLANE_AXES, TensorfModel, harmonics


def axis_to_exchange(grid: tuple[int, int, int]) -> int:
    """Return the axis that x has to be exchanged with for a grid to fit: 0 (none), 1 (y) or 2 (z)."""

    def fits(axis: int) -> bool:
        return all(grid[k] <= most * CUBE for k, most in zip(exchanged_axes(axis), CUBE_LIMITS, strict=True))

    return next(filter(fits, range(3)), 0)


def exchanged(model: TensorfModel, axis: int) -> TensorfModel:
    """Return the model whose pictures are the same for cameras with x and an axis exchanged."""
    if axis == 0:
        return model
    order = exchanged_axes(axis)
    pairs = [LINE_AXES.index(order[line]) for line in LINE_AXES]
    """Of which pair each has its factors."""
    factors: dict[str, Any] = {}
    for kind in ("density", "app"):
        planes, lines = (getattr(model, f"{kind}_{part}") for part in ("planes", "lines"))
        factors[f"{kind}_lines"] = [lines[pair] for pair in pairs]
        factors[f"{kind}_planes"] = [
            planes[pair]
            if PLANE_AXES[pair] == (order[first], order[second])
            else planes[pair].transpose(1, 2).contiguous()
            for pair, (first, second) in zip(pairs, PLANE_AXES, strict=True)
        ]
    products = model.basis.split(list(model.app_components), dim=1)
    basis, mlp = torch.cat([products[pair] for pair in pairs], dim=1), model.mlp
    if model.colour == "harmonics":
        basis = (_of_harmonics(order) @ basis.double().view(3, HARMONICS, -1)).flatten(0, 1).float()
    if model.colour == "network":
        mlp = [(_inputs(model, order), mlp[0][1]), *mlp[1:]]
    mask = None if model.mask is None else model.mask.transpose([2 - order[2 - k] for k in range(3)]).copy()
    return replace(
        model,
        aabb=model.aabb[:, order],
        mask_aabb=model.mask_aabb[:, order],
        mask=mask,
        basis=basis,
        mlp=mlp,
        **factors,
    )


def _inputs(model: TensorfModel, order: list[int]) -> torch.Tensor:
    """First layer's weights, those of the direction by the exchanged axes."""
    weight, features, bands = model.mlp[0][0], len(model.basis), model.view_bands
    sizes = [features, 3, 2 * features * model.feature_bands, 2 * 3 * bands]
    parts = list(weight.split(sizes, dim=1))
    parts[1] = parts[1][:, order]
    # Sines, then cosines; all bands of an axis side by side.
    parts[3] = parts[3].reshape(len(weight), 2, 3, bands)[:, :, order].flatten(1)
    return torch.cat(parts, dim=1)


def _of_harmonics(order: list[int]) -> torch.Tensor:
    """The matrix that makes coefficients of harmonics of the exchanged axes of those of the axes, float64."""
    direction = torch.randn(64, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    direction = direction / direction.norm(dim=1, keepdim=True)
    return torch.linalg.lstsq(harmonics(direction[:, order]), harmonics(direction)).solution
