"""One picture of a capture."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from nerf.optics import Optics


class Shot(NamedTuple):
    """Where a picture was taken from, and with what optics.

    Parameters
    ----------
    pose : float64 array (4, 4)
        Camera to world, Blender axes.
    file : Path
        The picture; it need not exist, and its ending may be left off.
    optics : Optics
    split : str
        ``train``, ``val`` or ``test``; empty where the capture does not say.
    remark : str
        What the user should know of it; empty if nothing.
    """

    pose: np.ndarray
    file: Path
    optics: Optics
    split: str = ""
    remark: str = ""


EVERY = 8
"""Of the pictures in the order of their names, each of this number from the first on is a test view (LLFF, and
what evaluates COLMAP's captures)."""


def held_out(number: int) -> str:
    """Part that a capture's picture belongs to where only the order tells."""
    return "train" if number % EVERY else "test"
