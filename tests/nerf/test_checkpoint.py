import contextlib
import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from nerf.checkpoint import DEFAULT_MODEL, load_model, read_model_file, save_model
from nerf.contract.config import load_config
from nerf.encode import encode_model
from rtnerf.base.errors import InputError


def official(model, **arguments):
    """The dictionary that the original program would save for a model."""
    state = {}
    for kind in ("density", "app"):
        for pair in range(3):
            state[f"{kind}_plane.{pair}"] = getattr(model, f"{kind}_planes")[pair][None]
            state[f"{kind}_line.{pair}"] = getattr(model, f"{kind}_lines")[pair][None, :, :, None]
    state["basis_mat.weight"] = model.basis
    for layer, (weight, bias) in zip((0, 2, 4), model.mlp, strict=True):
        state[f"renderModule.mlp.{layer}.weight"] = weight
        state[f"renderModule.mlp.{layer}.bias"] = bias
    content = {
        "kwargs": {
            "aabb": model.aabb,
            "gridSize": list(model.grid_size),
            "density_n_comp": list(model.density_components),
            "appearance_n_comp": list(model.app_components),
            "app_dim": 5,
            "density_shift": model.density_shift,
            "alphaMask_thres": 1e-4,
            "distance_scale": model.distance_scale,
            "rayMarch_weight_thres": model.shading_threshold,
            "fea2denseAct": model.density_activation,
            "near_far": [model.near, model.far],
            "step_ratio": model.step_ratio,
            "shadingMode": "MLP_Fea",
            "pos_pe": 6,
            "view_pe": model.view_bands,
            "fea_pe": model.feature_bands,
            "featureC": 8,
        }
        | arguments,
        "state_dict": state,
    }
    if model.mask is not None:
        content["alphaMask.shape"] = (1, 1, *model.mask.shape)
        content["alphaMask.mask"] = np.packbits(model.mask.reshape(-1))
        content["alphaMask.aabb"] = model.mask_aabb
    return content


def assert_equal(one, other):
    assert one.named_tensors().keys() == other.named_tensors().keys()
    for name, tensor in one.named_tensors().items():
        assert torch.equal(tensor, other.named_tensors()[name]), name
        assert other.named_tensors()[name].dtype == torch.float32
    assert torch.equal(one.aabb, other.aabb)
    assert torch.equal(one.mask_aabb, other.mask_aabb)
    assert (one.mask is None) == (other.mask is None)
    if one.mask is not None:
        assert np.array_equal(one.mask, other.mask)
    for name in ("density_shift", "distance_scale", "step_ratio", "near", "far"):
        assert getattr(one, name) == getattr(other, name)
    assert one.shading_threshold == other.shading_threshold
    assert one.shading == other.shading
    assert one.density_activation == other.density_activation
    assert (one.view_bands, one.feature_bands) == (other.view_bands, other.feature_bands)


# ---- Official checkpoints ----


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("masked", [True, False], ids=["mask", "no mask"])
def test_official_checkpoint(random_model, tmp_path, zipped, masked):
    others = {"mask_aabb": torch.tensor([[-0.9] * 3, [0.95] * 3])} if masked else {"mask": None}
    model = random_model(5, **others)
    path = tmp_path / "model.th"
    torch.save(official(model), path, _use_new_zipfile_serialization=zipped)
    assert_equal(model, load_model(path))


def test_official_variants(random_model, tmp_path):
    """Half or double tensors, tensors or NumPy numbers where lists or numbers are usual."""
    model = random_model(6)
    content = official(
        model,
        gridSize=torch.tensor(model.grid_size),
        near_far=np.array([2.0, 6.0]),
        density_shift=np.float64(-1.0),
        density_n_comp=3,
        aabb=model.aabb.double(),
    )
    content["state_dict"]["basis_mat.weight"] = model.basis.double()
    path = tmp_path / "model.th"
    torch.save(content, path)
    assert_equal(model, load_model(str(path)))


def test_names_of_a_model_that_trained_on_several_gpus(random_model, tmp_path):
    model = random_model(6)
    content = official(model)
    content["state_dict"] = {f"module.{name}": tensor for name, tensor in content["state_dict"].items()}
    torch.save(content, tmp_path / "model.th")
    assert_equal(model, load_model(tmp_path / "model.th"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html>\n<html>", "a web page"),
    ],
)
def test_what_stands_in_a_models_place_is_named(tmp_path, content, reason):
    (tmp_path / "model.th").write_bytes(content)
    with pytest.raises(InputError, match=rf"^model must be a checkpoint, not .*model\.th \({reason}"):
        load_model(tmp_path / "model.th")


@pytest.mark.data
def test_lego_checkpoint(lego_model, lego, tmp_path):
    assert lego_model.mask.shape == (78, 102, 60)
    assert lego_model.mask.mean() == pytest.approx(0.257, abs=1e-3)
    save_model(lego_model, tmp_path / "lego.safetensors")
    assert_equal(lego_model, load_model(tmp_path / "lego.safetensors"))


class Malicious:
    """Unpickled by the plain pickle module, it creates the file ``target``."""

    def __init__(self, call, *arguments):
        self.parts = call, arguments

    def __reduce__(self):
        return self.parts


@pytest.mark.parametrize("zipped", [True, False, None], ids=["zip", "legacy", "bare pickle"])
@pytest.mark.parametrize("kind", ["os.system", "eval", "open", "numpy"])
def test_code_in_a_checkpoint_is_refused_and_not_run(random_model, tmp_path, zipped, kind):
    target = tmp_path / "executed"
    payload = {
        "os.system": Malicious(os.system, f"touch {target}"),
        "eval": Malicious(eval, f"open({str(target)!r}, 'w').close()"),
        "open": Malicious(open, str(target), "w"),
        "numpy": Malicious(np.ndarray.tofile, np.zeros(1), str(target)),
    }[kind]
    content = official(random_model(0)) | {"payload": payload}
    path = tmp_path / "model.th"
    if zipped is None:
        path.write_bytes(pickle.dumps(content["payload"]))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match="must be"):
        load_model(path)
    assert not target.exists()


def test_the_malicious_payload_would_work(tmp_path):
    target = tmp_path / "executed"
    pickle.loads(pickle.dumps(Malicious(open, str(target), "w"))).close()
    assert target.exists()


def without(content, part, name):
    del content[part][name]


def with_uneven_lines(content):
    state = content["state_dict"]
    for name in [name for name in state if "_plane." in name]:
        del state[name]
    state["density_line.1"] = torch.zeros(1, 9, 11, 1)


def placed(content, part, name, value):
    content[part][name] = value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("kwargs"), "kwargs must be a dictionary, not missing"),
        (lambda c: without(c, "kwargs", "step_ratio"), "kwargs.step_ratio must be present"),
        (lambda c: without(c, "state_dict", "app_line.2"), "app_line.2 must be a tensor, not miss"),
        (lambda c: without(c, "state_dict", "density_plane.0"), "density_plane.0 must be a tensor, not missing"),
        (
            lambda c: c.update(state_dict={"plane_coef": torch.zeros(3, 4, 5, 5)}),
            "class must be TensorVMSplit or TensorCP, not TensorVM",
        ),
        (with_uneven_lines, "density_line.0, 1 and 2 must have equal components in a TensorCP, not ["),
        (
            lambda c: placed(c, "kwargs", "shadingMode", "MLP_PE"),
            "shadingMode must be one of MLP_Fea, MLP, SH, RGB, not 'MLP_PE'",
        ),
        (
            lambda c: placed(c, "kwargs", "shadingMode", "SH"),
            "basis must have 27 features for colour harmonics, not 5",
        ),
        (
            lambda c: placed(c, "kwargs", "shadingMode", "RGB"),
            "basis must have 3 features for colour features, not 5",
        ),
        (
            lambda c: placed(c, "kwargs", "gridSize", [9, 11, 8]),
            "gridSize must be that of the factors (9, 11, 7), not (9, 11, 8)",
        ),
        (
            lambda c: placed(c, "kwargs", "contraction", "l2"),
            "kwargs.contraction must be absent (the original program has none), not 'l2'",
        ),
        (
            lambda c: placed(c, "state_dict", "renderModule.mlp.6.weight", torch.zeros(3, 3)),
            "state_dict.renderModule.mlp.6.weight must be absent (a model of this class has none), not a tensor",
        ),
        (
            lambda c: placed(c, "kwargs", "near_far", [2.0]),
            "kwargs.near_far must be 2 finite numbers, not [2.0]",
        ),
        (
            lambda c: placed(c, "kwargs", "density_shift", "low"),
            "kwargs.density_shift must be a finite number, not 'low'",
        ),
        (
            lambda c: c["state_dict"]["basis_mat.weight"].__setitem__((0, 0), float("nan")),
            "basis must be finite, not nan",
        ),
        (
            lambda c: placed(c, "state_dict", "app_plane.1", torch.zeros(1, 4, 7, 8)),
            "app_planes.1 must be of shape (4, 7, 9), not (4, 7, 8)",
        ),
        (
            lambda c: placed(c, "state_dict", "density_line.0", torch.zeros(3, 7)),
            "density_line.0 must be of shape (1, C, N, 1), not (3, 7)",
        ),
        (
            lambda c: placed(c, "state_dict", "basis_mat.weight", torch.zeros(5, 12).int()),
            "basis_mat.weight must be a dense tensor of floating-point numbers",
        ),
        (lambda c: c.pop("alphaMask.aabb"), "alphaMask.aabb must be present"),
        (
            lambda c: c.update({"alphaMask.mask": np.zeros(29, dtype=np.uint8)}),
            "mask must be 30 bytes of packed bits, not uint8 of shape (29,)",
        ),
        (
            lambda c: c.update({"alphaMask.shape": (5, 6, 8)}),
            "alphaMask.shape must be (1, 1, Z, Y, X), not (5, 6, 8)",
        ),
        (
            lambda c: c.update({"alphaMask.shape": (1, 1, 2**40, 2**40, 2**40)}),
            "bytes of packed bits",
        ),
    ],
)
def test_faulty_official_checkpoints_are_refused(random_model, tmp_path, change, message):
    model = random_model(0)
    model.basis = model.basis.clone()
    content = official(model)
    change(content)
    torch.save(content, tmp_path / "model.th")
    with pytest.raises(InputError) as caught:
        load_model(tmp_path / "model.th")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2], {"kwargs": 3}, torch.zeros(2), "text"])
def test_other_contents_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "model.th")
    with pytest.raises(InputError, match="must be a dictionary"):
        load_model(tmp_path / "model.th")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match=r"model must be a readable file, not .*absent\.th \(No s"):
        load_model(tmp_path / "absent.th")
    with pytest.raises(InputError, match="must be a readable file"):
        load_model(tmp_path)


@pytest.fixture(scope="module")
def saved(random_model):
    """The bytes of one model in each of the formats."""
    model, files = random_model(0), {}
    for name, zipped in (("zip", True), ("legacy", False)):
        buffer = io.BytesIO()
        torch.save(official(model), buffer, _use_new_zipfile_serialization=zipped)
        files[name] = buffer.getvalue()
    return files


relaxed = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@relaxed
@given(data=st.data(), kind=st.sampled_from(["zip", "legacy", "safetensors"]))
def test_truncated_files_are_refused(random_model, saved, tmp_path, data, kind):
    path = tmp_path / "model"
    if kind == "safetensors":
        save_model(random_model(0), path)
        content = path.read_bytes()
    else:
        content = saved[kind]
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(InputError, match="must be"):
        load_model(path)


@relaxed
@given(data=st.data(), kind=st.sampled_from(["zip", "legacy", "safetensors"]))
def test_damaged_files_load_or_are_refused(random_model, saved, tmp_path, data, kind):
    """A byte changed anywhere: a number may differ, but nothing except InputError is raised."""
    path = tmp_path / "model"
    if kind == "safetensors":
        save_model(random_model(0), path)
        content = bytearray(path.read_bytes())
    else:
        content = bytearray(saved[kind])
    last = len(content) - 1
    # Headers are small: draw from the first bytes as often as from all.
    place = data.draw(st.integers(0, min(1500, last)) | st.integers(0, last))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        load_model(path)


# ---- The project's own format ----


@relaxed
@given(shape=st.tuples(*[st.integers(1, 6)] * 3), seed=st.integers(0, 99))
def test_own_format_is_exact(random_model, tmp_path, shape, seed):
    mask = np.random.default_rng(seed).random(shape) < 0.5
    model = random_model(seed, mask=mask, mask_aabb=torch.tensor([[-0.3] * 3, [0.9] * 3]))
    save_model(model, tmp_path / "model.safetensors")
    assert_equal(model, load_model(tmp_path / "model.safetensors"))


def test_own_format_without_mask_and_other_constants(random_model, tmp_path):
    others = {"density_activation": "relu", "view_bands": 0, "near": 0.5, "far": 9.25, "shading": "deferred"}
    model = random_model(1, mask=None, **others)
    save_model(model, tmp_path / "model")
    assert_equal(model, load_model(tmp_path / "model"))


def test_float16_is_half_the_size_and_close(random_model, tmp_path):
    model = random_model(1, size=(40, 40, 40))
    for precision in ("float32", "float16"):
        save_model(model, tmp_path / precision, precision)
    sizes = [(tmp_path / name).stat().st_size for name in ("float32", "float16")]
    assert sizes[1] < 0.6 * sizes[0]
    again = load_model(tmp_path / "float16")
    np.testing.assert_allclose(model.basis, again.basis, rtol=1e-3)


def test_values_beyond_float16_are_refused(random_model, tmp_path):
    model = random_model(1)
    model.basis = model.basis * 1e6
    with pytest.raises(InputError, match="basis must be in the range of float16"):
        save_model(model, tmp_path / "model", "float16")
    assert not (tmp_path / "model").exists()


def test_saving_refuses_bad_arguments(random_model, tmp_path):
    with pytest.raises(InputError, match="precision must be 'float32' or 'float16', not 'int8'"):
        save_model(random_model(0), tmp_path / "model", "int8")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="output must be a file that can be written"):
        save_model(random_model(0), tmp_path / "file" / "model")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, h: h.update(format="other"), "format must be 'rtnerf-tensorf-1', not 'other'"),
        (lambda t, h: t.pop("app_lines.1"), "app_lines.1 must be a tensor, not missing"),
        (lambda t, h: t.update(mask=t["mask"][:-1].clone()), "bytes of packed bits"),
        (lambda t, h: h.update(model="{"), "header must be a complete description"),
        (lambda t, h: h.update(model="[]"), "header must be a complete description"),
        (lambda t, h: described(h, near="2"), "header must be a complete description, not near"),
        (lambda t, h: described(h, shading="both"), "shading must be 'sample' or 'deferred', not 'both'"),
        (lambda t, h: described(h, view_bands=2.5), "header must be a complete description"),
        (lambda t, h: described(h, aabb=[[0, 0], [1]]), "must be a tensor of numbers"),
        (lambda t, h: described(h, mask_shape=[5, 6, 7]), "mask must be 27 bytes"),
        (lambda t, h: described(h, mask_shape=[5, 6, "x"]), "must be"),
    ],
)
def test_faulty_own_files_are_refused(random_model, tmp_path, change, message):
    path = tmp_path / "model"
    save_model(random_model(0), path)
    length = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + length])["__metadata__"]
    tensors = load_file(path)
    change(tensors, header)
    save_file(tensors, path, header)
    with pytest.raises(InputError) as caught:
        load_model(path)
    assert message in str(caught.value)


def described(header, **changes):
    header["model"] = json.dumps(json.loads(header["model"]) | changes)


def test_embedded_model_fits_the_hardware():
    model = load_model()
    assert DEFAULT_MODEL.stat().st_size <= 4_000_000
    assert max(model.density_components) <= 16
    assert max(model.app_components) <= 48
    assert [tuple(weight.shape) for weight, _ in model.mlp] == [(128, 150), (128, 128), (3, 128)]
    assert model.mask is not None


def test_zip_with_other_members_is_refused(tmp_path):
    path = tmp_path / "model.th"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(InputError, match="must be"):
        load_model(path)


def test_embedded_model_has_its_stated_quality():
    """The README beside it says 32.4 dB; every view has a picture."""
    from nerf.cameras import load_cameras
    from nerf.metrics import psnr
    from nerf.render import cubes

    folder = DEFAULT_MODEL.parent
    assert sum(path.stat().st_size for path in folder.glob("*.png")) < 200_000
    cameras, model = load_cameras(folder / "default_transforms.json"), load_model()
    quality = [
        psnr(cubes.render(model, cameras.camera(view, 100)).rgb, cameras.ground_truth(view, 100))
        for view in range(len(cameras))
    ]
    assert np.mean(quality) == pytest.approx(32.4, abs=0.1)


def test_the_same_model_gives_the_same_bytes(random_model, tmp_path):
    files = [tmp_path / f"{number}.safetensors" for number in range(8)]
    for file in files:
        save_model(random_model(3), file, others={"more": torch.ones(3)}, notes={"a": "1", "b": "2"})
    assert len({file.read_bytes() for file in files}) == 1
    model, tensors, header = read_model_file(files[0])
    assert (header["a"], header["b"], tensors["more"].tolist()) == ("1", "2", [1, 1, 1])
    assert torch.equal(model.basis, load_model(files[0]).basis)


def test_lines_alone_become_planes(tmp_path, random_model):
    """A TensorCP: the product of three lines, whatever the number of its components."""
    model = random_model()
    content, random = official(model), torch.Generator().manual_seed(1)
    size = model.grid_size
    content["state_dict"] = {k: v for k, v in content["state_dict"].items() if "_plane." not in k}
    content["state_dict"]["basis_mat.weight"] = model.basis[:, :8]
    for kind, components in (("density", 5), ("app", 8)):
        for pair, axis in enumerate((2, 1, 0)):
            line = torch.randn(1, components, size[axis], 1, generator=random)
            content["state_dict"][f"{kind}_line.{pair}"] = line
    torch.save(content, tmp_path / "cp.th")
    found = load_model(tmp_path / "cp.th")
    assert (found.density_components, found.app_components, found.grid_size) == ((2, 2, 1), (3, 3, 2), size)
    points = torch.rand(50, 3, generator=random) * 2 - 1
    expected = {}
    for kind in ("density", "app"):
        expected[kind] = 1.0
        for pair, axis in enumerate((2, 1, 0)):
            line = content["state_dict"][f"{kind}_line.{pair}"][0, :, :, 0].numpy()
            at = (points[:, axis].numpy() + 1) / 2 * (size[axis] - 1)
            expected[kind] = expected[kind] * np.stack([np.interp(at, np.arange(size[axis]), row) for row in line])
    np.testing.assert_allclose(found.density_feature(points), expected["density"].sum(axis=0), atol=1e-5)
    np.testing.assert_allclose(found.app_products(points).T, expected["app"], atol=1e-5)


def test_harmonics_are_orthonormal(random_model):
    """Nine functions of degree 0 to 2: their means over the sphere, times its area, are those of an identity."""
    from nerf.model import harmonics

    angle, height = np.meshgrid(np.arange(64) * np.pi / 32, np.polynomial.legendre.leggauss(16)[0])
    weight = np.broadcast_to(np.polynomial.legendre.leggauss(16)[1][:, None], angle.shape).reshape(-1, 1)
    flat = np.sqrt(1 - height**2)
    directions = np.stack([flat * np.cos(angle), flat * np.sin(angle), height], axis=-1).reshape(-1, 3)
    values = harmonics(torch.from_numpy(directions)).numpy()
    np.testing.assert_allclose(values.T @ (values * weight) * np.pi / 32, np.eye(9), atol=1e-12)


@pytest.mark.parametrize(("mode", "colour", "features"), [("SH", "harmonics", 27), ("RGB", "features", 3)])
def test_colours_without_a_network_are_kept_and_need_hardware_for_plain_colours(
    tmp_path, random_model, mode, colour, features
):
    model = random_model(features=features)
    content = official(model, shadingMode=mode)
    torch.save(content, tmp_path / "x.th")
    with pytest.raises(
        InputError, match=r"state_dict\.renderModule\.mlp\.0\.bias must be absent \(a model of this class"
    ):
        load_model(tmp_path / "x.th")
    content["state_dict"] = {k: v for k, v in content["state_dict"].items() if not k.startswith("renderModule")}
    torch.save(content, tmp_path / "x.th")
    found = load_model(tmp_path / "x.th")
    assert (found.colour, found.mlp) == (colour, [])
    save_model(found, tmp_path / "x.safetensors")
    again = load_model(tmp_path / "x.safetensors")
    assert again.colour == colour
    points, direction = (
        torch.rand(9, 3, generator=torch.Generator().manual_seed(3)) * 2 - 1,
        torch.tensor([[0.0, 0.6, 0.8]]).expand(9, 3),
    )
    assert torch.equal(
        found.shade(found.app_feature(points), direction), again.shade(again.app_feature(points), direction)
    )
    rule = 'one with colours = "plain", as the model needs .lines of a TOML file.'
    with pytest.raises(InputError, match=f"^config must be {rule}, not tiny$"):
        encode_model(found, load_config("tiny"))


def test_a_checkpoint_that_is_cut_off_is_said_to_be(tmp_path, random_model):
    torch.save(official(random_model()), tmp_path / "x.th")
    whole = (tmp_path / "x.th").read_bytes()
    for share in (0.3, 0.5, 0.9):
        (tmp_path / "x.th").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(
            InputError, match=r"file must be a complete checkpoint, not (one that is cut off|PytorchStream)"
        ):
            load_model(tmp_path / "x.th")
