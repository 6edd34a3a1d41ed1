import importlib
import json
import math
import sys
import types
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import rtnerf
from nerf import pictures
from nerf.contract.blocks import Form
from nerf.contract.memory import MemoryTiming
from rtnerf import command_line, options
from rtnerf.base import files
from rtnerf.base.errors import InputError

COMMANDS = (
    "doctor", "train", "tune", "render", "encode", "generate", "simulate", "ablate", "cosim", "report", "specdec",
)  # fmt: skip


@pytest.fixture
def call(capsys, monkeypatch):
    """Run the command line in this process; returns (exit code, stdout, stderr)."""
    # `main` sets a default for its own process; undo it after the test.
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(command_line.ROOT / "build" / "numba"))

    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            rtnerf.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return end.value.code or 0, captured.out, captured.err

    return call


# ---- Help and errors ----


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example(call, command):
    status, out, _ = call(command, "--help")
    assert status == 0
    assert f"Example:\n    rtnerf {command}" in out


def test_without_a_command_help_is_shown(call):
    status, out, _ = call()
    assert status == 0
    assert all(command in out for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["render"], "out must be given, not missing"),
        (["frobnicate"], f"command must be one of {', '.join(COMMANDS)}, not frobnicate"),
        (["doctor", "--frobnicate"], "option must be one of --json, --help, not --frobnicate"),
        (["doctor", "extra"], "arguments must be options, not extra"),
        (["doctor", "--json"], "json must have a value, not none"),
        (
            ["render", "--out", "x.npy", "--size", "0x3"],
            "size must be N or WxH in pixels, such as 200 or 320x240, not 0x3",
        ),
        (["cosim", "--crop", "1,2,3"], "crop must be X,Y,W,H in pixels, such as 60,60,16,16, not 1,2,3"),
        (["cosim", "--engine", "vcs"], "engine must be one of verilator, icarus, cxxrtl, not vcs"),
        (["simulate", "--latency", "0"], "latency must be a whole number of at least 1, not 0"),
        (["simulate", "--ordering", "depth"], "ordering must be one of exact, coarse, none, not depth"),
        (["cosim", "--pause", "1"], "pause must be a number of at least 0 and below 1, not 1"),
        (["cosim", "--seed", "x"], "seed must be a whole number of at least 0, not x"),
        (["render", "--out", "x", "--pipeline", "fast"], "pipeline must be one of uniform, cubes, integer, not fast"),
        (["train", "--out", "/", "--steps", "3"], "out must be a file that can be written, not / (a folder)"),
        (
            ["train", "--out", "x", "--scene", "hills", "--transforms", "b"],
            "scene must be absent beside transforms, not hills",
        ),
        (
            ["train", "--out", "x", "--scene", "chair"],
            "scene must be one of lattice, helix, pearls, clutter, mosaic, hills, planets, sponge, not chair",
        ),
        (["train", "--out", "x", "--device", "tpu"], "device must be one of auto, cpu, cuda, not tpu"),
        (["train", "--out", "x", "--model", "m"], "model must be absent without finetune, not m"),
        (["train", "--out", "x", "--finetune", "m"], "finetune must be one of sample, deferred, not m"),
        (
            ["train", "--out", "x", "--shading-threshold", "0.1"],
            "shading-threshold must be absent without finetune, not 0.1",
        ),
        (["tune", "--occupancy", "tight"], "out must be given, not missing"),
        (["tune", "--out", "/"], "out must be a file that can be written, not / (a folder)"),
        (["tune", "--out", "x", "--occupancy", "loose"], "occupancy must be one of keep, tight, not loose"),
        (
            ["tune", "--out", "x", "--occupancy-alpha", "1"],
            "occupancy-alpha must be a number of at least 0 and below 1, not 1",
        ),
        (["tune", "--out", "x", "--step-ratio", "5"], "step-ratio must be a number from 0.1 to 4, not 5"),
        (["tune", "--out", "x", "--prune-density", "nan"], "prune-density must be a number of at least 0, not nan"),
        (["tune", "--out", "x", "--prune-appearance", "-1"], "prune-appearance must be a number of at least 0, not -1"),
        (["tune", "--out", "x", "--factor-bits", "9"], "factor-bits must be one of 8, 7, 6, 5, 4, not 9"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_2(call, arguments, message):
    assert call(*arguments) == (2, "", f"error: {message}\n")


def test_train_names_every_built_in_scene(call):
    from nerf.scenes.builtin import SCENES

    assert tuple(SCENES) == tuple(options.SCENE.choices)
    _, out, _ = call("train", "--help")
    assert "{" + ",".join(SCENES) + "}" in "".join(out.split())


def test_input_errors_from_inside_keep_their_words(call, tmp_path):
    status, out, err = call("generate", "--config", "absent", "--out", tmp_path)
    assert (status, out) == (2, "")
    assert err.startswith("error: config must be ")
    assert err.count("\n") == 1
    path = tmp_path / "none.safetensors"
    status, _, err = call("encode", "--model", path, "--out", tmp_path / "scene.rtn")
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith("error: model must be a readable file, not ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"frames": []}, "frames must be a list of at least one view, not []"),
        ({"camera_angle_x": math.nan}, "camera_angle_x must be an angle in (0, pi) radians, not nan"),
        ({"w": math.inf}, "w must be a number of pixels above 0, not inf"),
        ({"matrix": np.full((4, 4), math.nan).tolist()}, "frames[0].transform_matrix must be finite, not nan"),
        ({"file": "absent"}, "picture must be a file, not missing: {folder}/absent"),
        ({"file": "transforms.json"}, "picture must be readable, not {folder}/transforms.json (cannot identify"),
        ({"matrix": (np.eye(4) + 9 * np.eye(4, k=3)).tolist()}, "rays must meet the box of the scene, not all miss it"),
    ],
)  # fmt: skip
def test_bad_training_data_is_one_line_and_exit_2(call, tmp_path, content, message):
    Image.new("RGBA", (4, 4)).save(tmp_path / "view.png")
    content = {"camera_angle_x": 0.7, "file": "view", "matrix": np.eye(4).tolist(), **content}
    frames = [{"file_path": content.pop("file"), "transform_matrix": content.pop("matrix")}]
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": frames, **content}))
    arguments = ["--transforms", tmp_path / "transforms.json", "--out", tmp_path / "model", "--size", 4, "--steps", 1]
    status, out, err = call("train", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: " + message.format(folder=tmp_path))


def test_a_missing_gpu_is_one_line_and_exit_2(call, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    arguments = ["--out", tmp_path / "model", "--size", 4, "--steps", 1, "--device", "cuda"]
    message = "error: device must be auto or cpu where PyTorch finds no GPU, not cuda\n"
    assert call("train", *arguments) == (2, "", message)


def test_a_missing_package_is_named(call, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "nerf.train.training", None)
    real = __import__

    def without_torch(name, *arguments, **options):
        if name == "nerf.train.training":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return real(name, *arguments, **options)

    monkeypatch.setattr("builtins.__import__", without_torch)
    status, _, err = call("train", "--out", tmp_path / "model")
    assert (status, err) == (3, "error: torch must be installed, not missing; rtnerf doctor says how\n")


# ---- Commands, with what they call replaced ----


def test_doctor_names_every_tool(call, tmp_path):
    status, out, _ = call("doctor", "--json", tmp_path / "tools.json")
    assert status == 0
    result = json.loads((tmp_path / "tools.json").read_text())
    tools = {row["tool"]: row for row in result["tools"]}
    assert {"python", "torch", "amaranth", "cocotb", "verilator", "g++/make/perl", "icarus"} <= set(tools)
    assert all(name in out for name in tools)
    assert result["versions"]["python"] == tools["python"]["version"]


def test_tune_writes_a_model_and_what_was_done(call, tmp_path):
    from nerf.checkpoint import load_model, read_model_file

    out, results = tmp_path / "tuned", tmp_path / "tune.json"
    options = ["--occupancy", "tight", "--shading-threshold", "2e-3", "--prune-density", 0.1, "--factor-bits", 7]
    status, text, err = call("tune", *options, "--out", out, "--json", results)
    assert (status, err) == (0, "")
    assert text.count(" -> ") == len(json.loads(results.read_text())["after"])
    model, _, header = read_model_file(out)
    noted = json.loads(header["tuning"])
    assert (noted["model"], noted["knobs"]["occupancy"], noted["knobs"]["factor_bits"]) == ("embedded", "tight", 7)
    assert model.shading_threshold == 2e-3
    assert model.mask.mean() < load_model().mask.mean()
    out.unlink()
    status, _, err = call("tune", "--occupancy", "tight", "--occupancy-alpha", 0.999, "--out", out)
    assert (status, err.count("\n"), list(tmp_path.iterdir())) == (2, 1, [results])
    assert err.startswith("error: occupancy_alpha must be below this model's largest (")


@dataclass
class Outcome:
    pixel_mismatches: int
    error: str = "NONE"
    picture: np.ndarray = field(default_factory=lambda: np.full((2, 2, 3), 0.25, np.float32))

    def as_dict(self):
        counts = {"pixels": 4, "pixel_mismatches": self.pixel_mismatches, "cycles_rtl": 9, "transaction_mismatches": 0}
        return {**counts, "error": self.error}


@pytest.fixture
def fakes(monkeypatch):
    """Stand-ins of the model, the cameras and the engines; returns what they were called with."""
    seen = {}

    class Camera:
        def __init__(self, width, height, crop=None):
            self.width, self.height, self.crop = width, height or width, crop
            self.window = crop or (0, 0, self.width, self.height)

        def cropped(self, *crop):
            return Camera(self.width, self.height, crop)

    class Cameras:
        def camera(self, index, width, height=None):
            return Camera(width, height)

        def ground_truth(self, index, width, height=None):
            seen["truth"] = (index, width, height)
            return np.full((height, width, 3), 0.5, np.float32)

    @dataclass
    class Rendering:
        rgb: np.ndarray
        depth: np.ndarray
        statistics: dict

    def render(model, camera, *arguments, **options):
        _, _, width, height = camera.window
        seen.setdefault("windows", []).append(camera.window)
        return Rendering(np.full((height, width, 3), 0.6), np.zeros((height, width)), {"rays": width * height})

    def cosimulate(model, camera, config, **options):
        seen["cosim"] = (camera.window, config.name, options)
        return Outcome(seen.get("mismatches", 0), seen.get("error", "NONE"))

    def module(name, **content):
        made = types.ModuleType(name)
        made.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, made)
        package, _, leaf = name.rpartition(".")
        monkeypatch.setattr(importlib.import_module(package), leaf, made, raising=False)

    module("nerf.checkpoint", load_model=lambda path: "model")
    module("nerf.cameras", load_cameras=lambda path: Cameras())
    for name in ("uniform", "cubes", "integer"):
        module(f"nerf.render.{name}", render=render, Rendering=Rendering)
    module("cosim.run", cosimulate=cosimulate)
    return seen


@pytest.mark.parametrize("pipeline", ["uniform", "cubes", "integer"])
def test_render_writes_picture_and_results(call, fakes, tmp_path, pipeline):
    out, png, results = tmp_path / "a" / "rgb.npy", tmp_path / "rgb.png", tmp_path / "results.json"
    arguments = ["--size", "8x6", "--crop", "1,2,4,3", "--index", 2, "--png", png, "--json", results]
    status, text, err = call("render", "--pipeline", pipeline, "--out", out, *arguments)
    assert (status, err) == (0, "")
    assert "20.00 dB" in text
    assert np.load(out).shape == (3, 4, 3)
    assert np.asarray(Image.open(png))[0, 0].tolist() == [153, 153, 153]
    result = json.loads(results.read_text())
    assert result["command"] == "render"
    assert result["psnr_db"] == pytest.approx(20, abs=1e-3)
    assert (result["width_pixels"], result["height_pixels"], result["crop_pixels"]) == (8, 6, [1, 2, 4, 3])
    assert len(result["config_digest"]) == 64
    assert result["statistics"] == {"rays": 12}
    assert fakes["truth"] == (2, 8, 6)


def test_another_model_is_not_measured_against_the_embedded_pictures(call, fakes, tmp_path):
    arguments = ["--size", 4, "--out", tmp_path / "rgb.npy", "--json", tmp_path / "results.json"]
    for model, transforms, measured in (("m", None, False), ("m", "t", True), (None, None, True)):
        chosen = [f"--{name}={value}" for name, value in (("model", model), ("transforms", transforms)) if value]
        assert call("render", *arguments, *chosen)[0] == 0
        assert (json.loads((tmp_path / "results.json").read_text())["psnr_db"] is not None) == measured


def test_uniform_bands_are_whole_chunks(call, fakes, tmp_path):
    assert call("render", "--size", "96x100", "--out", tmp_path / "rgb.npy")[0] == 0
    heights = [window[3] for window in fakes["windows"]]
    assert sum(heights) == 100
    assert np.load(tmp_path / "rgb.npy").shape == (100, 96, 3)
    call("render", "--size", "800x200", "--out", tmp_path / "rgb.npy")
    assert [window[1:] for window in fakes["windows"][-2:]] == [(0, 800, 128), (128, 800, 72)]


def test_cosim_passes_its_options_and_fails_on_a_mismatch(call, fakes, tmp_path):
    results = tmp_path / "cosim.json"
    arguments = ["--size", 16, "--engine", "icarus", "--seed", 5, "--pause", 0.25]
    arguments += ["--latency", 30, "--beat-interval", 2, "--encoding", "bitmap", "--build-dir", tmp_path]
    assert call("cosim", *arguments, "--json", results)[0] == 0
    window, config, options = fakes["cosim"]
    assert (window, config) == ((0, 0, 16, 16), "tiny")
    assert options == {
        "engine": "icarus", "memory": "verilog", "timing": MemoryTiming(30, 2, 64, 5), "build_dir": tmp_path,
        "form": Form.BITMAP,
    }  # fmt: skip
    fakes["mismatches"] = 3
    status, out, _ = call("cosim", *arguments, "--json", results)
    assert status == 1
    assert "pixel_mismatches: 3" in out
    assert json.loads(results.read_text())["pixel_mismatches"] == 3
    fakes |= {"mismatches": 0, "error": "BUS"}
    assert call("cosim", "--out", tmp_path / "rgb.npy")[0] == 1
    assert np.load(tmp_path / "rgb.npy").shape == (2, 2, 3)


def test_simulate_says_what_every_unit_does_and_what_was_switched(call, tmp_path):
    results, timeline = tmp_path / "s.json", tmp_path / "t.json"
    files = ["--json", results, "--timeline", timeline]
    status, out, _ = call("simulate", "--size", 6, *files, "--memory", "fixed", "--latency", 7)
    assert status == 0
    result = json.loads(results.read_text())
    assert f"{result['cycles']} cycles" in out
    assert result["fps_at_clock"] == pytest.approx(1e9 / result["cycles"])
    assert result["memory"] == {"kind": "fixed", "latency": 7, "beat_interval": 1, "pause": 0, "seed": 1}
    for name, unit in result["units"].items():
        cycles = unit["busy_cycles"] + unit["idle_cycles"] + sum(unit["stall_cycles"].values())
        assert cycles == result["cycles"], name
    assert result["bottleneck"] in result["units"]
    assert result["dram_read_bytes"] == sum(result["dram_read_bytes_by_kind"].values())
    # One tile: what is listed is read once.
    assert result["dram_write_bytes"] == 6 * 6 * 8 + result["dram_read_bytes_by_kind"]["cube_list"]
    assert result["modelled_only"] == []
    assert len(json.loads(timeline.read_text())["traceEvents"]) > 100

    assert result["frame_cycles"] == [result["cycles"]]
    assert call("simulate", "--size", 6, "--frames", 2, "--workers", 2, *files[:2])[0] == 0
    frames = json.loads(results.read_text())
    assert frames["frame_cycles"][0] == frames["cycles"] != frames["frame_cycles"][1]
    assert frames["fps_at_clock_lowest"] == pytest.approx(1e9 / max(frames["frame_cycles"]))

    others = ["--sampling", "uniform", "--encoding", "dense", "--ordering", "none", "--termination", 0]
    assert call("simulate", "--size", 6, "--json", results, *others)[0] == 0
    ablation = json.loads(results.read_text())
    assert ablation["modelled_only"] == ["sampling"]
    assert ablation["memory"]["kind"] == "lpddr4"
    assert ablation["samples"] > result["samples"]


def test_ablate_runs_the_frames_of_simulate_with_each_idea_switched_off(call, tmp_path):
    results = tmp_path / "a.json"
    options = ["--size", 6, "--memory", "fixed", "--json", results]
    status, out, _ = call("ablate", *options, "--frames", 2)
    assert status == 0
    runs = json.loads(results.read_text())["runs"]
    assert all(name in out for name in runs)
    assert [name for name, run in runs.items() if run["modelled_only"]] == ["uniform sampling", "all off"]
    assert sum(runs["no early termination"]["samples"]) > sum(runs["all on"]["samples"])
    for name, switches in (("all on", []), ("dense blocks", ["--encoding", "dense"])):
        assert call("simulate", *options, *switches)[0] == 0
        frame = json.loads(results.read_text())
        assert runs[name]["frame_cycles"][0] == frame["cycles"]
        assert runs[name]["dram_bytes"][0] == frame["dram_read_bytes"] + frame["dram_write_bytes"]
    assert runs["dense blocks"]["dram_bytes"][0] > runs["all on"]["dram_bytes"][0]


# ---- Output files ----


def test_json_is_standard_and_plain(tmp_path):
    value = {"psnr_db": float("inf"), "count": np.int64(3), "shape": (1, np.float32(0.5)), "path": Path("a")}
    files.write_json(tmp_path / "x.json", value)
    assert json.loads((tmp_path / "x.json").read_text()) == {
        "psnr_db": None, "count": 3, "shape": [1, 0.5], "path": "a",
    }  # fmt: skip


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    files.write_bytes(tmp_path / "x", b"old")

    def refuse(*arguments):
        raise PermissionError(13, "no")

    monkeypatch.setattr(files.os, "replace", refuse)
    with pytest.raises(InputError, match=r"output must be a file that can be written, not .*x \(no\)"):
        files.write_bytes(tmp_path / "x", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x", b"old")]


def test_png_round_trips(tmp_path):
    picture = np.random.default_rng(1).random((5, 7, 3))
    pictures.write_png(tmp_path / "x.png", picture)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "x.png")), np.rint(picture * 255).astype(np.uint8))
    with pytest.raises(ValueError, match=r"rgb must be of shape \(H, W, 3\), not \(5, 7\)"):
        pictures.write_png(tmp_path / "x.png", picture[..., 0])


def test_npy_keeps_its_name(tmp_path):
    pictures.write_npy(tmp_path / "picture", np.arange(3))
    assert np.load(tmp_path / "picture").tolist() == [0, 1, 2]
