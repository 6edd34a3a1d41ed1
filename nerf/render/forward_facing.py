"""Rays of forward-facing models, in normalised device coordinates (NDC): the view's frustum is a box there.

Source: Mildenhall et al., "NeRF", ECCV 2020, appendix C; the order of operations is that of the original TensoRF
program. The nearest plane is at distance 1 of the world's origin, along -z.
"""

from __future__ import annotations

import torch

from nerf.cameras import Camera
from rtnerf.base.errors import InputError


def device_rays(camera: Camera) -> torch.Tensor:
    """The rays of a camera's window in NDC: float32 (h * w, 6), origin on the near plane and direction.

    A direction's length is that of the whole ray, from the near plane to infinity. Raises
    :class:`rtnerf.base.errors.InputError` where a ray of the window does not go away from the near plane.
    """
    origin, direction = (torch.from_numpy(part) for part in camera.rays(unit=False))
    if not bool((direction[:, 2] < 0).all()):
        raise InputError(
            "view must look along -z of the world with a forward-facing model, whose cameras are centred so, "
            f"not with a ray along {float(direction[:, 2].max()):+.3g} z"
        )
    origin = origin + (-(1 + origin[:, 2:]) / direction[:, 2:]) * direction
    scale = -1 / torch.tensor(camera.frustum)
    depth = 2 / origin[:, 2:]
    place = scale * origin[:, :2] / origin[:, 2:]
    way = scale * (direction[:, :2] / direction[:, 2:] - origin[:, :2] / origin[:, 2:])
    return torch.cat([place, 1 + depth, way, -depth], dim=1)
