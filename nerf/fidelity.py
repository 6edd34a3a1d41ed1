"""What encoding costs: the integers (L2) against the floats (L0) that they were made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nerf.metrics import psnr
from nerf.prepared import Prepared
from nerf.surroundings import all_round

TYPICAL_DB = 35.0
"""PSNR of a good model against its pictures."""
NOTABLE_DB = 0.1
"""Loss above which a user should be told."""


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
    cameras = all_round(job.floats)
    integers, floats = (
        np.concatenate([job.render(camera, pipeline).rgb for camera in cameras]) for pipeline in ("integer", "uniform")
    )
    return Fidelity(sum(camera.width * camera.height for camera in cameras), psnr(integers, floats))
