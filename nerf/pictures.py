"""Pictures and arrays as files."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from rtnerf.base.files import write_bytes


def write_npy(path: str | Path, array: np.ndarray) -> None:
    """Write one array in NumPy's format, under exactly this name."""
    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def write_png(path: str | Path, rgb: np.ndarray) -> None:
    """Write a picture as PNG; see `png`."""
    write_bytes(path, png(rgb))


def png(rgb: np.ndarray) -> bytes:
    """Return a picture of shape (H, W, 3), values 0..1 rounded to 8 bits, as PNG.

    Raises
    ------
    ValueError
        An array of another shape.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise ValueError(f"rgb must be of shape (H, W, 3), not {rgb.shape}")
    levels = np.clip(np.rint(np.asarray(rgb, np.float64) * 255), 0, 255).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(levels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
