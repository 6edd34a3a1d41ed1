"""Settings of the whole test suite, and the lego data."""

import signal
from pathlib import Path

import pytest

from rtnerf.base.folders import data_folder

# A shell in the background leaves the interrupt ignored, for us and for all that we start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def lego():
    """Folder of the lego data set, or a skip that says what is missing."""
    folder = data_folder() / "lego"
    if not (folder / "lego_tensorf_vm.th").is_file():
        pytest.skip(f"no data set at {folder}: set RTNERF_DATA to the folder that holds lego/")
    return folder


@pytest.fixture(scope="session")
def lego_model(lego):
    from nerf.checkpoint import load_model

    return load_model(lego / "lego_tensorf_vm.th")


@pytest.fixture(scope="session")
def lego_cameras(lego):
    from nerf.cameras import load_cameras

    return load_cameras(lego / "transforms_test.json")


CROSSED = ("rtl", "sim")
"""Folders whose tests cross parameters: under ``full`` in every combination, without it each value at least once."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    crossed = {}
    for item in items:
        if item.get_closest_marker("full"):
            continue
        if hasattr(item, "callspec") and item.path.relative_to(here).parts[0] in CROSSED:
            crossed.setdefault((item.path, item.originalname), []).append(item)
    for same in crossed.values():
        values = {item: {(name, id(value)) for name, value in item.callspec.params.items()} for item in same}
        missing = set().union(*values.values())
        while missing:
            chosen = max(values, key=lambda item: len(values[item] & missing))
            missing -= values.pop(chosen)
        for item in values:
            item.add_marker(pytest.mark.full)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A headless Chromium; the tests that need it skip where there is none."""
    from tests.browser import EXECUTABLE, Browser

    if EXECUTABLE is None:
        pytest.skip("needs chromium on PATH")
    with Browser(tmp_path_factory.mktemp("profile")) as started:
        yield started
