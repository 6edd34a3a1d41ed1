"""Where the project stands, and where it keeps what it makes for itself."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout, when the project is used from one."""


def kept_folder(kind: str) -> Path:
    """Return where builds of a kind are kept between runs: inside the checkout, else in the user's cache."""
    if (ROOT / "pyproject.toml").is_file():
        return ROOT / "build" / kind
    home = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or home) / "rtnerf" / kind
