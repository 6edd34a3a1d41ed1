"""Knobs that trade quality for work: each makes a trained model into another, which everything takes unchanged.

What they do to quality and work is measured in ``docs/knobs.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from nerf.contract.formats import FACTOR
from nerf.model import TensorfModel
from nerf.quantise import factor_scales
from nerf.render.cubes import cube_grid
from nerf.train.grids import LEAST_ALPHA, resized, vertex_layers, with_factors
from rtnerf.base.errors import InputError, require

OCCUPANCIES = ("keep", "tight")
LEAST_FACTOR_BITS = 4


@dataclass(frozen=True)
class Knobs:
    """What to do to a model. The defaults do nothing.

    Parameters
    ----------
    occupancy : {"keep", "tight"}
        The mask that there is, or that of :func:`tight_occupancy`.
    occupancy_alpha : float
        Least alpha of occupied space, over one step without the distance scale, in 0..1.
    step_ratio : float, optional
        Distance of samples in units of the mean cell edge, 0.1 to 4; None = the model's own.
    shading_threshold : float, optional
        A sample is shaded where its weight is above this, in 0..1; None = the model's own.
    prune_density, prune_appearance : float
        Factors of at most this magnitude become 0; 0 = none do.
    factor_bits : int
        Width that factors are rounded to, 4 to 8; 8 leaves that to the encoder.

    Raises
    ------
    InputError
        A value out of range.
    """

    occupancy: str = "keep"
    occupancy_alpha: float = LEAST_ALPHA
    step_ratio: float | None = None
    shading_threshold: float | None = None
    prune_density: float = 0.0
    prune_appearance: float = 0.0
    factor_bits: int = FACTOR.width

    def __post_init__(self) -> None:
        require(self.occupancy in OCCUPANCIES, "occupancy", f"one of {', '.join(OCCUPANCIES)}", self.occupancy)
        for name, low, high in (
            ("occupancy_alpha", 0, 1),
            ("step_ratio", 0.1, 4),
            ("shading_threshold", 0, 1),
            ("prune_density", 0, math.inf),
            ("prune_appearance", 0, math.inf),
            ("factor_bits", LEAST_FACTOR_BITS, FACTOR.width),
        ):
            value = getattr(self, name)
            require(value is None or low <= value <= high, name, f"from {low} to {high}", value)


RECOMMENDED = Knobs("tight", 5e-4, step_ratio=0.6, shading_threshold=2e-3, prune_density=0.05)
"""Quality within 0.1 dB; ``docs/knobs.md`` gives the reasons."""


def tune(model: TensorfModel, knobs: Knobs) -> TensorfModel:
    """The model with all knobs applied; doing it twice changes nothing more.

    The mask comes last: it is that of the factors and the step that stay.
    Raises :class:`rtnerf.base.errors.InputError` where the mask would be empty.
    """
    settings: dict[str, Any] = {"step_ratio": knobs.step_ratio, "shading_threshold": knobs.shading_threshold}
    model = replace(model, **{name: value for name, value in settings.items() if value is not None})
    if knobs.factor_bits < FACTOR.width:
        model = round_factors(model, knobs.factor_bits)
    model = prune_factors(model, knobs.prune_density, knobs.prune_appearance)
    if knobs.occupancy == "tight":
        model = tight_occupancy(model, knobs.occupancy_alpha)
    return model


@torch.no_grad()
def tight_occupancy(model: TensorfModel, least_alpha: float = LEAST_ALPHA) -> TensorfModel:
    """The model with a mask, on the vertices of its own grid, of what its factors still occupy.

    Alpha, over one step without the distance scale, is taken at the corners of all half cells. A vertex is set where
    it reaches ``least_alpha`` within half a cell along every axis: so a cell with such a place in it has a vertex set,
    and is occupied as a whole. What the old mask leaves empty stays so; a mask on the same grid can only lose vertices.
    Raises :class:`rtnerf.base.errors.InputError` where none would be set.
    """
    x, y, z = model.grid_size
    planes, lines = resized(model.density_planes, model.density_lines, (2 * x - 1, 2 * y - 1, 2 * z - 1))
    kept = _occupied_vertices(model)
    reached = np.zeros((lines[0].shape[1], *kept.shape[1:]), dtype=bool)
    largest = 0.0
    for layer in range(len(reached)):
        feature = (
            torch.tensordot(lines[0][:, layer], planes[0], 1)
            + lines[1].T @ planes[1][:, layer]
            + planes[2][:, layer].T @ lines[2]
        )
        alpha = 1 - torch.exp(-model.density(feature) * model.step)
        near = functional.max_pool2d(alpha[None], kernel_size=3, stride=2, padding=1)[0]
        reached[layer] = (near >= least_alpha).cpu().numpy()
        largest = max(largest, float(near.max()))
    mask = reached[::2].copy()
    mask[1:] |= reached[1::2]
    mask[:-1] |= reached[1::2]
    mask &= kept
    if not mask.any():
        raise InputError(f"occupancy_alpha must be below this model's largest ({largest:.3g}), not {least_alpha:g}")
    return replace(model, mask=mask, mask_aabb=model.aabb)


def round_factors(model: TensorfModel, bits: int) -> TensorfModel:
    """The model with the factors that an encoder of ``bits`` a factor, sign included, would store."""

    def rounded(planes: list, lines: list) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        plane_scales, line_scales = zip(*factor_scales(planes, lines, bits), strict=True)
        return list(map(_round, planes, plane_scales)), list(map(_round, lines, line_scales))

    return with_factors(model, rounded)


def prune_factors(model: TensorfModel, density: float, appearance: float) -> TensorfModel:
    """The model with 0 for every density and appearance factor of at most these magnitudes."""
    groups = {"density_planes": density, "density_lines": density, "app_planes": appearance, "app_lines": appearance}
    pruned: dict[str, Any] = {
        name: [tensor.where(tensor.abs() > threshold, 0.0) for tensor in getattr(model, name)]
        for name, threshold in groups.items()
    }
    return replace(model, **pruned)


def describe(model: TensorfModel) -> dict[str, float]:
    """What the knobs change, in numbers; shares are in 0..1."""
    factors = [*model.density_planes, *model.density_lines, *model.app_planes, *model.app_lines]
    zeros = sum(int((tensor == 0).sum()) for tensor in factors)
    return {
        "mask_share": 1.0 if model.mask is None else float(model.mask.mean()),
        "live_cubes": int(cube_grid(model).live.sum()),
        "zero_factor_share": zeros / sum(tensor.numel() for tensor in factors),
        "step_ratio": model.step_ratio,
        "shading_threshold": model.shading_threshold,
    }


def _occupied_vertices(model: TensorfModel) -> np.ndarray:
    """Which vertices of the factor grid the mask occupies: bool (Z, Y, X)."""
    shape = model.grid_size[::-1]
    if model.mask is not None and model.mask.shape == shape and torch.equal(model.mask_aabb, model.aabb):
        return model.mask
    return np.stack([model.occupied(points).view(shape[1:]).cpu().numpy() for points in vertex_layers(model)])


def _round(tensor: torch.Tensor, scale: float) -> torch.Tensor:
    return (torch.floor(tensor.double() / scale + 0.5) * scale).float()
