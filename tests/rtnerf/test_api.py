"""The toolkit from Python: what importing it costs, and every example that README, docs and docstrings show."""

import doctest
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import nerf.cameras
import nerf.checkpoint
import nerf.contract.config
import rtnerf
import rtnerf.api
from cosim import toolchain
from rtnerf.base.errors import InputError

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/api.md")
SMALLER = {'"edge"': '"tiny"', "(0, 800)": "(0, 12)", "(40, 40, 16, 16)": "(4, 4, 3, 2)"}
"""What makes the pages' examples quick; each is in one of them."""


def blocks(page, cosimulation):
    """The Python blocks of a page, made smaller, those with a co-simulation or the others."""
    found = re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    for block in found:
        if ("cosimulate" in block) == cosimulation:
            for large, small in SMALLER.items():
                block = block.replace(large, small)
            yield block


def test_importing_the_package_loads_nothing_and_takes_no_time():
    code = (
        "import sys, time\nbefore, start = set(sys.modules), time.process_time()\nimport rtnerf\n"
        "print(time.process_time() - start, *sorted(set(sys.modules) - before))"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
            for _ in range(3)]  # fmt: skip
    seconds = min(float(run.stdout.split()[0]) for run in runs)
    assert seconds < 0.05
    loaded = set(runs[0].stdout.split()[1:])
    assert "rtnerf" in loaded
    assert {name.partition(".")[0] for name in loaded} <= {"rtnerf", *sys.stdlib_module_names}


def test_every_public_name_is_there_and_documented():
    assert set(rtnerf.__all__) <= set(dir(rtnerf))
    for name in rtnerf.__all__:
        assert getattr(rtnerf, name).__doc__
    with pytest.raises(AttributeError, match="module 'rtnerf' has no attribute 'prepared'"):
        _ = rtnerf.prepared


@pytest.mark.parametrize("module", [rtnerf, rtnerf.api, nerf.cameras, nerf.checkpoint, nerf.contract.config])
def test_examples_in_docstrings(module):
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize("page", PAGES)
def test_examples_on_the_pages(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    shown = list(blocks(page, cosimulation=False))
    assert shown
    for block in shown:
        exec(block, names)
    frame = names["frame"]
    assert sum(sum(row["stall_cycles"].values()) for row in frame.units.values()) > 0
    assert frame.bottleneck in frame.units


def test_what_makes_the_pages_quick_is_on_them():
    text = "".join((ROOT / page).read_text() for page in PAGES)
    assert all(large in text for large in SMALLER)


@pytest.mark.slow
@pytest.mark.simulator
@pytest.mark.skipif(toolchain.find_verilator() is None, reason="verilator is not installed")
def test_co_simulations_on_the_pages(monkeypatch):
    monkeypatch.chdir(ROOT)
    for page in PAGES:
        for block in blocks(page, cosimulation=True):
            names = {"rtnerf": rtnerf}
            exec(block, names)
            assert names["check"].first_difference is None
            assert names["check"].cycles_rtl == names["check"].cycles_sim > 0


@pytest.fixture(scope="module")
def job():
    return rtnerf.prepare(rtnerf.load_model())


@pytest.fixture(scope="module")
def frame(job):
    return job.simulate(rtnerf.load_cameras().camera(0, 8), clock_hz=2e9)


def test_a_notebook_shows_a_frame_as_a_table_of_its_units(frame):
    page = ET.fromstring(f"<div>{frame._repr_html_()}</div>")
    heading, table = page
    assert f"{frame.cycles:,} cycles of tiny" in heading.text
    assert f"{2e9 / frame.cycles:.3g} frames/s at an assumed 2000 MHz" in heading.text
    assert heading.find("b").text == frame.bottleneck
    rows = {row.find("th").text: [cell.text for cell in row.iter("td")] for row in table.find("tbody")}
    assert list(rows) == list(frame.units)
    for name, cells in rows.items():
        assert cells[0] == f"{frame.units[name]['busy_share']:.1%}"
        assert sum(float(cell.rstrip("%")) for cell in cells) == pytest.approx(100, abs=0.3)


def test_a_notebook_shows_a_picture(job):
    picture = job.render(rtnerf.load_cameras().camera(0, 4))
    assert picture._repr_png_().startswith(b"\x89PNG")


def test_the_figure_has_a_whole_bar_for_each_unit(frame):
    (axes,) = rtnerf.plot_cycles(frame).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(frame.units)
    bars = axes.containers
    for unit in range(len(frame.units)):
        assert sum(bar[unit].get_width() for bar in bars) == pytest.approx(1)


def test_a_job_makes_its_scene_once(job):
    assert job.encoded is job.encoded
    assert job.decoded.scene is job.scene


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda job, camera: job.simulate(camera, memory="ddr5"),
            "memory must be one of lpddr4, lpddr5, hbm2, fixed, not ddr5",
        ),
        (
            lambda job, camera: job.simulate(camera, ordering="up"),
            "ordering must be one of exact, coarse, none, not up",
        ),
        (lambda job, camera: job.simulate(camera, sampling="all"), "sampling must be one of cubes, uniform, not all"),
        (
            lambda job, camera: job.simulate(camera, termination=1),
            "termination must be a number of at least 0 and below 1, not 1",
        ),
        (lambda job, camera: job.render(camera, "fast"), "pipeline must be one of uniform, cubes, integer, not fast"),
        (
            lambda job, camera: rtnerf.prepare(job.model, "tiny", "sparse"),
            "encoding must be one of hybrid, dense, bitmap, coordinate, not sparse",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(job, call, message):
    with pytest.raises(InputError) as refused:
        call(job, rtnerf.load_cameras().camera(0, 4))
    assert str(refused.value) == message
