"""Acceptance length by drafted tokens: the law of two numbers, and what it says of published curves."""

import json

import pytest
from click.testing import CliRunner

from rtnerf.base.errors import InputError
from specdec.command_line.group import specdec
from specdec.laws.acceptance_length import AcceptanceLaw, check, fit, read_curves

CURVE = "model:\n  thinking:\n    1: 1.79\n    2: 2.27\n    3: 2.49\n    4: 2.54\n    8: 2.58\n"


def test_the_law_by_hand():
    assert AcceptanceLaw(0.8, 0.5).length(3) == pytest.approx(1 + 0.8 + 0.8 * 0.4 + 0.8 * 0.4 * 0.2)
    assert AcceptanceLaw(0.8, 1).length(2) == pytest.approx(1 + 0.8 + 0.64)
    # No rate exceeds 1.
    assert AcceptanceLaw(0.9, 2).length(2) == pytest.approx(1 + 0.9 + 0.9)


def test_a_fit_finds_the_law_and_three_points_suffice():
    curve = {drafted: AcceptanceLaw(0.83, 0.94).length(drafted) for drafted in range(1, 9)}
    law = fit({drafted: curve[drafted] for drafted in (1, 2, 3)})
    assert (law.first, law.decay) == (pytest.approx(0.83, abs=1e-4), pytest.approx(0.94, abs=1e-4))
    assert abs(check(curve, (1, 2, 3))["error_at_last"]) < 1e-4


def test_a_constant_rate_is_worse():
    curve = {1: 1.79, 2: 2.27, 3: 2.49, 4: 2.54, 5: 2.55, 6: 2.55, 7: 2.54, 8: 2.58}
    assert check(curve)["rms"] < 0.03
    assert AcceptanceLaw(0.79, 1).length(8) / curve[8] - 1 > 0.5


def test_the_command(tmp_path):
    (tmp_path / "curve.yaml").write_text(CURVE)
    arguments = ["validate", f"--acceptance={tmp_path}/curve.yaml", "--from=1,2,3", f"--json={tmp_path}/out.json"]
    result = CliRunner().invoke(specdec, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    found = json.loads((tmp_path / "out.json").read_text())["model/thinking"]
    assert found["rms"] < 0.03
    assert abs(found["error_at_last"]) < 0.08


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2", "acceptance must be a YAML file, not"),
        ("a: b\n", "acceptance must be a YAML file of acceptance lengths by drafted tokens, not"),
        ("[" * 100000, "acceptance must be a YAML file, not"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    (tmp_path / "curve.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_curves(tmp_path / "curve.yaml")


def test_impossible_lengths_are_refused():
    with pytest.raises(InputError, match=r"acceptance length at 1 must be from 1 to 2, not 2\.5"):
        fit({1: 2.5, 2: 3.0})
    with pytest.raises(InputError, match="acceptance lengths must be at least two"):
        fit({1: 1.5})
    with pytest.raises(InputError, match="from must be among 1, 2, not"):
        check({1: 1.5, 2: 1.7}, (1, 3))
