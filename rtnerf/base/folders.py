"""Where the project stands, where its data are, and where it keeps what it makes for itself."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout, when the project is used from one."""


def data_folder() -> Path:
    """Return where the optional data sets are: ``RTNERF_DATA``, else ``shared/data`` beside the checkout."""
    return Path(os.environ.get("RTNERF_DATA", ROOT.parent / "shared" / "data"))


def kept_folder(kind: str) -> Path:
    """Return where builds of a kind are kept between runs: inside the checkout, else in the user's cache."""
    if (ROOT / "pyproject.toml").is_file():
        return ROOT / "build" / kind
    home = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or home) / "rtnerf" / kind
