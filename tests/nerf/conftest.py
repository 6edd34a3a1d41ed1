"""Fixtures of the float side: small random models, and cameras around them."""

import numpy as np
import pytest
import torch

from nerf.cameras import Camera
from nerf.model import LINE_AXES, PLANE_AXES, TensorfModel


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def _random_model(seed=0, size=(9, 11, 7), density=3, app=4, features=5, hidden=8, **others):
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape):
        return torch.randn(shape, generator=generator)

    def factors(components):
        planes = [noise(components, size[b], size[a]) for a, b in PLANE_AXES]
        return planes, [noise(components, size[axis]) for axis in LINE_AXES]

    density_planes, density_lines = factors(density)
    app_planes, app_lines = factors(app)
    view_bands, feature_bands = others.pop("view_bands", 2), others.pop("feature_bands", 1)
    inputs = features * (1 + 2 * feature_bands) + 3 * (1 + 2 * view_bands)
    widths = [(hidden, inputs), (hidden, hidden), (3, hidden)]
    settings = {
        "aabb": torch.tensor([[-1.0, -1.2, -0.7], [1.0, 1.1, 0.8]]),
        "density_shift": -1.0,
        "distance_scale": 4.0,
        "mask": np.random.default_rng(seed).random((5, 6, 8)) < 0.3,
        "view_bands": view_bands,
        "feature_bands": feature_bands,
    }
    return TensorfModel(
        density_planes=density_planes,
        density_lines=density_lines,
        app_planes=app_planes,
        app_lines=app_lines,
        basis=noise(features, 3 * app),
        mlp=[(noise(*width), noise(width[0])) for width in widths],
        **(settings | others),
    )


@pytest.fixture(scope="session")
def random_model():
    """Function that makes a small random model; keywords override its parts."""
    return _random_model


def _look_at(eye, target=(0.0, 0.0, 0.0), width=16, height=12, focal=18.0):
    backward = np.subtract(eye, target).astype(np.float64)
    backward /= np.linalg.norm(backward)
    helper = [0, 1, 0] if abs(backward[2]) > 0.9 else [0, 0, 1]
    right = np.cross(helper, backward)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2] = right, np.cross(backward, right), backward
    pose[:3, 3] = eye
    return Camera(pose, focal, width, height)


@pytest.fixture(scope="session")
def look_at():
    """Function that makes a camera at ``eye`` that looks at ``target``."""
    return _look_at
