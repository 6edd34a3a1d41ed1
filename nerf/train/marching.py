"""Rays for training: the samples of :func:`nerf.render.uniform.trace`, only those that the mask leaves.

The same picture, to rounding, and the same gradients, from lists of samples in place of dense
(rays, samples) arrays, of which nine in ten entries would be empty.
"""

from __future__ import annotations

import numpy as np
import torch

from nerf.model import TensorfModel
from nerf.render.cubes import mask_cells
from nerf.render.uniform import box_distances, shade_rays
from nerf.train import factors, network


def occupied_cells(model: TensorfModel) -> torch.Tensor | None:
    """The mask's cells that have a vertex set, with an empty margin: bool (Z + 3, Y + 3, X + 3).

    Cell -2 along each axis is the first. None without a mask.
    """
    return None if model.mask is None else torch.from_numpy(np.pad(mask_cells(model.mask), 1)).to(model.device)


@torch.no_grad()
def march(
    model: TensorfModel, rays: torch.Tensor, jitter: torch.Tensor, cells: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples in occupied cells of the box, in the order of the rays and along each.

    Parameters: ``rays`` (R, 6), origin and unit direction; ``jitter`` (R,) in steps, 0..1; ``cells`` of
    :func:`occupied_cells`. Returns the ray of each sample (n,), int64, and its position (n, 3).
    """
    enter, leave = box_distances(model, rays)
    first = enter.clamp(model.near, model.far) + jitter * model.step
    counts = ((leave - first) / model.step + 1).floor().clamp(0, model.sample_count).long()
    ray = torch.arange(len(rays), device=rays.device).repeat_interleave(counts)
    number = torch.arange(len(ray), device=rays.device) - (counts.cumsum(0) - counts)[ray]
    distance = first[ray] + number * model.step
    points = rays[ray, :3] + rays[ray, 3:] * distance[:, None]
    if cells is None:
        return ray, points
    length = torch.tensor(cells.shape[::-1], device=rays.device)
    scale = (length - 4) / (model.mask_aabb[1] - model.mask_aabb[0])
    cell = ((points - model.mask_aabb[0]) * scale + 2).long().clamp_(min=0).minimum(length - 1)
    kept = cells.view(-1)[(cell[:, 2] * length[1] + cell[:, 1]) * length[0] + cell[:, 0]].nonzero()[:, 0]
    return ray[kept], points[kept]


def colours(
    model: TensorfModel,
    rays: torch.Tensor,
    jitter: torch.Tensor,
    cells: torch.Tensor | None,
    background: torch.Tensor | float = 1.0,
) -> torch.Tensor:
    """Colours of rays, (R, 3); differentiable in the model's tensors.

    Parameters: as in :func:`march`; the factors channels last; ``background`` what is behind, 0..1, a number or (3,).
    """
    on_cpu = compiled_for(rays.device)
    ray, normalised, weight, left = (factors.visibility if on_cpu else visibility)(model, rays, jitter, cells)
    shaded = (weight > model.shading_threshold).nonzero()[:, 0]
    owner, share = ray[shaded], weight[shaded]
    at = normalised[shaded]
    if model.shading == "deferred":
        products = factors.app_products(model, at) if on_cpu else model.app_products(at)
        rgb = shade_rays(model, rays, owner, share, products)[2]
    else:
        colour = (network.shade if on_cpu else shade)(model, at, rays[:, 3:], owner)
        rgb = rays.new_zeros(len(rays), 3).index_add(0, owner, share[:, None] * colour)
    return rgb + left[:, None] * background


def compiled_for(device: torch.device) -> bool:
    """Whether compiled code evaluates samples; PyTorch's own does elsewhere."""
    return device.type == "cpu"


def shade(model: TensorfModel, normalised: torch.Tensor, direction: torch.Tensor, owner: torch.Tensor) -> torch.Tensor:
    """As :func:`nerf.train.network.shade`, on any device."""
    return model.shade(model.app_feature(normalised), direction[owner])


def visibility(
    model: TensorfModel, rays: torch.Tensor, jitter: torch.Tensor, cells: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """As :func:`nerf.train.factors.visibility`, on any device and to the end of every ray."""
    ray, points = march(model, rays, jitter, cells)
    normalised = model.normalise(points)
    depth = model.density(model.density_feature(normalised)) * (model.step * model.distance_scale)
    # One sum over all rays, in double precision: a ray begins with what those before it add up to.
    through = depth.double().cumsum(0)
    before = through - depth
    begins = torch.searchsorted(ray, ray)
    weight = -torch.expm1(-depth) * torch.exp(before[begins] - before).float()
    return ray, normalised, weight, 1 - rays.new_zeros(len(rays)).index_add(0, ray, weight)
