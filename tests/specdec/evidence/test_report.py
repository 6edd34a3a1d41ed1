from click.testing import CliRunner

from specdec.command_line.group import specdec
from specdec.evidence import report
from specdec.evidence.report import Report
from specdec.evidence.series import Bound, Row, Series


def test_a_broken_bound_is_exit_code_1(monkeypatch):
    broken = Series("s", "here", "nothing", [Row("r", 1.0, 2.0)], Bound("error", 1.0, 0.5))
    monkeypatch.setattr(report, "report", lambda progress: Report([broken]))
    result = CliRunner().invoke(specdec, ["validate"])
    assert result.exit_code == 1
    assert "bound: error 1, at most 0.5: BROKEN" in result.output
    assert "A BOUND IS BROKEN" in result.output
