"""Lens distortion, and pictures without it.

Radial and tangential polynomials of OpenCV (Brown 1971) with nerfstudio's k4, and OpenCV's fisheye (Kannala and Brandt
2006): where a pinhole camera sees (x, y), r = |(x, y)|, the lens sees

    radial:   (x, y) (1 + k1 r^2 + k2 r^4 + k3 r^6 + k4 r^8)
              + (2 p1 x y + p2 (r^2 + 2 x^2), 2 p2 x y + p1 (r^2 + 2 y^2))
    fisheye:  (x, y) / r  a (1 + k1 a^2 + k2 a^4 + k3 a^6 + k4 a^8), a = atan r
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Lens:
    """A lens that bends what a pinhole would show.

    Parameters
    ----------
    radial : (k1, k2, k3, k4)
    tangential : (p1, p2)
        0 for a fisheye.
    fisheye : bool
    """

    radial: tuple[float, float, float, float]
    tangential: tuple[float, float] = (0.0, 0.0)
    fisheye: bool = False

    def bend(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the lens shows what a pinhole shows at (x, y), in focal lengths from the principal point.

        NaN where the polynomial has turned back: no lens shows two directions in one place.
        """
        radius = np.hypot(x, y)
        grown = np.arctan(radius) if self.fisheye else radius
        square = grown * grown
        factor = np.polynomial.polynomial.polyval(square, (1.0, *self.radial))
        factor = np.where(square < self._turning_point(), factor, np.nan)
        if self.fisheye:
            factor = factor * np.divide(grown, radius, out=np.ones_like(radius), where=radius > 0)
        p1, p2 = self.tangential
        square, both = radius * radius, 2 * x * y
        return x * factor + p1 * both + p2 * (square + 2 * x * x), y * factor + p2 * both + p1 * (square + 2 * y * y)

    def _turning_point(self) -> float:
        """Square of the radius, or angle, up to which the radial polynomial grows."""
        slope = [(2 * power + 1) * factor for power, factor in enumerate((1.0, *self.radial))]
        roots = np.polynomial.polynomial.polyroots(np.trim_zeros(slope, "b"))
        real = [root.real for root in roots if abs(root.imag) < 1e-12 and root.real > 0]
        return min(real, default=math.inf)

    def straighten(
        self, pixels: np.ndarray, focal: tuple[float, float], centre: tuple[float, float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Make the picture that a pinhole of the same size, focal lengths and principal point would have taken.

        Parameters: ``pixels`` (H, W, channels); ``focal``, ``centre`` in pixels, the centre from the upper left corner.
        Returns (H, W, channels), bilinear between pixel centres, and where the lens saw anything, bool (H, W);
        elsewhere the picture is 0.
        """
        height, width, _ = pixels.shape
        x, y = np.meshgrid(
            (np.arange(width) + 0.5 - centre[0]) / focal[0], (np.arange(height) + 0.5 - centre[1]) / focal[1]
        )
        x, y = self.bend(x, y)
        across, down = x * focal[0] + centre[0], y * focal[1] + centre[1]
        seen = (across >= 0) & (across <= width) & (down >= 0) & (down <= height)
        column, right = _neighbours(across[seen], width)
        row, lower = _neighbours(down[seen], height)
        below, beside = np.minimum(row + 1, height - 1), np.minimum(column + 1, width - 1)
        result = np.zeros(pixels.shape)
        result[seen] = (1 - lower) * ((1 - right) * pixels[row, column] + right * pixels[row, beside]) + lower * (
            (1 - right) * pixels[below, column] + right * pixels[below, beside]
        )
        return result, seen


def _neighbours(place: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel whose centre is before a place on a line of pixels, and the share (n, 1) of the next one."""
    place = np.clip(place - 0.5, 0, length - 1)
    first = place.astype(np.int64)
    return first, (place - first)[:, None]
