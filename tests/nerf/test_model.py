import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nerf.model import encode_frequencies
from rtnerf.base.errors import InputError


def interpolate(grid, coordinates):
    """Multilinear interpolation of grid (C, N...) at normalised coordinates, zero outside."""
    shape = grid.shape[1:]
    positions = [(c + 1) / 2 * (n - 1) for c, n in zip(coordinates, shape, strict=True)]
    total = np.zeros(len(grid))
    for corner in product((0, 1), repeat=len(shape)):
        index = [math.floor(p) + c for p, c in zip(positions, corner, strict=True)]
        if all(0 <= i < n for i, n in zip(index, shape, strict=True)):
            weight = math.prod(1 - abs(p - i) for p, i in zip(positions, index, strict=True))
            total += weight * grid[(slice(None), *index)]
    return total


def products(planes, lines, q):
    x, y, z = q
    places = (((y, x), (z,)), ((z, x), (y,)), ((z, y), (x,)))
    return np.concatenate(
        [
            interpolate(plane.double().numpy(), on_plane) * interpolate(line.double().numpy(), on_line)
            for plane, line, (on_plane, on_line) in zip(planes, lines, places, strict=True)
        ]
    )


unit = st.floats(-1, 1, width=32)
points = st.lists(st.tuples(unit, unit, unit), min_size=1, max_size=5)


@settings(max_examples=40, deadline=None)
@given(points)
def test_density_feature_is_the_sum_of_plane_times_line(random_model, normalised):
    model = random_model(1)
    expected = [products(model.density_planes, model.density_lines, q).sum() for q in normalised]
    actual = model.density_feature(torch.tensor(normalised, dtype=torch.float32))
    np.testing.assert_allclose(actual, expected, atol=2e-5)


@settings(max_examples=40, deadline=None)
@given(points)
def test_app_feature_is_pair_major_products_times_basis(random_model, normalised):
    model = random_model(2)
    basis = model.basis.double().numpy()
    expected = [basis @ products(model.app_planes, model.app_lines, q) for q in normalised]
    actual = model.app_feature(torch.tensor(normalised, dtype=torch.float32))
    np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_encoding_is_channel_major_sines_before_cosines_without_pi():
    encoded = encode_frequencies(torch.tensor([[0.1, -0.7]]), 3)[0]
    angles = [0.1, 0.2, 0.4, -0.7, -1.4, -2.8]
    expected = [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
    np.testing.assert_allclose(encoded, expected, atol=1e-6)


@pytest.mark.parametrize(("view_bands", "feature_bands"), [(2, 2), (0, 1), (3, 0)])
def test_shading_network_order_of_inputs(random_model, view_bands, feature_bands):
    model = random_model(3, view_bands=view_bands, feature_bands=feature_bands)
    generator = np.random.default_rng(0)
    feature, view = generator.normal(size=(4, 5)), generator.normal(size=(4, 3))

    def encode(values, bands):
        angles = (values[:, :, None] * 2.0 ** np.arange(bands)).reshape(4, -1)
        return [np.sin(angles), np.cos(angles)]

    x = np.concatenate([feature, view, *encode(feature, feature_bands), *encode(view, view_bands)], axis=1)
    for weight, bias in model.mlp[:2]:
        x = np.maximum(x @ weight.double().numpy().T + bias.double().numpy(), 0)
    weight, bias = (part.double().numpy() for part in model.mlp[2])
    expected = 1 / (1 + np.exp(-(x @ weight.T + bias)))
    actual = model.shade(torch.from_numpy(feature).float(), torch.from_numpy(view).float())
    np.testing.assert_allclose(actual, expected, atol=2e-5)


def test_occupied_follows_the_mask_in_its_own_box(random_model):
    mask_aabb = torch.tensor([[-0.8, -0.9, -0.5], [0.7, 1.0, 0.9]])
    model = random_model(4, mask_aabb=mask_aabb)
    generator = np.random.default_rng(1)
    at = generator.uniform([-1, -1.2, -0.7], [1, 1.1, 0.8], (500, 3)).astype(np.float32)
    low, high = mask_aabb.double().numpy()
    grid = model.mask[None].astype(float)
    expected = [interpolate(grid, (2 * (p - low) / (high - low) - 1)[::-1])[0] > 0 for p in at]
    actual = model.occupied(torch.from_numpy(at)).numpy()
    assert actual.tolist() == expected
    assert 50 < sum(expected) < 450


def test_without_a_mask_everything_is_occupied(random_model):
    assert random_model(0, mask=None).occupied(torch.zeros(3, 3)).all()


def test_a_vertex_without_weight_does_not_occupy(random_model):
    mask = np.zeros((3, 3, 3), dtype=bool)
    mask[1, 1, 2] = True
    aabb = torch.tensor([[-1.0] * 3, [1.0] * 3])
    model = random_model(0, mask=mask, aabb=aabb)
    at = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [1.0, 0.0, 0.0], [0.5, 1.0, 0.0]])
    assert model.occupied(at).tolist() == [False, True, True, False]


def test_density_activation(random_model):
    feature = torch.tensor([-3.0, 0.0, 2.0])
    softplus = random_model(0).density(feature)
    np.testing.assert_allclose(softplus, np.log1p(np.exp(feature.numpy() - 1)), rtol=1e-6)
    assert random_model(0, density_activation="relu").density(feature).tolist() == [0, 0, 2]


def test_derived_lengths(random_model):
    model = random_model(0)
    extent = np.array([2.0, 2.3, 1.5])
    unit_length = extent / np.array([8, 10, 6])
    assert model.grid_size == (9, 11, 7)
    np.testing.assert_allclose(model.unit, unit_length, rtol=1e-6)
    assert model.step == pytest.approx(unit_length.mean() * 0.5)
    diagonal = np.linalg.norm(extent)
    assert model.sample_count == int(diagonal / (unit_length.mean() * 0.5)) + 1


@pytest.mark.data
def test_lego_has_the_documented_lengths(lego_model):
    assert lego_model.grid_size == (98, 166, 128)
    assert lego_model.sample_count == 460
    assert lego_model.step == pytest.approx(0.00755, abs=1e-5)


def swapped(tensors, index, tensor):
    return [tensor if number == index else old for number, old in enumerate(tensors)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda m: {"density_planes": swapped(m.density_planes, 1, torch.zeros(3, 8, 9))},
            "density_planes.1 must be of shape (3, 7, 9), not (3, 8, 9)",
        ),
        (
            lambda m: {"app_lines": swapped(m.app_lines, 0, torch.zeros(4, 8))},
            "app_lines.0 must be of shape (4, 7), not (4, 8)",
        ),
        (
            lambda m: {"density_lines": swapped(m.density_lines, 2, torch.zeros(2, 9))},
            "density_planes.2 must be of shape (2, 7, 11), not (3, 7, 11)",
        ),
        (lambda m: {"basis": torch.zeros(5, 11)}, "basis must be of shape (5, 12), not (5, 11)"),
        (
            lambda m: {"feature_bands": 2},
            "mlp.0.weight must be of shape (8, 40), not (8, 30)",
        ),
        (
            lambda m: {"aabb": torch.tensor([[0.0] * 3, [1.0, 0.0, 1.0]])},
            "aabb must be a finite box of positive size, not 0 0 0 1 0 1",
        ),
        (lambda m: {"step_ratio": 0.0}, "step_ratio must be above 0, not 0.0"),
        (
            lambda m: {"step_ratio": 1e-6},
            "step_ratio must be large enough for at most 65536 samples a ray, not 1e-06",
        ),
        (lambda m: {"distance_scale": -25.0}, "distance_scale must be above 0 and at most 1e+06, not -25"),
        (lambda m: {"distance_scale": 0.0}, "distance_scale must be above 0 and at most 1e+06, not 0"),
        (lambda m: {"shading_threshold": -0.1}, "shading_threshold must be from 0 to 1, not -0.1"),
        (lambda m: {"near": -1.0}, "near must be 0 or more, not -1"),
        (lambda m: {"near": 7.0}, "near must be at most far (6), not 7"),
        (lambda m: {"density_shift": math.nan}, "density_shift must be finite, not nan"),
        (
            lambda m: {"density_activation": "exp"},
            "density_activation must be 'softplus' or 'relu', not 'exp'",
        ),
        (lambda m: {"mask": m.mask[0]}, "mask must be of shape (Z, Y, X), not (6, 8)"),
        (
            lambda m: {"basis": torch.full((5, 12), math.inf)},
            "basis must be finite, not inf",
        ),
    ],
)
def test_contradictions_are_refused(random_model, change, message):
    model = random_model(0)
    with pytest.raises(InputError) as caught:
        replace(model, **change(model))
    assert str(caught.value) == message
