"""The models that come with the package: what is stored, and that they do what they were trained for."""

import numpy as np
import pytest
import safetensors.torch
import torch

from rtnerf.base.errors import InputError
from specdec.decoding.decode import decode, decode_plain
from specdec.laws.chance import Sampler
from specdec.laws.language_model import AtTemperature
from specdec.models import pretrained, training
from specdec.models.cached import CachedModel
from specdec.models.medusa_heads import MedusaHeads
from specdec.proposers.eagle2 import Eagle2
from specdec.proposers.medusa import Medusa
from specdec.text import corpus
from specdec.trees.shape import Shape
from specdec.verifiers.greedy import Greedy

PAIRS = {name: model.teacher for name, model in pretrained.MODELS.items() if model.teacher}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def held_out():
    """The middle of a held-out text."""
    text = max(corpus.held_out(), key=len)
    start = text.index("\n", len(text) // 2) + 1
    return text[start : start + 3000]


def pieces(name, text, tokens=256):
    return torch.tensor([pretrained.tokenizer(name).encode(text)[: tokens + 1]])


def test_weights_are_half_precision_and_at_most_twelve_megabytes():
    files = list(pretrained.DATA.glob("*.safetensors"))
    assert {path.stem for path in files} == {*pretrained.MODELS, "medusa"}
    assert sum(path.stat().st_size for path in pretrained.DATA.iterdir()) <= 12_000_000
    for path in files:
        assert {tensor.dtype for tensor in safetensors.torch.load_file(path).values()} == {torch.float16}


@pytest.mark.parametrize("name", pretrained.MODELS)
def test_models_know_python(name, held_out):
    network = pretrained.load(name)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in network.parameters())
    tokens = pieces(name, held_out)
    loss = training.cross_entropy(network, tokens).item()
    # Nats a token, to be compared with log V of knowing nothing: 8.3 and 5.5.
    assert loss < {"bpe": 5.5, "byte": 2.5}[pretrained.MODELS[name].tokenizer]


@pytest.mark.parametrize("name", PAIRS)
def test_drafts_resemble_their_target(name, held_out):
    draft, target = pretrained.load(name), pretrained.load(PAIRS[name])
    tokens = pieces(name, held_out)[:, :-1]
    laws = [network.logits(network(tokens)).softmax(-1) for network in (draft, target)]
    assert sum(parameter.numel() for parameter in draft.parameters()) < 0.2 * sum(
        parameter.numel() for parameter in target.parameters()
    )
    # Accepted by the ratio rule, on average, and by the greedy one.
    assert torch.minimum(*laws).sum(-1).mean() > 0.5
    assert (laws[0].argmax(-1) == laws[1].argmax(-1)).float().mean() > 0.4


def test_heads_tell_the_tokens_further_on(held_out):
    target, heads = pretrained.load("target"), pretrained.medusa_heads()
    trained = training.heads_divergence(heads, target, pieces("target", held_out))
    untrained = training.heads_divergence(pretrained.build_heads(), target, pieces("target", held_out))
    assert trained < 0.8 * untrained


@pytest.mark.parametrize("name", [*PAIRS, "medusa"])
def test_greedy_speculation_is_plain_greedy_decoding_in_fewer_passes(name, held_out):
    teacher = PAIRS.get(name, "target")
    prompt = pretrained.tokenizer(teacher).encode(held_out)[:100]
    network = pretrained.load(teacher)
    target = CachedModel(network)
    if name == "medusa":
        proposer = Medusa(MedusaHeads(target, pretrained.medusa_heads()), Shape.constant([3, 2]))
    else:
        proposer = Eagle2(CachedModel(pretrained.load(name)), width=3, depth=3, nodes=8)
    output, steps = decode(target, proposer, Greedy(), prompt, 48, Sampler(0))
    assert output == decode_plain(AtTemperature(CachedModel(network), 0), prompt, 48, Sampler(0))
    assert len(steps) <= 48 / 1.2


def test_tokenizers():
    assert pretrained.tokenizer("ssm").vocabulary == 256
    bpe = pretrained.tokenizer("target")
    assert bpe.vocabulary == 4096
    assert bpe.decode(bpe.encode("import os\n")) == "import os\n"
    assert len(bpe.encode("import os\n")) == 3


def test_bad_input_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"model must be one of target, draft, .*, not gpt"):
        pretrained.load("gpt")
    with pytest.raises(InputError, match=r"model must be a readable file, not .*draft.safetensors \(No such file"):
        pretrained.load("draft", tmp_path)
    with pytest.raises(InputError, match=r"model must be a readable file, not .*bpe.json"):
        pretrained.tokenizer("target", tmp_path)
    (tmp_path / "draft.safetensors").write_bytes(b"PK\3\4 a pickle, or anything")
    with pytest.raises(InputError, match=r"model must be a safetensors file, not .*draft.safetensors"):
        pretrained.load("draft", tmp_path)
    (tmp_path / "draft.safetensors").write_bytes((pretrained.DATA / "ssm.safetensors").read_bytes())
    with pytest.raises(
        InputError, match=r"model must be a file with this architecture's weights \(.*: .*\), not .*draft"
    ):
        pretrained.load("draft", tmp_path)


def test_stored_weights_are_the_rounded_ones(tmp_path):
    network = pretrained.build("byte-draft")
    pretrained.store(network, tmp_path / "byte-draft.safetensors")
    loaded = pretrained.load("byte-draft", tmp_path)
    for ours, expected in zip(loaded.parameters(), network.parameters(), strict=True):
        np.testing.assert_array_equal(ours, expected.detach().half().float())
