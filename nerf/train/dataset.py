"""What a model is trained on: rays, and the colours they should have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from nerf.cameras import Cameras
from nerf.model import TensorfModel
from nerf.pictures import WHITE
from nerf.render.uniform import box_distances
from rtnerf.base.errors import InputError

_CHUNK = 1 << 20  # Rays that are looked at together: bounds the memory.


@dataclass(frozen=True)
class Dataset:
    """Rays and the colours they should have.

    Parameters: ``rays`` float32 (n, 6), origin and unit direction; ``rgb`` float32 (n, 3), on ``background``,
    8 bits a channel.
    Raises :class:`rtnerf.base.errors.InputError` for numbers that are not finite.
    """

    rays: torch.Tensor
    rgb: torch.Tensor
    background: tuple[int, int, int] = WHITE

    def __post_init__(self) -> None:
        for name in ("rays", "rgb"):
            for values in getattr(self, name).split(_CHUNK):
                if not bool(torch.isfinite(values).all()):
                    raise InputError(f"{name} must be finite, not {float(values[~torch.isfinite(values)][0])}")


def load_dataset(cameras: Cameras, size: int) -> Dataset:
    """All views of ``cameras`` at ``size`` pixels width.

    Raises :class:`rtnerf.base.errors.InputError` where a picture is missing or of another shape than the file says.
    """
    return dataset_of(cameras, (cameras.truth(index, size) for index in range(len(cameras))), size)


def dataset_of(cameras: Cameras, truths: Iterable[np.ndarray], size: int) -> Dataset:
    """The same with pictures (h, w, 3) of the views in turn; pixels that are NaN are left out."""
    rays, rgb = [], []
    for view, picture in enumerate(truths):
        colours = torch.from_numpy(picture.reshape(-1, 3))
        known = torch.isfinite(colours).all(dim=1)
        rays.append(torch.from_numpy(np.concatenate(cameras.camera(view, size).rays(), 1))[known])
        rgb.append(colours[known])
    return Dataset(torch.cat(rays), torch.cat(rgb), cameras.background)


def meeting(model: TensorfModel, dataset: Dataset) -> torch.Tensor:
    """Numbers of the rays of a data set that meet the model's box, ascending.

    Raises :class:`rtnerf.base.errors.InputError` where there is none.
    """
    numbers = []
    for part, rays in enumerate(dataset.rays.split(_CHUNK)):
        enter, leave = box_distances(model, rays)
        numbers.append(((enter < leave) & (leave > 0)).nonzero()[:, 0] + part * _CHUNK)
    found = torch.cat(numbers)
    if len(found) == 0:
        raise InputError("rays must meet the box of the scene, not all miss it")
    return found
