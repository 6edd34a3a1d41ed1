"""Ctrl-C in commands at work, which say how far they are: they end at once; no process or part of a file is left."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from reports.site.build import notebooks
from tests.browser import SECONDS as WATCHDOG

ROOT = Path(__file__).resolve().parents[2]
END_SECONDS = 2
INTERRUPTED = 130
WORK_SECONDS = 1
"""That a command works on after it has said how far it is."""

SPACE = """\
[fixed]
views = [0, 1, 2, 3]
size = 200
[grid]
sample_queue = [64, 128, 256, 512]
"""


def started(folder, *arguments):
    """A command on a terminal of its own, and the terminal."""
    terminal, end = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RTNERF_BUILD": str(folder / "build")}
    command = subprocess.Popen(
        [sys.executable, "-m", "rtnerf", *arguments], cwd=folder, env=environment, stdin=end, stdout=end, stderr=end,
        start_new_session=True,
    )  # fmt: skip
    os.close(end)
    return command, terminal


def read_until(terminal, words):
    """Read what a terminal shows up to some words."""
    text, until = "", time.monotonic() + WATCHDOG
    while words not in text:
        assert select.select([terminal], [], [], max(until - time.monotonic(), 0))[0], f"no {words!r} in {text!r}"
        try:
            text += os.read(terminal, 4096).decode(errors="replace")
        except OSError:
            pytest.fail(f"the command has ended: {text}")
    return text


def session_of(number):
    """The processes of a session that run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
            if int(session) == number and state != "Z":
                found.append(stat.parent.name)
    return found


def seconds_to_end(command):
    """Interrupt a command; how long it takes to end, without the time that other work kept it from a core."""

    def kept_waiting():
        with suppress(OSError, IndexError):
            return int(Path(f"/proc/{command.pid}/schedstat").read_text().split()[1]) / 1e9
        return 0

    asked, before = time.monotonic(), kept_waiting()
    os.killpg(command.pid, signal.SIGINT)
    waited = before
    while command.poll() is None:
        assert time.monotonic() - asked < WATCHDOG
        waited = max(waited, kept_waiting())
        time.sleep(0.02)
    return time.monotonic() - asked - (waited - before)


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("arguments", "words", "left"),
    [
        ("train --out m.safetensors --steps 100000", "training", ["m.safetensors.part"]),
        ("specdec serve --rate 0.5 --requests 3000000 --json s.json --csv s.csv", "simulations", []),
        ("view", "Ctrl-C ends it", []),
        pytest.param("sweep space.toml --out points --workers 2", "sweep", ["points"], marks=pytest.mark.full),
        pytest.param("cosim --size 4 --json c.json --wave w.fst --build-dir b", "RTL", ["b"], marks=pytest.mark.full),
        pytest.param("report --out site", "notebooks", [], marks=pytest.mark.full),
    ],
)
def test_ctrl_c_ends_a_command_at_work(tmp_path, arguments, words, left):
    (tmp_path / "space.toml").write_text(SPACE)
    demo = tmp_path / "build" / "demo"
    demo.mkdir(parents=True)
    for name in re.findall(r'made\("demo/([^"]+)"\)', "".join(path.read_text() for path in notebooks())):
        (demo / name).write_text('{"command": "none"}')
    before = {path.name for path in tmp_path.iterdir()}
    command, terminal = started(tmp_path, *arguments.split())
    try:
        read_until(terminal, words)
        time.sleep(WORK_SECONDS)
        assert command.poll() is None
        assert seconds_to_end(command) < END_SECONDS
        assert command.returncode == INTERRUPTED
        assert "error: stopped" in os.read(terminal, 1 << 16).decode()
        assert session_of(command.pid) == []
    finally:
        with suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)
        os.close(terminal)
    found = [path.name for path in tmp_path.iterdir() if path.name not in before]
    assert set(found) <= set(left)
    assert list(tmp_path.rglob(".*.part")) == []
