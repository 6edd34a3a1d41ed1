"""Processes that end with the command that started them, however it ends.

A command runs under a supervisor, this file as a script: it watches a pipe from the caller, and when that closes it
kills the command with everything that the command started.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_KILL = b"k"
"""Sent through the pipe: kill the command, but keep its files."""


def run_supervised(
    command: Sequence[str],
    *,
    log: IO[bytes],
    timeout_seconds: float,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    scratch: Path | None = None,
) -> int:
    """Run a command without input, and return its exit status.

    Parameters
    ----------
    command : sequence of str
    log : binary file
        Takes the command's output and errors.
    timeout_seconds : float
    folder : Path
        That the command runs in.
    environment : mapping, optional
        By default that of this process.
    scratch : Path, optional
        A folder to be removed if this process is stopped or killed before the command has ended.

    Raises
    ------
    subprocess.TimeoutExpired
        The command took longer; it has been killed.
    """
    # Isolated and without site packages: the supervisor needs none, and starts the sooner.
    supervisor = [
        sys.executable,
        "-I",
        "-S",
        str(Path(__file__).resolve()),
        str(scratch.resolve()) if scratch else "",
        *command,
    ]
    child = subprocess.Popen(
        supervisor, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=environment,
        start_new_session=True, bufsize=0,
    )  # fmt: skip
    assert child.stdin is not None
    try:
        return child.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        with suppress(BrokenPipeError):
            child.stdin.write(_KILL)
        raise
    finally:
        child.stdin.close()
        child.wait()


@contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes; they are terminated when an exception leaves the block, and end with this process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_end_with_parent) as pool:
        try:
            yield pool
        except BaseException:
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def _end_with_parent() -> None:
    def watch() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


# ---- The supervisor ----


def _supervise(scratch: str, command: Sequence[str]) -> int:
    worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    abandoned = threading.Event()

    def watch() -> None:
        if os.read(sys.stdin.fileno(), 1) != _KILL:
            abandoned.set()
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    status = worker.wait()
    if abandoned.is_set() and scratch:
        shutil.rmtree(scratch, ignore_errors=True)
    return status


if __name__ == "__main__":
    for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # It ends with its caller alone. Not SIG_IGN, which the command would inherit.
        signal.signal(_number, lambda number, frame: None)
    os._exit(_supervise(sys.argv[1], sys.argv[2:]) & 0xFF)
