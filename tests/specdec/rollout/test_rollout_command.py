"""``rtnerf specdec rollout``: what it writes, and what it refuses."""

import csv
import json

import pytest

import rtnerf
from specdec.models import pretrained
from specdec.rollout import sandbox

torch = pytest.importorskip("torch")

OUTPUTS = {"json": "found.json", "csv": "found.csv", "plot": "found.svg"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with an untrained model and the tokenizer of the package."""
    path = tmp_path_factory.mktemp("models")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pretrained.store(pretrained.build("draft"), path / "draft.safetensors")
    (path / "bpe.json").write_bytes((pretrained.DATA / "bpe.json").read_bytes())
    return path


def run(folder, *arguments):
    with pytest.raises(SystemExit) as ended:
        rtnerf.main(["specdec", "rollout", *arguments, "--model", "draft", "--model-dir", str(folder)])
    return ended.value.code or 0


def test_treepo_writes_what_it_prints(folder, tmp_path, capsys):
    shape = ["--rollouts", "4", "--width", "2,4", "--first", "1", "--depth", "3", "--segment", "2"]
    outputs = [part for kind, name in OUTPUTS.items() for part in (f"--{kind}", str(tmp_path / name))]
    assert run(folder, "treepo", *shape, "--prompts", "1", *outputs) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["command"] == "specdec rollout treepo"
    assert [tree["width"] for tree in found["trees"]] == [2, 4]
    assert found["trees"][0]["saving"]["side_by_side"]["tokens"] == pytest.approx(1 - 7 / 12)
    assert "tree, width 2 saves 41.7% of the tokens" in capsys.readouterr().out
    assert b"<svg" in (tmp_path / "found.svg").read_bytes()
    rows = list(csv.DictReader((tmp_path / "found.csv").read_text().splitlines()))
    ways = ["tree, width 2", "tree, width 4", "side_by_side", "one_by_one"]
    assert [row["way"] for row in rows] == ways
    assert float(rows[0]["saving_side_by_side_tokens"]) == pytest.approx(1 - 7 / 12)
    assert int(rows[2]["tokens"]) == found["independent"]["side_by_side"]["tokens"]


def test_a_seed_gives_the_same_rollouts(folder, tmp_path):
    counts = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        arguments = ["reex-sql", "--rollouts", "2", "--questions", "1", "--executions", "2"]
        assert run(folder, *arguments, "--seed", seed, "--json", str(tmp_path / name)) == 0
        found = json.loads((tmp_path / name).read_text())
        counts.append([found["trees"][0][key] for key in ("tokens", "rounds", "rows", "held", "executed")])
    assert counts[0] == counts[1] != counts[2]


def test_rest_rl_tells_who_wins(folder, tmp_path, capsys):
    small = ["--tasks", "2", "--steps", "2", "--exercises", "0", "--experience", "8", "--iterations", "4"]
    outputs = [part for kind, name in OUTPUTS.items() for part in (f"--{kind}", str(tmp_path / name))]
    assert run(folder, "rest-rl", *small, *outputs) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    solved = [found["ways"][way]["solved"] for way in ("search", "random")]
    assert found["wins"] - found["losses"] == solved[0] - solved[1]
    assert f"search: {solved[0]} of 2 solved" in capsys.readouterr().out
    rows = csv.DictReader((tmp_path / "found.csv").read_text().splitlines())
    assert [(row["way"], int(row["solved"])) for row in rows] == list(zip(("search", "random"), solved, strict=True))
    assert b"<svg" in (tmp_path / "found.svg").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("treepo --rollouts 0", "rollouts must be a whole number from 1 to 10000, not 0"),
        ("reex-sql --rollouts 1000000000", "rollouts must be a whole number from 1 to 10000, not 1000000000"),
        ("rest-rl --threads 1000000000", "threads must be a whole number from 1 to 256, not 1000000000"),
        ("treepo --temperature 1e-300", "temperature must be a number from 0.01 to 1000, not 1e-300"),
        ("treepo --width 2,x", "width must be whole numbers from 1 to 10000, separated by commas, not 2,x"),
        ("treepo --cut word", "cut must be one of segment, token, not word"),
        ("treepo --temperature 0", "temperature must be a number from 0.01 to 1000, not 0"),
        ("treepo --plot a.txt", "plot must be a file name that ends with .png, .svg, .pdf, not a.txt"),
        ("reex-sql --executions 11", "executions must be from 1 to 10, not 11"),
        ("reex-sql --questions 99", "questions must be from 1 to 6, not 99"),
        ("rest-rl --steps 1", "steps must be a whole number from 2 to 20, not 1"),
        ("rest-rl --steps 2 --tasks 99", "tasks must be at most 40 besides 24 exercises, not 99"),
    ],
)
def test_bad_input_is_one_line(folder, tmp_path, capsys, arguments, message):
    file = tmp_path / "found.json"
    assert run(folder, *arguments.split(), "--json", str(file)) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not file.exists()


def test_without_isolation_nothing_is_written(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sandbox, "ARCHITECTURES", ())
    file = tmp_path / "found.json"
    assert run(folder, "reex-sql", "--questions", "1", "--rollouts", "1", "--json", str(file)) == 2
    assert capsys.readouterr().err.startswith("error: platform must be linux on")
    assert not file.exists()
