"""Factors in 8 bits: one scale for each plane and line, which an outlier cannot ruin.

The scale of a factor follows its largest value that an occupied point reads; what nobody reads is cut to it. Where that
value is an outlier, it is tried to cut it to the others: what errs less at random occupied points is taken. Of `relu`,
where small densities count, of which softplus makes nothing, it is tried to cut what is opaque anyway.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from nerf.contract.formats import FACTOR
from nerf.model import TensorfModel
from nerf.occupancy import read_factors
from nerf.render.forward_facing import device_rays
from nerf.render.uniform import camera_rays, trace
from nerf.surroundings import all_round

OUTLIER = 3.0
"""Times the 99th percentile of a factor's magnitudes (the largest: 2.7 times in trained models)."""
POINTS = 8192
"""At which the two are compared."""
SHARES = (1.0, 0.8, 0.6, 0.45)
"""Of the largest values of planes, to which those of a `relu` density are cut on trial."""
_OF_THE_CUT = 4
"""Times as large must be the error of all, squared."""


def quantise_factors(
    planes: list[torch.Tensor], lines: list[torch.Tensor], components: int
) -> tuple[list[np.ndarray], list[np.ndarray], float]:
    """Quantise three plane and line pairs to 8 bits.

    Parameters
    ----------
    planes : three tensors (C, N[second], N[first])
    lines : three tensors (C, N)
    components : int
        Components to pad to with zeros.

    Returns
    -------
    planes : three int arrays (N[second], N[first], components)
    lines : three int arrays (N, components)
    scale : float
        Real value of a product of 1 and 1, the same for all pairs.
    """
    scales = factor_scales(planes, lines)
    quantised_planes, quantised_lines = [], []
    for plane, line, (plane_scale, line_scale) in zip(planes, lines, scales, strict=True):
        quantised_planes.append(_quantise(plane, plane_scale, components))
        quantised_lines.append(_quantise(line, line_scale, components))
    return quantised_planes, quantised_lines, math.prod(scales[0])


def factor_scales(
    planes: list[torch.Tensor], lines: list[torch.Tensor], bits: int = FACTOR.width
) -> list[tuple[float, float]]:
    """Real value of 1 in each plane and its line at a width, in bits; their product is the same for all pairs."""
    high = (1 << bits - 1) - 1
    # A pair of no components has no say in the product.
    largest = [
        (_largest(plane) or 1.0, (_largest(line) or 1.0) if len(line) else 0.0)
        for plane, line in zip(planes, lines, strict=True)
    ]
    product = max(plane * line for plane, line in largest) / high**2
    return [(plane / high, product / (plane / high)) for plane, _ in largest]


def _quantise(tensor: torch.Tensor, scale: float, components: int) -> np.ndarray:
    values = np.floor(tensor.double().numpy() / scale + 0.5)
    values = np.clip(values, -FACTOR.high, FACTOR.high).astype(np.int64)
    values = np.moveaxis(values, 0, -1)
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, components - values.shape[-1])])


def without_outliers(model: TensorfModel, cells: np.ndarray) -> TensorfModel:
    """Return the model with its factors cut to what is worth a scale: none of a trained model's.

    Parameters
    ----------
    cells : bool array (z, y, x)
        What is read, from `nerf.occupancy.read_cells`.
    """
    for group in ("density", "app"):
        planes, lines = (getattr(model, f"{group}_{part}") for part in ("planes", "lines"))
        read = read_factors(planes, lines, cells)
        limits = [[[largest(factor) for factor in part] for part in read] for largest in (_largest, _usual)]
        candidates = [
            _with_factors(model, group, _cut(planes, of_planes), _cut(lines, of_lines))
            for of_planes, of_lines in limits[: 1 + (limits[0] != limits[1])]
        ]
        if len(candidates) > 1:
            candidates.sort(key=lambda each: _error(model, each, group))
        model = candidates[0]
    return _without_surplus(model) if model.density_activation == "relu" else model


@torch.no_grad()
def _without_surplus(model: TensorfModel) -> TensorfModel:
    """Return the model with its density planes cut to the share that errs least, quantised, in pictures from all round.

    Most of an error has to be that of the quantisation: other pictures show more of what was cut.
    """
    rays = torch.cat([device_rays(one) if model.forward_facing else camera_rays(one) for one in all_round(model)])
    seen = trace(model, rays).rgb

    def error(one: TensorfModel) -> float:
        return float((trace(one, rays).rgb - seen).square().mean())

    best, least = model, math.inf
    for share in SHARES:
        planes = _cut(model.density_planes, [share * _largest(plane) for plane in model.density_planes])
        cut = _with_factors(model, "density", planes, model.density_lines)
        found = error(_rounded(cut, "density"))
        if found < least and _OF_THE_CUT * error(cut) <= found:
            best, least = cut, found
    return best


def occupied_points(model: TensorfModel, count: int, generator: torch.Generator) -> torch.Tensor:
    """Of ``count`` random points of the box those that are occupied, (n, 3)."""
    points = model.aabb[0] + torch.rand(count, 3, generator=generator) * model.extent
    return points[model.occupied(points)]


def _with_factors(
    model: TensorfModel, group: str, planes: list[torch.Tensor], lines: list[torch.Tensor]
) -> TensorfModel:
    changed: dict[str, Any] = {f"{group}_planes": planes, f"{group}_lines": lines}
    return replace(model, **changed)


def _cut(factors: list[torch.Tensor], limits: list[float]) -> list[torch.Tensor]:
    return [factor.clamp(-limit, limit) for factor, limit in zip(factors, limits, strict=True)]


def _largest(factor: torch.Tensor) -> float:
    return float(factor.abs().max()) if factor.numel() else 0.0


def _usual(factor: torch.Tensor) -> float:
    """Return the largest magnitude in a factor that is no outlier."""
    values = np.sort(factor[factor != 0].abs().numpy())
    if len(values) < 2:
        return _largest(factor)
    hundredth = values[min(int(0.99 * len(values)), len(values) - 2)]
    return float(values[values <= OUTLIER * hundredth][-1])


def _rounded(model: TensorfModel, group: str) -> TensorfModel:
    """Return the model with a group's factors as 8 bits tell them."""
    planes, lines = (getattr(model, f"{group}_{part}") for part in ("planes", "lines"))
    scales = factor_scales(planes, lines)
    return _with_factors(model, group, *(
        [scale * (factor / scale).round() for factor, scale in zip(factors, column, strict=True)]
        for factors, column in zip((planes, lines), zip(*scales, strict=True), strict=True)
    ))  # fmt: skip


@torch.no_grad()
def _error(model: TensorfModel, cut: TensorfModel, group: str) -> float:
    """Mean error, at most 1, of the opacity of a step or of the colour at random occupied points, after quantising."""
    rounded = _rounded(cut, group)
    generator = torch.Generator().manual_seed(0)
    points = occupied_points(model, POINTS, generator)
    direction = torch.nn.functional.normalize(torch.randn(len(points), 3, generator=generator), dim=1)
    points = model.normalise(points)

    def seen(one: TensorfModel) -> torch.Tensor:
        if group == "app":
            return one.shade(one.app_feature(points), direction)
        return 1 - torch.exp(-one.density(one.density_feature(points)) * one.step * one.distance_scale)

    return float((seen(rounded) - seen(model)).abs().mean()) if len(points) else 0.0
