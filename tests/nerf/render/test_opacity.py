import numpy as np

from nerf.render import opacity
from rtnerf.base.compiled import allocating


@allocating
def exponentials(values):
    out = np.empty_like(values)
    for n in range(len(values)):
        out[n] = opacity.exponential(values[n])
    return out


@allocating
def opacities(features, distance, law):
    out = np.empty_like(features)
    for n in range(len(features)):
        out[n] = opacity.opacity(features[n], distance, law)
    return out


def test_the_exponential_is_right_to_two_roundings():
    values = -np.concatenate([np.geomspace(1e-30, 80, 100_000), [0]]).astype(np.float32)
    wanted = np.exp(values.astype(np.float64))
    np.testing.assert_allclose(exponentials(values), wanted, rtol=2 * 2.0**-24)
    assert exponentials(np.array([-1e30], np.float32)) == exponentials(np.array([-80], np.float32))


def law(softplus):
    return opacity.Density(np.float32(-10), softplus, np.float32(25), np.float32(1e-4), 1e-3)


def test_alpha_of_both_densities():
    features, distance = np.linspace(-60, 90, 10_001, dtype=np.float32), np.float32(0.3)
    soft = np.log1p(np.exp(features.astype(np.float64) - 10))
    np.testing.assert_allclose(opacities(features, distance, law(True)), 1 - np.exp(-soft * distance), atol=2.5e-7)
    rectified = np.maximum(features.astype(np.float64), 0)
    np.testing.assert_allclose(
        opacities(features, distance, law(False)), 1 - np.exp(-rectified * distance), atol=2.5e-7
    )
    assert not opacities(np.full(3, -1e30, np.float32), distance, law(False)).any()
    assert not opacities(features, np.float32(0), law(True)).any()
