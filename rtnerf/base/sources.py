"""Which sources a result was made from: a digest that any edit of a package changes."""

import hashlib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from rtnerf.base import STARTED


def sources(packages: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Yield the Python files of packages, with their names below them."""
    for name in packages:
        # Where it is imported from: a changed package may hide another, as in tests/cosim/mutations.py.
        found = find_spec(name)
        for folder in (found and found.submodule_search_locations) or ():
            for path in sorted(Path(folder).glob("**/*.py")):
                yield f"{name}/{path.relative_to(folder)}", path


def edited(packages: Sequence[str]) -> bool:
    """Return whether a source is newer than this process, which then holds something else than the digest says."""
    return any(path.stat().st_mtime > STARTED for _, path in sources(packages))


def digest_of(packages: Sequence[str]) -> str | None:
    """Return the digest of the sources of packages as they were imported; None if they were edited meanwhile."""
    digest = hashlib.sha256()
    for name, path in sources(packages):
        digest.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return None if edited(packages) else digest.hexdigest()
