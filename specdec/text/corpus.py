"""The text to train and measure on: the Python standard library's own sources, those of the running interpreter.

Every installation of Python has them, under a clear licence. For a given version of Python this is always the same
text, in the same order; other versions give slightly other texts, split by the same names.
"""

import os
import sysconfig
from pathlib import Path

HELD_OUT = (
    "__future__.py", "asyncio/__init__.py", "asyncio/streams.py", "cmd.py", "ctypes/_endian.py",
    "distutils/command/bdist.py", "distutils/config.py", "distutils/versionpredicate.py", "email/mime/image.py",
    "graphlib.py", "importlib/abc.py", "json/scanner.py", "multiprocessing/pool.py", "opcode.py", "pydoc.py",
    "smtpd.py", "tempfile.py", "tomllib/_re.py", "turtledemo/sorting_animate.py", "urllib/response.py",
    "xml/dom/minidom.py", "zoneinfo/_zoneinfo.py",
)  # fmt: skip
"""Files held out of training: one in twenty of Python 3.11.7's, by name, so that no version measures on what the models
that come with us have seen. Some versions lack a few."""

_LEFT_OUT = {
    "dist-packages", "encodings", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "test", "tests",
}  # fmt: skip
"""Folders of tables, of tests, and of what is not the standard library."""

_LEAST_BYTES = 1024
"""Shorter files hold little more than imports."""


def files() -> dict[str, Path]:
    """Return the source files by name, in its order."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found: dict[str, Path] = {}
    for folder, folders, names in os.walk(root):
        folders[:] = set(folders) - _LEFT_OUT
        # Installations generate tables of their own settings.
        sources = (name for name in names if name.endswith(".py") and not name.startswith("_sysconfig"))
        paths = (path for name in sources if (path := Path(folder, name)).stat().st_size >= _LEAST_BYTES)
        found |= {path.relative_to(root).as_posix(): path for path in paths}
    return dict(sorted(found.items()))


def training() -> list[str]:
    """Return the texts to train on."""
    return [_read(path) for name, path in files().items() if name not in HELD_OUT]


def held_out() -> list[str]:
    """Return the texts to measure on, which no model has seen."""
    return [_read(path) for name, path in files().items() if name in HELD_OUT]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
