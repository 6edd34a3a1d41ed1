"""Training on a small text with small steps; the models themselves are tested in test_pretrained."""

import json

import pytest
import torch

import rtnerf
from rtnerf.base.errors import InputError
from specdec.models import pretrained, training
from specdec.models.medusa_heads import ResidualHeads
from specdec.models.transformer import transformer
from specdec.text import corpus

TEXT = "".join(f"def f{number}(x):\n    return x + {number}\n" for number in range(99))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(corpus, "training", lambda: [TEXT])
    monkeypatch.setattr(corpus, "held_out", lambda: [TEXT[::-1]])
    monkeypatch.setattr(training, "WINDOW", 24)
    monkeypatch.setattr(training, "BATCH", 2)
    monkeypatch.setitem(pretrained.VOCABULARY, "bpe", 280)
    yield
    torch.set_num_threads(threads)


def weights(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class StoppedError(Exception):
    pass


def stop_at(name, step):
    def progress(model, done, steps, loss):
        if (model, done) == (name, step):
            raise StoppedError

    return progress


def test_a_stopped_run_goes_on_to_the_same_files(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0)
    names, effort = ("byte-target", "byte-draft"), 0.005
    losses = training.train(tmp_path / "whole", seed=3, effort=effort, names=names)
    assert set(losses) == set(names)
    for name, step in (("byte-target", 1), ("byte-target", 5), ("byte-draft", 3)):
        with pytest.raises(StoppedError):
            training.train(tmp_path / "parts", seed=3, effort=effort, names=names, progress=stop_at(name, step))
    assert training.train(tmp_path / "parts", seed=3, effort=effort, names=names) == losses
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    assert sorted(weights(tmp_path / "whole")) == [
        "bpe.json", "byte-draft.safetensors", "byte-target.safetensors", "training.json",
    ]  # fmt: skip


def test_every_model_can_be_trained_and_loaded(tmp_path):
    steps = {}
    losses = training.train(
        tmp_path, effort=1e-4, progress=lambda name, done, total, loss: steps.update({name: (done, total)})
    )
    assert list(losses) == list(training.PLANS) == [*dict.fromkeys(["target", "medusa", *pretrained.MODELS])]
    assert steps == dict.fromkeys(training.PLANS, (1, 1))
    for name in pretrained.MODELS:
        assert pretrained.load(name, tmp_path).embedding.weight.dtype == torch.float32
        assert pretrained.tokenizer(name, tmp_path).vocabulary == len(pretrained.load(name, tmp_path).embedding.weight)
    assert pretrained.medusa_heads(tmp_path).mix.shape[0] == pretrained.HEADS


def test_other_settings_are_refused_where_a_run_is(tmp_path):
    training.train(tmp_path, effort=1e-4, names=())
    with pytest.raises(
        InputError, match=r"out must be a new folder or a run with .*'seed': 1.* not one with .*'seed': 0"
    ):
        training.train(tmp_path, seed=1, effort=1e-4)
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(InputError, match=r"out must be a new folder or a run, not .* \(unreadable training.json\)"):
        training.train(tmp_path)


def test_the_global_state_of_the_library_is_left_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    training.train(tmp_path, effort=1e-4, names=("byte-draft", "byte-target"))
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_float32_matmul_precision() == "highest"


def small_target():
    torch.manual_seed(0)
    return transformer(13, width=16, layers=1, heads=2, hidden=16)


def test_losses_fall():
    target, draft = small_target(), transformer(13, width=8, layers=1, heads=2, hidden=8)
    heads, tokens = ResidualHeads(16, 2), torch.arange(50).reshape(2, 25) % 13
    for module, loss in (
        (target, lambda: training.cross_entropy(target, tokens)),
        (draft, lambda: training.divergence(draft, target, tokens)),
        (heads, lambda: training.heads_divergence(heads, target, tokens)),
    ):
        target.requires_grad_(module is target)
        first = loss().item()
        run = training._Run(module, lambda _, loss=loss: loss(), steps=60, rate=1e-2)
        for _ in range(60):
            last = run.step(tokens)
        assert last < 0.25 * first


def test_a_model_does_not_diverge_from_itself():
    target, tokens = small_target(), torch.arange(12)
    torch.testing.assert_close(training.divergence(target, target, tokens).item(), 0.0)


def test_divergence_is_its_formula():
    target, draft, tokens = small_target(), transformer(13, 8, 1, 2, 8), torch.arange(12)
    p, q = (network.logits(network(tokens[:-1])).softmax(-1) for network in (target, draft))
    expected = (p * (p / q).log()).sum(-1).mean()
    torch.testing.assert_close(training.divergence(draft, target, tokens), expected)


def test_heads_are_compared_with_the_target_further_on():
    target, heads, tokens = small_target(), ResidualHeads(16, 2), torch.arange(12)
    logits = target.logits(target(tokens[:-1]))
    # Untrained heads say what the target says here: so the divergence is that of its laws one and two places apart.
    p, q = logits.softmax(-1), logits[:-2].softmax(-1)
    expected = [(law * (law / q).log()).sum(-1).mean() for law in (p[1:-1], p[2:])]
    torch.testing.assert_close(training.heads_divergence(heads, target, tokens), sum(expected) / 2)


def test_the_command_passes_its_options_on(tmp_path, monkeypatch, capsys):
    calls = []

    def train(out, seed, effort, progress):
        calls.append((out, seed, effort, torch.get_num_threads()))
        progress("target", 5, 5, 1.25)
        return {"target": 1.5}

    monkeypatch.setattr(training, "train", train)
    names = {"--json": "t.json", "--csv": "t.csv", "--plot": "t.svg"}
    files = [word for option, name in names.items() for word in (option, str(tmp_path / name))]
    with pytest.raises(SystemExit) as end:
        rtnerf.main(["specdec", "train", "--out", str(tmp_path), "--seed", "7", "--effort", "0.5", *files])
    captured = capsys.readouterr()
    assert (end.value.code or 0, calls) == (0, [(tmp_path, 7, 0.5, 2)])
    assert captured.out == f"{tmp_path}: target 1.5000 nats a token, held out\n"
    assert "target 5/5: 1.250 nats" in captured.err
    assert json.loads((tmp_path / "t.json").read_text())["nats_a_token"] == {"target": 1.5}
    assert (tmp_path / "t.csv").read_text() == "model,nats_a_token\ntarget,1.5\n"
    assert (tmp_path / "t.svg").read_text().count("1.50") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--effort", "0"], "effort must be a number above 0 and at most 1000, not 0"),
        (["--effort", "nan"], "effort must be a number above 0 and at most 1000, not nan"),
        (["--effort", "1e308"], "effort must be a number above 0 and at most 1000, not 1e308"),
        (["--seed", "-1"], "seed must be a whole number from 0 to 4294967295, not -1"),
        (["--threads", "two"], "threads must be a whole number from 1 to 256, not two"),
        (["--out", __file__], f"out must be a folder, not {__file__} (a file)"),
    ],
)
def test_bad_options_are_one_line(tmp_path, capsys, options, message):
    with pytest.raises(SystemExit) as end:
        rtnerf.main(["specdec", "train", *([] if "--out" in options else ["--out", str(tmp_path / "new")]), *options])
    assert (end.value.code, capsys.readouterr().err) == (2, f"error: {message}\n")
    assert not (tmp_path / "new").exists()


def test_what_was_trained_is_written_down(tmp_path):
    training.train(tmp_path, seed=2, effort=1e-4, names=("byte-target",))
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["settings"].keys() == {"seed", "effort", "threads", "python", "torch"}
    assert record["losses"].keys() == {"byte-target"}
