"""Builds Verilog with Verilator or Icarus and runs a cocotb bench on it, in a process of its own.

A build lives in a folder named after a digest of everything that goes into it, so that a second
call finds it ready. A bench is a Python module with cocotb tests; it takes its parameters from
`bench_parameters` and returns its result through `bench_result`, both plain JSON.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosim.toolchain import Tool, require_engine
from rtnerf.base.builds import kept_build
from rtnerf.base.folders import ROOT, plain_folder, plain_path
from rtnerf.base.processes import run_supervised

TIMESCALE = ("1ns", "1ps")
"""Unit and precision of the simulated time; the generated Verilog states none."""

# Only what the source marks is public: several times faster than the runner's own choice, which is everything.
_VERILATOR_FLAGS = ("-Wno-fatal", "--no-public-flat-rw", "--timing")
# Under the runner's -g2012, combinational outputs of Amaranth's Verilog stay X after time zero.
_ICARUS_FLAGS = ("-g2005",)

_LOG_LINES = 40
_REQUEST = "RTNERF_SIMULATION"

LINT_WAIVERS = {
    "DECLFILENAME": "one generated file holds all modules",
    "UNUSEDSIGNAL": "interfaces and Yosys leave unused bits",
    "UNUSEDPARAM": "as for signals",
    "UNDRIVEN": "Yosys declares a dummy register per process",
    "CASEINCOMPLETE": "Yosys states the default value before each case",
    "CASEOVERLAP": "Yosys writes priority cases",
    "WIDTHEXPAND": "Yosys extends operands by the rules of Verilog",
    "WIDTHTRUNC": "as for extension",
    "INITIALDLY": "Yosys initialises memories with plain assignments",
    "PROCASSINIT": "Yosys initialises registers in their declaration",
    "EOFNEWLINE": "cosmetic",
    "SYMRSVDWORD": "interrupt is a common word of C++; Verilator renames it",
    "VARHIDDEN": "local names of generated processes",
}
"""Verilator warnings that the generator is allowed to cause, with the reason."""


class SimulationError(RuntimeError):
    """A build, a lint or a simulation failed; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class Simulation:
    """What to build.

    Parameters
    ----------
    top : str
        Name of the top module.
    sources : mapping of str to str
        File name (``top.v``) to Verilog text.
    engine : str
        ``verilator`` or ``icarus``.
    folder : Path
        Where the builds are kept, each in a folder of its own; if its path has a space, in the user's cache instead.
    waves : bool
        Whether runs can write waveforms (slower).
    public_top : bool
        Whether the bench may touch every signal of the top (slower), or in Verilator only what the source marks public.
    """

    top: str
    sources: Mapping[str, str]
    engine: str
    folder: Path
    waves: bool = False
    public_top: bool = False

    @property
    def flags(self) -> list[str]:
        """What the engine is built with."""
        if self.engine != "verilator":
            return list(_ICARUS_FLAGS)
        return [*_VERILATOR_FLAGS, *(["--public-depth", "1"] if self.public_top else [])]

    def ingredients(self, tool: Tool) -> dict[str, Any]:
        """All that decides what is built: engine, versions, flags and sources."""
        return {
            "engine": [self.engine, tool.version, str(tool.path)],
            "cocotb": [importlib.metadata.version("cocotb"), sys.version],
            "flags": self.flags,
            "top": self.top,
            "waves": self.waves,
            "sources": dict(self.sources),
        }

    def build(self, timeout_seconds: float = 1800) -> Path:
        """Build, unless it is built already. Returns the build's folder.

        Raises `SimulationError` for Verilog that does not build, `ToolMissingError` of
        `cosim.toolchain` where the engine is not installed.
        """
        tool = require_engine(self.engine)

        def make(folder: Path) -> None:
            for name, text in self.sources.items():
                (folder / name).write_text(text, encoding="utf-8")
            self._child("build", {"folder": str(folder)}, folder, tool, timeout_seconds, scratch=folder)

        return kept_build(plain_folder(self.folder), f"{self.top}-{self.engine}", self.ingredients(tool), make)

    def run(
        self,
        module: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        seed: int = 1,
        timeout_seconds: float = 600,
        testcase: str | None = None,
        plusargs: Sequence[str] = (),
        python_path: Iterable[str | Path] = (),
        run_folder: Path | None = None,
        scratch: Path | None = None,
    ) -> dict[str, Any]:
        """Run the cocotb tests of ``module``.

        Parameters
        ----------
        module : str
            Import name of the bench.
        parameters : mapping
            Anything JSON can hold; the bench reads it with `bench_parameters`.
        seed : int
            cocotb's random seed, ``cocotb.RANDOM_SEED`` in the bench.
        timeout_seconds : float
            Wall clock, for the simulation alone.
        testcase : str or None
            Name of the one test to run; None = all.
        plusargs : sequence of str
            Passed to the simulator, such as ``+latency=20``.
        python_path : paths
            Folders to import the bench from, before the current ones.
        run_folder : Path or None
            Where log, waveform and results go; None = a temporary folder, removed when all is well.
        scratch : Path or None
            A folder of the caller's, removed if this process is stopped or killed during the run.

        Returns what the bench gave to `bench_result`, or an empty dictionary.
        Raises `SimulationError` where a test fails, none ran, or the time is over.
        """
        folder = self.build()
        tool = require_engine(self.engine)
        keep = run_folder is not None
        if run_folder is None:
            run_folder = scratch = Path(tempfile.mkdtemp(prefix="run-", dir=folder))
        run_folder = run_folder.resolve()
        run_folder.mkdir(parents=True, exist_ok=True)
        result = run_folder / "result.json"
        result.unlink(missing_ok=True)
        request = {
            "folder": str(folder),
            "run_folder": str(run_folder),
            "module": module,
            "parameters": dict(parameters or {}),
            "result": str(result),
            "seed": seed,
            "testcase": testcase,
            "plusargs": list(plusargs),
        }
        self._child("run", request, run_folder, tool, timeout_seconds, python_path, scratch)
        value = json.loads(result.read_text()) if result.exists() else {}
        if not keep:
            shutil.rmtree(run_folder)
        return value

    def _child(
        self,
        action: str,
        request: dict[str, Any],
        folder: Path,
        tool: Tool,
        timeout_seconds: float,
        python_path: Iterable[str | Path] = (),
        scratch: Path | None = None,
    ) -> None:
        """Do one step in a child, so that a hang or a crash of the simulator stays there."""
        request |= {
            "action": action,
            "top": self.top,
            "engine": self.engine,
            "sources": list(self.sources),
            "waves": self.waves,
            "flags": self.flags,
        }
        request_file, log_file = folder / f"{action}.json", folder / f"{action}.log"
        request_file.write_text(json.dumps(request))
        with open(log_file, "wb") as log:
            try:
                status = run_supervised(
                    [sys.executable, "-m", "cosim.simulation"],
                    log=log,
                    timeout_seconds=timeout_seconds,
                    folder=folder,
                    environment=_child_environment(tool, request_file, python_path),
                    scratch=scratch,
                )
            except subprocess.TimeoutExpired:
                raise SimulationError(
                    f"{self.top}: the {action} took more than {timeout_seconds:g} seconds\n" + _tail(log_file)
                ) from None
        if status != 0:
            raise SimulationError(
                f"{self.top}: the {action} failed with status {status} ({log_file})\n" + _tail(log_file)
            )


def lint(path: Path, top: str, waivers: Iterable[str] = LINT_WAIVERS) -> None:
    """Run ``verilator --lint-only -Wall`` on a file.

    Raises `SimulationError` with the messages for any error or any warning that is not waived.
    """
    tool = require_engine("verilator")
    command = [
        str(tool.path), "--lint-only", "-Wall", "--timing", "--top-module", top,
        *(f"-Wno-{name}" for name in waivers), str(path),
    ]  # fmt: skip
    found = subprocess.run(command, env={**os.environ, **tool.environment}, capture_output=True, text=True, check=False)
    messages = (found.stdout + found.stderr).strip()
    if found.returncode != 0 or "%Warning" in messages:
        raise SimulationError(f"{path}: the lint failed\n{messages}")


# ---- For the bench, inside the simulator ----


def bench_parameters() -> dict[str, Any]:
    """The parameters that `Simulation.run` was given."""
    return _request()["parameters"]


def bench_result(value: Mapping[str, Any]) -> None:
    """Return ``value`` from the `Simulation.run` that runs this bench."""
    Path(_request()["result"]).write_text(json.dumps(value))


# ---- The child ----


def _request() -> dict[str, Any]:
    return json.loads(Path(os.environ[_REQUEST]).read_text())


def _perform(request: dict[str, Any]) -> int:
    # Imported here: the parent must not need cocotb to look for tools or to read results.
    from cocotb_tools import config
    from cocotb_tools.runner import get_results, get_runner

    config.libs_dir, config.share_dir = plain_path(config.libs_dir), plain_path(config.share_dir)
    folder = Path(request["folder"])
    runner = get_runner(request["engine"])
    if request["action"] == "build":
        runner.build(
            sources=[folder / name for name in request["sources"]],
            hdl_toplevel=request["top"],
            build_dir=folder,
            build_args=request["flags"],
            timescale=TIMESCALE,
            waves=request["waves"],
        )
        return 0
    results = Path(request["run_folder"]) / "results.xml"
    runner.test(
        test_module=request["module"],
        hdl_toplevel=request["top"],
        hdl_toplevel_lang="verilog",
        build_dir=folder,
        test_dir=request["run_folder"],
        results_xml=str(results),
        seed=request["seed"],
        testcase=request["testcase"],
        plusargs=request["plusargs"],
        timescale=TIMESCALE,
        waves=request["waves"],
    )
    tests, failed = get_results(results)
    if tests == 0:
        print("no test ran", flush=True)
    return 1 if failed or tests == 0 else 0


def _child_environment(tool: Tool, request_file: Path, python_path: Iterable[str | Path]) -> dict[str, str]:
    environment = {**os.environ, **tool.environment, _REQUEST: str(request_file)}
    # The runner behaves otherwise where it believes itself inside a pytest test.
    for name in ("PYTEST_CURRENT_TEST", "MFLAGS", "GPI_USERS", "COCOTB_TEST_FILTER"):
        environment.pop(name, None)
    folders = [str(Path(folder).resolve()) for folder in python_path]
    folders.append(str(ROOT))
    environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(folders + [p for p in sys.path if p]))
    # cocotbext-axi uses names that cocotb 2 has deprecated.
    environment["PYTHONWARNINGS"] = "ignore::DeprecationWarning"
    environment.setdefault("COCOTB_ANSI_OUTPUT", "0")
    # No bench asserts; rewriting every module anew takes longer than a small frame.
    environment.setdefault("COCOTB_REWRITE_ASSERTION_FILES", "")
    return environment


def _tail(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines()
    return "\n".join(lines[-_LOG_LINES:])


if __name__ == "__main__":
    sys.exit(_perform(_request()))
