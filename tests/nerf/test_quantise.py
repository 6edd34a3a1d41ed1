"""Outliers in factors: the accelerator's picture must stay that of the model."""

from dataclasses import replace

import pytest
import torch

from nerf.contract.config import load_config
from nerf.metrics import psnr
from nerf.occupancy import read_cells, read_factors
from nerf.prepared import Prepared
from nerf.quantise import without_outliers
from tests.golden.models import look_at, small_model

CAMERA = look_at((2.5, 1.2, 1.0), width=12, height=12)


def quality(model):
    """PSNR of L2 against L0, in dB."""
    prepared = Prepared(model, load_config("tiny"))
    return psnr(*(prepared.render(CAMERA, pipeline).rgb for pipeline in ("integer", "uniform")))


def test_a_model_without_outliers_stays():
    model = small_model()
    cut = without_outliers(model, read_cells(model))
    read, kept = (read_factors(m.density_planes, m.density_lines, read_cells(model)) for m in (model, cut))
    assert all(
        torch.equal(a, b) for one, other in zip(read, kept, strict=True) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("group", ["density_planes", "density_lines", "app_planes", "app_lines"])
def test_an_outlier_that_nobody_sees_costs_nothing(group):
    usual = quality(small_model())
    model = small_model()
    getattr(model, group)[0].view(-1)[0] = 3000.0  # At a corner of the box, outside the ball of the mask.
    assert quality(model) > usual - 1


def test_an_outlier_that_is_seen_stays():
    """Nothing but one position is opaque: to cut it would be to lose it."""
    model = small_model(mask="full")
    for plane in model.density_planes:
        plane.mul_(0.01)
    centre = tuple(size // 2 for size in model.density_planes[0].shape[1:])
    model.density_planes[0][:, centre[0], centre[1]] = 30 * model.density_lines[0].sign()[:, :1].T[0]
    cut = without_outliers(model, read_cells(model))
    assert torch.equal(cut.density_planes[0].abs().amax(), model.density_planes[0].abs().amax())


def test_cells_are_read_where_a_point_is_occupied():
    model = small_model()
    cells = read_cells(model)
    points = model.aabb[0] + torch.rand(20000, 3, generator=torch.Generator().manual_seed(1)) * model.extent
    inside = points[model.occupied(points)]
    x, y, z = ((inside - model.aabb[0]) / model.unit).floor().long().numpy().T
    assert cells[z, y, x].all()
    assert 0.1 < cells.mean() < 0.9
    planes, lines = read_factors(model.density_planes, model.density_lines, cells)
    assert (planes[0][:, 0, 0] == 0).all()
    assert (planes[0][0] != 0).any()
    assert (lines[0][0] != 0).any()


def test_of_a_rectified_density_what_is_opaque_anyway_is_cut(monkeypatch):
    model = replace(small_model(), density_activation="relu")
    for plane in model.density_planes:
        plane.mul_(0.05)
        plane[:, : plane.shape[1] // 2] *= 100
    found = quality(model)
    monkeypatch.setattr("nerf.quantise.SHARES", (1.0,))
    assert found > quality(model) + 3
