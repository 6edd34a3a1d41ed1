"""Models in Hugging Face's form, made on the spot: logits against plain evaluation, decoding, and what is refused."""

import json
from itertools import pairwise

import numpy as np
import pytest
import safetensors.numpy
import torch

import rtnerf
from rtnerf.base.errors import InputError
from specdec.decoding.measure import measure
from specdec.decoding.pair import Pair
from specdec.models import hugging_face
from specdec.models.packing import Packing
from specdec.text.tokenizer import BpeTokenizer
from specdec.trees.tree import Source, TreeBuilder
from tests.specdec.models import plain_decoders

pytestmark = pytest.mark.usefixtures("one_thread")

V = 300
LLAMA = {
    "vocab_size": V, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 24, "rms_norm_eps": 1e-5, "rope_theta": 500.0, "max_position_embeddings": 64, "head_dim": 6,
}  # fmt: skip
GPT2 = {"vocab_size": V, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 64}
MAMBA = {"vocab_size": V, "hidden_size": 16, "num_hidden_layers": 2, "expand": 2, "state_size": 5, "conv_kernel": 4}


MAMBA2 = {
    "vocab_size": V, "hidden_size": 16, "num_hidden_layers": 2, "expand": 2, "state_size": 5, "conv_kernel": 4,
    "num_heads": 8, "head_dim": 4, "n_groups": 2, "time_step_limit": [0.1, 2.0],
}  # fmt: skip


def llama_shapes(bias=False, norms=False, head=True):
    shapes = {"model.embed_tokens.weight": (V, 16), "model.norm.weight": (16,)}
    for layer in range(2):
        name = f"model.layers.{layer}"
        for part, rows in (("q", 24), ("k", 12), ("v", 12)):
            shapes[f"{name}.self_attn.{part}_proj.weight"] = (rows, 16)
            if bias:
                shapes[f"{name}.self_attn.{part}_proj.bias"] = (rows,)
        if norms:
            shapes |= {f"{name}.self_attn.{part}_norm.weight": (6,) for part in "qk"}
        shapes |= {f"{name}.{norm}_layernorm.weight": (16,) for norm in ("input", "post_attention")}
        shapes |= {f"{name}.mlp.{part}_proj.weight": (24, 16) for part in ("gate", "up")}
        shapes |= {f"{name}.self_attn.o_proj.weight": (16, 24), f"{name}.mlp.down_proj.weight": (16, 24)}
    return shapes | ({"lm_head.weight": (V, 16)} if head else {})


def gpt2_shapes():
    shapes = {"wte.weight": (V, 16), "wpe.weight": (64, 16), "ln_f.weight": (16,), "ln_f.bias": (16,)}
    for layer in range(2):
        for name, rows, columns in (
            ("attn.c_attn", 16, 48), ("attn.c_proj", 16, 16), ("mlp.c_fc", 16, 64), ("mlp.c_proj", 64, 16)
        ):  # fmt: skip
            shapes |= {f"h.{layer}.{name}.weight": (rows, columns), f"h.{layer}.{name}.bias": (columns,)}
        shapes |= {f"h.{layer}.ln_{norm}.{part}": (16,) for norm in (1, 2) for part in ("weight", "bias")}
    return shapes


def mamba_shapes():
    shapes = {"backbone.embeddings.weight": (V, 16), "backbone.norm_f.weight": (16,)}
    for layer in range(2):
        mixer = {
            "in_proj.weight": (64, 16), "conv1d.weight": (32, 1, 4), "conv1d.bias": (32,), "x_proj.weight": (11, 32),
            "dt_proj.weight": (32, 1), "dt_proj.bias": (32,), "A_log": (32, 5), "D": (32,), "out_proj.weight": (16, 32),
        }  # fmt: skip
        shapes |= {f"backbone.layers.{layer}.mixer.{name}": shape for name, shape in mixer.items()}
        shapes[f"backbone.layers.{layer}.norm.weight"] = (16,)
    return shapes


def mamba2_shapes():
    shapes = {"backbone.embeddings.weight": (V, 16), "backbone.norm_f.weight": (16,), "lm_head.weight": (V, 16)}
    for layer in range(2):
        mixer = {
            "in_proj.weight": (92, 16), "conv1d.weight": (52, 1, 4), "conv1d.bias": (52,), "dt_bias": (8,),
            "A_log": (8,), "D": (8,), "norm.weight": (32,), "out_proj.weight": (16, 32),
        }  # fmt: skip
        shapes |= {f"backbone.layers.{layer}.mixer.{name}": shape for name, shape in mixer.items()}
        shapes[f"backbone.layers.{layer}.norm.weight"] = (16,)
    return shapes


KINDS = {
    "llama": (LLAMA, llama_shapes(), plain_decoders.llama),
    "qwen2": (LLAMA | {"tie_word_embeddings": True}, llama_shapes(bias=True, head=False), plain_decoders.llama),
    "qwen3": (LLAMA, llama_shapes(norms=True), plain_decoders.llama),
    "gpt2": (GPT2, gpt2_shapes(), plain_decoders.gpt2),
    "mamba": (MAMBA, mamba_shapes(), plain_decoders.mamba),
    "mamba2": (MAMBA2, mamba2_shapes(), plain_decoders.mamba2),
}
PROMPT = (3, 1, 4, 1, 5, 9, 2, 6)


@pytest.fixture(scope="module")
def tokenizer():
    return BpeTokenizer.train(["to be or not to be, that is the question"] * 5, V)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tokenizer):
    """A folder of a random model of each kind, one in two files."""
    base = tmp_path_factory.mktemp("models")
    for number, (kind, (config, shapes, _)) in enumerate(KINDS.items()):
        generator = np.random.default_rng(number)
        tensors = {name: generator.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}
        for name in tensors:
            if "norm" in name or "ln_" in name:
                tensors[name] += 1
        folder = base / kind
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config | {"model_type": kind, "eos_token_id": 7}))
        (folder / "tokenizer.json").write_text(tokenizer.description)
        names = sorted(tensors)
        halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]} if kind == "qwen3" else {}
        for file, held in (halves or {"model.safetensors": names}).items():
            safetensors.numpy.save_file({name: tensors[name] for name in held}, folder / file)
        if halves:
            index = {name: file for file, held in halves.items() for name in held}
            (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
        np.savez(base / f"{kind}.npz", **tensors)
    return base


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_logits_are_those_of_plain_evaluation(folders, kind):
    """Of a whole sequence, and of every path of a tree after a committed prefix."""
    config, _, evaluate = KINDS[kind]
    with np.load(folders / f"{kind}.npz") as stored:
        weights = {name: stored[name].astype(float) for name in stored.files}
    network = hugging_face.load(folders / kind).network
    expected = evaluate(config, weights, PROMPT)
    found = network.logits(network(torch.tensor(PROMPT)))
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
    memories = network.start()
    network(torch.tensor(PROMPT), Packing(range(-1, 7), 8, 0), memories)
    for memory in memories:
        memory.keep(list(range(7)), [7])
    tree = TreeBuilder.of_paths(PROMPT[-1], [(1, 2, 3), (1, 4), (5, 2)], Source.RANKED).build()
    rows = network(torch.tensor(tree.token[1:]), Packing(tree.parent, len(tree) - 1, 7), memories)
    for path, row in zip(tree.paths[1:], network.logits(rows), strict=True):
        expected = evaluate(config, weights, PROMPT + path)[-1]
        np.testing.assert_allclose(row, expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
def test_speculation_is_plain_decoding_to_the_end(folders, kind):
    pair = Pair(folders / kind, repetition=1.3)
    prompts = [pair.tokenizer.encode(text) for text in ("to be or not to be, to be", "that is the question: that is")]
    outputs = {}
    for batch in (2, 1):
        emit = outputs.__setitem__
        found = measure(pair, "lookup", nodes=6, prompts=prompts, tokens=100, batch=batch, emit=emit)
        assert found.faithful
    for prompt, output in zip(prompts, outputs.values(), strict=True):
        full = pair.places is not None and len(prompt) + len(output) == pair.places
        assert output[-1] == 7 or len(output) == 100 or full
        assert 7 not in output[:-1]


def test_a_model_drafts_for_another(folders):
    pair = Pair(folders / "llama", folders / "mamba", temperature=0.7)
    prompts = [pair.tokenizer.encode("to be or not")]
    assert measure(pair, "chain", nodes=4, prompts=prompts, tokens=12, law_trials=0).tau >= 1
    with pytest.raises(InputError, match="draft must be given for this proposer, not missing"):
        measure(Pair(folders / "llama"), "chain", prompts=prompts)
    with pytest.raises(InputError, match=r"draft must be one on the tokens of .*llama, not draft"):
        Pair(folders / "llama", "draft")


def test_the_command_decodes_a_folder(folders, tmp_path, capsys):
    (tmp_path / "prompts.json").write_text(json.dumps(["to be or not to be", "that is"]))
    arguments = [
        "--target", folders / "gpt2", "--prompts-file", tmp_path / "prompts.json", "--tokens", 9, "--stream",
        "--temperature", 1, "--top-k", 20, "--top-p", 0.9, "--min-p", 0.01, "--stop", "question", "--lossy",
        "--repetition-penalty", 1.2, "--json", tmp_path / "found.json",
    ]  # fmt: skip
    with pytest.raises(SystemExit) as end:
        rtnerf.main(["specdec", "measure", *map(str, arguments)])
    out = capsys.readouterr().out
    assert end.value.code == 0
    assert "tokens per step" in out.splitlines()[-1]
    assert json.loads((tmp_path / "found.json").read_text())["top_p"] == 0.9


def test_bounds_without_end_are_read_as_transformers_writes_them(folders, tmp_path):
    source = folders / "mamba2"
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).symlink_to(source / name)
    config = json.loads((source / "config.json").read_text())
    del config["time_step_limit"]
    logits = []
    for limit in ({}, {"time_step_limit": [0.0, {"__float__": "Infinity"}]}, {"time_step_limit": [0.0, float("inf")]}):
        (tmp_path / "config.json").write_text(json.dumps(config | limit))
        network = hugging_face.load(tmp_path).network
        logits.append(network.logits(network(torch.tensor(PROMPT))))
    assert all(torch.equal(logits[0], other) for other in logits)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"model_type": "mixtral"},
            "model_type of config.json must be one of llama, qwen2, qwen3, gpt2, mamba, mamba2, not ",
        ),
        (
            {"auto_map": {"AutoModel": "x.py"}},
            "auto_map must be absent: it would take code that is not here, not given",
        ),
        ({"hidden_act": "relu"}, "hidden_act must be one of silu, None, not relu"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "rope_type must be one of default, linear, llama3, not yarn"),
        ({"rope_theta": "x"}, "rope's base must be above 0, not x"),
        ({"num_hidden_layers": 3}, "model must be a folder with every tensor, not one without layers.2.self_attn.q"),
        ({"hidden_size": 8}, "model must be a file with this architecture's weights (head: (300, 8), there: (300, "),
        ({"eos_token_id": "x"}, "eos_token_id must be a token or a list of tokens, not"),
    ],
)
def test_what_would_be_misread_is_refused(folders, tmp_path, change, message):
    source = folders / "llama"
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).symlink_to(source / name)
    config = json.loads((source / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(InputError) as raised:
        hugging_face.load(tmp_path)
    assert str(raised.value).startswith(message)


def test_weights_that_are_no_numbers_are_refused(folders, tmp_path):
    source = folders / "llama"
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).symlink_to(source / name)
    tensors = safetensors.numpy.load_file(source / "model.safetensors")
    tensors["model.norm.weight"][3] = np.nan
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"weights of .* must be finite, not infinite or NaN in norm\.weight"):
        hugging_face.load(tmp_path)


def test_only_safetensors_beside_the_index_are_read(folders, tmp_path):
    (tmp_path / "config.json").write_text((folders / "llama" / "config.json").read_text())
    (tmp_path / "pytorch_model.bin").write_bytes(b"code")
    with pytest.raises(InputError, match=r"model must be a readable file, not .*model\.safetensors"):
        hugging_face.load(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": "../x.safetensors"}}))
    with pytest.raises(InputError, match=r"model must be in files beside its index, not \.\./x"):
        hugging_face.load(tmp_path)


def test_slow_pairs_turn_slower_as_in_llama_3(folders):
    plain, scaled = hugging_face.Rotation(500.0), hugging_face.Rotation(500.0, 8.0, 1.0, 4.0, 64)
    ratio = (scaled.frequencies(16, torch.float64) / plain.frequencies(16, torch.float64)).tolist()
    assert ratio[0] == 1
    assert ratio[-1] == pytest.approx(1 / 8)
    assert all(first >= second for first, second in pairwise(ratio))
    assert len(set(ratio)) > 2
