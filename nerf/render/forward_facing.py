"""Rays of forward-facing models, in normalised device coordinates (NDC): the view's frustum is a box there.

Source: Mildenhall et al., "NeRF", ECCV 2020, appendix C; the order of operations is that of the original TensoRF
program. The nearest plane is at distance 1 of the world's origin, along -z.
"""

from __future__ import annotations

import numpy as np
import torch

from nerf.cameras import Camera
from rtnerf.base.errors import InputError

_LEAST_HEIGHT = 1e-12
"""Of a camera over the plane z = 0 of the world, where rays are parallel in NDC: they meet far away."""
_FAR = 1e6


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


def device_projection(camera: Camera) -> np.ndarray:
    """From (x, y, z, 1) in NDC to a multiple, above 0, of the place in OpenCV axes of the camera: float64 (3, 4)."""
    across, down = camera.frustum
    to_world = np.array([[across, 0, 0, 0], [0, down, 0, 0], [0, 0, 0, -1], [0, 0, -0.5, 0.5]])
    return camera.from_world @ to_world


def device_centre(camera: Camera) -> tuple[np.ndarray, bool]:
    """Where all rays of a camera meet in NDC, float64 (3,), within 1e6; and whether they lead towards it."""
    x, y, z = camera.position
    z = z if abs(z) > _LEAST_HEIGHT else -_LEAST_HEIGHT
    across, down = camera.frustum
    centre = np.array([-x / across / z, -y / down / z, 1 + 2 / z])
    return np.clip(centre, -_FAR, _FAR), bool(z > 0)
