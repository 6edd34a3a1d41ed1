"""The integer pipeline and the encoder on the checkpoint that the original program trained."""

import pytest

from nerf.contract.config import load_config
from nerf.metrics import psnr
from nerf.prepared import Prepared

TINY = load_config("tiny")

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def job(lego_model):
    return Prepared(lego_model, TINY)


@pytest.mark.parametrize("index", [2, 7, 13])
def test_integers_lose_less_than_a_tenth_of_a_decibel(lego_cameras, job, index):
    camera = lego_cameras.camera(index, 100)
    truth = lego_cameras.ground_truth(index, 100, 100)
    picture, reference = (job.render(camera, pipeline).rgb for pipeline in ("integer", "uniform"))
    assert psnr(picture, truth) > psnr(reference, truth) - 0.1
    assert psnr(picture, reference) > 58


def test_hybrid_is_the_smallest_form_and_uses_whole_positions(job):
    for name, row in job.encoded.size_table().items():
        headers = 8 * row["blocks"]
        assert row["hybrid_bytes"] <= min(row[f"{form}_bytes"] for form in ("bitmap", "coordinate")), name
        assert row["hybrid_bytes"] <= row["dense_bytes"] + headers, name
    planes = [job.encoded.table[f"density_plane_{pair}"] for pair in range(3)]
    # Flat bitmaps, which do not know of whole positions, take over an eighth more.
    assert sum(row["bitmap_bytes"] for row in planes) > 1.12 * sum(row["hybrid_bytes"] for row in planes)
