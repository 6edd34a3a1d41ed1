from dataclasses import replace

import numpy as np
import pytest
import torch

from nerf.contract.network import NetworkSize
from nerf.render.shading import Shading
from tests.golden.models import small_model


@pytest.mark.parametrize(("feature_bands", "view_bands"), [(0, 0), (1, 0), (0, 3), (2, 2), (6, 6)])
@pytest.mark.parametrize("features", [3, 27, 32])
def test_the_same_colours_as_of_the_model(features, feature_bands, view_bands):
    size = NetworkSize(features=features, hidden=32, feature_bands=feature_bands, view_bands=view_bands)
    same(small_model(network=size))


@pytest.mark.parametrize(("colour", "features"), [("harmonics", 27), ("features", 3)])
def test_colours_without_a_network(colour, features):
    model = small_model(network=NetworkSize(features=features))
    same(replace(model, colour=colour, mlp=[]))


def same(model):
    noise = np.random.default_rng(0)
    directions = noise.standard_normal((9, 3)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    products = noise.standard_normal((40, model.basis.shape[1])).astype(np.float32)
    ray = noise.integers(0, 9, 40)
    feature = torch.nn.functional.linear(torch.from_numpy(products), model.basis)
    wanted = model.shade(feature, torch.from_numpy(directions[ray])).numpy()
    found = Shading(model, directions)(products, ray)
    assert found.shape == (40, 3)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
