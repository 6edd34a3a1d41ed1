"""Nothing outlives the process that started it: with real processes and real signals."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from rtnerf.base.processes import run_supervised

WAIT_SECONDS = 60

CALLER = """\
import signal, sys, tempfile
from pathlib import Path
from rtnerf.base.processes import run_supervised
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup leaves it ignored, for all that it starts
folder = Path(sys.argv[1])
scratch = tempfile.mkdtemp(dir=folder)
# A command with a child of its own, as a runner has make or a simulator; both write their numbers into the scratch.
code = "sleep 600 & echo $! > child; echo $$ > own.part; mv own.part own; wait"
with open(folder / "log", "wb") as log:
    run_supervised(["sh", "-c", code], log=log, timeout_seconds=600, folder=Path(scratch), scratch=Path(scratch))
"""
POOL = """\
import os, sys, time
from pathlib import Path
from rtnerf.base.processes import worker_pool
def work(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)
if __name__ == "__main__":
    with worker_pool(2) as pool:
        list(pool.map(work, [f"{sys.argv[1]}/{name}" for name in ("own", "child")]))
"""


def eventually(holds):
    end = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.05)


def runs(number):
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def started(program, folder):
    """Start a caller; return it and the numbers of its processes, once they are there."""
    (folder / "caller.py").write_text(program)
    root = Path(__file__).resolve().parents[3]
    caller = subprocess.Popen(
        [sys.executable, "caller.py", "."], cwd=folder, env={**os.environ, "PYTHONPATH": str(root)},
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    eventually(lambda: len([p for name in ("own", "child") for p in folder.rglob(name) if p.read_text().strip()]) == 2)
    return caller, [int(next(folder.rglob(name)).read_text()) for name in ("own", "child")]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_a_command_ends_with_its_caller_and_its_scratch_goes(tmp_path, number):
    caller, numbers = started(CALLER, tmp_path)
    assert all(map(runs, numbers))
    caller.send_signal(number)
    caller.wait(WAIT_SECONDS)
    eventually(lambda: not any(map(runs, numbers)))
    eventually(lambda: sorted(path.name for path in tmp_path.iterdir()) == ["caller.py", "log"])


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_pool(tmp_path, number):
    caller, numbers = started(POOL, tmp_path)
    caller.send_signal(number)
    caller.wait(WAIT_SECONDS)
    eventually(lambda: not any(map(runs, numbers)))


def test_status_output_and_files_of_a_command(tmp_path):
    with open(tmp_path / "log", "wb") as log:
        run = partial(run_supervised, log=log, folder=tmp_path, timeout_seconds=60, environment={"WORD": "said"})
        assert run(["/bin/sh", "-c", "echo $WORD; pwd >&2; exit 7"], scratch=tmp_path) == 7
    assert (tmp_path / "log").read_text() == f"said\n{tmp_path}\n"


def test_a_command_that_takes_too_long_is_killed_and_its_files_stay(tmp_path):
    with open(tmp_path / "log", "wb") as log, pytest.raises(subprocess.TimeoutExpired):
        run_supervised(
            ["sh", "-c", "echo $$; sleep 600"], log=log, folder=tmp_path, timeout_seconds=2, scratch=tmp_path
        )
    number = int((tmp_path / "log").read_text())
    assert not runs(number)
