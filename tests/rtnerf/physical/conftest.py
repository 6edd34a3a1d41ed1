"""The units of `tiny`, and their netlists in the compact library: made once, kept in ``build/synthesis``."""

from pathlib import Path

import pytest

from nerf.contract.config import load_config
from rtnerf.physical.libraries import load_technology
from rtnerf.physical.units import Design

CACHE = Path(__file__).resolve().parents[3] / "build" / "synthesis"


@pytest.fixture(scope="session")
def cache():
    return CACHE


@pytest.fixture(scope="session")
def compact():
    return load_technology(["compact"])


@pytest.fixture(scope="session")
def design():
    return Design.of(load_config("tiny"))
