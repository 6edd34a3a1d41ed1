"""Result files: those that commands have just made, and those that are kept with the project."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rtnerf.base.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "reports" / "results"


class Result:
    """A result file: its content by key, as the dictionary or list that it is, and what it says of itself.

    Parameters
    ----------
    path : Path
        A file of JSON.
    name : str
        How pages call it.
    """

    def __init__(self, path: Path, name: str) -> None:
        content = path.read_bytes()
        self.content: Any = json.loads(content)
        self.name = name
        self.digest = hashlib.sha256(content).hexdigest()

    def __getitem__(self, key: Any) -> Any:
        return self.content[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.content)

    def get(self, key: str, default: Any = None) -> Any:
        """Return what is there under a key of a dictionary."""
        return self.content.get(key, default)

    @property
    def origin(self) -> str:
        """File, digest, and where it says so: command, seed, version of this project."""
        first = self.content[0] if isinstance(self.content, list) else self.content
        command = first.get("command", "")
        made = "" if not command else command if " " in command else f"rtnerf {command}"
        told = [self.name, f"sha256 {self.digest[:12]}", made]
        told += [f"seed {first['seed']}"] if "seed" in first else []
        told += [f"version {first['versions']['rtnerf']}"] if "rtnerf" in first.get("versions", {}) else []
        return ", ".join(part for part in told if part)


def build_folder() -> Path:
    """Where commands have written: ``RTNERF_BUILD``, or ``build`` of the project."""
    return Path(os.environ.get("RTNERF_BUILD", ROOT / "build"))


def made(name: str, by: str = "make demo") -> Result:
    """Return a result below the build folder, such as ``demo/simulate.json``.

    Raises
    ------
    InputError
        It is not there; the message says what command makes it.
    """
    path = build_folder() / name
    if not path.is_file():
        raise InputError(f"results must be made first by `{by}`, not missing: {path}")
    return Result(path, f"build/{name}")


def kept(name: str) -> Result:
    """Return a result of ``reports/results`` by its name without an ending."""
    return Result(KEPT / f"{name}.json", f"reports/results/{name}.json")


def is_there(name: str) -> bool:
    """Whether there is a result below the build folder, or a kept one of the same name."""
    return (build_folder() / name).is_file() or (KEPT / Path(name).name).is_file()


def made_or_kept(name: str) -> Result:
    """Return a result below the build folder, or where it is not there the kept one of the same name."""
    return made(name) if (build_folder() / name).is_file() else kept(Path(name).stem)
