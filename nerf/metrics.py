"""Picture quality."""

from __future__ import annotations

import math

import numpy as np

LEAST_SIDE = 7
"""Of a picture that has a structural similarity: the standard window, in pixels."""


def psnr(picture: np.ndarray, reference: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of two pictures of one shape with values in 0..1.

    -10 log10 of the mean squared error over all pixels and channels; infinite when equal. Where the reference is NaN
    nothing is known and nothing counts. Raises ValueError for different shapes.
    """
    squares = np.square(_difference(picture, reference))
    error = float(np.mean(squares[~np.isnan(reference)]))
    return math.inf if error == 0 else -10 * math.log10(error)


def ssim(picture: np.ndarray, reference: np.ndarray) -> float:
    """Structural similarity, at most 1, of two (H, W, 3) pictures in 0..1, each side at least 7.

    scikit-image with its standard 7x7 window, averaged over the channels, and over the windows without NaN in the
    reference; NaN where there is none. Raises ValueError for different shapes or a side below the window.
    """
    from scipy.ndimage import maximum_filter
    from skimage.metrics import structural_similarity

    _difference(picture, reference)
    unknown = np.isnan(reference).any(axis=-1)
    known = np.where(unknown[..., None], 0, reference), np.where(unknown[..., None], 0, picture)
    _, every = structural_similarity(*known, channel_axis=-1, data_range=1.0, full=True)
    edge = LEAST_SIDE // 2  # Windows reach beyond the picture here.
    inside = (slice(edge, -edge),) * 2
    return float(every[inside][~maximum_filter(unknown, LEAST_SIDE)[inside]].mean())


def _difference(picture: np.ndarray, reference: np.ndarray) -> np.ndarray:
    if picture.shape != reference.shape:
        raise ValueError(f"picture must be of shape {reference.shape}, not {picture.shape}")
    return np.subtract(picture, reference, dtype=np.float64)
