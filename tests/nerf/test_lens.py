"""Lenses against formulas written out for single points, and pictures that have been through one."""

import math

import numpy as np
import pytest

from nerf.lens import Lens


@pytest.mark.parametrize("point", [(0.3, -0.2), (0.0, 0.0), (0.5, 0.4)])
def test_a_radial_and_tangential_lens(point):
    lens = Lens((-0.2, 0.05, 0.01, -0.003), (0.002, -0.004))
    x, y = point
    r = x * x + y * y
    radial = 1 - 0.2 * r + 0.05 * r**2 + 0.01 * r**3 - 0.003 * r**4
    expected = (
        x * radial + 2 * 0.002 * x * y - 0.004 * (r + 2 * x * x),
        y * radial + 0.002 * (r + 2 * y * y) - 2 * 0.004 * x * y,
    )
    np.testing.assert_allclose(lens.bend(*map(np.array, point)), expected, atol=1e-12)


@pytest.mark.parametrize("point", [(0.3, -0.2), (0.0, 0.0), (3.0, 4.0)])
def test_a_fisheye(point):
    lens = Lens((0.02, -0.01, 0.003, -0.0005), fisheye=True)
    x, y = point
    r = math.hypot(x, y)
    a = math.atan(r)
    factor = a * (1 + 0.02 * a**2 - 0.01 * a**4 + 0.003 * a**6 - 0.0005 * a**8) / r if r else 1
    np.testing.assert_allclose(lens.bend(*map(np.array, point)), (x * factor, y * factor), atol=1e-12)


def test_beyond_the_turning_point_nothing_is_seen():
    x = np.array([0.99, 1.01])
    assert np.isnan(Lens((-1 / 3, 0, 0, 0)).bend(x, 0 * x)[0]).tolist() == [False, True]
    assert not np.isnan(Lens((0.1, 0, 0, 0)).bend(1e3 * x, 0 * x)[0]).any()


def smooth(x, y):
    """A scene in the plane, by direction."""
    return np.stack([np.sin(9 * x + 2), np.cos(7 * y + x)], axis=-1)


@pytest.mark.parametrize(
    "lens",
    [Lens((-0.3, 0.05, 0, 0)), Lens((0.2, 0, 0, 0), (0.01, -0.02)), Lens((0.02, 0.01, 0, 0), fisheye=True)],
)
def test_a_picture_taken_through_a_lens_is_straightened(lens):
    width, height, focal, centre = 96, 80, (100.0, 90.0), (50.0, 37.0)
    x, y = np.meshgrid(
        (np.arange(width) + 0.5 - centre[0]) / focal[0], (np.arange(height) + 0.5 - centre[1]) / focal[1]
    )
    # What the lens shows at a pixel comes from the direction that it bends there: found by iteration.
    u, v = x.copy(), y.copy()
    for _ in range(200):
        bent = lens.bend(u, v)
        u, v = u + x - bent[0], v + y - bent[1]
    straight, seen = lens.straighten(smooth(u, v), focal, centre)
    expected = smooth(x, y)
    inner = seen.copy()
    inner[[0, -1]] = inner[:, [0, -1]] = False
    assert inner.mean() > 0.85
    wrong, mended = (np.abs(picture - expected)[inner].mean() for picture in (smooth(u, v), straight))
    assert mended < 0.1 * wrong
    assert (straight[~seen] == 0).all()
    if lens.radial[0] > 0.1:
        assert not seen[0, 0]
