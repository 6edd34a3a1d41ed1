"""The documentation site: built without a warning, every link leads somewhere, every page is well in a browser."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nerf.contract.registers import IDENTITY, REGISTERS
from tests.sites import broken_links, check_page

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    command = [sys.executable, str(ROOT / "docs" / "site" / "build.py"), str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return folder


def test_every_document_and_made_page_is_in_the_site_and_no_link_is_broken(site):
    names = {path.relative_to(site).with_suffix("").as_posix() for path in site.rglob("*.html")}
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} <= names
    assert {"index", "commands", "configuration", "scene_image", "reference", "timing", "files/CONTRIBUTING"} <= names
    assert broken_links(site) == []


def test_made_pages_have_what_the_code_has(site):
    for page, words in {
        "commands": ("rtnerf cosim", "--beat-interval", "rtnerf specdec rollout rest-rl"),
        "configuration": ("buffer_window", "mega_transfers", "beat_interval"),
        "scene_image": ("payload_bytes", "tables_checksum", "0x464e5452", "shading_threshold"),
        "reference": ("Job.cosimulate", "load_config"),
        "timing": ("a queue of four places", "from the start of the frame to its last pixel"),
        "files/reports/results": ("python -m benchmarks.frames",),
    }.items():
        text = re.sub(r"<[^>]*>", "", (site / f"{page}.html").read_text())
        assert [word for word in words if word not in text] == [], page


@pytest.fixture(scope="module")
def timing():
    """The module that draws timing diagrams."""
    spec = importlib.util.spec_from_file_location("timing", ROOT / "docs" / "site" / "timing.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lines_of(diagram):
    """The lines of a diagram, each column with its own value or number."""
    found = {}
    for line in filter(None, diagram["signal"]):
        values, numbers, now = [], iter(line.get("data", ())), None
        for letter in line["wave"]:
            now = now if letter == "." else next(numbers) if letter == "=" else letter
            values.append(now)
        found[line["name"]] = values
    return found


def test_timing_diagrams_show_what_was_simulated(timing):
    queue = lines_of(timing.stream())
    for side in "io":
        fires = zip(queue[f"{side}.valid"], queue[f"{side}.ready"], queue[f"{side}.payload"], strict=True)
        assert [payload for valid, ready, payload in fires if valid == ready == "1"] == [
            "a0",
            "a1",
            "a2",
            "a3",
            "a4",
            "a5",
        ]
    assert "0" in queue["i.ready"]
    bus = lines_of(timing.registers())
    assert f"{IDENTITY:08x}" in bus["rdata"]
    assert bus["awaddr"][bus["start"].index("1")] == f"{REGISTERS['control']:03x}"
    assert bus["start"].count("1") == 1


def test_the_diagram_of_a_frame_begins_with_the_cubes_and_ends_with_pixels(timing):
    found = lines_of(timing.frame())
    first = {name.partition(" (")[0]: values.index("1") for name, values in found.items()}
    last_visit = next(len(values) - 1 - values[::-1].index("1") for name, values in found.items() if "visits" in name)
    assert 0 == first["visits"] <= last_visit <= first["rays"] <= first["samples"] < first["pixels"]
    assert [values[-1] for name, values in found.items() if name.startswith("pixels")] == ["1"]
    assert all(len(values) == timing.SLICES for values in found.values())


def test_every_page_is_well_in_a_browser(site, browser):
    for path in sorted(site.rglob("*.html")):
        check_page(browser, path)


def test_the_block_of_the_tutorial_passes_its_own_tests(tmp_path):
    text = (ROOT / "docs" / "tutorial.md").read_text()
    files = dict(re.findall(r"^```python\n# (first_block/\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    assert len(files) == 4
    for name, body in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(body)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "first_block"]
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1200, check=False
    )
    assert "9 passed" in result.stdout, result.stdout
