"""Evaluation of a model on test views while it is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nerf.cameras import Cameras
from nerf.metrics import psnr
from nerf.model import TensorfModel
from nerf.render import cubes
from rtnerf.base.errors import require


@dataclass(frozen=True, eq=False)
class Judge:
    """Test views, and when they are looked at.

    Parameters: ``cameras`` with pictures; ``size`` in pixels; of the views ``count``, evenly spread; ``times`` that a
    training is evaluated, the last time at its end. ``tell(step, PSNR in dB)`` is called each time.
    Raises :class:`rtnerf.base.errors.InputError` for more views than there are.
    """

    cameras: Cameras
    size: int
    count: int = 3
    times: int = 10
    tell: Callable[[int, float], None] = lambda step, psnr_db: None

    def __post_init__(self) -> None:
        require(1 <= self.count <= len(self.cameras), "test-views", f"from 1 to {len(self.cameras)}", self.count)

    def steps(self, total: int) -> set[int]:
        """After which of ``total`` steps."""
        return {max(1, total * number // self.times) for number in range(1, self.times + 1)}

    def psnr_db(self, model: TensorfModel, step: int) -> float:
        """Mean PSNR of the views (L1)."""
        views = [number * len(self.cameras) // self.count for number in range(self.count)]
        each = [
            psnr(cubes.render(model, self.cameras.camera(view, self.size)).rgb, self.cameras.truth(view, self.size))
            for view in views
        ]
        mean = float(np.mean(each))
        self.tell(step, mean)
        return mean
