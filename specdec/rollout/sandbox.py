"""Execution of SQL and of Python that nobody has read, where it can harm nothing.

Every run is a process of its own, forked from a Python in isolated mode, without environment, in an empty temporary
folder that is gone afterwards. It is under limits of memory, output and time, and before it looks at what it is to run
it has the kernel (seccomp, no privilege needed) forbid it every system call but those for its own memory, its own
signals, the clock, writing its answer, and its end: there are no files, no network, no processes, no threads and no
executable memory, whatever the code does, even through ctypes. Where that is not possible nothing is run.

What answers are expected never enters a run; comparing them is left to the caller.
"""

import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtnerf.base.errors import require

_WORKER = Path(__file__).with_name("sandbox_worker.py")

ARCHITECTURES = ("aarch64", "x86_64")
"""Those for which `sandbox_worker` knows the numbers of system calls."""


@dataclass(frozen=True)
class Limits:
    """What one run may use.

    Parameters
    ----------
    seconds : float
        Wall-clock time.
    memory : int
        Address space in bytes; Python itself takes about 40 MB of it.
    output : int
        Bytes of the answer, as JSON.
    instructions : int
        Steps of SQLite's virtual machine. Unlike time, the same on every machine.

    Raises
    ------
    InputError
        If one is not above 0.
    """

    seconds: float = 2.0
    memory: int = 256 << 20
    output: int = 1 << 16
    instructions: int = 1_000_000

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            require(value > 0, name, "above 0", value)


@dataclass(frozen=True)
class Result:
    """What came of a run.

    Members
    -------
    value : object
        The answer, made of what JSON has; None if there is an error.
    error : str or None
        What went wrong, in one line.
    """

    value: Any = None
    error: str | None = None


DEFAULT = Limits()
_MALFORMED = "malformed answer"


def call(
    programs: Sequence[str], function: str, arguments: Sequence[Sequence[Any]], limits: Limits = DEFAULT
) -> list[list[Result]]:
    """Run Python programs, each by itself, and call a function of each for every tuple of arguments.

    They may import a few modules for computing: `sandbox_worker.MODULES`.

    Parameters
    ----------
    programs : sequence of str
        The sources.
    function : str
        The function's name.
    arguments : sequence of sequences
        Made of what JSON has.
    limits : Limits, optional
        Of all the calls of a program together.

    Returns
    -------
    list of list of Result
        One a program and call. Of a program that had to be ended, the same error for all calls.

    Raises
    ------
    InputError
        If this machine cannot isolate a run.
    """
    shared = {"function": function, "arguments": [list(values) for values in arguments]}
    answers = _run([shared | {"python": program} for program in programs], limits)
    return [_results(answer, len(arguments)) for answer in answers]


def query(database: str, questions: Sequence[str], limits: Limits = DEFAULT) -> list[Result]:
    """Ask questions of a SQLite database in memory, each of a fresh one.

    Only SELECT with the plain functions of `sandbox_worker.FUNCTIONS` is allowed.

    Parameters
    ----------
    database : str
        The SQL that makes the database; held to the limits as well.
    questions : sequence of str
        Each one SELECT.
    limits : Limits, optional
        Of each question.

    Returns
    -------
    list of Result
        One a question, with the value ``[names of the columns, list of rows]``.

    Raises
    ------
    InputError
        If this machine cannot isolate a run.
    """
    answers = _run([{"database": database, "sql": sql} for sql in questions], limits)
    return [_table(_results(answer, 1)[0]) for answer in answers]


def _table(result: Result) -> Result:
    match result:
        case Result([list(), list()], None) | Result(None, str()):
            return result
    return Result(error=_MALFORMED)


def _results(answer: dict[str, str], count: int) -> list[Result]:
    """Return what a process has answered, which may be anything."""
    if "error" in answer:
        return [Result(error=answer["error"])] * count
    try:
        values = json.loads(answer["text"])
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or len(values) != count:
        return [Result(error=_MALFORMED)] * count
    return [_result(value) for value in values]


def _result(answer: Any) -> Result:
    match answer:
        case {"value": value}:
            return Result(value)
        case {"error": str(error)}:
            return Result(error=error)
    return Result(error=_MALFORMED)


def _run(requests: Sequence[dict[str, Any]], limits: Limits) -> list[dict[str, str]]:
    """Return for every request the text of its process's answer or the error that ended it."""
    machine = f"{sys.platform} on {platform.machine()}"
    isolates = sys.platform == "linux" and platform.machine() in ARCHITECTURES
    require(isolates, "platform", f"linux on {' or '.join(ARCHITECTURES)} to isolate what is run", machine)
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-B", str(_WORKER)],
            input=json.dumps([vars(limits) | request for request in requests]).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd=empty,
            check=False,
        )
    require(done.returncode == 0, "platform", "a kernel with seccomp filters and pidfd", platform.release())
    return json.loads(done.stdout)
