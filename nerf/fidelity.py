"""What encoding costs: the integers (L2) against the floats (L0) that they were made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nerf.cameras import Camera
from nerf.metrics import psnr
from nerf.prepared import Prepared

TYPICAL_DB = 35.0
"""PSNR of a good model against its pictures."""
NOTABLE_DB = 0.1
"""Loss above which a user should be told."""
SIDE = 16
"""Of each sampled picture, pixels."""
_DIRECTIONS = ((1, 1, 1), (-1, 1, 0.5), (-1, -1, 1), (1, -1, 0.2))

_ASIDE = 0.05
"""Of the distance of the nearest plane."""


@dataclass(frozen=True)
class Fidelity:
    """L2 against L0 of a sample of rays.

    Parameters
    ----------
    rays : int
    psnr_db : float
    """

    rays: int
    psnr_db: float

    @property
    def loss_db(self) -> float:
        """What the integers take from a picture of `TYPICAL_DB`, if their errors are independent of the model's."""
        return 10 * math.log10(1 + 10 ** ((TYPICAL_DB - self.psnr_db) / 10))

    def record(self) -> dict[str, float]:
        """What a result file says of it."""
        return {"rays": self.rays, "psnr_l2_vs_l0_db": self.psnr_db, "loss_db": self.loss_db, "typical_db": TYPICAL_DB}


def fidelity(job: Prepared) -> Fidelity:
    """Compare integers with floats on pictures of the whole box from four sides. Raises as `Prepared.render`."""
    cameras = _cameras(job)
    integers, floats = (
        np.concatenate([job.render(camera, pipeline).rgb for camera in cameras]) for pipeline in ("integer", "uniform")
    )
    return Fidelity(len(_DIRECTIONS) * SIDE * SIDE, psnr(integers, floats))


def _cameras(job: Prepared) -> list[Camera]:
    """Cameras that see the ball round the box, none of it nearer than the model's near distance.

    Those of a forward-facing model look through its front, from beside its middle.
    """
    if job.forward_facing:
        return [_beside(across, down) for across, down, _ in _DIRECTIONS]
    lower, upper = job.floats.aabb.double().numpy()
    centre, radius = (lower + upper) / 2, float(np.linalg.norm(upper - lower)) / 2
    distance = radius + max(job.floats.near, radius / 4)
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
