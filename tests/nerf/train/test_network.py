"""The network with gradients by hand, against PyTorch's own."""

from dataclasses import replace

import pytest
import torch

from nerf.train import network
from nerf.train.factors import channels_last
from nerf.train.grids import with_factors


@pytest.mark.parametrize(("bands", "app"), [(0, 4), (1, 20), (3, 32)])  # Channels beside vectors, and whole ones.
@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.2)])
def test_colours_and_gradients_are_those_of_the_model(random_model, monkeypatch, bands, app, kind, tolerance):
    monkeypatch.setattr(network, "hidden_type", lambda: kind)
    monkeypatch.setattr(network, "_BLOCK", 32)  # Two blocks, the second filled up.
    model = with_factors(random_model(2, app=app, feature_bands=bands, view_bands=bands), channels_last)
    model = replace(model, basis=model.basis / app)
    generator = torch.Generator().manual_seed(0)
    points = 2 * torch.rand(50, 3, generator=generator) - 1
    direction = torch.nn.functional.normalize(torch.randn(7, 3, generator=generator), dim=1)
    owner, given = torch.arange(50) % 7, torch.randn(50, 3, generator=generator)
    layers = [tensor for layer in model.mlp for tensor in layer]
    trained = [one.requires_grad_() for one in (model.basis, *layers, *model.app_planes, *model.app_lines)]
    expected = model.shade(model.app_feature(points), direction[owner])
    found = network.shade(model, points, direction, owner)
    assert float((found - expected).detach().abs().max()) < tolerance
    both = (torch.autograd.grad(colours, trained, given) for colours in (expected, found))
    for one, two in zip(*both, strict=True):
        assert float((one - two).norm()) <= tolerance * float(one.norm())


def test_hidden_layers_are_of_a_type_that_the_processor_has():
    assert network.hidden_type() in (torch.float32, torch.bfloat16)
