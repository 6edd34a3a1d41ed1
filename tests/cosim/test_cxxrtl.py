"""The engine cxxrtl: bit for bit the golden model, and cycle for cycle what Verilator does."""

import importlib.util
import os

import numpy as np
import pytest

from cosim import cxxrtl, toolchain
from cosim.run import cosimulate, run_rtl
from cosim.simulation import SimulationError
from cosim.toolchain import ToolMissingError
from nerf.contract.memory import MEMORY_TIMINGS, MemoryTiming
from nerf.contract.registers import ErrorCode
from nerf.golden.frame import decode_scene, render_frame
from nerf.prepared import Prepared
from rtl.verilog.export import design
from rtnerf.base.errors import InputError
from tests.cosim.test_accelerator import FOLDER, TINY
from tests.golden.models import EDGE_CASES, look_at, small_model
from tests.sizes import LARGE, SMALL

pytestmark = [
    pytest.mark.simulator,
    pytest.mark.skipif(
        importlib.util.find_spec("pyosys") is None or toolchain.find_compiler() is None,
        reason="pyosys or the C++ compiler is not installed",
    ),
]


PAUSES = MemoryTiming(pause=51 / 256, seed=7)


@pytest.fixture(scope="module")
def frame():
    """Return scene and view of a small frame of one tile."""
    job = Prepared(small_model(), TINY)
    return job.scene, job.view(EDGE_CASES["outside"][2])


def run(frame, data=None, **settings):
    scene, view = frame
    settings = {"engine": "cxxrtl", "build_dir": FOLDER, "watchdog_cycles": 10**7} | settings
    return run_rtl(scene.data if data is None else data, view, TINY, **settings)


@pytest.mark.full
def test_several_tiles_are_bit_exact():
    camera = look_at((2.2, 1.0, 0.8), width=33, height=5, focal=60)
    result = cosimulate(Prepared(small_model(), TINY), camera, engine="cxxrtl", timing=PAUSES, build_dir=FOLDER)
    assert (result.error, result.first_difference) == ("NONE", None)
    assert (result.pixel_mismatches, result.transaction_mismatches) == (0, 0)
    assert result.samples > 0


@pytest.mark.full
@pytest.mark.parametrize("cfg", [SMALL, LARGE], ids=lambda cfg: cfg.name)
def test_other_windows_and_queues_are_bit_exact(cfg):
    job = Prepared(small_model(network=cfg.network), cfg)
    result = cosimulate(job, EDGE_CASES["outside"][2], engine="cxxrtl", build_dir=FOLDER)
    assert (result.error, result.first_difference) == ("NONE", None)
    assert (result.pixel_mismatches, result.transaction_mismatches) == (0, 0)
    assert result.cycles_rtl == result.cycles_sim


@pytest.mark.full
@pytest.mark.skipif(toolchain.find_verilator() is None, reason="verilator is not installed")
@pytest.mark.parametrize(
    "timing",
    [
        MemoryTiming(),
        MEMORY_TIMINGS["ideal"],
        MEMORY_TIMINGS["slow"],
        PAUSES,
        MemoryTiming(latency=3, beat_interval=4, pause=200 / 256, seed=2),
    ],
)
def test_every_transaction_comes_in_the_cycle_of_verilator(frame, timing):
    ours = run(frame, timing=timing)
    theirs = run(frame, timing=timing, engine="verilator", memory="verilog")
    assert ours.error == ErrorCode.NONE
    assert ours.counters == theirs.counters
    assert np.array_equal(ours.pixels, theirs.pixels)
    assert len(ours.trace) > 1000
    assert ours.trace == theirs.trace


@pytest.mark.full
def test_damage_and_bus_errors_are_reported(frame):
    damaged = bytearray(frame[0].data)
    damaged[1] ^= 4
    assert run(frame, bytes(damaged)).error == ErrorCode.SCENE_HEADER
    for burst in (0, 300):
        assert run(frame, fail_read=burst).error == ErrorCode.BUS


@pytest.mark.full
def test_the_host_can_abort_and_render_again(frame):
    assert run(frame, abort_after=5000).error == ErrorCode.ABORTED
    again = run(frame, abort_after=40_000, render_again=True, timing=PAUSES)
    assert again.error == ErrorCode.NONE
    assert np.array_equal(again.pixels, render_frame(decode_scene(frame[0], TINY), frame[1]).pixels)


@pytest.mark.full
def test_the_record_can_be_left_out(frame):
    assert run(frame, record=False).trace == []


@pytest.mark.full
def test_the_watchdog_and_the_clock_end_a_run(frame):
    with pytest.raises(SimulationError, match=r"^rtnerf: no interrupt in 1000 cycles$"):
        run(frame, watchdog_cycles=1000)
    with pytest.raises(SimulationError, match=r"^rtnerf: the run took more than 0 seconds$"):
        run(frame, timeout_seconds=0)


@pytest.mark.full
def test_another_memory_is_refused(frame):
    with pytest.raises(InputError, match=r"^memory must be verilog for the engine cxxrtl, not cocotbext$"):
        run(frame, memory="cocotbext")


def test_missing_pyosys_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(cxxrtl.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ToolMissingError, match=r"^pyosys must be installed, not missing: pip install 'rtnerf\[cosim\]'$"
    ):
        cxxrtl.build("", {}, tmp_path)


def test_a_failing_build_shows_the_end_of_its_log(monkeypatch, tmp_path):
    _, sidecar = design(TINY)
    with pytest.raises(SimulationError, match=r"the translate step failed with status"):
        cxxrtl.build("no RTLIL", sidecar, tmp_path)
    assert not [name for _, _, names in os.walk(tmp_path) for name in names if name.endswith(".so")]


def test_a_model_of_an_unknown_form_is_refused():
    with pytest.raises(SimulationError, match=r"^write_cxxrtl must write one function eval"):
        cxxrtl.split_evaluation("int main() {}")
