"""Kinds of models and views that people have, in a whole accelerator: every value and cycle is equal on all rungs."""

from dataclasses import replace

import pytest

from cosim import toolchain
from nerf.contract.config import load_config
from nerf.contract.network import NetworkSize
from tests import sizes
from tests.cosim.test_accelerator import render, under_full
from tests.golden.models import look_at, plain_model, small_model

pytestmark = [
    pytest.mark.simulator,
    pytest.mark.skipif(toolchain.find_verilator() is None, reason="verilator is not installed"),
]

TINY = load_config("tiny")
PLAIN = replace(
    TINY, name="plain", tile=8, colours="plain", hidden=32, feature_bands=0, view_bands=0, mlp_lanes=16, buffer_window=4
)
"""For colours that no network makes."""
LARGE = replace(sizes.LARGE, name="large", tile=8, mlp_lanes=16)
"""More components, hidden outputs and bands than by default."""
CAMERA = look_at((2.2, 1.0, 0.8), width=12, height=9, focal=20)


MODELS = {
    "SH": (PLAIN, lambda: plain_model("harmonics", 27)),
    "RGB": (PLAIN, lambda: plain_model("features", 3)),
    "featureC 64": (TINY, lambda: small_model(network=NetworkSize(hidden=64))),
    "a mask finer than the factors": (TINY, lambda: small_model(thin=(40, 9, 20))),
    "a grid of 500 along x": (TINY, lambda: small_model(grid=(500, 13, 22), thin=(480, 9, 15))),
    "a grid of 640 along z": (TINY, lambda: small_model(grid=(20, 25, 640), thin=(20, 20, 500))),
    "24 and 72 components, featureC 256, fea_pe 6": (
        LARGE,
        lambda: small_model(
            components=(24, 72), network=NetworkSize(hidden=256, features=25, feature_bands=6, view_bands=1)
        ),
    ),
}


QUICK = ("a mask finer than the factors", "a grid of 500 along x")
"""On hardware that other tests have built."""


@pytest.mark.parametrize("kind", [*QUICK, *under_full(*(kind for kind in MODELS if kind not in QUICK))])
def test_models(kind):
    config, model = MODELS[kind]
    result = render(model(), CAMERA, config)
    assert result.samples_shaded > 0
    # Six bands see errors of features 32 times as large.
    assert result.psnr_vs_float_db > (35 if config is LARGE else 40)


@pytest.mark.parametrize("background", [(0, 0, 0), *under_full(((20, 200, 90),))])
def test_backgrounds(background):
    camera = replace(CAMERA, focal_y=17.0, centre=(5.25, 4.75), background=background)
    assert render(small_model(), camera).samples > 0
