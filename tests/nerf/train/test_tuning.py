import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from nerf.checkpoint import load_model, read_model_file, save_model
from nerf.contract.config import load_config
from nerf.encode import encode_model
from nerf.metrics import psnr
from nerf.prepared import Prepared
from nerf.quantise import quantise_factors
from nerf.render import cubes
from nerf.train.tuning import RECOMMENDED, Knobs, describe, prune_factors, round_factors, tight_occupancy, tune
from rtnerf.base.errors import InputError
from tests.golden.models import look_at, small_model

TINY = load_config("tiny")
EVERYTHING = Knobs("tight", 1e-3, 0.7, 1e-2, 0.1, 0.2, 6)


def factors(model):
    return {name: tensor for name, tensor in model.named_tensors().items() if "planes" in name or "lines" in name}


def same(one, other):
    tensors = (model.named_tensors().values() for model in (one, other))
    return (
        all(torch.equal(a, b) for a, b in zip(*tensors, strict=True))
        and np.array_equal(one.mask, other.mask)
        and (one.step_ratio, one.shading_threshold) == (other.step_ratio, other.shading_threshold)
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"occupancy": "loose"}, "occupancy must be one of keep, tight, not loose"),
        ({"occupancy_alpha": 1.5}, "occupancy_alpha must be from 0 to 1, not 1.5"),
        ({"step_ratio": 0}, "step_ratio must be from 0.1 to 4, not 0"),
        ({"shading_threshold": -1}, "shading_threshold must be from 0 to 1, not -1"),
        ({"prune_density": math.nan}, "prune_density must be from 0 to inf, not nan"),
        ({"prune_appearance": -0.1}, "prune_appearance must be from 0 to inf, not -0.1"),
        ({"factor_bits": 3}, "factor_bits must be from 4 to 8, not 3"),
    ],
)
def test_values_out_of_range_are_refused(values, message):
    with pytest.raises(InputError) as error:
        Knobs(**values)
    assert str(error.value) == message


def test_the_defaults_do_nothing_and_nothing_is_changed_in_place():
    model = small_model()
    before = {name: tensor.clone() for name, tensor in model.named_tensors().items()}
    assert same(tune(model, Knobs()), model)
    tune(model, EVERYTHING)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.named_tensors().items())


@pytest.mark.parametrize("knobs", [EVERYTHING, RECOMMENDED, Knobs("tight", 1e-2), Knobs(factor_bits=5)])
@pytest.mark.parametrize("mask", ["ball", None])
def test_twice_is_as_once(knobs, mask):
    once = tune(small_model(mask=mask), knobs)
    assert same(tune(once, knobs), once)


# ---- Factors ----


def test_pruning_takes_small_factors_and_no_others():
    model = small_model()
    pruned = prune_factors(model, 0.3, 0.5)
    for name, tensor in factors(pruned).items():
        old, threshold = factors(model)[name], 0.3 if "density" in name else 0.5
        small = old.abs() <= threshold
        assert small.any(), name
        assert torch.equal(tensor != 0, ~small), name
        assert torch.equal(tensor[~small], old[~small]), name


@pytest.mark.parametrize("bits", [8, 7, 6, 4])
def test_rounded_factors_are_those_of_a_narrower_encoder(bits):
    model = small_model()
    rounded, high = round_factors(model, bits), (1 << bits - 1) - 1
    for group in ("density", "app"):
        planes, lines = getattr(rounded, f"{group}_planes"), getattr(rounded, f"{group}_lines")
        old = getattr(model, f"{group}_planes")
        for plane, line, was in zip(planes, lines, old, strict=True):
            step = float(was.abs().max()) / high
            torch.testing.assert_close(plane, was, atol=step / 2 + 1e-6, rtol=0)
            assert all(len(factor.unique()) <= 2 * high + 1 for factor in (plane, line))
        if bits == 8:
            ours = quantise_factors(planes, lines, 16)
            theirs = quantise_factors(old, getattr(model, f"{group}_lines"), 16)
            assert all(np.array_equal(a, b) for part in range(2) for a, b in zip(ours[part], theirs[part], strict=True))


def test_pruned_and_rounded_factors_take_fewer_bytes():
    def encoded_bytes(**values):
        table = encode_model(tune(small_model(), Knobs(**values)), TINY).size_table()
        return table["total"]["hybrid_bytes"]

    full = encoded_bytes()
    assert encoded_bytes(prune_density=0.2) < full
    assert encoded_bytes(prune_appearance=0.2) < full
    assert encoded_bytes(factor_bits=5) < full


# ---- Occupancy ----


@pytest.mark.parametrize(("mask", "least"), [(None, 1e-2), (None, 0.11), ("ball", 1e-2)])
def test_tight_occupancy_is_what_reaches_alpha_within_half_a_cell(mask, least):
    model = small_model(mask=mask)
    tight = tight_occupancy(model, least)
    sizes = [2 * n - 1 for n in model.grid_size[::-1]]
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in sizes), indexing="ij")
    places = torch.stack([x, y, z], dim=-1).view(-1, 3)
    alpha = 1 - torch.exp(-model.density(model.density_feature(places)) * model.step)
    assert bool(((alpha / least - 1).abs() > 1e-6).all()), "no place may be at the limit"
    reached = (alpha >= least).view(sizes).numpy()
    points = model.aabb[0] + (places + 1) / 2 * model.extent
    vertices = model.occupied(points).view(sizes)[::2, ::2, ::2].numpy()
    expected = np.zeros(model.grid_size[::-1], dtype=bool)
    for index in np.ndindex(*expected.shape):
        near = tuple(slice(max(2 * i - 1, 0), 2 * i + 2) for i in index)
        expected[index] = reached[near].any() and vertices[index]
    assert np.array_equal(tight.mask, expected)
    assert torch.equal(tight.mask_aabb, model.aabb)
    assert 0 < expected.mean() < vertices.mean()
    if mask is None:
        assert bool(tight.occupied(points)[reached.reshape(-1)].all())


def test_a_mask_on_the_same_grid_only_loses_vertices():
    loose = tight_occupancy(small_model(), 1e-2)
    rng = np.random.default_rng(0)
    holed = replace(loose, mask=loose.mask & (rng.random(loose.mask.shape) < 0.9))
    assert np.array_equal(tight_occupancy(holed, 1e-4).mask, holed.mask)
    tighter = tight_occupancy(holed, 0.1).mask
    assert tighter.sum() < holed.mask.sum()
    assert not (tighter & ~holed.mask).any()


def test_an_empty_mask_is_refused():
    with pytest.raises(InputError, match=r"occupancy_alpha must be below this model's largest \(0\.\d+\), not 0\.999$"):
        tight_occupancy(small_model(), 0.999)


# ---- The tuned model is a model like any other ----


@pytest.mark.parametrize("knobs", [RECOMMENDED, EVERYTHING])
def test_integers_follow_the_float_renderer(knobs):
    model = tune(small_model(), knobs)
    camera = look_at((2.2, -1.6, 1.9), width=20, height=16)
    assert psnr(Prepared(model, TINY).render(camera).rgb, cubes.render(model, camera).rgb) > 42


def test_a_file_keeps_the_tuned_model(tmp_path):
    model = tune(small_model(), EVERYTHING)
    save_model(model, tmp_path / "model", notes={"tuning": "{}"})
    assert same(load_model(tmp_path / "model"), model)
    assert read_model_file(tmp_path / "model")[2]["tuning"] == "{}"
    assert json.dumps(describe(model))


@pytest.mark.data
def test_recommended_on_lego(lego_model, lego_cameras):
    tuned = tune(lego_model, RECOMMENDED)
    losses, work = [], []
    for index in (2, 7, 13):
        camera, truth = lego_cameras.camera(index, 100), lego_cameras.ground_truth(index, 100, 100)
        before, after = cubes.render(lego_model, camera), cubes.render(tuned, camera)
        losses.append(psnr(before.rgb, truth) - psnr(after.rgb, truth))
        work.append([after.statistics[n] / before.statistics[n] for n in ("samples_occupied", "samples_shaded")])
    assert max(losses) < 0.1
    evaluated, shaded = np.mean(work, axis=0)
    assert evaluated < 0.4
    assert shaded < 0.5
    assert describe(tuned)["live_cubes"] < 0.6 * describe(lego_model)["live_cubes"]
    sizes = [encode_model(model, TINY).size_table()["total"]["hybrid_bytes"] for model in (lego_model, tuned)]
    assert sizes[1] < 0.95 * sizes[0]
