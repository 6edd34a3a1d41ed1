import errno
import re
import subprocess
import sys

import pytest

COMMANDS = (
    "doctor", "inspect", "train", "tune", "render", "evaluate", "encode", "generate", "simulate", "ablate", "compare",
    "cosim", "board", "synth", "sweep", "size", "optimise", "benchmark", "report", "view", "specdec",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example(call, command):
    status, out, _ = call(command, "--help")
    assert status == 0
    assert re.search(rf"Examples?:\n    rtnerf {command}", out)


def test_without_a_command_help_is_shown(call):
    status, out, _ = call()
    assert status == 0
    assert all(command in out for command in COMMANDS)


def test_help_loads_nothing_heavy():
    code = "import sys, rtnerf\ntry:\n    rtnerf.main(['--help'])\nexcept SystemExit:\n    print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.splitlines()[-1].split())
    heavy = {"numpy", "torch", "numba", "scipy", "amaranth", "cocotb", "pyosys", "matplotlib", "importlib.metadata"}
    assert loaded & heavy == set()
    assert {
        name for name in loaded if name.startswith(("nerf.", "rtl.", "sim.", "cosim.", "rtnerf.physical."))
    } == set()


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
        (["simulate", "--latency", "0"], "latency must be a whole number from 1 to 65535, not 0"),
        (
            ["simulate", "--latency", "30"],
            "latency must be absent with memory lpddr4, which has its own timing, not 30",
        ),
        (
            ["ablate", "--beat-interval", "2"],
            "beat-interval must be absent with memory lpddr4, which has its own timing, not 2",
        ),
        (
            ["cosim", "--memory", "cocotbext", "--latency", "3"],
            "latency must be absent with memory cocotbext, which has its own timing, not 3",
        ),
        (["render", "--out", "x", "--config", "edge"], "config must be absent without pipeline integer, not edge"),
        (["evaluate", "--config", "edge"], "config must be absent without pipeline integer, not edge"),
        (
            ["evaluate", "--model", "m"],
            "transforms must be given beside model: the embedded pictures show another scene",
        ),
        (
            ["tune", "--out", "x", "--occupancy-alpha", "1e-3"],
            "occupancy-alpha must be absent without occupancy tight, not 0.001",
        ),
        (["simulate", "--clock-mhz", "10000000"], "clock-mhz must be a whole number from 1 to 10000, not 10000000"),
        (["simulate", "--size", "9999999999"], "size must be at most 8192 pixels a side, not 9999999999x9999999999"),
        (
            ["render", "--out", "x", "--background", "red"],
            "background must be white, black or R,G,B from 0 to 255 each, such as 128,128,128, not red",
        ),
        (["evaluate", "--split", "test"], "split must be absent without transforms, not test"),
        (["train", "--out", "x", "--axes", "opencv"], "axes must be absent without transforms, not opencv"),
        (["inspect"], "file must be given, not missing"),
        (["simulate", "--ordering", "depth"], "ordering must be one of exact, coarse, none, not depth"),
        (["cosim", "--pause", "1"], "pause must be a number of at least 0 and below 1, not 1"),
        (["cosim", "--pause", "0.001"], "pause must be 0 or at least 0.002, not 0.001"),
        (["cosim", "--seed", "5"], "seed must be absent without pause, not 5"),
        (["simulate", "--workers", "2"], "workers must be absent with one frame, not 2"),
        (["ablate", "--workers", "2"], "workers must be absent with one frame, not 2"),
        (
            ["train", "--out", "x", "--steps", "100000000"],
            "steps must be a whole number from 1 to 10000000, not 100000000",
        ),
        (["cosim", "--seed", "x"], "seed must be a whole number from 0 to 4294967295, not x"),
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


def test_input_errors_from_inside_keep_their_words(call, tmp_path):
    status, out, err = call("generate", "--config", "absent", "--out", tmp_path)
    assert (status, out) == (2, "")
    assert err.startswith("error: config must be ")
    assert err.count("\n") == 1
    path = tmp_path / "none.safetensors"
    status, _, err = call("encode", "--model", path, "--out", tmp_path / "scene.rtn")
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith("error: model must be a readable file, not ")


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


def test_a_full_disk_under_temporary_files_is_one_line(call, monkeypatch):
    def fill(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("rtnerf.base.files.check_distinct", fill)
    status, out, err = call("doctor")
    assert (status, out) == (2, "")
    assert err.startswith("error: disk must have room for temporary files (in ")
    assert err.count("\n") == 1
