"""Settings of the whole test suite, and the lego data."""

import signal

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
