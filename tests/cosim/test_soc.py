# amaranth: UnusedElaboratable=no
"""The system in plain Verilog: its files say what the golden model does, and it finds that out itself in Verilator."""

import os
import re
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import yaml

from cosim import toolchain
from cosim.soc import write_soc
from cosim.wrapper import memory_image
from nerf.contract.registers import CAMERA_REGISTERS, CONTROL_START, REGISTERS
from nerf.golden.frame import render_frame
from nerf.prepared import Prepared
from rtl.accelerator import Accelerator
from rtl.verilog.export import describe, generate, ports_of
from tests.golden.models import look_at, small_model
from tests.sizes import SMALL

CONFIG = replace(SMALL, name="soc", tile=16, mlp_lanes=16, payload_queue=32)
CAMERA = look_at((2.2, 1.0, 0.8), width=6, height=5)


@pytest.fixture(scope="module")
def job():
    return Prepared(small_model(), CONFIG)


@pytest.fixture(scope="module")
def system(job, tmp_path_factory):
    folder = tmp_path_factory.mktemp("system")
    assert sorted(write_soc(folder, job, CAMERA, describe(CONFIG, ports_of(Accelerator(CONFIG))))) == sorted(
        path.name for path in folder.iterdir()
    )
    return folder


def test_files_have_the_scene_the_view_and_the_golden_frame(job, system):
    view = job.view(CAMERA)
    writes = [(int(line[:8], 16), int(line[8:], 16)) for line in (system / "writes.hex").read_text().splitlines()]
    assert writes[-1] == (REGISTERS["control"], CONTROL_START)
    assert [(REGISTERS[name], view.values[name] & 0xFFFFFFFF) for name in CAMERA_REGISTERS] == writes[
        : len(CAMERA_REGISTERS)
    ]
    pixels = render_frame(job.decoded, view).pixels
    frame = memory_image((system / "frame.hex").read_text().splitlines())
    np.testing.assert_array_equal(np.frombuffer(frame[: 8 * 30], "<u2").reshape(5, 6, 4), pixels)
    scene = memory_image((system / "scene.hex").read_text().splitlines())
    assert scene[: len(job.scene.data)] == job.scene.data


def test_the_core_names_every_file_and_the_accelerators_core(system):
    core = yaml.safe_load((system / "soc.core").read_text().removeprefix("CAPI=2:\n"))
    (files,) = core["filesets"].values()
    assert files["depend"] == ["rtnerf:accelerator:rtnerf"]
    named = {name for file in files["files"] for name in file}
    assert named | {"soc.core"} == {path.name for path in system.iterdir()}


@pytest.mark.full
@pytest.mark.simulator
@pytest.mark.skipif(toolchain.find_verilator() is None, reason="Verilator is not installed")
def test_the_system_finds_its_frame_in_verilator_and_tells_of_a_wrong_one(system):
    generate(CONFIG, system.parent / "rtl")
    tool = toolchain.require_engine("verilator")
    environment = {**os.environ, **tool.environment}
    command = [
        str(tool.path),
        "--binary",
        "--timing",
        "-Wno-fatal",
        "-Mdir",
        "made",
        "--top-module",
        "soc",
        "-o",
        "soc",
    ]
    sources = ["soc.v", "axi_memory.v", str(system.parent / "rtl" / "rtnerf.v")]

    def run(*words):
        return subprocess.run(
            words, cwd=system, env=environment, capture_output=True, text=True, timeout=900, check=False
        )

    built = run(*command, *sources)
    assert built.returncode == 0, built.stderr[-2000:]
    assert re.search(r"^soc: the frame is the expected one, 15 words, after \d+ cycles$", run("made/soc").stdout, re.M)
    frame = system / "frame.hex"
    frame.write_text(frame.read_text().replace("f", "e", 1))
    wrong = run("made/soc")
    assert wrong.returncode != 0
    assert "soc: 1 of 15 words of the frame differ" in wrong.stdout
