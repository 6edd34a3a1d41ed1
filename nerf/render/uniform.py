"""L0, the reference renderer: uniform samples along every ray, TensoRF to the letter, float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nerf.cameras import Camera
from nerf.model import TensorfModel
from nerf.pictures import png
from nerf.render.forward_facing import device_rays

_DIRECTION_FLOOR = 1e-6  # Stands for a direction of exactly 0 in divisions, as in the original.
_TRANSMITTANCE_EPSILON = 1e-10


@dataclass(frozen=True, eq=False)
class Rendering:
    """A rendered picture.

    Parameters
    ----------
    rgb : float32 array (H, W, 3)
        On the camera's background, 0..1.
    depth : float32 array (H, W)
        Expected distance along the ray, in scene units. As in the original, the transmittance that
        is left counts with the third component of the direction.
    statistics : dict of int
        What was counted: ``rays``, ``samples`` (in the box), ``samples_occupied`` (density was
        evaluated), ``samples_shaded`` (appearance was evaluated), ``colours`` (evaluations of the
        network), and what the renderer adds.
    """

    rgb: np.ndarray
    depth: np.ndarray
    statistics: dict[str, int]

    def record(self) -> dict[str, Any]:
        """What a result file says of it."""
        return {"statistics": self.statistics}

    def _repr_png_(self) -> bytes:
        return png(self.rgb)


@dataclass(frozen=True, eq=False)
class Trace:
    """Every intermediate value of R rays with S samples each, as float32 or bool tensors.

    ``z`` distance, ``in_bbox``, ``occupied``, ``sigma_feature``, ``sigma`` (both 0 where not
    occupied), ``alpha``, ``weight``, ``app_mask`` (shaded): (R, S). For the A shaded samples, in
    row-major order: ``xyz_app`` (A, 3), ``app_feature`` (A, features), ``sample_rgb`` (A, 3); under
    deferred shading the last two are of the rays with shaded samples.
    ``acc`` sum of the weights (R,), ``rgb`` (R, 3), ``depth`` (R,).
    """

    z: torch.Tensor
    in_bbox: torch.Tensor
    occupied: torch.Tensor
    sigma_feature: torch.Tensor
    sigma: torch.Tensor
    alpha: torch.Tensor
    weight: torch.Tensor
    app_mask: torch.Tensor
    xyz_app: torch.Tensor
    app_feature: torch.Tensor
    sample_rgb: torch.Tensor
    acc: torch.Tensor
    rgb: torch.Tensor
    depth: torch.Tensor


def box_distances(model: TensorfModel, rays: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Distances at which rays (R, 6) enter and leave the model's box, each (R,); leaving first = a miss."""
    origin, direction = rays[:, :3], rays[:, 3:]
    floored = torch.where(direction == 0, _DIRECTION_FLOOR, direction)
    lower, upper = (model.aabb[0] - origin) / floored, (model.aabb[1] - origin) / floored
    return torch.minimum(lower, upper).amax(dim=-1), torch.maximum(lower, upper).amin(dim=-1)


def first_distance(model: TensorfModel, rays: torch.Tensor) -> torch.Tensor:
    """Distance of the first sample: where the ray enters the box, clamped to near and far.

    Parameters: ``rays`` (R, 6), origin and unit direction. Returns (R,).
    """
    return box_distances(model, rays)[0].clamp(min=model.near, max=model.far)


def trace(
    model: TensorfModel,
    rays: torch.Tensor,
    jitter: torch.Tensor | None = None,
    samples: int | None = None,
    background: torch.Tensor | float = 1.0,
) -> Trace:
    """Evaluate rays sample by sample; differentiable in the model's tensors.

    Parameters: ``rays`` (R, 6) float32, origin and unit direction, of a forward-facing model those of
    :func:`nerf.render.forward_facing.device_rays`; ``jitter`` (R,) shifts the samples by a fraction of a step, 0..1
    (training); ``samples`` a ray, None = the model's own; ``background`` what is behind, 0..1, one number or (3,).
    """
    samples = model.sample_count if samples is None else samples
    origin, direction = rays[:, None, :3], rays[:, None, 3:]
    if model.forward_facing:
        z = torch.linspace(model.near, model.far, samples, device=rays.device)[None].expand(len(rays), -1)
    else:
        position = torch.arange(samples, dtype=torch.float32, device=rays.device)[None].expand(len(rays), -1)
        if jitter is not None:
            position = position + jitter[:, None]
        z = first_distance(model, rays)[:, None] + model.step * position
    points = origin + direction * z[..., None]

    in_bbox = model.inside(points)
    occupied = torch.zeros_like(in_bbox)
    occupied[in_bbox] = model.occupied(points[in_bbox])

    sigma_feature, sigma = torch.zeros_like(z), torch.zeros_like(z)
    feature = model.density_feature(model.normalise(points[occupied]))
    sigma_feature[occupied] = feature
    sigma[occupied] = model.density(feature)

    last = torch.zeros_like(z[:, :1])
    distance = torch.cat([z[:, 1:] - z[:, :-1], last], dim=-1)
    if model.forward_facing:
        length = torch.linalg.vector_norm(direction, dim=-1)
        distance, direction = distance * length, direction / length[..., None]
    distance = distance * model.distance_scale
    alpha = 1 - torch.exp(-sigma * distance)
    passed = torch.cat([last + 1, 1 - alpha + _TRANSMITTANCE_EPSILON], dim=-1)
    weight = alpha * torch.cumprod(passed, dim=-1)[:, :-1]

    app_mask = weight > model.shading_threshold
    xyz_app = points[app_mask]
    acc = weight.sum(dim=-1)
    if model.shading == "deferred":
        products, share = model.app_products(model.normalise(xyz_app)), weight[app_mask]
        ray = app_mask.nonzero()[:, 0]
        app_feature, sample_rgb, rgb = shade_rays(model, rays, ray, share, products)
    else:
        app_feature = model.app_feature(model.normalise(xyz_app))
        sample_rgb = model.shade(app_feature, direction.expand_as(points)[app_mask])
        colour = torch.zeros_like(points)
        colour[app_mask] = sample_rgb
        rgb = (weight[..., None] * colour).sum(dim=-2)
    rgb = rgb + (1 - acc[:, None]) * background
    depth = (weight * z).sum(dim=-1) + (1 - acc) * rays[:, 5]
    return Trace(
        z, in_bbox, occupied, sigma_feature, sigma, alpha, weight, app_mask,
        xyz_app, app_feature, sample_rgb, acc, rgb.clamp(0, 1), depth,
    )  # fmt: skip


def shade_rays(
    model: TensorfModel, rays: torch.Tensor, ray: torch.Tensor, weight: torch.Tensor, products: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Deferred shading: composite the appearance products of samples, then basis and network once a ray.

    The network sees the mean of the products, not their sum: it was trained on products of single
    samples, and where all products of a ray are equal the result is that of per-sample shading.

    Parameters: ``rays`` (R, 6); for each of n shaded samples its ``ray`` (n,), 0..R-1, ``weight`` (n,)
    and ``products`` (n, C). Returns, for the rays with a shaded sample in ascending order, features and
    colour; and for all rays the colour times the sum of the weights, (R, 3).
    """
    total = weight.new_zeros(len(rays)).index_add(0, ray, weight)
    composited = products.new_zeros(len(rays), products.shape[1]).index_add(0, ray, weight[:, None] * products)
    shaded = (total > 0).nonzero()[:, 0]
    feature = torch.nn.functional.linear(composited[shaded] / total[shaded, None], model.basis)
    colour = model.shade(feature, rays[shaded, 3:])
    return feature, colour, colour.new_zeros(len(rays), 3).index_copy(0, shaded, total[shaded, None] * colour)


def camera_rays(camera: Camera) -> torch.Tensor:
    """The rays of a camera's window as one float32 tensor (h * w, 6)."""
    return torch.from_numpy(np.concatenate(camera.rays(), axis=1))


@torch.no_grad()
def render(
    model: TensorfModel, camera: Camera, chunk: int = 4096, progress: Callable[[int, int], None] | None = None
) -> Rendering:
    """Render the camera's window.

    Parameters: ``chunk`` rays are evaluated at a time; it bounds the memory, not the result. After each
    ``progress(done, all)`` is called, in rays.
    Statistics: besides the common ones ``samples_marched``, in the box or not.
    """
    rays = device_rays(camera) if model.forward_facing else camera_rays(camera)
    background = torch.tensor(camera.background) / 255
    rgb, depth = torch.empty(len(rays), 3), torch.empty(len(rays))
    statistics = dict.fromkeys(
        ("rays", "samples_marched", "samples", "samples_occupied", "samples_shaded", "colours"), 0
    )
    for start in range(0, len(rays), chunk):
        part = trace(model, rays[start : start + chunk], background=background)
        rgb[start : start + chunk] = part.rgb
        depth[start : start + chunk] = part.depth
        statistics["rays"] += len(part.acc)
        statistics["samples_marched"] += part.z.numel()
        statistics["samples"] += int(part.in_bbox.sum())
        statistics["samples_occupied"] += int(part.occupied.sum())
        statistics["samples_shaded"] += int(part.app_mask.sum())
        statistics["colours"] += len(part.sample_rgb)
        if progress is not None:
            progress(statistics["rays"], len(rays))
    _, _, width, height = camera.window
    shape = (height, width)
    return Rendering(rgb.reshape(*shape, 3).numpy(), depth.reshape(shape).numpy(), statistics)
