"""What is advised, and how the command says it."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from rtnerf.base.errors import InputError
from specdec.advice.advise import LONGEST
from specdec.advice.answer import COLUMNS
from specdec.advice.drafters import METHODS, drafter
from specdec.advice.engines import tables
from specdec.advice.plans import OFF, Choice, Costs, by_rank, chains, trees
from specdec.advice.schedule import LOSS, batches_to, schedule
from specdec.command_line import advise as command_line
from specdec.command_line.group import specdec
from specdec.cost.deployment import Deployment
from specdec.cost.hardware import HARDWARE
from specdec.cost.memory import Setting
from specdec.cost.models import MODELS
from specdec.laws.acceptance_length import AcceptanceLaw

LAW = AcceptanceLaw(0.8, 0.96)


def choice(method="eagle3", context=1000, target="llama-3.1-8b", hardware="h100", host=0.0):
    model = MODELS[target]
    costs = Costs(model, HARDWARE[hardware], Deployment(), drafter(method, model), context, 0.0, host)
    return Choice(costs, LAW, chains(LONGEST))


@pytest.fixture
def run(tmp_path):
    """Run the command; return its record."""

    def advised(*options):
        arguments = ["--target=llama-3.1-8b", "--hardware=h100", "--method=eagle3", "--al=3.2@4", *options]
        result = CliRunner().invoke(
            specdec, ["advise", *arguments, f"--json={tmp_path}/a.json"], catch_exceptions=False
        )
        assert result.exit_code == 0, result.output
        return json.loads((tmp_path / "a.json").read_text())

    return advised


# ---- Drafts ----


def test_heads_have_the_weights_of_their_descriptions():
    """EAGLE-3 of Llama-3.1-8B: three features to one, a layer on twice the width, 32000 rows."""
    eagle = drafter("eagle3", MODELS["llama-3.1-8b"])
    layer = 4096 * 128 * (2 * 32 + 2 * 8) + 3 * 4096 * 14336
    assert eagle.model.body == layer + 5 * 4096**2
    assert eagle.model.head == 32000 * 4096
    assert drafter("eagle", MODELS["llama-3.1-8b"]).model.head == MODELS["llama-3.1-8b"].head


def test_medusa_has_a_head_a_level_in_one_pass():
    medusa = drafter("medusa", MODELS["llama-2-7b"])
    assert medusa.run(4).body + medusa.run(4).head == 4 * (4096**2 + 4096 * 32000)
    assert (medusa.count(4), drafter("hydra", MODELS["llama-2-7b"]).count(4)) == (1, 4)
    assert drafter("ngram", MODELS["llama-2-7b"]).count(4) == 0


def test_a_module_of_multi_token_prediction_is_the_last_layer_once_more():
    """DeepSeek-V3's adds 11.5 thousand millions and shares the output layer (arXiv 2412.19437)."""
    mtp = drafter("mtp", MODELS["deepseek-v3"])
    assert mtp.model.body == pytest.approx(11.5e9, rel=0.02)
    assert mtp.own_formats


def test_every_method_has_a_cost_and_the_command_knows_all():
    assert command_line.METHODS == METHODS
    for name in METHODS:
        draft = "llama-68m" if name == "model" else None
        model = MODELS["llama-2-7b"]
        costs = Costs(model, HARDWARE["a100"], Deployment(), drafter(name, model, draft), 500, 0.0, 0.0)
        step = costs.step(chains(3)[-1], 1)
        assert 0 <= step.draft + step.draft_head < step.plain, name


# ---- Plans ----


def test_the_best_plan_is_the_fastest():
    found = choice()
    for batch in (1, 64, 700):
        times = [found.costs.step(plan, batch).ms / plan.tokens(LAW) for plan in found.plans]
        assert found.best(batch) == int(np.argmin(times))
    assert found.plans[0] is OFF


def test_break_even_is_where_a_length_begins_to_lose():
    found = choice(context=300, host=0.8)
    batch = found.break_even(4, batches_to(1024))
    assert batch is not None
    assert found.gain(4, batch) < 1 <= found.gain(4, batch - 1)
    assert all(found.gain(4, later) < 1 for later in range(batch, 1024, 37))


def test_with_a_long_context_it_pays_at_any_batch():
    """Reading keys and values decides (vLLM 48627): what loses at a short context gains at a long one."""
    batches = batches_to(1024)
    assert choice(context=300, host=0.8).break_even(4, batches) < 400
    assert choice(context=32000, host=0.8).break_even(4, batches) is None


def test_lengths_fall_with_the_batch():
    ranges = choice(context=300, host=0.8).schedule(batches_to(1024))
    assert ranges[0][2] >= 3
    assert ranges[-1][2] <= 1


def test_a_schedule_covers_all_batches_and_loses_little_at_any():
    found = choice(target="qwen3-32b", hardware="h200", context=500, host=0.8)
    ranges = found.schedule(batches_to(1500))
    assert [low for low, _, _ in ranges[1:]] == [high + 1 for _, high, _ in ranges[:-1]]
    assert (ranges[0][0], ranges[-1][1]) == (1, 1500)
    lengths = [plan.levels for plan in found.plans if plan.chain]
    lost = []
    for low, high, length in ranges:
        rates = np.array([found.rates(batch)[: len(lengths)] for batch in range(low, min(high, 1024) + 1)])
        lost.append((1 - rates[:, lengths.index(length)] / rates.max(axis=1)).max(initial=0))
    assert max(lost) <= LOSS
    # The tiles of matrix units would have it change at many more places.
    best = np.array([found.rates(batch)[: len(lengths)].argmax() for batch in range(1, 1025)])
    assert len(ranges) < 0.8 * np.count_nonzero(np.diff(best))


def test_a_schedule_has_the_fewest_ranges():
    rates = np.array([[100, 98, 0.1], [98, 99, 100], [90, 98, 100], [90, 90, 100]])
    assert schedule([1, 2, 3, 9], rates, [4, 2, 0]) == [(1, 8, 2), (9, 9, 0)]
    assert batches_to(2)[-1] == 2
    assert batches_to(1100)[-3:] == [1023, 1024, 1100]


def test_a_mixture_of_experts_stops_earlier_at_small_batches():
    """From one to a few requests every verified token touches experts of its own (vLLM 42505)."""
    dense, sparse = (choice(target=name, hardware="h200", host=0.0) for name in ("qwen3-32b", "qwen3-235b-a22b"))
    assert sparse.gain(4, 4) < 0.8 * dense.gain(4, 4)


def test_trees_gain_over_chains_where_passes_wait_for_weights():
    law = AcceptanceLaw(0.6, 1.0)
    shapes = trees(law, 64, 10)
    assert [len(plan.shape) for plan in shapes] == [8, 16, 32, 64]  # Of 4 nodes the best is a chain.
    taus = [plan.tokens(law) for plan in shapes]
    assert taus == sorted(taus)
    assert taus[-1] > law.length(10)
    assert by_rank(law, 3).shape[0] == 3


# ---- Memory ----


def test_what_does_not_fit_and_what_would():
    setting = Setting(MODELS["llama-3.1-70b"], HARDWARE["h100"], Deployment())
    memory = setting.memory(1, 1000)
    assert memory.weights == pytest.approx(141.1, abs=0.1)
    assert memory.cache == pytest.approx(1000 * 2 * 2 * 80 * 8 * 128 / 1e9)
    assert not memory.fits
    assert list(setting.what_fits(1, 1000)) == ["tensor-parallel 2", "weights int4", "hardware b200"]
    four = Setting(MODELS["llama-3.1-70b"], HARDWARE["h100"], Deployment(4))
    largest = four.largest_batch(8000)
    assert four.memory(largest, 8000).fits
    assert not four.memory(largest + 1, 8000).fits


def test_suggestions_do_fit():
    for batch, context in ((1, 1000), (64, 32000), (1000, 4000)):
        setting = Setting(MODELS["qwen3-32b"], HARDWARE["l40s"], Deployment(2))
        for change in setting.what_fits(batch, context):
            name, value = change.rsplit(" ", 1)
            kept = {"tensor": 2}
            if name == "tensor-parallel":
                kept["tensor"] = int(value)
            elif name in ("weights", "kv"):
                kept[name] = value
            machine = HARDWARE[value] if name == "hardware" else HARDWARE["l40s"]
            if not change.startswith("at most"):
                assert Setting(MODELS["qwen3-32b"], machine, Deployment(**kept)).memory(batch, context).fits, change


# ---- Engines ----


def test_tables_of_engines():
    found = tables("eagle3", [(1, 16, 4), (17, 64, 2), (65, 1024, 0)])
    assert found["vllm"]["num_speculative_tokens_per_batch_size"] == [[1, 16, 4], [17, 64, 2], [65, 1024, 0]]
    assert found["vllm"]["num_speculative_tokens"] == 4
    assert found["sglang"]["speculative-num-draft-tokens"] == 5
    assert found["sglang"]["speculative-adaptive-config"] == {"1": [4], "17": [2], "65": [0]}
    assert found["tensorrt-llm"]["draft_len_schedule"] == {"1": 4, "17": 2, "65": 0}
    assert tables("hydra", [(1, 8, 3)]).keys() == {"vllm"}
    assert tables("eagle3", [(1, 8, 0)]) == {}


# ---- The command ----


def test_the_command_answers(run):
    found = run("--batch=1,64", "--context=1000,8000", "--tensor-parallel=2")
    assert found["best"] == "eagle3"
    for key in ("speedup", "bound_by", "fits", "tokens_per_second"):
        assert {context: list(row) for context, row in found[key].items()} == {"1000": ["1", "64"], "8000": ["1", "64"]}
    rates = found["tokens_per_second"]["1000"]["64"]
    assert rates["total"] == pytest.approx(64 * rates["user"])
    assert found["fits"]["1000"]["1"] is True
    assert list(found["break_even"]) == list(found["schedule"]) == ["1000", "8000"]
    assert found["engines"]["1000"]["vllm"]["method"] == "eagle3"
    for cell in found["cells"]:
        assert cell["speedup_if_lower"] < cell["speedup"]
        assert cell["speedup"] >= max(cell["speedup_fixed"], 1) - 1e-9
        assert cell["speedup"] == pytest.approx(cell["tau"] * cell["plain_ms"] / cell["step_ms"])
        parts = cell["plain_ms"] + cell["verification_ms"] + cell["draft_ms"] + cell["host_ms"]
        assert cell["step_ms"] == pytest.approx(parts)
        drafting = cell["levels"] * cell["cost_coefficient"] * cell["plain_ms"]
        assert drafting == pytest.approx(cell["draft_ms"] + cell["host_ms"])


def test_a_config_and_a_machine_from_files_give_the_same(run, tmp_path):
    config = {
        "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 14336,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "card.toml").write_text(
        "bandwidth = 3350\npeak = 989\ncapacity = 80\nfp8 = 1979\nint8 = 1979\nlink = 450\n"
    )
    arguments = [f"--target={tmp_path}", f"--hardware={tmp_path}/card.toml", "--method=eagle3", "--al=3.2@4"]
    result = CliRunner().invoke(specdec, ["advise", *arguments, f"--json={tmp_path}/b.json"], catch_exceptions=False)
    assert result.exit_code == 0
    assert json.loads((tmp_path / "b.json").read_text()) == run()


def test_measured_passes_are_advised_by(tmp_path):
    """One way of drafting costs what is said; the best length is that of the least time a token."""
    (tmp_path / "t.csv").write_text(
        "batch,tokens,context,ms\n1,1,100,10\n1,4,100,10.2\n8,1,100,10.4\n8,4,100,11\n64,1,100,12\n64,4,100,16\n64,4,2000,22\n"
    )
    usual = ["advise", f"--step-times={tmp_path}/t.csv", "--al=3.2@4", f"--json={tmp_path}/out.json"]
    arguments = [*usual, "--method=eagle3", "--draft-ms=1", "--context=100,2000", "--batch=1,64"]
    result = CliRunner().invoke(specdec, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["cells"][0]["draft_ms"] == found["cells"][0]["levels"] * 1.0
    assert found["cells"][0]["ttft_ms"] is None
    # With a long context reading it decides, and drafted tokens cost less.
    assert found["speedup"]["2000"]["64"] > found["speedup"]["100"]["64"]
    with pytest.raises(InputError, match="draft-ms must be given with step-times for a method with passes"):
        CliRunner().invoke(specdec, [*usual, "--method=eagle3"], catch_exceptions=False)
    (tmp_path / "t.csv").write_text("tokens,ms\n1,10\n64,12\n")
    result = CliRunner().invoke(specdec, [*usual, "--method=ngram", "--batch=1,64"], catch_exceptions=False)
    assert result.output.count("BEYOND THE STEP TIMES") == 1
    with pytest.raises(InputError, match="context must be absent with times by tokens alone"):
        CliRunner().invoke(specdec, [*usual, "--method=ngram", "--context=5"], catch_exceptions=False)


def test_methods_are_compared(tmp_path):
    options = [
        "--target=llama-3.1-8b",
        "--hardware=h100",
        "--method=eagle3",
        "--method=ngram",
        "--al=3.2@4",
        "--al=1.3@4",
    ]
    written = [f"--csv={tmp_path}/a.csv", f"--plot={tmp_path}/a.svg", f"--json={tmp_path}/a.json"]
    limits = ["--tpot-ms=4", "--ttft-ms=1000"]
    result = CliRunner().invoke(specdec, ["advise", *options, *written, *limits], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1].startswith("best: eagle3, ")
    assert "TOO SLOW" in result.output
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert [row["method"] for row in rows] == ["eagle3"] * 3 + ["ngram"] * 3
    assert {row["meets"] for row in rows} == {"True", "False"}
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")
    assert set(json.loads((tmp_path / "a.json").read_text())["methods"]) == {"eagle3", "ngram"}
    # Trees of one beside chains of the other.
    trees = ["--nodes=1000", "--draft-host-ms=0", "--batch=1", *options[:4], "--al=2.0@4", "--al=1.3@4"]
    CliRunner().invoke(specdec, ["advise", written[0], *trees], catch_exceptions=False)
    plans = [row["plan"] for row in csv.DictReader((tmp_path / "a.csv").read_text().splitlines())]
    assert [plan.startswith("tree of") for plan in plans] == [True, False]


def test_trees_of_a_file_and_of_a_size_are_looked_at(run, tmp_path):
    (tmp_path / "wide.json").write_text("[[0], [1], [2], [0, 0]]")
    free = ["--draft-host-ms=0", "--batch=1", "--al=2.0@4"]
    plans = run(*free[:2], "--nodes=1000")["cells"][0]
    assert plans["plan"].startswith("tree of ")
    assert plans["tau"] > run(*free[:2])["cells"][0]["tau"]
    assert run(*free[:2], "--longest=1", f"--tree={tmp_path}/wide.json")["cells"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--al=nan@4"],
            "al must be AL@K, an acceptance length from 1 to K \\+ 1, one for each K from 1 to 64, not nan@4",
        ),
        (["--al=3.2"], "al must be AL@K"),
        (["--al=3@4,2@4"], "al must be AL@K, .* one for each K"),
        (["--al=-1@4"], "al must be AL@K"),
        (["--al=6@4"], "al must be AL@K"),
        (["--al=2@1000000000"], "al must be AL@K"),
        (["--al=" + "9" * 100_000 + "@1"], "al must be AL@K"),
        (["--al=2@4", "--al=2@4", "--al=2@4"], "al must be given once, or once for each of the 1 methods"),
        (["--method=ngram", "--method=ngram"], "method must be each given once, not ngram, ngram"),
        (["--method=magic"], "method must be one of model, eagle"),
        (["--method=model"], "draft must be given for method model, not missing"),
        (["--method=ngram", "--draft=llama-68m"], "draft must be left out with method ngram, not llama-68m"),
        (["--method=mtp", "--nodes=8"], "nodes must be left out with method mtp, which makes chains, not 8"),
        (["--nodes=1"], "nodes must be a whole number from 2 to 1000, not 1"),
        (["--batch=0"], "batch must be whole numbers from 1 to 65536"),
        (["--context=-5"], "context must be whole numbers from 1 to 10000000"),
        (["--context=nan"], "context must be whole numbers from 1 to 10000000"),
        (["--batch=" + ",".join(map(str, range(1, 2000)))], "batch and context must be at most 1000 pairs, not 1999"),
        (["--tpot-ms=0"], "tpot-ms must be a number above 0, not 0"),
        (["--draft-vocabulary=999999999"], "draft-vocabulary must be at most 128256, not 999999999"),
        (["--tensor-parallel=99999"], "tensor-parallel must be from 1 to 4096, not 99999"),
        (["--tensor-parallel=1e400"], "tensor-parallel must be a whole number of at least 1, not 1e400"),
        (["--expert-parallel=8"], "expert-parallel must be 1 for a model without experts, not 8"),
        (["--al=1.2@1,2.5@2"], "acceptance lengths must be within 15% of a rate"),
        (["--al=2@1,1.5@3"], "acceptance lengths must be within 15% of a rate"),
        (["--target=/absent/config.json"], "model must be a readable file, not /absent/config.json"),
        (["--hardware=abacus"], "hardware must be one of v100"),
        (["--method=ngram", "--draft-host-ms=1"], "draft-host-ms must be absent where nothing drafts by passes, not 1"),
        (["--tree=/absent.json"], "tree must be a readable file, not /absent.json"),
    ],
)
def test_bad_questions_are_refused(options, message, tmp_path):
    given = {option.partition("=")[0] for option in options}
    usual = {"--target": "llama-3.1-8b", "--hardware": "h100", "--method": "eagle3", "--al": "3.2@4"}
    arguments = [f"{name}={value}" for name, value in usual.items() if name not in given]
    with pytest.raises(InputError, match=message):
        CliRunner().invoke(
            specdec, ["advise", *arguments, *options, f"--json={tmp_path}/a.json"], catch_exceptions=False
        )
    assert not (tmp_path / "a.json").exists()
