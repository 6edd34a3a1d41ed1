import numpy as np
import pytest
from PIL import Image

from nerf import pictures


def test_png_round_trips(tmp_path):
    picture = np.random.default_rng(1).random((5, 7, 3))
    pictures.write_png(tmp_path / "x.png", picture)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "x.png")), np.rint(picture * 255).astype(np.uint8))
    with pytest.raises(ValueError, match=r"rgb must be of shape \(H, W, 3\), not \(5, 7\)"):
        pictures.write_png(tmp_path / "x.png", picture[..., 0])


def test_npy_keeps_its_name(tmp_path):
    pictures.write_npy(tmp_path / "picture", np.arange(3))
    assert np.load(tmp_path / "picture").tolist() == [0, 1, 2]
