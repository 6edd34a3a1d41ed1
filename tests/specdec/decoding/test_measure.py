"""The trained pairs really decode: outputs are those of plain decoding, or have its law, and the numbers add up."""

import json
from itertools import product

import numpy as np
import pytest
import torch

import rtnerf
from rtnerf.base.errors import InputError
from specdec.command_line import decoding as command_line
from specdec.decoding import methods
from specdec.decoding.decode import decode_plain, speculate
from specdec.decoding.ending import NEVER
from specdec.decoding.measure import TIE, measure
from specdec.decoding.pair import RANKS, Models, NoDraft, Pair
from specdec.decoding.statistics import tokens_per_step
from specdec.laws.chance import Likeliest, Sampler
from specdec.laws.language_model import LanguageModel, MarkovModel
from specdec.models import pretrained
from specdec.models.packing import Packing
from specdec.trees.tree import Source, TreeBuilder
from specdec.view import plots

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True, scope="module")
def tuned_on_little():
    """Shapes are tuned on a quarter of the text: they need not be the best here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("specdec.decoding.pair._CALIBRATION_PROMPTS", 3)
        yield


@pytest.fixture(scope="module")
def pair():
    return Pair()


@pytest.fixture(scope="module")
def sampled():
    return Pair("byte-target", "byte-draft", temperature=1)


@pytest.fixture(scope="module")
def sampled_default():
    return Pair(temperature=1)


def beginnings(pair, count):
    """Stretches of held-out source, short ones: reading them is most of the work."""
    return [prompt[:150] for prompt in pair.prompts(count)]


def run(capsys, *arguments):
    """Exit code, standard output and the error line of the command."""
    with pytest.raises(SystemExit) as caught:
        rtnerf.main(["specdec", "measure", *arguments])
    captured = capsys.readouterr()
    return caught.value.code, captured.out, captured.err


# ---- Greedy decoding ----


@pytest.mark.parametrize("name", ["target", "byte-target", "ssm", "hybrid"])
@torch.no_grad()
def test_tree_logits_of_trained_models_are_those_of_every_path(name):
    """In single precision to 1e-5 of the largest logit, in double to 1e-9."""
    prompt = pretrained.tokenizer(name).encode("def main(arguments=None):\n    parser = argparse.Argument")
    tree = TreeBuilder.of_paths(prompt[-1], [(1, 2, 3), (1, 4), (5, 2, 3, 9), (6,)], Source.RANKED).build()
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-9)):
        network = pretrained.load(name).to(dtype)
        memories, parent = network.start(), [*range(-1, len(prompt) - 2), *(tree.parent + len(prompt) - 1)]
        tokens = torch.tensor([*prompt[:-1], *tree.token])
        packed = network.logits(network(tokens, Packing(parent, len(parent), 0), memories))
        for node, path in enumerate(tree.paths):
            alone = network.logits(network(torch.tensor(prompt + path)))[-1]
            error = (packed[len(prompt) - 1 + node] - alone).abs().max() / alone.abs().max()
            assert error < tolerance


@pytest.mark.parametrize("proposer", ["chain", "static", "medusa-lookup", "eagle2-lookup", "dyspec-threshold", "rasd"])
def test_greedy_output_is_that_of_plain_decoding(pair, proposer):
    found = measure(pair, proposer, "greedy", nodes=8, prompts=pair.prompts(3), tokens=40)
    assert all(difference.gap < TIE for difference in found.differences)
    assert found.matches_plain == (not found.differences)
    assert found.faithful
    assert found.tau >= 1


@pytest.mark.parametrize(
    ("target", "draft"), [("byte-target", "byte-draft"), ("ssm", "ssm-draft"), ("hybrid", "ssm-draft")]
)
def test_other_pairs_decode_faithfully(target, draft):
    other = Pair(target, draft)
    found = measure(other, "eagle2", "greedy", nodes=12, prompts=beginnings(other, 2), tokens=48)
    assert found.faithful
    assert found.tau > 1


def test_numbers_add_up(pair):
    prompts = pair.prompts(2)
    found = measure(pair, "static", "greedy", nodes=8, prompts=prompts, tokens=30)
    assert len(found.taus) == len(found.speedups) == 2
    assert found.tau == pytest.approx(tokens_per_step(found.steps))
    assert found.tree_nodes <= 8
    # What is cut off at the end was never emitted, and does not count.
    assert sum(len(step.tokens) for step in found.steps) == 2 * 30
    assert measure(pair, "lookup", "greedy", nodes=8, prompts=prompts, tokens=1).tau == 1
    spent = sum(seconds for part, seconds in found.seconds.items() if part != "plain")
    passes = found.seconds["target"] + found.seconds["draft"]
    assert found.overhead == pytest.approx(1 - passes / spent)
    assert all(seconds >= 0 for seconds in found.seconds.values())
    json.dumps(found.record(), allow_nan=False)


class Wobbling(LanguageModel):
    """A model whose passes of several rows round otherwise than those of one."""

    def __init__(self, law, wobble):
        self._law, self._wobble = law, wobble

    def law(self, prefix):
        return self._law

    def laws(self, context, paths):
        return [self._law if len(paths) == 1 else self._law + self._wobble for _ in paths]


class WobblingPair:
    """A stand-in for a pair, at temperature zero."""

    temperature, places = 0, None
    chance = staticmethod(lambda *_: Likeliest())
    ending = staticmethod(lambda _: NEVER)

    def __init__(self, gap):
        self._gap = np.array([gap, -gap, 0])

    def models(self):
        model = Wobbling(np.array([0.4, 0.4, 0.2]) + self._gap, -2 * self._gap)
        return Models(model, model, None)


@pytest.mark.parametrize(("gap", "faithful"), [(1e-9, True), (1e-3, False)])
def test_differences_are_ties_or_mistakes(gap, faithful):
    # Plain decoding goes on with 0; the lookup finds 2 0, and a pass of several rows takes 1 for the likeliest.
    prompts = [(2, 1, 2), (2, 0, 2)]
    found = measure(WobblingPair(gap), "lookup", "greedy", nodes=4, prompts=prompts, tokens=5)
    assert found.matches_plain is False
    assert [difference.prompt for difference in found.differences] == [0, 1]
    assert {difference.token for difference in found.differences} == {0}
    assert found.faithful == faithful


# ---- Sampling ----


@pytest.mark.parametrize(
    ("proposer", "verifier"),
    [("rsd-constant", "without-replacement"), ("specinfer", "with-replacement"), ("chain", "naive")],
)
def test_sampled_tokens_have_the_law_of_the_target(sampled, proposer, verifier):
    # The power of so many outputs is at least 0.98 on the sources of Python 3.11.2, 3.11.7, 3.12 and 3.13.
    found = measure(sampled, proposer, verifier, 7, beginnings(sampled, 2), tokens=16, depth=2, law_trials=200)
    assert found.law_test.testable
    assert found.faithful
    assert found.matches_plain == found.law_test.p_value
    assert "matches plain: not rejected" in found.summary


@pytest.mark.parametrize(
    ("proposer", "verifier"), [("lookup", "typical"), ("static", "typical"), ("confidence", "without-replacement")]
)
def test_biased_rules_are_found_out_on_the_default_pair(sampled_default, proposer, verifier):
    prompts = beginnings(sampled_default, 4)
    found = measure(sampled_default, proposer, verifier, 4, prompts, 48, depth=1, lossless=False)
    assert found.law_test.testable
    assert found.law_test.p_value < 1e-10
    assert not found.faithful
    assert "matches plain: no" in found.summary


def test_sampling_repeats(sampled):
    found, again = (
        measure(sampled, "rsd-constant", "multi-step", 8, beginnings(sampled, 2), tokens=16, law_trials=5)
        for _ in range(2)
    )
    assert (again.tau, again.taus, again.law_test) == (found.tau, found.taus, found.law_test)
    assert found.law_test.tokens == 8 * 5 * 2


def test_what_cannot_be_tested_is_said(sampled):
    found = measure(sampled, "static", "naive", 4, beginnings(sampled, 1), tokens=4, law_trials=10)
    assert found.matches_plain is None
    assert found.faithful
    assert "matches plain: not testable" in found.summary
    untested = measure(sampled, "static", "naive", 4, beginnings(sampled, 1), tokens=8, law_trials=0)
    assert untested.matches_plain is untested.law_test is None
    assert untested.faithful
    assert "matches plain: not tested" in untested.summary


def test_seeds_share_no_stream(sampled):
    """The second prompt of one seed does not draw as the first of the next."""
    prompt = sampled.prompts(1)[0]
    steps = [measure(sampled, "chain", "naive", 3, [prompt] * 2, 24, seed=seed, law_trials=0).steps for seed in (0, 1)]
    first, second = (sum((step.tokens for step in each), ()) for each in steps)
    assert len({first[:24], first[24:], second[:24], second[24:]}) == 4


# ---- Methods ----


def test_every_method_decodes_or_is_refused(sampled):
    prompt, chance = sampled.prompts(1)[0], Sampler(0)
    refused = set()
    for name, rule in product(methods.PROPOSERS, methods.VERIFIERS):
        if name.startswith("medusa"):
            continue
        models = sampled.models()
        try:
            verifier = methods.verifier(rule, sampled.temperature)
            proposer = methods.proposer(name, rule, sampled, models, nodes=6, depth=3)
            taken = speculate(models.target, proposer, verifier, prompt[:40], chance)
        except InputError:
            refused.add((name, rule))
        else:
            assert 1 <= len(taken.proposal.tree) <= 6
    rules = set(methods.VERIFIERS) - {"greedy", "typical"}
    assert {name for name, rule in refused if rule == "naive"} == set()
    assert {rule for name, rule in refused if name == "specinfer"} == {
        "greedy", "typical", "without-replacement", "deterministic",
    }  # fmt: skip
    assert all(
        {(name, "greedy"), (name, "typical")} <= refused
        for name in set(methods.PROPOSERS) - {"medusa", "medusa-lookup"}
    )
    assert {("confidence", rule) for rule in rules} & refused == {
        ("confidence", "without-replacement"), ("confidence", "with-replacement"), ("confidence", "multi-step"),
    }  # fmt: skip


def test_static_methods_are_tuned_by_what_was_measured(pair):
    acceptance = pair.acceptance(Source.RANKED)
    assert acceptance.shape == (RANKS,)
    assert (np.diff(acceptance) <= 0).all()
    assert (acceptance > 0).all()
    assert pair.head_acceptance.shape == (pretrained.HEADS, RANKS)
    with pytest.raises(InputError, match="target must be one with Medusa heads, not one without"):
        Pair("byte-target", "byte-draft").head_acceptance  # noqa: B018


def test_pairs_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="draft must be one on the tokens of target, not byte-draft"):
        Pair("target", "byte-draft")
    assert isinstance(Pair("byte-target").models().draft, NoDraft)
    with pytest.raises(InputError, match=r"temperature must be 0 or at least 0\.01, not -1"):
        Pair(temperature=-1)


def test_prompts_are_held_out_and_spread(pair):
    prompts = pair.prompts(30)
    assert len(set(prompts)) == 30
    assert pair.prompts(30) == prompts
    assert all(len(prompt) > 50 for prompt in prompts)


def test_more_prompts_than_there_are_are_refused(pair):
    with pytest.raises(InputError, match=r"prompts must be from 1 to \d+, the stretches there are, not 1000000"):
        pair.prompts(1000000)


def test_plain_decoding_follows_the_law():
    cycle = MarkovModel(np.eye(3)[[1, 2, 0]])
    assert decode_plain(cycle, (0,), 4, Sampler(0)) == (1, 2, 0, 1)
    likeliest = MarkovModel(np.array([[0.3, 0.3, 0.4], [0.2, 0.5, 0.3], [0.6, 0.4, 0]]))
    assert decode_plain(likeliest, (0,), 4, Likeliest()) == (2, 0, 2, 0)
    with pytest.raises(InputError, match="context must be at least one token, not empty"):
        decode_plain(cycle, (), 1, Likeliest())


# ---- The command ----


def test_the_command_knows_every_method():
    assert set(command_line.PROPOSERS) == set(methods.PROPOSERS)
    assert set(command_line.VERIFIERS) == set(methods.VERIFIERS)


def test_the_command_measures(capsys, tmp_path):
    json_file, plot = tmp_path / "measured.json", tmp_path / "measured.png"
    code, out, _ = run(
        capsys, "--proposer", "eagle2", "--nodes", "6", "--prompts", "1", "--tokens", "16",
        "--json", str(json_file), "--plot", str(plot), "--csv", str(tmp_path / "measured.csv"),
    )  # fmt: skip
    assert code == 0
    assert "tokens per step" in out
    result = json.loads(json_file.read_text())
    assert result["proposer"] == "eagle2"
    assert result["verifier"] == "greedy"
    assert {"tau", "acceptance_by_rank", "acceptance_by_depth", "tokens_per_s", "plain_tokens_per_s"} <= set(result)
    assert result["matches_plain"] in (True, False)
    assert {"target", "draft", "building", "verification", "loop", "plain"} == set(result["seconds"])
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "measured.csv").read_text() == f"prompt,tau,speedup\n0,{result['tau']},{result['speedup']}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["measured.csv", "measured.json", "measured.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--proposer", "guess"], f"proposer must be one of {', '.join(command_line.PROPOSERS)}, not guess"),
        (["--verifier", "typical"], "verifier must be lossless, not typical"),
        (["--verifier", "greedy", "--temperature", "1"], "temperature must be 0 with the verifier greedy, not 1.0"),
        (["--temperature", "nan"], "temperature must be a number of at least 0, not nan"),
        (["--nodes", "1"], "nodes must be a whole number from 2 to 1000, not 1"),
        (["--depth", "1000000"], "depth must be a whole number from 1 to 256, not 1000000"),
        (["--tokens", "1000000000000"], "tokens must be a whole number from 1 to 1000000, not 1000000000000"),
        (["--threads", "100000"], "threads must be a whole number from 1 to 256, not 100000"),
        (["--repetition-penalty", "1e-300"], "repetition-penalty must be a number from 0.01 to 100, not 1e-300"),
        (["--plot", "tree.txt"], "plot must be a file name that ends with .png, .svg, .pdf, not tree.txt"),
        (["--target", "/"], "model must be a folder with config.json, not / without"),
        (["--target", "gpt"], f"model must be one of {', '.join(pretrained.MODELS)}, not gpt"),
        (["--proposer", "lookup", "--draft", "draft"], "draft must be absent with lookup, not draft"),
        (["--proposer", "dyspec", "--depth", "3"], "depth must be absent with dyspec, not 3"),
        (["--draft", "ssm-draft", "--proposer", "chain"], "draft must be one on the tokens of target, not ssm-draft"),
        (
            ["--proposer", "specinfer", "--verifier", "without-replacement", "--temperature", "1"],
            "candidates of WithoutReplacement must be WITHOUT_REPLACEMENT, not WITH_REPLACEMENT",
        ),
    ],
)
def test_bad_input_is_one_line(capsys, arguments, message):
    code, out, err = run(capsys, "--prompts", "1", *arguments)
    assert (code, out, err) == (2, "", f"error: {message}\n")


def test_lossy_methods_run_when_asked(capsys):
    arguments = [
        "--verifier",
        "typical",
        "--temperature",
        "1",
        "--proposer",
        "static",
        "--nodes",
        "4",
        "--prompts",
        "1",
        "--tokens",
        "8",
        "--lossy",
    ]
    code, out, _ = run(capsys, *arguments, "--target", "byte-target", "--draft", "byte-draft")
    assert code == 0
    assert "tokens per step" in out


def test_pictures_of_curves(tmp_path):
    figure = plots.tau_by_budget({"chain": {2: 1.5, 4: 1.9}, "eagle2": {2: 1.5, 4: 2.2, 8: 2.6}})
    plots.save(figure, tmp_path / "tau.svg")
    assert "</svg>" in (tmp_path / "tau.svg").read_text()
