"""Rows from TOML: numbers that were put in are found again, and what is not of the form is refused in a line."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from rtnerf.base.errors import InputError
from specdec.command_line.group import specdec
from specdec.evidence import rows
from specdec.evidence.rows import every_series, rows_by_series
from specdec.laws.acceptance_length import AcceptanceLaw

ROOT = Path(rows.__file__).parents[2]

HEAD = '[[series]]\nname = "ours"\nsource = "here"\nquantity = "tokens_per_s"\n'


def rate(batch, drafted):
    """A server as the model has it: 10 ms, 0.02 a token, half a millisecond a draft pass, rate 0.8 * 0.95**(k - 1)."""
    step = 10 + 0.02 * batch * (drafted + 1) + 0.5 * drafted
    return 1000 * batch * AcceptanceLaw(0.8, 0.95).length(drafted) / step


def server(tmp_path, batches=(1, 8, 64, 512, 2048), factor=1.0, extra=""):
    values = [[factor * rate(batch, drafted) for batch in batches] for drafted in (0, 3)]
    tables = "".join(
        f"\n[[series.rows]]\nbatch = {[*batches]}\ndrafted = {drafted}\nvalue = {row}\n"
        for drafted, row in zip((0, 3), values, strict=True)
    )
    path = tmp_path / "ours.toml"
    conditions = "\n[series.conditions]\ndecay = 0.95\ndraft_ms = 0.5\n"
    fit = 'fit = ["base_ms", "token_ms", "first"]\nlargest_error = 0.01\n'
    path.write_text(
        HEAD + fit + extra + conditions + tables + '\n[series.crossing]\nover = "batch"\ndrafted = 3\nwithin = 1.3\n'
    )
    return path


def test_a_fit_finds_the_server(tmp_path):
    series, crossing = every_series(server(tmp_path))
    assert series.bound.holds
    assert series.fitted == "base_ms 10, token_ms 0.02, first 0.8"
    assert crossing.bound.holds
    assert crossing.rows[-1].published == pytest.approx(crossing.rows[-1].model, rel=0.2)


def test_a_schedule_is_held_to_the_best_cells(tmp_path):
    path = server(tmp_path, extra="schedule = {within = 0.03}\n")
    found = every_series(path)[-1]
    assert found.bound.holds
    assert [row.published == row.model for row in found.rows] == [True] * 5
    # A server that gains nothing where the fit says it does: the schedule is wrong there, and the bound tells.
    text = path.read_text()
    path.write_text(text.replace(str(rate(64, 3)), str(0.8 * rate(64, 0))))
    assert not every_series(path)[-1].bound.holds
    # What is predicted for the schedule is held to an adaptive server where there is one.
    best = max(rate(512, drafted) for drafted in range(4))
    for factor, holds in ((0.99, True), (0.9, False), (1.1, False)):
        row = f'\n[[series.rows]]\nbatch = 512\ndrafted = "best"\nfitted = false\nvalue = {factor * best}\n'
        path.write_text(text.replace("\n[series.crossing]", row + "\n[series.crossing]"))
        assert every_series(path)[-1].bound.holds == holds, factor


def test_a_server_is_advised_by_its_rows(tmp_path):
    path = server(tmp_path)
    arguments = ["advise", f"--rows={path}", "--method=mtp", "--batch=1,2048", f"--json={tmp_path}/out.json"]
    result = CliRunner().invoke(specdec, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["schedule"]["0"][0] == [1, found["schedule"]["0"][0][1], 3]
    assert found["schedule"]["0"][-1][1:] == [2048, 1]
    assert found["tokens_per_second"]["0"]["1"]["total"] == pytest.approx(rate(1, 3), rel=1e-3)
    assert found["speedup"]["0"]["1"] == pytest.approx(rate(1, 3) / rate(1, 0), rel=1e-3)
    assert found["fits"]["0"] == {"1": None, "2048": None}
    for option in ("--context=5", "--al=2@3", "--hardware=h100"):
        with pytest.raises(InputError, match="must be absent with rows"):
            CliRunner().invoke(specdec, [*arguments, option], catch_exceptions=False)
    with pytest.raises(InputError, match="series must be one of ours, not theirs"):
        CliRunner().invoke(specdec, [*arguments, "--series=theirs"], catch_exceptions=False)
    path.write_text(path.read_text().replace('"first"]', '"tau"]'))
    with pytest.raises(InputError, match="acceptance of ours must be given by first and decay"):
        CliRunner().invoke(specdec, arguments, catch_exceptions=False)


def test_a_wrong_direction_breaks_the_crossing(tmp_path):
    path = tmp_path / "rows.toml"
    # The host's cost weighs less and less: the model's gain rises with the batch.
    text = (
        HEAD.replace("tokens_per_s", "speedup")
        + """
        conditions = {drafted = 1, tau = 1.5, base_ms = 10, request_ms = 1, host_ms = 7}
        rows = [{batch = [1, 16], value = VALUES}]
        crossing = {over = "batch", drafted = 1, within = 2}
    """
    )
    path.write_text(text.replace("VALUES", "[0.9, 1.2]"))
    assert every_series(path)[1].bound.holds
    path.write_text(text.replace("VALUES", "[1.2, 0.9]"))
    assert not every_series(path)[1].bound.holds


def test_what_is_published_here_is_read_and_the_best_length_is_not_fitted():
    shipped = rows_by_series()
    cells = shipped["vLLM and DeepSeek-V4 on ROCm by concurrency"]
    assert len(cells) == 21
    assert [row.fitted for row in cells] == [True] * 14 + [False] * 7
    assert shipped["Medusa's tau"][0].conditions.tree.levels() == [1, 10, 28, 23, 2]


def test_a_tree_a_table_and_a_roofline(tmp_path):
    path = tmp_path / "rows.toml"
    path.write_text(
        HEAD.replace("tokens_per_s", "tau")
        + '\n[[series.rows]]\nchildren = {"" = 2}\nranks = [[0.6, 0.2]]\nvalue = 1.8\n'
        + '\n[[series.rows]]\nquantity = "speedup"\ndrafted = 1\ntau = 1.5\nvalue = 1.25\n'
        + "step_times = {tokens = [1, 2], ms = [10, 12]}\n"
        + '\n[[series.rows]]\nquantity = "ms"\ntarget = "llama-3.1-8b"\nhardware = "h100"\nvalue = 11.5\n'
        + "reached = 0.5\nblock_us = 0\n"
        + '\n[[series.rows]]\nchildren = {"" = 2}\nfirst = 0.63418\nvalue = 1.742\n'
    )
    (series,) = every_series(path)
    assert [row.error for row in series.rows] == pytest.approx([0, 0, 0, 0], abs=0.05)
    assert [row.error for row in series.rows[:2] + series.rows[3:]] == pytest.approx([0, 0, 0], abs=1e-3)
    assert series.bound is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "rows must be a TOML file of [[series]], not"),
        ("[[series", "rows must be a TOML file, not"),
        ("a = " + "[" * 100_000, "rows must be a TOML file, not"),
        ("[[series]]\nname = 3\n", "name of a series must be a text, not 3"),
        (HEAD, "rows of ours must be a list of tables, not None"),
        (HEAD + "colour = 1\n", "keys of ours must be among conditions, crossing"),
        (HEAD + "rows = [{value = -1, tau = 2}]\n", "value of a row of ours must be a number above 0, not -1"),
        (HEAD + "rows = [{value = 1e400, tau = 2}]\n", "value of a row of ours must be a number above 0, not inf"),
        (HEAD + f"rows = [{{value = {10**400}, tau = 2}}]\n", "value of a row of ours must be a number above 0, not 1"),
        (HEAD + f"rows = [{{value = 1, tau = {10**400}}}]\n", "tau of a row of ours must be a number from 0 to 1e9"),
        (HEAD + "rows = [{value = 1, batch = 0}]\n", "batch of a row of ours must be at least 1, not 0"),
        (HEAD + "rows = [{value = 1, batch = 99999999999}]\n", "batch of a row of ours must be a whole number to"),
        (HEAD + "rows = [{value = 1, bach = 1}]\n", "conditions of a row of ours must be among batch, context"),
        (HEAD + "rows = [{value = [1, 2], batch = [1, 2, 3]}]\n", "lists of a row of ours must be equally long, not"),
        (HEAD + 'fit = ["money"]\nrows = [{value = 1}]\n', "fit of ours must be a list of some of tau, first"),
        (HEAD + 'fit = ["base_ms"]\nrows = [{value = 1}]\n', "fit of ours must be of fewer numbers than the 1 rows"),
        (HEAD + "rows = [{value = 1, drafted = 2, base_ms = 1}]\n", "acceptance of a row must be given by tau, ranks"),
        (HEAD + "rows = [{value = 1}]\n", "time of a row must be above 0, not 0"),
        (HEAD + 'rows = [{value = 1, target = "gpt-9", hardware = "h100"}]\n', "model must be one of"),
        (HEAD + 'rows = [{value = 1, children = {"a" = 1}, tau = 2}]\n', "node of a tree must be ranks separated"),
        (HEAD + "largest_error = true\nrows = [{value = 1, base_ms = 1}]\n", "bound of ours must be one number of"),
        (HEAD + "rows = [{value = 1, base_ms = 1}]\ncrossing = {over = 3}\n", "crossing of ours must be such as"),
        (HEAD + "rows = [{value = 1, base_ms = 1}]\nschedule = 3\n", "schedule of ours must be such as {within"),
        (HEAD + "rows = [{value = 1, base_ms = 1}]\nschedule = {within = 0.1}\n", "rows of ours must be tokens_per_s"),
    ],
)  # fmt: skip
def test_other_files_are_refused_in_a_line(tmp_path, text, message):
    path = tmp_path / "rows.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        every_series(path)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 900


def test_the_command_and_the_document(tmp_path):
    example = re.search(r"```toml\n(.*?)```", (ROOT / "docs" / "rows.md").read_text(), re.S)[1]
    path = tmp_path / "ours.toml"
    path.write_text(example)
    table = tmp_path / "out.csv"
    written = [f"--csv={table}", f"--plot={tmp_path}/out.svg"]
    result = CliRunner().invoke(specdec, ["validate", f"--rows={path}", *written], catch_exceptions=False)
    assert result.exit_code == 0
    assert "every bound holds" in result.output
    assert table.read_text().splitlines()[1].startswith('our server,"batch 1, drafted 0",100.0,')
    assert "our server" in (tmp_path / "out.svg").read_text()
    path.write_text(example.replace("largest_error = 0.12", "largest_error = 1e-6"))
    assert CliRunner().invoke(specdec, ["validate", f"--rows={path}"], catch_exceptions=False).exit_code == 1
