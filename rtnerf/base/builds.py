"""Builds that are kept: each in a folder named by a digest of all that goes into it, whole or not there."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock


def kept_build(folder: Path, name: str, ingredients: Any, make: Callable[[Path], None]) -> Path:
    """Return the folder of a build, made unless it is there; processes that want the same one wait for the first.

    Parameters
    ----------
    folder : Path
        Where builds are kept.
    name : str
        What the build is of; begins its folder's name.
    ingredients : JSON value
        All that decides what comes out: sources, flags, versions of tools.
    make : function of a Path
        Builds in the empty folder that it is given, which is the one returned. What it raises is passed on; the folder
        is left for its logs until the next attempt.
    """
    digest = hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()[:16]
    build = folder.resolve() / f"{name}-{digest}"
    if build.exists():
        return build.resolve()
    build.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(build.with_name(f".{build.name}.lock")):
        if not build.exists():
            for unfinished in build.parent.glob(f"{build.name}.*"):
                shutil.rmtree(unfinished, ignore_errors=True)
            # Never moved, as tools note where they built; and no folder of another attempt, whose tools may still run.
            attempt = Path(tempfile.mkdtemp(prefix=f"{build.name}.", dir=build.parent))
            make(attempt)
            build.unlink(missing_ok=True)
            build.symlink_to(attempt.name)
    return build.resolve()
