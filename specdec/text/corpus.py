"""The text to train and measure on: the Python standard library's own sources, those of the running interpreter.

Every installation of Python has them, under a clear licence. For a given version of Python this is always the same
text, in the same order; other versions give slightly other texts.
"""

import os
import sysconfig
from pathlib import Path

HELD_OUT = 20
"""One file in so many is held out of training."""

_LEFT_OUT = {
    "dist-packages", "encodings", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "test", "tests",
}  # fmt: skip
"""Folders of tables, of tests, and of what is not the standard library."""

_LEAST_BYTES = 1024
"""Shorter files hold little more than imports."""


def files() -> list[Path]:
    """Return the source files, ordered by name."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = set(folders) - _LEFT_OUT
        # Installations generate tables of their own settings.
        sources = (name for name in names if name.endswith(".py") and not name.startswith("_sysconfig"))
        found += [path for name in sources if (path := Path(folder, name)).stat().st_size >= _LEAST_BYTES]
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def training() -> list[str]:
    """Return the texts to train on."""
    return [_read(path) for index, path in enumerate(files()) if index % HELD_OUT]


def held_out() -> list[str]:
    """Return the texts to measure on, which no model has seen."""
    return [_read(path) for path in files()[::HELD_OUT]]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
