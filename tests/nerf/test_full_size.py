"""A grid of a published model's size, 220x375x290 vertices, through encoder, integers and simulator."""

import numpy as np
import pytest
import torch

import rtnerf
from nerf.model import LINE_AXES, PLANE_AXES, TensorfModel

GRID = (220, 375, 290)


@pytest.fixture(scope="module")
def boxes():
    """A model whose density components are boxes, and whose mask is a little larger than they are."""
    rng = np.random.default_rng(1)
    centres = rng.uniform(-0.8, 0.8, (4, 3))
    axes = [np.abs(np.linspace(-1, 1, size)[:, None] - centres[:, axis]).T for axis, size in enumerate(GRID)]

    def factors(components, values):
        planes = [values(components, GRID[second], GRID[first]) for first, second in PLANE_AXES]
        return planes, [values(components, GRID[axis]) for axis in LINE_AXES]

    def noise(*shape):
        return torch.from_numpy(rng.normal(0, 0.1, shape).astype(np.float32))

    inside = [torch.from_numpy((axis < 0.12).astype(np.float32)) for axis in axes]
    planes = [5 * inside[second][:, :, None] * inside[first][:, None, :] for first, second in PLANE_AXES]
    app_planes, app_lines = factors(4, noise)
    x, y, z = ((axis < 0.14) for axis in axes)
    mask = np.einsum("nz,ny,nx->zyx", z.astype(np.uint8), y.astype(np.uint8), x.astype(np.uint8)) > 0
    layers = [(noise(8, 18), noise(8)), (noise(8, 8), noise(8)), (noise(3, 8), noise(3))]
    return TensorfModel(
        aabb=torch.tensor([[-0.64, -1.1, -0.84], [0.64, 1.09, 0.85]]),
        density_planes=planes,
        density_lines=[4 * inside[axis] for axis in LINE_AXES],
        app_planes=app_planes,
        app_lines=app_lines,
        basis=noise(5, 12),
        mlp=layers,
        mask=mask,
        view_bands=0,
        feature_bands=1,
    )


@pytest.mark.full
def test_encoder_integers_and_simulator_take_it(boxes, look_at):
    job = rtnerf.prepare(boxes, "edge")
    assert job.scene.grid == GRID
    assert 1000 < job.scene.live_cubes == int((job.decoded.rank >= 0).sum())
    camera = look_at((3.0, -1.5, 1.0))
    frame = job.simulate(camera)
    picture, reference = job.render(camera, "integer"), job.render(camera, "uniform")
    assert frame.samples == picture.statistics["samples_composited"] > 100
    assert float(np.square(picture.rgb - reference.rgb).mean()) < 1e-4
