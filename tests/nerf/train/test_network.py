"""The network with gradients by hand, against PyTorch's own."""

import pytest
import torch
from torch.nn.functional import linear

from nerf.train import network


@pytest.mark.parametrize("bands", [0, 1, 3])
@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.2)])
def test_colours_and_gradients_are_those_of_the_model(random_model, monkeypatch, bands, kind, tolerance):
    monkeypatch.setattr(network, "hidden_type", lambda: kind)
    model = random_model(2, feature_bands=bands, view_bands=bands)
    generator = torch.Generator().manual_seed(0)
    products = torch.randn(50, model.basis.shape[1], generator=generator).requires_grad_()
    direction = torch.nn.functional.normalize(torch.randn(7, 3, generator=generator), dim=1)
    owner, given = torch.arange(50) % 7, torch.randn(50, 3, generator=generator)
    trained = [products, model.basis.requires_grad_(), *(one.requires_grad_() for layer in model.mlp for one in layer)]
    expected = model.shade(linear(products, model.basis), direction[owner])
    found = network.shade(model, products, direction, owner)
    assert float((found - expected).detach().abs().max()) < tolerance
    both = (torch.autograd.grad(colours, trained, given) for colours in (expected, found))
    for one, two in zip(*both, strict=True):
        assert float((one - two).norm()) <= tolerance * float(one.norm())


def test_hidden_layers_are_of_a_type_that_the_processor_has():
    assert network.hidden_type() in (torch.float32, torch.bfloat16)
