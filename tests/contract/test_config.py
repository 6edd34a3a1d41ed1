"""Configurations: presets, files, rules, digest; fixed-point formats."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerf.contract.config import POWERS, AcceleratorConfig, load_config
from nerf.contract.formats import Format, round_shift, saturate, sigmoid_table, sine_table
from nerf.contract.network import Stage
from rtnerf.base.errors import InputError


def test_preset_and_file_with_the_same_parameters_have_one_digest(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("tile = 32\nmlp_lanes = 64\n")
    mine = load_config(path)
    assert mine.name == "mine"
    assert mine.digest == load_config("tiny").digest
    for text in ("tile = 16\n", "mlp_batch = 2\n", "ray_units = 2\n", "sample_lanes = 2\n"):
        path.write_text(text)
        assert load_config(path).digest != mine.digest


def test_parameters_that_were_added_are_in_the_digest_where_they_differ(tmp_path):
    assert load_config("tiny").digest_word == 0xE81B0E80
    digests = {replace(AcceleratorConfig(), feature_bands=f, view_bands=v).digest for f in (1, 2, 6) for v in (1, 2, 6)}
    components = {replace(AcceleratorConfig(), density_components=n).digest for n in (16, 32)}
    components |= {replace(AcceleratorConfig(), appearance_components=n).digest for n in (48, 64)}
    lanes = {replace(AcceleratorConfig(), shading="deferred", appearance_lanes=n).digest for n in (1, 3)}
    lanes |= {replace(AcceleratorConfig(), sample_lanes=2, density_lanes=n).digest for n in (1, 2)}
    assert (len(digests), len(components), len(lanes)) == (9, 3, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tile = 33", "tile must be a power of two from 4 to 128, not 33"),
        ("mlp_lanes = 8", "mlp_lanes must be a power of two from 16 to 128, not 8"),
        ("mlp_batch = 65", "mlp_batch must be from 1 to 64, not 65"),
        ("mlp_batch = 0", "mlp_batch must be from 1 to 64, not 0"),
        ("ray_units = 256", "ray_units must be a power of two from 1 to 128, not 256"),
        ("ray_units = 3", "ray_units must be a power of two from 1 to 128, not 3"),
        ("density_components = 24", "density_components must be a multiple of 16 from 16 to 64, not 24"),
        ("appearance_components = 32", "appearance_components must be a multiple of 16 from 48 to 96, not 32"),
        ("appearance_lanes = 3", "appearance_lanes must be 1 without deferred shading, not 3"),
        ("density_lanes = 4", "density_lanes must be a power of two from 1 to 2, not 4"),
        ("density_lanes = 2", r"density_lanes must be at most sample_lanes \(1\), not 2"),
        (
            "appearance_lanes = 3\nappearance_components = 64\nshading = 'deferred'",
            r"appearance_lanes must be 1 or 4 \(appearance_components / 16\), not 3",
        ),
        ("features = 33", "features must be from 24 to 32, not 33"),
        ("hidden = 48", "hidden must be a power of two from 32 to 256, not 48"),
        ("feature_bands = 7", "feature_bands must be from 0 to 6, not 7"),
        ("view_bands = -1", "view_bands must be from 0 to 6, not -1"),
        (
            "feature_bands = 0\nview_bands = 0",
            r"mlp_lanes must be at most the inputs of the first hidden layer \(30\), not 64",
        ),
        (
            "feature_bands = 1\nview_bands = 0\nhidden = 32\nmlp_lanes = 32\nfeatures = 24",
            r"mlp_lanes must be few enough for the hidden layers to take as long as the basis \(144 cycles\), not 32",
        ),
        ("hidden = 32", r"mlp_lanes must be at most hidden \(32\), not 64"),
        ("sample_lanes = 16", "sample_lanes must be a power of two from 1 to 8, not 16"),
        ("tile = 4\nsample_lanes = 8", "sample_lanes must be at most tile, not 8"),
        ("tile = 'wide'", "tile must be of type int, not 'wide'"),
        ("address_width = 12", "address_width must be from 24 to 64, not 12"),
        ("density_window_scale = 4", r"density_window_scale must be at most 16 / buffer_window \(8\), not 4"),
        (
            "interpolated_components = 8\ndensity_lanes = 2\nsample_lanes = 2",
            "interpolated_components must be 16 with several density or appearance lanes, not 8",
        ),
        ("cores = 2", "config must be made of the keys"),
        ("tile", "config must be valid TOML, not"),
    ],
)
def test_bad_files_are_refused(tmp_path, text, message):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_config(path)


@pytest.mark.parametrize("name", POWERS)
def test_every_size_has_its_range_and_is_in_the_digest(name):
    low, high = POWERS[name]
    base = AcceleratorConfig(mlp_lanes=32, sample_lanes=2, buffer_window=4)
    for size in {low, high} - {getattr(base, name)}:
        assert replace(base, **{name: size}).digest != base.digest
    for size in (low // 2, high * 2, low + 1 if low > 1 else 3):
        with pytest.raises(InputError, match=f"^{name} must be a power of two from {low} to {high}, not {size}$"):
            replace(base, **{name: size})


def test_unknown_preset_is_refused():
    with pytest.raises(
        InputError,
        match="config must be one of tiny, nano, edge, edge-deferred, cloud or an existing TOML file, not huge",
    ):
        load_config("huge")
    with pytest.raises(InputError, match="not 3"):
        AcceleratorConfig(tile=3)


@pytest.mark.parametrize(
    ("mlp_lanes", "lanes"), [(16, (2, 16, 1)), (32, (4, 32, 1)), (64, (9, 64, 1)), (128, (14, 128, 2))]
)
def test_the_small_stages_have_just_enough_lanes(mlp_lanes, lanes):
    stages = AcceleratorConfig(mlp_lanes=mlp_lanes).stages
    assert tuple(stage.lanes for stage in stages) == lanes
    for stage in stages:
        assert stage.cycles <= stages[1].cycles
        assert stage.lanes in (1, mlp_lanes) or Stage(stage.layers, stage.lanes - 1).cycles > stages[1].cycles


def test_a_sample_of_a_batch_has_the_multipliers_of_its_stages():
    assert load_config("edge").multipliers == 44 * (14 + 128 + 2)
    assert load_config("edge-deferred").multipliers == 28 * (14 + 128 + 2)


@given(st.integers(0, 12), st.integers(0, 12), st.booleans(), st.floats(-1e6, 1e6))
def test_quantise_is_nearest_and_saturates(integer, fraction, signed, value):
    fmt = Format(integer, fraction, signed)
    quantised = int(fmt.quantise(value))
    assert fmt.low <= quantised <= fmt.high
    limited = min(max(value, fmt.low / 2**fraction), fmt.high / 2**fraction)
    assert abs(quantised / 2**fraction - limited) <= 0.5 / 2**fraction
    assert fmt.width == integer + fraction + signed


@given(st.integers(-(2**40), 2**40), st.integers(0, 20))
def test_round_shift_is_round_half_up(value, bits):
    assert round_shift(value, bits) == np.floor(value / 2**bits + 0.5)


def test_saturate_limits_to_the_format():
    assert list(saturate(np.array([-300, -128, 0, 127, 300]), Format(7, 0))) == [-128, -128, 0, 127, 127]


def test_tables_are_within_half_a_unit():
    turns = np.arange(1024) / 1024
    assert np.abs(sine_table() / 2**14 - np.sin(2 * np.pi * turns)).max() <= 0.5 / 2**14 + 1e-12
    z = (np.arange(1024) - 512) / 64
    assert np.abs(sigmoid_table() / 4096 - 1 / (1 + np.exp(-z))).max() <= 1 / 4096
