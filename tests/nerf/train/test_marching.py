"""The training path against the reference renderer, which is differentiable too."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nerf.render import uniform
from nerf.train.factors import app_products, channels_last, visibility
from nerf.train.grids import with_factors
from nerf.train.marching import colours, occupied_cells


def _rays(look_at):
    eyes = ((3.0, -1.5, 1.0), (0.2, 0.1, 4.0), (-2.5, 0.0, 0.0))
    return torch.cat([uniform.camera_rays(look_at(eye)) for eye in eyes])


@pytest.mark.parametrize("shading", ["sample", "deferred"])
@pytest.mark.parametrize("mask", ["as given", "none", "far"])
@pytest.mark.parametrize("compiled", [True, False])
def test_colours_and_gradients_are_those_of_the_reference(random_model, look_at, monkeypatch, mask, shading, compiled):
    monkeypatch.setattr("nerf.train.marching.compiled_for", lambda device: compiled)
    monkeypatch.setattr("nerf.train.network.hidden_type", lambda: torch.float32)
    monkeypatch.setattr("nerf.train.factors.LEAST_TRANSMITTANCE", 2.0**-16)
    monkeypatch.setattr("nerf.train.factors.LEAST_GRADIENT", 0.0)
    others = {"shading": shading}
    if mask == "none":
        others["mask"] = None
    if mask == "far":  # A mask with a box of its own, most of it beside the factors'.
        others["mask_aabb"] = torch.tensor([[-0.5, -0.5, -3.0], [2.0, 0.5, 0.5]])
    model = random_model(3, near=0.5, density_shift=-3.0, **others)
    rays, jitter = _rays(look_at), torch.rand(3 * 192, generator=torch.Generator().manual_seed(1))

    def gradients(made, rgb):
        tensors = list(made.named_tensors().values())
        return torch.autograd.grad((rgb * torch.linspace(0, 1, 3)).sum(), tensors)

    for tensor in model.named_tensors().values():
        tensor.requires_grad_()
    traced = uniform.trace(model, rays, jitter)
    laid = with_factors(model, channels_last)
    marched = colours(laid, rays, jitter, occupied_cells(model))
    assert 100 < int(traced.app_mask.sum()) < int(traced.occupied.sum())
    torch.testing.assert_close(marched, traced.rgb, atol=2e-5, rtol=0)
    expected, found = gradients(model, traced.rgb), gradients(laid, marched)
    for name, one, two in zip(model.named_tensors(), expected, found, strict=True):
        scale = float(one.abs().max())
        torch.testing.assert_close(two, one, atol=1e-4 * scale, rtol=0, msg=name)


def test_rays_that_miss_are_white(random_model):
    model = with_factors(random_model(), channels_last)
    away = torch.tensor([[3.0, 0.0, 0.0, 1.0, 0.0, 0.0], [0.0, 9.0, 0.0, 0.0, 0.0, 1.0]])
    assert torch.equal(colours(model, away, torch.zeros(2), None), torch.ones(2, 3))


def test_density_in_vectors_is_that_one_by_one(random_model, look_at):
    rays, jitter = _rays(look_at), torch.rand(3 * 192, generator=torch.Generator().manual_seed(1))
    wide = with_factors(random_model(3, density=32, near=0.5, density_shift=-3.0), channels_last)
    padded = [[torch.cat([one, 0 * one[:1]]) for one in group] for group in (wide.density_planes, wide.density_lines)]
    odd = with_factors(replace(wide, density_planes=padded[0], density_lines=padded[1]), channels_last)
    found = []
    for model in (wide, odd):
        for tensor in (*model.density_planes, *model.density_lines):
            tensor.requires_grad_()
        _, _, weight, left = visibility(model, rays, jitter, occupied_cells(model))
        found.append((weight, *torch.autograd.grad((left * left).sum(), [*model.density_planes, *model.density_lines])))
    assert float(found[0][0].detach().max()) > 0.1
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(two[: len(one)], one, atol=1e-4 * float(one.detach().abs().max()), rtol=0)


def test_one_component_is_enough(random_model, look_at, monkeypatch):
    monkeypatch.setattr("nerf.train.network.hidden_type", lambda: torch.float32)
    model = random_model(1, density=1, app=1)
    points = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (40, 3)).astype(np.float32))
    laid = with_factors(model, channels_last)
    products = torch.nn.functional.linear(app_products(laid, points), model.basis)
    torch.testing.assert_close(products, model.app_feature(points))
    rays, jitter = _rays(look_at), torch.full((3 * 192,), 0.5)
    torch.testing.assert_close(
        colours(laid, rays, jitter, occupied_cells(model)), uniform.trace(model, rays, jitter).rgb, atol=2e-5, rtol=0
    )
