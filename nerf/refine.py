"""A model on a finer grid: the same factors, read at more vertices, for a mask that is finer than they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.nn.functional import interpolate

from nerf.contract.config import CUBE
from nerf.contract.scene_image import CUBE_LIMITS, MASK_WINDOW, cubes_of
from nerf.model import LINE_AXES, PLANE_AXES, TensorfModel
from nerf.occupancy import mask_cells_per_cell
from rtnerf.base.errors import require

FINEST = (MASK_WINDOW - 1) / CUBE
"""Mask cells along a factor cell, of which a cube's window holds all that the cube may meet."""


def for_its_mask(model: TensorfModel) -> TensorfModel:
    """Return the model with its cells cut into as many parts along each axis as its mask needs.

    Factors are linear in a cell, so those of the parts are the same function.

    Raises
    ------
    InputError
        The finer grid would be too large for a scene image.
    """
    finer = mask_cells_per_cell(model)
    parts = [max(math.ceil(value / FINEST), 1) for value in finer]
    if parts == [1, 1, 1]:
        return model
    size = [(vertices - 1) * part + 1 for vertices, part in zip(model.grid_size, parts, strict=True)]
    most = [limit * CUBE for limit in CUBE_LIMITS]
    rule = (
        f"at most {FINEST:g} times as fine as the factor grid, where a finer one ({_by(size)} vertices) is larger than "
        f"{_by(most)} (rtnerf tune --occupancy tight makes such a mask)"
    )
    fits = all(n <= limit for n, limit in zip(cubes_of((size[0], size[1], size[2])), CUBE_LIMITS, strict=True))
    require(fits, "mask grid", rule, f"{max(finer):.3g} times")
    return _refined(model, size)


def _by(numbers: Sequence[int]) -> str:
    return "x".join(map(str, numbers))


def _refined(model: TensorfModel, size: Sequence[int]) -> TensorfModel:
    factors: dict[str, Any] = {}
    for kind in ("density", "app"):
        planes, lines = getattr(model, f"{kind}_planes"), getattr(model, f"{kind}_lines")
        factors[f"{kind}_planes"] = [
            _resized(plane, (size[second], size[first]))
            for plane, (first, second) in zip(planes, PLANE_AXES, strict=True)
        ]
        factors[f"{kind}_lines"] = [
            _resized(line[:, :, None], (size[axis], 1))[:, :, 0] for line, axis in zip(lines, LINE_AXES, strict=True)
        ]
    unit = (model.extent / (torch.tensor(list(size)) - 1)).mean()
    return replace(model, **factors, step_ratio=model.step / float(unit))


def _resized(factor: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    if not len(factor):
        return factor.new_zeros((0, *size))
    return interpolate(factor[None], size, mode="bilinear", align_corners=True)[0]
