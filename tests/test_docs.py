"""The documentation site: built without a warning, every link leads somewhere, every page is well in a browser."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sites import broken_links, check_page

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    command = [sys.executable, str(ROOT / "docs" / "site" / "build.py"), str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return folder


def test_every_document_and_made_page_is_in_the_site_and_no_link_is_broken(site):
    names = {path.relative_to(site).with_suffix("").as_posix() for path in site.rglob("*.html")}
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} <= names
    assert {"index", "commands", "configuration", "scene_image", "reference", "files/CONTRIBUTING"} <= names
    assert broken_links(site) == []


def test_made_pages_have_what_the_code_has(site):
    for page, words in {
        "commands": ("rtnerf cosim", "--beat-interval", "rtnerf specdec rollout rest-rl"),
        "configuration": ("buffer_window", "mega_transfers", "beat_interval"),
        "scene_image": ("payload_bytes", "tables_checksum", "0x464e5452", "shading_threshold"),
        "reference": ("Job.cosimulate", "load_config"),
        "files/reports/results": ("python -m benchmarks.frames",),
    }.items():
        text = re.sub(r"<[^>]*>", "", (site / f"{page}.html").read_text())
        assert [word for word in words if word not in text] == [], page


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
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert "9 passed" in result.stdout, result.stdout
