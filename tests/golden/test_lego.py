"""The integer pipeline and the encoder on the checkpoint that the original program trained."""

import pytest

from nerf.contract.config import load_config
from nerf.encode import encode_model
from nerf.golden.frame import decode_scene, render_frame
from nerf.metrics import psnr
from nerf.render import integer, uniform

TINY = load_config("tiny")

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def encoded(lego_model):
    return encode_model(lego_model, TINY)


@pytest.mark.parametrize("index", [2, 7, 13])
def test_integers_lose_less_than_a_tenth_of_a_decibel(lego_model, lego_cameras, encoded, index):
    camera = lego_cameras.camera(index, 100)
    truth = lego_cameras.ground_truth(index, 100, 100)
    frame = render_frame(decode_scene(encoded.scene, TINY), integer.camera_view(encoded.scene, camera))
    reference = uniform.render(lego_model, camera).rgb
    assert psnr(frame.rgb, truth) > psnr(reference, truth) - 0.1
    assert psnr(frame.rgb, reference) > 58


def test_hybrid_is_the_smallest_form_and_uses_whole_positions(encoded):
    for name, row in encoded.size_table().items():
        headers = 8 * row["blocks"]
        assert row["hybrid_bytes"] <= min(row[f"{form}_bytes"] for form in ("bitmap", "coordinate")), name
        assert row["hybrid_bytes"] <= row["dense_bytes"] + headers, name
    planes = [encoded.table[f"density_plane_{pair}"] for pair in range(3)]
    # Flat bitmaps, which do not know of whole positions, take over an eighth more.
    assert sum(row["bitmap_bytes"] for row in planes) > 1.12 * sum(row["hybrid_bytes"] for row in planes)
