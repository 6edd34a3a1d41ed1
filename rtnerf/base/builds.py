"""Builds that are kept: each in a folder named by a digest of all that goes into it, whole or not there."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from rtnerf.base.sources import digest_of

_VALUE = "value.json"


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


def kept_value(folder: Path, name: str, packages: Sequence[str], ingredients: Any, make: Callable[[], Any]) -> Any:
    """Return what a function makes, kept between runs for as long as no source of it is edited.

    Parameters
    ----------
    folder : Path
        Where values are kept; where it cannot be written, each process makes its own.
    name : str
        What the value is; begins its folder's name.
    packages : sequence of str
        Those whose code decides what comes out.
    ingredients : JSON value
        What else does: arguments, versions of libraries.
    make : function
        Returns a JSON value.
    """
    sources = digest_of(packages)
    if sources is None:
        return make()
    made = []

    def write(place: Path) -> None:
        made.append(make())
        (place / _VALUE).write_text(json.dumps(made[0]), encoding="utf-8")

    try:
        kept = kept_build(folder, name, [sources, ingredients], write) / _VALUE
        return json.loads(kept.read_text(encoding="utf-8"))
    except OSError:
        return made[0] if made else make()
