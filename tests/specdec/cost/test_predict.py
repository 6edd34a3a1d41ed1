"""Predictions, and the files that they are made from."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from rtnerf.base.errors import InputError
from specdec.command_line.group import specdec
from specdec.cost import leviathan
from specdec.cost.pass_time import Constant, Linear, Measured
from specdec.cost.predict import predict, read_acceptance, read_step_times, read_tree, tokens_per_step
from specdec.cost.step import Speculation
from specdec.trees.sequoia import fastest_tree
from specdec.trees.shape import Shape, expected_tokens

CHAIN = Shape.constant([1, 1, 1])
TIMES = {1: 10.0, 2: 10.0, 4: 10.0, 8: 12.0, 16: 14.0, 32: 18.0}


@pytest.fixture
def run(tmp_path):
    """Run the command on a tree, acceptance and step times; return what it wrote."""

    def predicted(tree, acceptance, times, *options):
        (tmp_path / "tree.json").write_text(json.dumps(tree))
        (tmp_path / "acceptance.json").write_text(json.dumps(acceptance))
        with (tmp_path / "times.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("tokens", "ms"), *times.items()])
        arguments = [f"--{name}={tmp_path / file}" for name, file in FILES.items()]
        result = CliRunner().invoke(specdec, ["predict", *arguments, *options], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads((tmp_path / "out.json").read_text())

    return predicted


FILES = {"tree": "tree.json", "acceptance": "acceptance.json", "step-times": "times.csv", "json": "out.json"}


# ---- Predictions ----


def test_leviathan_is_a_special_case():
    for acceptance, cost, length in ((0.8, 0.1, 6), (0.5, 0.01, 5)):
        speculation = Speculation(Shape.constant([1] * length), Constant(7), Constant(7 * cost))
        found = predict(leviathan.expected_tokens(acceptance, length), speculation, [1])
        assert found.speedup(1) == pytest.approx(leviathan.speedup(acceptance, length, cost))


def test_sequoia_is_a_special_case():
    acceptance = np.array([0.6, 0.2, 0.1])
    choice = fastest_tree(acceptance, TIMES, draft_time=0.3, levels=6)
    speculation = Speculation(choice.shape, Measured(list(TIMES), list(TIMES.values())), Constant(0.3), choice.levels)
    assert predict(choice.tokens, speculation, [1]).speedup(1) == pytest.approx(choice.speedup)


def test_where_it_stops_paying():
    # 10 ms up to 12 tokens, then 1 ms a token: a chain of 3 wins while 4 B tokens cost less than tau times B tokens.
    times = Measured([1, 12, 1012], [10, 10, 1010])
    found = predict(2.0, Speculation(CHAIN, times), [1, 100], search=0)
    speedups = {batch: predict(2.0, Speculation(CHAIN, times), [batch]).speedup(batch) for batch in range(1, 101)}
    losing = [batch for batch, speedup in speedups.items() if speedup < 1]
    assert found.break_even_batch == min(losing) == 6
    assert losing == list(range(6, 101))


def test_a_dip_is_not_where_it_stops_paying():
    times = Measured([1, 7, 8, 9, 200, 201], [10, 10, 25, 10, 10, 100])
    speculation = Speculation(CHAIN, times)
    assert predict(2.0, speculation, [2]).speedup(2) < 1
    found = predict(2.0, speculation, [1, 2, 60], search=0)
    assert found.break_even_batch == 51


def test_what_always_pays_and_what_never_does():
    speculation = Speculation(CHAIN, Constant(10), Constant(1))
    assert predict(2.0, speculation, [1, 8]).break_even_batch is None
    assert predict(2.0, speculation, [1, 8]).searched == 1024
    assert predict(1.2, speculation, [1, 8]).break_even_batch == 1


def test_tau_extends_ranks_but_not_depths():
    shape = Shape.constant([3, 1])
    assert tokens_per_step(shape, [[0.5, 0.2, 0.08], [0.5]]) == pytest.approx(1 + 0.78 * 1.5)
    assert tokens_per_step(shape, [[0.5, 0.2], [0.5]]) == pytest.approx(1 + 0.78 * 1.5)
    with pytest.raises(InputError, match="acceptance must be given for the tree's 2 depths, not 1"):
        tokens_per_step(shape, [[0.5, 0.2, 0.08]])
    assert tokens_per_step(Shape([]), []) == 1


# ---- The command ----


def test_the_command_predicts(run):
    tree, acceptance = [[0], [1], [0, 0]], [[0.6, 0.2], [0.5]]
    found = run(tree, acceptance, TIMES, "--draft-ms", "0.5", "--batch", "8,1,1")
    assert found["tau"] == pytest.approx(1 + 0.6 + 0.2 + 0.3)
    assert list(found["speedup"]) == ["1", "8"]
    assert found["speedup"]["1"] == pytest.approx(2.1 * 10 / (10 + 2 * 0.5))
    assert found["speedup"]["8"] == pytest.approx(2.1 * 12 / (18 + 2 * 0.5))
    assert found["break_even_batch"] is None
    assert found["bound_by"] == "verification"
    assert [step["bound_by"] for step in found["steps"]] == ["memory", "verification"]
    parts = ("plain_ms", "verification_ms", "draft_ms", "draft_head_ms", "host_ms")
    for step in found["steps"]:
        assert sum(step[part] for part in parts) == pytest.approx(step["step_ms"])


def test_one_list_serves_all_depths(run):
    tree = [[0], [0, 0], [0, 0, 0], []]
    found = run(tree, [0.5, 0.1], TIMES)
    assert found["tau"] == pytest.approx(expected_tokens(CHAIN, np.array([0.5])))
    assert list(found["speedup"]) == ["1"]


def test_the_order_of_step_times_does_not_matter(run):
    tree, acceptance = [[0]], [[0.5]]
    forward = run(tree, acceptance, TIMES, "--batch", "1,2,3")
    backward = run(tree, acceptance, dict(reversed(TIMES.items())), "--batch", "1,2,3")
    assert forward == backward


def test_points_beyond_the_step_times_are_marked(run):
    found = run([[0]], [[0.5]], TIMES, "--batch", "16,17")
    assert [step["measured"] for step in found["steps"]] == [True, False]


def test_named_models_on_named_hardware(tmp_path):
    (tmp_path / "tree.json").write_text("[[0], [0, 0]]")
    (tmp_path / "acceptance.json").write_text("[[0.7], [0.7]]")
    files = [f"--{name}={tmp_path / name}.json" for name in ("tree", "acceptance")]
    names = ["--target=llama-3.1-8b", "--draft=llama-3.2-1b", "--hardware=h100", f"--json={tmp_path / 'out.json'}"]
    heads = {}
    for rows in ("32000", "128256"):
        trimmed = [*files, *names, "--draft-vocabulary", rows]
        assert CliRunner().invoke(specdec, ["predict", *trimmed]).exit_code == 0
        found = json.loads((tmp_path / "out.json").read_text())
        heads[rows] = found["steps"][0]["draft_head_ms"]
        assert found["steps"][0]["pass_bound_by"] == "weights"
    assert heads["128256"] == pytest.approx(4 * heads["32000"], rel=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "target must be given by step times or by name, not both or neither"),
        (["--step-times=t", "--target=llama-2-7b"], "target must be given by step times or by name, not both or"),
        (["--target=llama-2-7b"], "hardware must be given for named models, not missing"),
        (["--target=llama-2-7b", "--hardware=abacus"], "hardware must be one of v100, .*, not abacus"),
        (["--step-times={}/absent.csv"], "step times must be a readable CSV file, not .*absent.csv"),
        (["--target=llama-2-7b", "--hardware=h100", "--expert-parallel=2"], "expert-parallel must be 1 for a model"),
        (["--draft=llama-68m", "--draft-ms=1", "--target=llama-2-7b"], "draft must be given by its time or by name"),
        (["--batch=1,0"], "batch must be whole numbers from 1 to 65536, separated by commas, not 1,0"),
        (["--batch=1,,2"], "batch must be whole numbers from 1 to 65536, separated by commas, not 1,,2"),
        (["--batch=65537"], "batch must be whole numbers from 1 to 65536, separated by commas, not 65537"),
        (["--batch=two"], "batch must be whole numbers from 1 to 65536, separated by commas, not two"),
        (["--draft-ms=-1"], r"draft-ms must be a number from 0 to 1e\+06, not -1"),
        (["--draft-ms=nan"], r"draft-ms must be a number from 0 to 1e\+06, not nan"),
        (["--host-ms=1e308"], r"host-ms must be a number from 0 to 1e\+06, not 1e308"),
        (["--draft-passes=1000000000000"], "draft-passes must be a whole number from 0 to 10000, not 1000000000000"),
        (["--context=10000001"], "context must be a whole number from 0 to 10000000, not 10000001"),
        (["--draft-vocabulary=9", "--target=llama-2-7b"], "draft-vocabulary must be used with a named draft"),
    ],
)
def test_bad_options_are_refused(options, message, tmp_path):
    (tmp_path / "tree.json").write_text("[[0]]")
    (tmp_path / "acceptance.json").write_text("[[0.5]]")
    files = [f"--{name}={tmp_path / name}.json" for name in ("tree", "acceptance")]
    arguments = [*files, *(option.format(tmp_path) for option in options), f"--json={tmp_path / 'out.json'}"]
    with pytest.raises(InputError, match=message):
        CliRunner().invoke(specdec, ["predict", *arguments], catch_exceptions=False)
    assert not (tmp_path / "out.json").exists()


# ---- Files ----


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[0], [0, 1]]", r"shape node \(0, 1\) must be preceded by its parent and elder sibling, not alone"),
        ("[[0], [0]]", "shape must be without repeated nodes"),
        ("[[-1]]", "tree must be a JSON list of lists of ranks, each 0 or more, not"),
        ("[[0.5]]", "tree must be a JSON list of lists of ranks"),
        ("[[true]]", "tree must be a JSON list of lists of ranks"),
        ('{"0": []}', "tree must be a JSON list of lists of ranks"),
        ("[0]", "tree must be a JSON list of lists of ranks"),
        ("[[0]", "tree must be a JSON file, not"),
    ],
)
def test_bad_trees_are_refused(text, message, tmp_path):
    (tmp_path / "tree.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_tree(tmp_path / "tree.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"1": 0.5}', "acceptance must be a JSON list with a list of probabilities per depth, not"),
        ('[["a"]]', "acceptance must be a JSON list with a list of probabilities per depth"),
        ("[[1.5]]", r"acceptance at depth 1 must be in \[0, 1\], not 1.5"),
        ("[[NaN]]", r"acceptance at depth 1 must be in \[0, 1\], not nan"),
        ("[[0.7, 0.7]]", "acceptance at depth 1 must be of sum 1 at most, not 1.4"),
        ("[[]]", "acceptance at depth 1 must be at least one number, not none"),
        ("[]", "acceptance must be given for the tree's 1 depths, not 0"),
    ],
)
def test_bad_acceptance_is_refused(text, message, tmp_path):
    (tmp_path / "acceptance.json").write_text(text)
    with pytest.raises(InputError, match=message):
        tokens_per_step(Shape([(0,)]), read_acceptance(tmp_path / "acceptance.json", 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tokens,ms\n", "step times must be at least two points, or there is nothing to go by, not 0"),
        ("", "step times must be a CSV file, not .* .an empty file."),
        ("m,t\n1,2\n", "columns of the step times must be tokens,ms, not m,t"),
        ("tokens,ms\n1\n", "step times must be whole numbers and a time a line, not 1,None"),
        ("tokens,ms\n1.5,2\n", "step times must be whole numbers and a time a line, not 1.5,2"),
        ("batch,tokens,context,ms\n", "step times must be at least one, one a pass, not 0"),
        ("batch,tokens,context,ms\n1,1,1,0\n", r"ms of the step times must be above 0, not \[0.0\]"),
        ("batch,tokens,context,ms\n1,-1,1,1\n", "batch, tokens and context of the step times must be from 0 to"),
        ("batch,tokens,context,ms\n1,1,x,1\n", "step times must be whole numbers and a time a line, not 1,1,x,1"),
        ("tokens,ms\n1,2\n1,3\n", r"tokens of the step times must be rising, not \[1, 1\]"),
    ],
)
def test_bad_step_times_are_refused(text, message, tmp_path):
    (tmp_path / "times.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_step_times(tmp_path / "times.csv")


def test_step_times_may_have_spaces_more_columns_and_a_mark(tmp_path):
    (tmp_path / "times.csv").write_text("tokens, ms, note\n4, 2.5, x\n1, 2, y\n", encoding="utf-8-sig")
    assert read_step_times(tmp_path / "times.csv").ms(1, 4) == 2.5


def test_step_times_by_batch_and_context_are_fitted(tmp_path):
    def true(batch, tokens, context):
        return 5 + 0.1 * batch + 0.02 * batch * tokens + 0.0001 * batch * context

    passes = [(b, n, s) for b in (1, 4, 16) for n in (1, 8) for s in (100, 2000)]
    lines = ["batch,tokens,context,ms", *(f"{b},{n},{s},{true(b, n, s)}" for b, n, s in passes)]
    (tmp_path / "times.csv").write_text("\n".join(lines))
    assert read_step_times(tmp_path / "times.csv", 700).ms(3, 5) == pytest.approx(true(3, 5, 700))


# ---- What is no cost ----

CHAIN_FILES = {"tree.json": "[[0], [0, 0]]", "rates.json": "[0.7]", "ok.csv": "tokens,ms\n1,10\n8,12\n"}


@pytest.mark.parametrize(
    ("times", "options", "message"),
    [
        ("tokens,ms\n1,10\n8,1\n", [], "ms of the step times must be nowhere more than 20% below the first"),
        ("tokens,ms\n1,1e308\n2,1.1e308\n", [], "ms of the step times must be at most 1000000000"),
        (
            "tokens,ms\n1,10\n2,40\n4,12\n",
            ["--batch=2"],
            "step times must be rising from one token a request to the tree",
        ),
        ("batch,tokens,context,ms\n10,10,0,1\n10,20,0,200\n20,10,0,201\n", [], "step times must be times that a"),
        ("batch,tokens,context,ms\n10,10,0,1\n", [], "step times must be at least two different passes"),
        (CHAIN_FILES["ok.csv"], ["--context=100"], "context must be left out with times by tokens alone, not 100"),
        (CHAIN_FILES["ok.csv"], ["--hardware=h100"], "hardware must be left out beside step times"),
        (CHAIN_FILES["ok.csv"], ["--tree=other.json"], "tree must be given once, not 2 times"),
    ],
)
def test_what_is_not_physical_or_not_used_is_refused(tmp_path, times, options, message):
    for name, text in (CHAIN_FILES | {"times.csv": times}).items():
        (tmp_path / name).write_text(text)
    paths = [
        f"--tree={tmp_path}/tree.json",
        f"--acceptance={tmp_path}/rates.json",
        f"--step-times={tmp_path}/times.csv",
    ]
    with pytest.raises(InputError, match=message):
        CliRunner().invoke(specdec, ["predict", *paths, *options], catch_exceptions=False)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ("[" * 200000 + "]" * 200000, "tree must be a JSON file, not .* \\(nested too deep\\)"),
        (f"[[{'9' * 5000}]]", "tree must be a JSON file, not"),
    ],
)
def test_hostile_trees_are_refused(tmp_path, tree, message):
    (tmp_path / "tree.json").write_text(tree)
    with pytest.raises(InputError, match=message):
        read_tree(tmp_path / "tree.json")
    with pytest.raises(InputError, match="tree must be a JSON file of at most 256 MiB, not /dev/zero"):
        read_tree(Path("/dev/zero"))


def test_fits_never_make_more_work_faster():
    """Scattered times: plain least squares gives a token a negative time here."""
    passes, ms = [(1, 1, 0), (1, 8, 0), (8, 1, 0), (8, 8, 0)], [10.0, 9.0, 11.0, 11.5]
    fit = Linear.fit(passes, ms)
    assert min(fit.coefficients) >= 0
    assert fit.ms(64, 8) >= fit.ms(64, 1) >= fit.ms(1, 1) > 0


def test_a_prediction_is_written_as_a_table_and_a_picture(run, tmp_path):
    found = run(
        [[0], [0, 0]], [[0.8], [0.7]], TIMES, f"--csv={tmp_path}/out.csv", f"--plot={tmp_path}/out.svg", "--batch=1,8"
    )
    rows = [line.split(",") for line in (tmp_path / "out.csv").read_text().splitlines()]
    assert rows[0][:2] == ["batch", "speedup"]
    assert [float(row[1]) for row in rows[1:]] == [found["speedup"]["1"], found["speedup"]["8"]]
    assert (tmp_path / "out.svg").read_text().startswith("<?xml")


def test_long_chains_are_quick():
    passes = []

    class Counting(Constant):
        def ms(self, batch, tokens):
            passes.append(batch)
            return super().ms(batch, tokens)

    speculation = Speculation(Shape.constant([1] * 500), Constant(10), Counting(0.001))
    assert speculation.step(1).draft == pytest.approx(0.5)
    assert len(passes) == 1
