"""Keeps machine code between runs, in a folder named by a digest of all that the code can be made from.

Numba's own cache watches the file of each function alone: its callers would go on with an edited function or constant
as it was. Here any edit of a package's sources, or of those that it may import, names another folder. Each compiled
signature is one file, so that processes that compile at once share nothing that they could spoil.
"""

import functools
import hashlib
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from rtnerf.base.errors import InputError
from rtnerf.base.files import write_bytes
from rtnerf.base.folders import kept_folder
from rtnerf.base.sources import digest_of, edited

SOURCES = {
    "nerf.golden": ("nerf.contract", "nerf.golden", "rtnerf.base"),
    "nerf": ("nerf", "rtnerf.base"),
    "rtnerf.physical": ("rtnerf.physical", "rtnerf.base"),
    "sim": ("nerf.contract", "nerf.golden", "sim", "rtnerf.base"),
    "specdec": ("specdec", "rtnerf.base"),
}
"""Packages with compiled functions, the innermost first, and the packages that those can be made from."""

VERSIONS_KEPT = 8
"""Folders kept of each package: those used last."""


class CodeCache(NullCache):
    """The kept machine code of one function, one file a signature; of a function of no package in `SOURCES`, none."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._name = f"{function.__module__}.{function.__qualname__}"
        # The values that a closure holds are in no source.
        self._package = None if function.__closure__ else package_of(function.__module__)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the code for a signature, or None where there is none."""
        target_context.refresh()
        path = self._path(sig, target_context.codegen())
        try:
            found, code = pickle.loads(path.read_bytes()) if path else (None, None)
        except (OSError, EOFError, pickle.UnpicklingError):
            return None
        return CompileResult._rebuild(target_context, *code) if found == sig else None  # type: ignore

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the code for a signature, unless it holds addresses of this process."""
        path = self._path(sig, data.codegen)
        if self._package is None or path is None or data.library.has_dynamic_globals or edited(SOURCES[self._package]):
            return
        try:
            write_bytes(path, dumps((sig, data._reduce())))  # type: ignore[no-untyped-call]
        except InputError:
            _tell(f"compiled code cannot be kept in {path.parent}, so every start compiles anew")

    def _path(self, sig: Any, codegen: Any) -> Path | None:
        folder = version_folder(self._package) if self._package else None
        machine = hashlib.sha256(repr((codegen.magic_tuple(), sig)).encode()).hexdigest()[:16]
        return folder and folder / f"{self._name}-{machine}"


def cache_folder() -> Path:
    """Return where compiled code is kept: `NUMBA_CACHE_DIR`, else inside the checkout, else in the user's cache."""
    if given := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(given).absolute()
    return kept_folder("numba")


def package_of(module: str) -> str | None:
    """Return the package of `SOURCES` that a module belongs to."""
    return next((package for package in SOURCES if f"{module}.".startswith(f"{package}.")), None)


@functools.cache
def version_folder(package: str) -> Path | None:
    """Return the folder for the code of a package as it was imported; None if it was edited meanwhile."""
    settings = {
        name: value for name, value in os.environ.items() if name.startswith("NUMBA_") and name != "NUMBA_CACHE_DIR"
    }
    versions = (numba.__version__, llvmlite.__version__, np.__version__, sys.version, sorted(settings.items()))
    sources = digest_of(SOURCES[package])
    if sources is None:
        return None
    digest = hashlib.sha256(repr((versions, sources)).encode()).hexdigest()
    folder = cache_folder() / f"{package}-{digest[:16]}"
    try:
        os.utime(folder)
    except OSError:
        _prune(package)
    return folder


def _prune(package: str) -> None:
    """Make room for a new version. A process that still runs one that goes compiles what it lacks, as at first."""
    folders = cache_folder().glob(f"{package}-*")
    for folder in sorted(folders, key=_last_used, reverse=True)[VERSIONS_KEPT - 1 :]:
        shutil.rmtree(folder, ignore_errors=True)


def _last_used(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0


@functools.cache
def _tell(note: str) -> None:
    """Print a note on the standard error, once a process."""
    print(f"note: {note}", file=sys.stderr)
