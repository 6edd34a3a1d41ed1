"""Cameras for a model whose own are not known: small pictures of the whole box from four sides."""

from __future__ import annotations

import math

import numpy as np

from nerf.cameras import Camera
from nerf.model import TensorfModel

SIDE = 16
"""Of each sampled picture, pixels."""
_DIRECTIONS = ((1, 1, 1), (-1, 1, 0.5), (-1, -1, 1), (1, -1, 0.2))

_ASIDE = 0.05
"""Of the distance of the nearest plane."""


def all_round(model: TensorfModel) -> list[Camera]:
    """Return cameras that see the ball round the box, none of it nearer than the model's near distance.

    Those of a forward-facing model look through its front, from beside its middle.
    """
    if model.forward_facing:
        return [_beside(across, down) for across, down, _ in _DIRECTIONS]
    lower, upper = model.aabb.double().numpy()
    centre, radius = (lower + upper) / 2, float(np.linalg.norm(upper - lower)) / 2
    distance = radius + max(model.near, radius / 4)
    focal = SIDE / 2 * math.sqrt(distance**2 - radius**2) / radius
    cameras = []
    for direction in _DIRECTIONS:
        backward = np.array(direction) / np.linalg.norm(direction)
        right = np.cross([0, 0, 1], backward)
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3] = np.stack([right, np.cross(backward, right), backward, centre + distance * backward], axis=1)
        cameras.append(Camera(pose, focal, SIDE, SIDE))
    return cameras


def _beside(across: float, down: float) -> Camera:
    pose = np.eye(4)
    pose[:2, 3] = _ASIDE * across, _ASIDE * down
    return Camera(pose, SIDE, SIDE, SIDE)
