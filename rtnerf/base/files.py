"""Writes result files: each appears complete, under its name, or not at all."""

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from rtnerf.base.errors import InputError


def check_target(name: str, path: str | Path) -> Path:
    """Make the folder of ``path`` and check that a file can be written there, before the long work.

    Parameters
    ----------
    name : str
        What the path is called in the message.
    path : path
        The file to be written; it need not exist.

    Raises
    ------
    InputError
        The path is a folder, or cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{name} must be a file that can be written, not {path} ({error.strerror})") from None
    if path.is_dir():
        raise InputError(f"{name} must be a file that can be written, not {path} (a folder)")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{name} must be a file that can be written, not {path} (no permission)")
    return path


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file under a temporary name beside ``path``, then rename it. Folders are made.

    Raises
    ------
    InputError
        The path cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise InputError(f"output must be a file that can be written, not {path} ({error.strerror})") from None


def write_json(path: str | Path, value: Mapping[str, Any]) -> None:
    """Write standard JSON, indented; NumPy numbers become numbers, infinities and NaN become null."""
    write_bytes(path, (json.dumps(_plain(value), indent=2, allow_nan=False) + "\n").encode())


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
