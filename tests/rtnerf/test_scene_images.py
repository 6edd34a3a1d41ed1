"""A scene image in a model's place: what takes it, and what refuses it."""

import json

import numpy as np
import pytest


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The embedded model's image for tiny."""
    import rtnerf

    path = tmp_path_factory.mktemp("image") / "scene.rtn"
    path.write_bytes(rtnerf.prepare(rtnerf.load_model()).scene.data)
    return path


def test_it_renders_the_models_integers_on_any_background(call, image, tmp_path):
    options = ["--pipeline", "integer", "--size", 12, "--background", "0,90,255"]
    for name, model in (("image", ["--model", image]), ("model", [])):
        status, _, err = call("render", *model, *options, "--out", tmp_path / f"{name}.npy")
        assert (status, err) == (0, "")
    pictures = [np.load(tmp_path / f"{name}.npy") for name in ("image", "model")]
    assert np.array_equal(*pictures)
    np.testing.assert_allclose(pictures[0][0, 0], [0, 90 / 255, 1], atol=1e-6)


def test_it_is_simulated(call, image, tmp_path):
    for name, model in (("image", ["--model", image]), ("model", [])):
        status, _, err = call("simulate", *model, "--size", 6, "--json", tmp_path / name)
        assert (status, err) == (0, "")
    image_cycles, model_cycles = (json.loads((tmp_path / name).read_text())["cycles"] for name in ("image", "model"))
    assert image_cycles == model_cycles


FLOATS = "a checkpoint or a model, not a scene image: that holds 8-bit integers for render --pipeline integer, simulate"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["encode", "--out", "x"], f"model must be {FLOATS}"),
        (["tune", "--out", "x"], f"model must be {FLOATS}"),
        (["render", "--out", "x", "--size", "4"], f"model must be {FLOATS}"),
        (["ablate", "--size", "4"], f"model must be {FLOATS}"),
        (
            ["simulate", "--encoding", "dense"],
            "encoding must be absent with a scene image, which is encoded, not dense",
        ),
        (["simulate", "--config", "edge"], "config must be that of the scene image, tiny (0x"),
    ],
)
def test_what_it_has_not_is_refused(call, image, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, out, err = call(*arguments, "--model", image)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: {message}")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_image_is_refused(call, image, tmp_path):
    content = bytearray(image.read_bytes())
    content[-9] ^= 1
    (tmp_path / "bad.rtn").write_bytes(content)
    status, _, err = call("simulate", "--model", tmp_path / "bad.rtn")
    assert (status, err.partition("CRC-32")[0]) == (2, "error: scene must be of ")


def test_encode_says_how_far_the_integers_are(call, tmp_path, monkeypatch):
    monkeypatch.setattr("nerf.surroundings.SIDE", 4)
    status, out, err = call("encode", "--out", tmp_path / "s.rtn", "--json", tmp_path / "s.json")
    assert (status, err) == (0, "")
    found = json.loads((tmp_path / "s.json").read_text())["fidelity"]
    assert f"L2 against L0, 64 rays: {found['psnr_l2_vs_l0_db']:.1f} dB" in out
    assert found["rays"] == 64
    assert found["psnr_l2_vs_l0_db"] > 52
    assert found["loss_db"] == pytest.approx(10 * np.log10(1 + 10 ** (3.5 - found["psnr_l2_vs_l0_db"] / 10)))
    monkeypatch.setattr("nerf.fidelity.psnr", lambda picture, reference: 45.0)
    _, _, err = call("encode", "--out", tmp_path / "s.rtn")
    assert err == "note: the integers would take 0.41 dB from a picture of 35 dB\n"
