"""Where the project stands, where its data are, and where it keeps what it makes for itself."""

import hashlib
import os
import re
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout, when the project is used from one."""

_PLAIN = re.compile(r"[\w./+@=^-]+")


def data_folder() -> Path:
    """Return where the optional data sets are: ``RTNERF_DATA``, else ``shared/data`` beside the checkout."""
    return Path(os.environ.get("RTNERF_DATA", ROOT.parent / "shared" / "data"))


def kept_folder(kind: str) -> Path:
    """Return where builds of a kind are kept between runs: inside the checkout, else in the user's cache."""
    if (ROOT / "pyproject.toml").is_file():
        return ROOT / "build" / kind
    return _cache() / kind


def plain_folder(folder: Path) -> Path:
    """Return where to build with tools that split paths, as make does: the folder, or one of the cache in its stead."""
    return folder if is_plain(folder.resolve()) else _plain_cache() / "builds"


def plain_path(path: Path, name: str | None = None) -> Path:
    """Return a path without a space or a sign of the shell to a file or folder: its own, or a link that is kept.

    Parameters
    ----------
    path : Path
        Absolute.
    name : str, optional
        What the link is called, by default as the file or folder.
    """
    if is_plain(path):
        return path
    link = _plain_cache() / "links" / hashlib.sha256(os.fsencode(path)).hexdigest()[:16] / (name or path.name)
    link.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        link.symlink_to(path)
    return link


def is_plain(path: Path) -> bool:
    """Whether no tool splits the path: it has no space and no sign of a shell or of make."""
    return _PLAIN.fullmatch(str(path)) is not None


def _cache() -> Path:
    home = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or home) / "rtnerf"


def _plain_cache() -> Path:
    """The cache, or where its own path is not plain a folder that is this user's alone."""
    if is_plain(_cache().resolve()):
        return _cache()
    folder = Path(tempfile.gettempdir()).resolve() / f"rtnerf-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user")
    return folder
