"""Files that commands write and read. What is written appears complete, under its name, or not at all."""

import json
import math
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from rtnerf.base.errors import InputError, require

LARGEST_JSON = 256 << 20
"""Bytes of a JSON file that is read: a device or a pipe may have no end."""

_RULE = "a file that can be written"


# ---- Writing ----


def check_target(name: str, path: str | Path) -> Path:
    """Make the folder of ``path`` and check that a file can be written there, before the long work.

    Parameters
    ----------
    name : str
        What the path is called in the message.
    path : path
        The file to be written; it need not exist. A device or a pipe is written to, a link is followed.

    Raises
    ------
    InputError
        The path is a folder or a socket, or cannot be written.
    """
    path = Path(path)
    try:
        found = _status(path)
        if found is None or stat.S_ISREG(found.st_mode):
            target = _target(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            _status(target)  # Refuses a name that is too long, now that its folder exists.
            require(os.access(target.parent, os.W_OK), name, _RULE, f"{path} (no permission)")
    except (OSError, RuntimeError) as error:
        raise InputError(f"{name} must be {_RULE}, not {_shown(path)} ({_reason(error)})") from None
    if found is not None:
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a socket" if stat.S_ISSOCK(found.st_mode) else None
        require(kind is None, name, _RULE, f"{path} ({kind})")
        require(os.access(path, os.W_OK), name, _RULE, f"{path} (no permission)")
    return path


def check_distinct(targets: Mapping[str, Path], sources: Mapping[str, Path | Iterable[Path]]) -> None:
    """Check that no file is written that is read, and none twice, by whatever names and links they go.

    Parameters
    ----------
    targets, sources : mapping of str to path
        What is written and what is read, by its name in the message.

    Raises
    ------
    InputError
        Two of them are the same file.
    """
    read = {_identity(each): name for name, paths in sources.items() for each in _several(paths)}
    written: dict[object, str] = {}
    for name, path in targets.items():
        identity = _identity(path)
        if identity == _identity(os.devnull):
            continue
        require(identity not in read, name, f"another file than {read.get(identity)}", path)
        require(identity not in written, name, f"another file than {written.get(identity)}", path)
        written[identity] = name


def written_through(path: str | Path) -> bool:
    """Tell whether a path is a device, a pipe or one of the process's own files, which cannot be replaced."""
    path = Path(path)
    found = _status(path)
    places = (os.path.realpath(path.parent), os.readlink(path) if path.is_symlink() else "")
    own = any(place.startswith(("/proc/", "/dev/fd")) for place in places) or is_standard_output(path)
    return found is not None and (own or not stat.S_ISREG(found.st_mode))


def is_standard_output(path: str | Path) -> bool:
    """Tell whether a path is, by whatever name, the file or pipe that this process's standard output goes to."""
    try:
        found = os.fstat(1)
    except OSError:  # It has none.
        return False
    return (found.st_dev, found.st_ino) == _identity(path) != _identity(os.devnull)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file under a temporary name beside ``path``, then rename it. Folders are made.

    A device or a pipe is written to; of a symbolic link the file that it points to is replaced.

    Raises
    ------
    InputError
        The path cannot be written.
    """
    path = Path(path)
    try:
        if written_through(path):
            with open(os.open(path, os.O_WRONLY | os.O_APPEND), "wb") as file:
                file.write(content)
        else:
            _replace(_target(path), content)
    except (OSError, RuntimeError) as error:
        raise InputError(f"output must be {_RULE}, not {_shown(path)} ({_reason(error)})") from None


def write_json(path: str | Path, value: Mapping[str, Any]) -> None:
    """Write standard JSON, indented; NumPy numbers become numbers, infinities and NaN become null."""
    write_bytes(path, (json.dumps(_plain(value), indent=2, allow_nan=False) + "\n").encode())


def _replace(target: Path, content: bytes) -> None:
    partial = target.with_name(_partial_name())
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        partial.write_bytes(content)
        if target.exists():
            shutil.copymode(target, partial)
        os.replace(partial, target)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def _partial_name() -> str:
    """A short one: a name that is just not too long stays so."""
    return f".{secrets.token_hex(4)}.part"


def _status(path: Path) -> os.stat_result | None:
    """Return what is at a path behind all links; None where nothing is."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _target(path: Path) -> Path:
    """Return the file that a path names, behind all links."""
    return path.resolve() if path.is_symlink() else path


def _identity(path: str | Path) -> object:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return os.path.realpath(path)
    return found.st_dev, found.st_ino


def _several(paths: Path | Iterable[Path]) -> Iterable[Path]:
    return (paths,) if isinstance(paths, (str, Path)) else paths


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)


def _shown(path: Path) -> str:
    """A path, cut in the middle where it is too long for a message of one line."""
    text = str(path)
    return text if len(text) <= 160 else f"{text[:80]}...{text[-60:]}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


# ---- Reading ----


def read_json(name: str, path: str | Path) -> Any:
    """Read a JSON file in UTF-8, -16 or -32, with or without a byte-order mark.

    Raises
    ------
    InputError
        No file, or none of JSON; the message says what it is instead.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_JSON + 1)
    except OSError as error:
        raise InputError(f"{name} must be a readable file, not {_shown(path)} ({error.strerror})") from None
    require(len(content) <= LARGEST_JSON, name, f"a JSON file of at most {LARGEST_JSON >> 20} MiB", path)
    check_content(name, content, f"a JSON file, not {path}")
    try:
        return json.loads(content)
    except RecursionError:
        raise InputError(f"{name} must be a JSON file, not {path} (nested too deep)") from None
    except ValueError as error:
        raise InputError(f"{name} must be a JSON file, not {path} ({error})") from None


def check_content(name: str, start: bytes, rule: str) -> None:
    """Refuse what often stands in a file's place: nothing, a Git LFS pointer, a web page.

    Parameters
    ----------
    start : bytes
        Of the file, 64 or more where there are.
    rule : str
        For the message, with the file's name.

    Raises
    ------
    InputError
    """
    text = start[:64].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not start:
        cause = "an empty file"
    elif text.startswith(b"version https://git-lfs"):
        cause = "a Git LFS pointer: git lfs pull fetches the file itself"
    elif text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head")):
        cause = "a web page: the download brought no file"
    else:
        return
    raise InputError(f"{name} must be {rule} ({cause})")
