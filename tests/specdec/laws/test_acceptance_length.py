"""Acceptance length by drafted tokens: the law of two numbers, and what it says of published curves."""

import json

import pytest
from click.testing import CliRunner

from rtnerf.base.errors import InputError
from rtnerf.base.folders import data_folder
from specdec.command_line.group import specdec
from specdec.laws.acceptance_length import (
    AcceptanceLaw,
    Drafters,
    believe,
    check,
    check_all,
    expect,
    fit,
    learn,
    read_curves,
)

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
    assert abs(check(curve)["error_at_last"]) < 1e-4


def test_one_length_is_a_steady_drafters():
    law = expect({4: 3.2})
    assert law.length(4) == pytest.approx(3.2, abs=0.02)
    assert law.decay == pytest.approx(0.96, abs=0.02)


@pytest.mark.parametrize("decay", [0.72, 0.76, 0.95, 0.97])
def test_noise_of_rounding_does_not_lead_astray(decay):
    """Both kinds of drafters, from lengths of two decimals that are 1 % off."""
    law = AcceptanceLaw(0.83, decay)
    curve = {drafted: law.length(drafted) for drafted in range(1, 9)}
    for sign in (1, -1):
        seen = {1: curve[1], 2: round(curve[2] * (1 + 0.01 * sign), 2), 3: round(curve[3] * (1 - 0.01 * sign), 2)}
        assert expect(seen).length(8) == pytest.approx(curve[8], rel=0.08)


def test_drafters_are_learnt():
    steady = [AcceptanceLaw(0.8, 0.96 + 0.002 * step) for step in range(-3, 4)]
    found = learn([*steady, AcceptanceLaw(0.9, 0.7)])
    assert found.log_decay == pytest.approx(-0.0408, abs=0.005)
    assert found.steady > 0.7
    assert found.spread == pytest.approx(Drafters.spread, abs=0.001)


@pytest.mark.data
def test_golden_curves_from_three_lengths():
    folder = data_folder() / "specdec" / "golden_al"
    if not folder.is_dir():
        pytest.skip(f"no data set at {folder}: set RTNERF_DATA to the folder that holds specdec/")
    curves = {name: curve for path in sorted(folder.glob("*.yaml")) for name, curve in read_curves(path).items()}
    found = check_all(curves, (1, 2, 3))
    assert max(one["rms"] for one in found.values()) < 0.03
    # This one falls by 8 % from K = 6 to K = 8, as no law does.
    falling = found.pop("deepseek-v4-pro-0813/thinking_on")
    assert max(abs(falling["errors"][drafted]) for drafted in range(1, 7)) < 0.03
    assert max(abs(one["error_at_last"]) for one in found.values()) < 0.08
    assert max(abs(one["error_at_last_left_out"]) for one in found.values()) < 0.08
    # Nor does its start tell: another is not above it to K = 3, and at K = 8 hardly a length is within 8 % of both.
    low, high = curves["deepseek-v4-pro-0813/thinking_on"], curves["minimax-m3/thinking_off"]
    assert all(high[drafted] <= 1.005 * low[drafted] for drafted in (1, 2, 3))
    assert 1.08 * low[8] - 0.92 * high[8] < 0.02


def test_a_constant_rate_is_worse():
    curve = {1: 1.79, 2: 2.27, 3: 2.49, 4: 2.54, 5: 2.55, 6: 2.55, 7: 2.54, 8: 2.58}
    assert check(curve)["rms"] < 0.03
    assert AcceptanceLaw(0.79, 1).length(8) / curve[8] - 1 > 0.5


def test_the_command(tmp_path):
    (tmp_path / "curve.yaml").write_text(CURVE)
    arguments = [
        "validate",
        f"--acceptance={tmp_path}/curve.yaml",
        "--from=1,2,3",
        f"--json={tmp_path}/out.json",
        f"--csv={tmp_path}/out.csv",
        f"--plot={tmp_path}/out.svg",
    ]
    result = CliRunner().invoke(specdec, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    found = json.loads((tmp_path / "out.json").read_text())["model/thinking"]
    assert found["rms"] < 0.03
    assert abs(found["error_at_last"]) < 0.08
    header, row = (tmp_path / "out.csv").read_text().splitlines()
    assert header == "curve,first,decay,rms,error_at_last"
    assert row.startswith("model/thinking,")
    assert "model/thinking" in (tmp_path / "out.svg").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2", "acceptance must be a YAML file, not"),
        ("a: b\n", "acceptance must be a YAML file of acceptance lengths by drafted tokens, not"),
        ("[" * 10000, "acceptance must be a YAML file, not"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    (tmp_path / "curve.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_curves(tmp_path / "curve.yaml")


def test_references_to_references_are_not_followed_for_ever(tmp_path):
    lines = ["a0: &a0 {x: {1: 1.5, 2: 1.8}}"]
    lines += [f"a{i}: &a{i} {{{', '.join(f'k{j}: *a{i - 1}' for j in range(9))}}}" for i in range(1, 12)]
    (tmp_path / "curve.yaml").write_text("\n".join(lines))
    with pytest.raises(InputError, match="acceptance must be a YAML file of at most 10000 entries, not more"):
        read_curves(tmp_path / "curve.yaml")
    (tmp_path / "curve.yaml").write_text(f"1: 1.5\n2: {10**400}\n")
    with pytest.raises(InputError, match="acceptance length at 2 must be from 1 to 3, not 1"):
        check(read_curves(tmp_path / "curve.yaml")["curve"])


def test_impossible_lengths_are_refused():
    with pytest.raises(InputError, match=r"acceptance length at 1 must be from 1 to 2, not 2\.5"):
        fit({1: 2.5, 2: 3.0})
    with pytest.raises(InputError, match="acceptance lengths must be at least two"):
        fit({1: 1.5})
    with pytest.raises(InputError, match="acceptance lengths must be at least one, not 0"):
        expect({})
    with pytest.raises(InputError, match=r"acceptance length at 1 must be from 1 to 2, not nan"):
        expect({1: float("nan")})
    for curve in ({1: 1.2, 2: 2.5}, {1: 2.0, 3: 1.5}):
        with pytest.raises(InputError, match="acceptance lengths must be within 15% of a rate"):
            believe(curve)
    assert believe({1: 1.9, 8: 2.0}) == expect({1: 1.9, 8: 2.0})
    with pytest.raises(InputError, match="from must be among 1, 2, not"):
        check({1: 1.5, 2: 1.7}, (1, 3))
