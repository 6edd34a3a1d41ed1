"""Training of TensoRF models, scaled down so that a small one takes minutes on a CPU.

The method is that of the original program (vector-matrix factors, Adam, upsampling in steps, a mask
refreshed on the way, L1 on the density factors); only the schedule is shorter.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from nerf.cameras import Cameras, load_cameras, on_white
from nerf.checkpoint import save_model
from nerf.contract.errors import InputError
from nerf.model import LINE_AXES, PLANE_AXES, TensorfModel
from nerf.scenes import get_scene, pictures
from nerf.uniform import trace

Progress = Callable[[int, int, float], None]
"""Called as ``progress(steps done, steps in all, training PSNR in dB)``."""

_PSNR_MEMORY = 0.95  # Of the running mean error that is reported.
_PROGRESS_EVERY = 10  # Steps.
_NEAREST_MASK = 1e-4  # Least alpha of an occupied vertex, as in the original.


@dataclass(frozen=True)
class Dataset:
    """Rays and the colours they should have.

    Parameters: ``rays`` float32 (n, 6), origin and unit direction; ``rgb`` float32 (n, 3) on white.
    """

    rays: torch.Tensor
    rgb: torch.Tensor


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that decides the result of a training run.

    Fractions are of ``steps``. Grids have about ``edge ** 3`` voxels, whatever the box's shape.

    Raises :class:`nerf.contract.errors.InputError` for values out of range.
    """

    steps: int = 1500
    seed: int = 0
    batch_rays: int = 1024
    first_edge: int = 32
    last_edge: int = 92
    upsample_at: tuple[float, ...] = (0.1, 0.16, 0.22, 0.3)
    mask_at: tuple[float, ...] = (0.08, 0.16, 0.3, 0.6)
    density_components: int = 16
    app_components: int = 48
    features: int = 27
    hidden: int = 128
    bands: int = 2
    factor_rate: float = 0.02
    network_rate: float = 1e-3
    rate_decay: float = 0.1
    sparsity: tuple[float, float] = (8e-5, 4e-5)
    half_extent: float = 1.5
    near: float = 2.0
    far: float = 6.0

    def __post_init__(self) -> None:
        lowest = {"steps": 1, "seed": 0, "batch_rays": 1, "first_edge": 2, "density_components": 1}
        lowest |= {"app_components": 1, "features": 1, "hidden": 1, "bands": 0}
        lowest["last_edge"] = self.first_edge
        for name, least in lowest.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, not {getattr(self, name)}")


# ---- What the command line calls ----


def train_scene(
    name: str,
    out: str | Path,
    steps: int | None = None,
    seed: int = 0,
    size: int = 100,
    views: int = 100,
    progress: Progress | None = None,
) -> TensorfModel:
    """Train on a built-in scene and save the model, float16, to ``out``.

    Parameters: ``steps`` None = the default; ``size`` of the training pictures in pixels; ``views``
    their number; ``seed`` of the cameras and of the training.
    Returns the model in float32, the file holds it in float16.
    Raises :class:`nerf.contract.errors.InputError` for an unknown scene or an ``out`` in no folder.
    """
    settings = _settings(steps, seed, out)
    scene = get_scene(name)
    cameras = scene.cameras("train", views, seed)
    colours = [_composite(pixels) for pixels in pictures(scene, cameras, size)]
    return _train_and_save(_dataset(cameras, colours, size), settings, out, progress)


def train_dataset(
    transforms: str | Path,
    out: str | Path,
    steps: int | None = None,
    seed: int = 0,
    size: int = 100,
    progress: Progress | None = None,
) -> TensorfModel:
    """Train on the views of a ``transforms_*.json`` file and save the model, float16, to ``out``.

    Parameters: as in :func:`train_scene`. Raises :class:`nerf.contract.errors.InputError` for a data set
    without pictures.
    """
    settings = _settings(steps, seed, out)
    cameras = load_cameras(transforms)
    return _train_and_save(load_dataset(cameras, size), settings, out, progress)


def load_dataset(cameras: Cameras, size: int) -> Dataset:
    """All views of ``cameras`` at ``size`` pixels width.

    Raises :class:`nerf.contract.errors.InputError` where a picture is missing.
    """
    colours = []
    for index in range(len(cameras)):
        picture = cameras.ground_truth(index, size)
        if picture is None:
            raise InputError(f"picture must be a file, not missing: {cameras.files[index]}")
        colours.append(picture)
    return _dataset(cameras, colours, size)


# ---- Training ----


def train(dataset: Dataset, settings: TrainingSettings, progress: Progress | None = None) -> TensorfModel:
    """Train a model.

    Deterministic: the same data, settings, PyTorch version and number of threads give the same
    bits. Returns the model without gradients, its mask refreshed from the final factors; too few
    steps to find anything leave it without a mask.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    model = initial_model(settings, generator)
    dataset = _rays_through(model, dataset)
    upsamplings = _upsamplings(settings)
    masks = {round(fraction * settings.steps) for fraction in settings.mask_at}
    optimiser = _optimiser(model, settings)
    order, place, error = torch.empty(0, dtype=torch.long), 0, math.nan

    for step in range(1, settings.steps + 1):
        if place + settings.batch_rays > len(order):
            order, place = torch.randperm(len(dataset.rays), generator=generator), 0
        batch = order[place : place + settings.batch_rays]
        place += settings.batch_rays

        jitter = torch.rand(len(batch), generator=generator)
        loss = functional.mse_loss(trace(model, dataset.rays[batch], jitter).rgb, dataset.rgb[batch])
        masked = model.mask is not None
        total = loss + settings.sparsity[masked] * _mean_magnitude(model)
        optimiser.zero_grad()
        total.backward()
        for group in optimiser.param_groups:
            group["lr"] = group["initial_lr"] * settings.rate_decay ** (step / settings.steps)
        optimiser.step()

        current = float(loss.detach())
        error = current if math.isnan(error) else error + (1 - _PSNR_MEMORY) * (current - error)
        if progress and (step % _PROGRESS_EVERY == 0 or step == settings.steps):
            progress(step, settings.steps, -10 * math.log10(max(error, 1e-10)))

        changed = False  # Whether the optimiser's tensors were replaced.
        if step in masks and step < settings.steps:
            refreshed = refresh_mask(model)
            if refreshed.mask.any():  # An empty mask comes too early: it would end the training.
                model = shrink(refreshed)
                dataset = _rays_through(model, dataset)
                order = order[:0]
                changed = True
        if step in upsamplings:
            model = upsample(model, _resolution(model.extent, upsamplings[step]))
            changed = True
        if changed:
            optimiser = _optimiser(model, settings)
    model = _detached(model)
    refreshed = refresh_mask(model)
    return shrink(refreshed) if refreshed.mask.any() else model


def initial_model(settings: TrainingSettings, generator: torch.Generator) -> TensorfModel:
    """A random model on the first grid of the schedule, not yet trained."""
    half = settings.half_extent
    aabb = torch.tensor([[-half] * 3, [half] * 3])
    size = _resolution(aabb[1] - aabb[0], settings.first_edge)

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
    size = model.grid_size
    axes = [torch.linspace(*model.aabb[:, axis].tolist(), size[axis]) for axis in (2, 1, 0)]
    alpha = torch.zeros(size[::-1])
    for layer, z in enumerate(axes[0]):
        y, x = torch.meshgrid(axes[1], axes[2], indexing="ij")
        points = torch.stack([x, y, z.expand_as(x)], dim=-1).view(-1, 3)
        kept = model.occupied(points)
        sigma = torch.zeros(len(points))
        sigma[kept] = model.density(model.density_feature(model.normalise(points[kept])))
        alpha[layer] = (1 - torch.exp(-sigma * model.step)).view(size[1], size[0])
    widened = functional.max_pool3d(alpha[None, None], kernel_size=3, stride=1, padding=1)[0, 0]
    mask = (widened >= _NEAREST_MASK).numpy()
    return replace(model, mask=mask, mask_aabb=model.aabb)


@torch.no_grad()
def shrink(model: TensorfModel) -> TensorfModel:
    """The model and its mask cropped to the vertices that the mask, on the same grid, occupies.

    Raises :class:`nerf.contract.errors.InputError` where the mask is empty.
    """
    occupied = np.argwhere(model.mask)
    if len(occupied) == 0:
        raise InputError("mask must be set somewhere, not empty")
    # Two vertices at least; z, y, x turned to x, y, z.
    last = np.maximum(occupied.max(axis=0), 1)[::-1]
    first = np.minimum(occupied.min(axis=0)[::-1], last - 1)
    spans = [slice(int(low), int(high) + 1) for low, high in zip(first, last, strict=True)]
    lower = model.aabb[0] + model.unit * torch.tensor(first.copy(), dtype=torch.float32)
    upper = model.aabb[0] + model.unit * torch.tensor(last.copy(), dtype=torch.float32)

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
    return _with_factors(model, cropped, aabb=aabb, mask=mask, mask_aabb=aabb)


@torch.no_grad()
def upsample(model: TensorfModel, size: tuple[int, int, int]) -> TensorfModel:
    """The model with its factors interpolated linearly to a grid of ``size`` vertices (x, y, z)."""

    def resized(planes: list, lines: list) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
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

    return _with_factors(model, resized)


# ---- Parts ----


def _settings(steps: int | None, seed: int, out: str | Path) -> TrainingSettings:
    """The settings of a run; also refuses, before the work, what could not be written after it."""
    if not Path(out).absolute().parent.is_dir():
        raise InputError(f"out must be a file in an existing folder, not {out}")
    settings = TrainingSettings(seed=seed)
    return settings if steps is None else replace(settings, steps=steps)


def _train_and_save(
    dataset: Dataset, settings: TrainingSettings, out: str | Path, progress: Progress | None
) -> TensorfModel:
    model = train(dataset, settings, progress)
    save_model(model, out, "float16")
    return model


def _composite(pixels: np.ndarray) -> np.ndarray:
    scaled = pixels.astype(np.float64) / 255
    return on_white(np.concatenate([scaled[..., :3] * scaled[..., 3:], scaled[..., 3:]], axis=-1))


def _dataset(cameras: Cameras, colours: list[np.ndarray], size: int) -> Dataset:
    rays = [np.concatenate(cameras.camera(view, size).rays(), 1) for view in range(len(cameras))]
    rgb = np.concatenate([picture.reshape(-1, 3) for picture in colours])
    return Dataset(torch.from_numpy(np.concatenate(rays)), torch.from_numpy(rgb))


def _rays_through(model: TensorfModel, dataset: Dataset) -> Dataset:
    """The part of a data set whose rays meet the model's box."""
    origins, directions = dataset.rays[:, :3], dataset.rays[:, 3:]
    floored = torch.where(directions == 0, 1e-6, directions)
    one, other = (model.aabb[0] - origins) / floored, (model.aabb[1] - origins) / floored
    enter, leave = torch.minimum(one, other).amax(1), torch.maximum(one, other).amin(1)
    kept = (enter < leave) & (leave > 0)
    if not bool(kept.any()):
        raise InputError("rays must meet the box of the scene, not all miss it")
    return Dataset(dataset.rays[kept], dataset.rgb[kept])


def _resolution(extent: torch.Tensor, edge: int) -> tuple[int, int, int]:
    """Grid of about ``edge ** 3`` cubic voxels over a box of ``extent``."""
    lengths = extent.tolist()
    voxel = (math.prod(lengths) / edge**3) ** (1 / 3)
    return tuple(max(2, int(length / voxel + 1e-6)) for length in lengths)


def _upsamplings(settings: TrainingSettings) -> dict[int, int]:
    """Edge after each upsampling by step, in equal ratios from the first to the last."""
    count = len(settings.upsample_at)
    ratio = settings.last_edge / settings.first_edge
    return {
        max(1, round(fraction * settings.steps)): round(settings.first_edge * ratio ** ((number + 1) / count))
        for number, fraction in enumerate(settings.upsample_at)
    }


def _optimiser(model: TensorfModel, settings: TrainingSettings) -> torch.optim.Adam:
    factors, network = [], []
    for name, tensor in model.named_tensors().items():
        tensor.requires_grad_()
        (network if name.startswith(("basis", "mlp")) else factors).append(tensor)
    groups = [
        {"params": factors, "initial_lr": settings.factor_rate},
        {"params": network, "initial_lr": settings.network_rate},
    ]
    return torch.optim.Adam(groups, betas=(0.9, 0.99))


def _mean_magnitude(model: TensorfModel) -> torch.Tensor:
    """Sum over the density factors of their mean absolute values."""
    factors = model.density_planes + model.density_lines
    return torch.stack([factor.abs().mean() for factor in factors]).sum()


def _with_factors(model: TensorfModel, change: Callable, **others: object) -> TensorfModel:
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


def _detached(model: TensorfModel) -> TensorfModel:
    def plain(planes: list, lines: list) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        return [plane.detach() for plane in planes], [line.detach() for line in lines]

    mlp = [(weight.detach(), bias.detach()) for weight, bias in model.mlp]
    return _with_factors(model, plain, basis=model.basis.detach(), mlp=mlp)
