"""Files that appear complete, under their name, or not at all."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from specdec.errors import InputError, require


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside ``path``, then rename it. Folders are made.

    Raises
    ------
    InputError
        If the path cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"output must be a file that can be written, not {path} ({error.strerror})") from None


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write indented standard JSON. Raises as `write_bytes`."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def check_target(name: str, path: Path) -> None:
    """Make the folder of a file to be written and see that it can be, before the long work.

    Raises
    ------
    InputError
        If the path is a folder or cannot be written.
    """
    rule = "a file that can be written"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{name} must be {rule}, not {path} ({error.strerror})") from None
    require(not path.is_dir(), name, rule, f"{path} (a folder)")
    require(os.access(path.parent, os.W_OK), name, rule, f"{path} (no permission)")
