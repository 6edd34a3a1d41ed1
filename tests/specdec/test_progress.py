"""Long work tells how far it is, short work is silent."""

import pytest

from specdec.command_line import progress
from specdec.command_line.progress import Progress
from specdec.serving.controllers import controller
from specdec.serving.sweep import Load, sweep
from tests.specdec.serving.test_serving import alone, workload


@pytest.mark.parametrize(("seconds", "lines"), [(2, []), (0, ["  1 of 3 parts", "  2 of 3 parts"])])
def test_what_takes_long_is_told(monkeypatch, capsys, seconds, lines):
    monkeypatch.setattr(progress, "SECONDS", seconds)
    tell = Progress("parts")
    for done in (1, 2, 3):
        tell(done, 3)
    found = capsys.readouterr()
    assert (found.out, found.err.splitlines()) == ("", lines)


def test_a_sweep_counts_its_simulations():
    told = []
    loads = [Load(1, lambda: workload([0], 10, 3)), Load(2, lambda: workload([0, 0], 10, 3))]
    sweep(alone(), [controller("off")], loads, 0, progress=lambda *parts: told.append(parts))
    assert told == [(1, 2), (2, 2)]
