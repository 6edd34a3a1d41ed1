import math

import numpy as np
import pytest

from nerf.metrics import psnr, ssim


def test_psnr_of_a_known_error():
    black = np.zeros((4, 5, 3), dtype=np.float32)
    assert psnr(black + np.float32(0.1), black) == pytest.approx(20, abs=1e-5)
    assert psnr(black, black) == math.inf


def test_ssim_tells_equal_from_unrelated():
    pytest.importorskip("skimage")
    generator = np.random.default_rng(0)
    one, other = generator.random((2, 16, 16, 3), dtype=np.float32)
    assert ssim(one, one) == pytest.approx(1)
    assert abs(ssim(one, other)) < 0.2


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_shapes_must_agree(measure):
    with pytest.raises(ValueError, match=r"of shape \(8, 8, 3\), not \(8, 9, 3\)"):
        measure(np.zeros((8, 9, 3)), np.zeros((8, 8, 3)))


def test_what_is_not_known_does_not_count():
    generator = np.random.default_rng(0)
    reference = generator.random((20, 24, 3))
    picture = (reference + 0.05 * generator.random((20, 24, 3))).astype(np.float32)
    part = psnr(picture[:, :12], reference[:, :12]), ssim(picture[:, :12], reference[:, :12])
    reference[:, 12:] = np.nan
    assert (psnr(picture, reference), ssim(picture, reference)) == pytest.approx(part)
