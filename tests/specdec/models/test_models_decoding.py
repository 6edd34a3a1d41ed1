"""Every network verifies trees as it reads sequences, and speculates as it decodes plainly."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rtnerf.base.errors import InputError
from specdec.decoding.decode import Decoding, decode, decode_plain, decode_plain_together, decode_together
from specdec.laws.chance import Likeliest, Sampler
from specdec.models import cached
from specdec.models.cached import CachedModel, read_together
from specdec.models.hybrid import hybrid
from specdec.models.medusa_heads import MedusaHeads, ResidualHeads
from specdec.models.network import Network
from specdec.models.packing import Packing
from specdec.models.ssm import ssm
from specdec.models.transformer import transformer
from specdec.proposers.dyspec import DySpecGreedy, DySpecThreshold
from specdec.proposers.eagle2 import Eagle2
from specdec.proposers.medusa import Medusa
from specdec.proposers.opt_tree import OptTree
from specdec.proposers.rasd import Rasd
from specdec.proposers.retrieval import PromptLookup, Retrieval, SuffixArray
from specdec.proposers.static import StaticTree, chain, rsd_constant, specinfer
from specdec.proposers.stochastic_beam import StochasticBeam
from specdec.proposers.vocab_trim import VocabTrim
from specdec.trees.shape import Shape
from specdec.trees.tree import Source, TreeBuilder
from specdec.verifiers.greedy import Greedy
from tests.specdec.helpers import FixedTree

V = 11
NETWORKS = {
    "transformer": lambda: transformer(V, width=16, layers=2, heads=2, hidden=24),
    "ssm": lambda: ssm(V, width=16, layers=2, heads=4, features=8, size=6),
    "hybrid": lambda: hybrid(V, width=16, layers=1, heads=2, hidden=24, size=6),
}
PROMPT = (3, 1, 4, 1, 5, 9, 2, 6)
PATHS = [(1,), (2,), (1, 1), (1, 3), (2, 1), (1, 3, 5), (1, 3, 6), (1, 3, 5, 1), (2, 1, 2)]

each_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def build(name: str, seed: int = 1) -> Network:
    """A random network, its layers scaled up so that what they do shows in the logits."""
    torch.manual_seed(seed)
    network = NETWORKS[name]()
    with torch.no_grad():
        for layer in network.layers:
            layer.out.weight *= 4
    return network


def read(network: Network, tokens, memories) -> None:
    """Decode plainly: one token a pass, committed at once."""
    for place, token in enumerate(tokens):
        network(torch.tensor([token]), Packing([-1], 1, place), memories)
        for memory in memories:
            memory.keep([0], [])


def contents(memories) -> list[torch.Tensor]:
    """The committed content of all layers' memories."""
    names = ("prefix", "state", "window")
    return [getattr(memory, name) for memory in memories for name in names if hasattr(memory, name)]


def example_tree():
    return TreeBuilder.of_paths(PROMPT[-1], PATHS, Source.RANKED).build()


@each_network
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-9)])
@torch.no_grad()
def test_tree_logits_are_the_logits_of_every_path(name, dtype, tolerance):
    network, tree = build(name).to(dtype), example_tree()
    memories = network.start()
    read(network, PROMPT[:-1], memories)
    packing = Packing(tree.parent, len(tree), len(PROMPT) - 1)
    np.testing.assert_array_equal(packing.ancestors, tree.ancestor_mask())
    np.testing.assert_array_equal(packing.positions, tree.position_ids(len(PROMPT) - 1))
    logits = network.logits(network(torch.tensor(tree.token), packing, memories))
    for node, path in enumerate(tree.paths):
        expected = network.logits(network(torch.tensor(PROMPT + path)))[-1]
        torch.testing.assert_close(logits[node], expected, rtol=0, atol=tolerance)


@each_network
@torch.no_grad()
def test_memory_after_acceptance_is_that_of_plain_decoding(name):
    network, tree = build(name).double(), example_tree()
    memories, plain = network.start(), network.start()
    read(network, PROMPT[:-1], memories)
    network(torch.tensor(tree.token), Packing(tree.parent, len(tree), len(PROMPT) - 1), memories)
    accepted = [0] + [tree.paths.index(path) for path in ((1,), (1, 3), (1, 3, 6))]
    for memory in memories:
        memory.keep(accepted, [])
    read(network, (*PROMPT, 1, 3, 6), plain)
    assert len(contents(memories)) > 0
    for ours, expected in zip(contents(memories), contents(plain), strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


@each_network
def test_sequences_in_a_batch_and_gradients(name):
    network = build(name)
    tokens = torch.tensor([PROMPT, PROMPT[::-1]])
    logits = network.logits(network(tokens))
    assert logits.shape == (2, len(PROMPT), V)
    torch.testing.assert_close(logits[1], network.logits(network(tokens[1])))
    logits.logsumexp(-1).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    assert all((parameter.grad != 0).any() for parameter in network.parameters())


def law(network: Network, prefix) -> np.ndarray:
    """The law by reading the whole prefix as one sequence."""
    with torch.no_grad():
        return network.logits(network(torch.tensor(prefix)))[-1].double().softmax(-1).numpy()


SHORT = st.lists(st.integers(0, 2), max_size=3).map(tuple)


@each_network
@settings(max_examples=25, deadline=None)
@given(calls=st.lists(st.tuples(st.booleans(), SHORT, st.lists(SHORT, min_size=1, max_size=4)), max_size=6))
def test_any_order_of_calls_gives_the_laws_of_whole_sequences(name, calls):
    network = build(name).double()
    model, context = CachedModel(network), (1,)
    for goes_on, tokens, paths in calls:
        context = (context if goes_on else context[:-2] or (2,)) + tokens
        laws = model.laws(context, paths)
        np.testing.assert_allclose(laws, [law(network, context + path) for path in paths], rtol=0, atol=1e-9)


@each_network
def test_long_contexts_are_read_in_chunks(name, monkeypatch):
    monkeypatch.setattr(cached, "CHUNK", 3)
    network = build(name).double()
    model = CachedModel(network)
    np.testing.assert_allclose(model.law(PROMPT), law(network, PROMPT), rtol=0, atol=1e-9)
    assert (model.passes, model.rows) == (3, len(PROMPT))


@each_network
def test_no_token_is_computed_twice(name):
    model = CachedModel(build(name))
    model.laws(PROMPT, [(), (1,)])
    model.laws(PROMPT, [(1,), (2,), (1, 3), (1, 3)])
    assert (model.passes, model.rows) == (2, len(PROMPT) + 3)
    # The context goes on along the tree: its last token has been computed, and so has a child of it.
    model.laws((*PROMPT, 1), [(), (3,)])
    assert (model.passes, model.rows) == (2, len(PROMPT) + 3)
    model.laws((*PROMPT, 1, 7), [(0,)])
    assert (model.passes, model.rows) == (3, len(PROMPT) + 5)


@each_network
def test_rejected_nodes_are_dropped(name):
    model = CachedModel(build(name))
    model.laws(PROMPT, [(1, 3), (2,)])
    model.law((*PROMPT, 1))
    assert model.rows == len(PROMPT) + 3
    model.law((*PROMPT, 2))
    assert model.rows == len(PROMPT) + 4


def test_a_failed_pass_leaves_nothing_behind():
    network = build("hybrid").double()
    model = CachedModel(network)
    model.law(PROMPT)
    with pytest.raises(IndexError):
        model.laws(PROMPT, [(1,), (V,)])
    np.testing.assert_allclose(model.laws(PROMPT, [(1,)]), [law(network, (*PROMPT, 1))], rtol=0, atol=1e-9)


def test_empty_contexts_are_refused():
    with pytest.raises(InputError, match="context must be at least one token, not empty"):
        CachedModel(build("ssm")).law(())


def medusa(target: CachedModel, network: Network) -> Medusa:
    torch.manual_seed(5)
    heads = ResidualHeads(16, 3)
    with torch.no_grad():
        heads.mix.normal_()
    return Medusa(MedusaHeads(target, heads), Shape.constant([3, 2, 1]))


PROPOSERS = {
    "chain": lambda draft: chain(draft, 3),
    "static": lambda draft: StaticTree(draft, Shape.constant([3, 2, 1]), Source.RANKED),
    "dyspec greedy": lambda draft: DySpecGreedy(draft, 8),
    "dyspec threshold": lambda draft: DySpecThreshold(draft, 0.1, 12),
    "rsd": lambda draft: rsd_constant(draft, [2, 2]),
    "stochastic beam": lambda draft: StochasticBeam(draft, width=3, depth=3),
    "eagle-2": lambda draft: Eagle2(draft, width=2, depth=3, nodes=8),
    "opt-tree": lambda draft: OptTree(draft, nodes=8, threshold=0.05, depth=3),
    "specinfer": lambda draft: specinfer(draft, [3, 2]),
    "prompt lookup": lambda draft: PromptLookup(shortest=1),
    "retrieval": lambda draft: Retrieval(SuffixArray([*range(V)] * 3), shortest=1, depth=3),
    "rasd": lambda draft: Rasd(chain(draft, 2), FixedTree([[0, 1], [1, 2], [2, 0]]), draft, plausible=4, nodes=6),
    "vocabtrim": lambda draft: Eagle2(VocabTrim(draft, range(1, V, 2)), width=2, depth=3, nodes=8),
    "nothing": lambda draft: FixedTree([]),
    "wrong": lambda draft: FixedTree([(V - 1, V - 1), (0, 0, 0)]),
}


def plain_greedy(network: Network, tokens: int) -> tuple[int, ...]:
    """The likeliest token each time, by reading the whole sequence anew."""
    context = PROMPT
    for _ in range(tokens):
        context += (int(np.argmax(law(network, context))),)
    return context[len(PROMPT) :]


@each_network
def test_greedy_speculation_is_plain_greedy_decoding_with_every_proposer(name):
    network, tokens = build(name), 24
    expected = plain_greedy(network, tokens)
    assert len(set(expected)) > 3
    accepted = 0
    for label, proposer in [*PROPOSERS.items(), ("medusa", None)]:
        target = CachedModel(network)
        # The draft errs now and then: another network of the kind, near the target.
        draft = build(name)
        with torch.no_grad():
            for layer in draft.layers:
                layer.out.weight *= 0.9
        proposer = proposer(CachedModel(draft)) if proposer else medusa(target, network)
        output, steps = decode(target, proposer, Greedy(), PROMPT, tokens, Sampler(0))
        assert output == expected, label
        # One pass a step; Medusa's heads read the prompt before the first tree is there.
        assert target.passes == len(steps) + (label == "medusa"), label
        accepted += sum(len(step.verdict.nodes) for step in steps)
    assert accepted > tokens


@each_network
def test_the_target_as_its_own_draft_is_always_right(name):
    network = build(name)
    target, draft = CachedModel(network), CachedModel(network)
    proposer = chain(draft, 3, Source.RANKED)
    output, steps = decode(target, proposer, Greedy(), PROMPT, 20, Sampler(0))
    assert output == plain_greedy(network, 20)
    assert [len(step.tokens) for step in steps] == [4] * 5
    # Nothing is computed twice: the target saw the prompt and all but the last token, the draft never a chain's end.
    assert target.rows == len(PROMPT) + 19
    assert draft.passes == 15


def test_heads_begin_as_the_target_itself():
    network = build("transformer")
    heads = MedusaHeads(CachedModel(network), ResidualHeads(16, 4))
    np.testing.assert_allclose(heads.laws(PROMPT), [law(network, PROMPT[:-1])] * 4, atol=1e-6)
    assert heads.laws(PROMPT, 2).shape == (2, V)
    assert heads.laws((3,)).shape == (0, V)


def test_heads_are_their_formula():
    heads = ResidualHeads(16, 2)
    with torch.no_grad():
        for parameter in heads.parameters():
            parameter.normal_()
    hidden = torch.randn(3, 16)
    states = heads(hidden)
    for head in range(2):
        mixed = torch.nn.functional.silu(hidden @ heads.mix[head] + heads.bias[head]) + hidden
        torch.testing.assert_close(states[:, head], mixed)


# ---- Several requests ----


@pytest.mark.parametrize("name", NETWORKS)
def test_requests_side_by_side_get_what_each_gets_alone(name):
    network = build(name)
    prompts, sizes = [PROMPT, PROMPT[3:] * 2, (7, 7)], (9, 3, 12)
    paths = [(1, 2), (4,), (4, 4)]

    def requests(models):
        proposer, verifier = FixedTree(paths), Greedy()
        return [
            Decoding(model, proposer, verifier, prompt, size, Sampler(0))
            for model, prompt, size in zip(models, prompts, sizes, strict=True)
        ]

    alone, together, plain = ([CachedModel(network) for _ in prompts] for _ in range(3))
    expected = [decode_plain(model, prompt, size) for model, prompt, size in zip(alone, prompts, sizes, strict=True)]
    found, passes = requests(together), []

    def read(running, asked):
        passes.append(len(running))
        read_together([together[number] for number in running], asked)
        # Nothing is left to be read.
        before = [model.passes for model in together]
        for number, (context, ends) in zip(running, asked, strict=True):
            laws = CachedModel(network).laws(context, ends)
            np.testing.assert_allclose(together[number].laws(context, ends), laws, atol=1e-6)
        assert [model.passes for model in together] == before

    decode_together(found, read)
    assert [request.output for request in found] == expected
    # Each leaves when it has all that it wants.
    assert passes[0] == 3
    assert passes[-1] == 1

    def read_plain(running, asked):
        read_together([plain[number] for number in running], asked)

    chances = [Likeliest()] * 3
    assert decode_plain_together(plain, prompts, sizes, chances, read=read_plain) == expected


def test_a_pass_together_that_fails_is_forgotten():
    network = build("transformer")
    models = [CachedModel(network) for _ in range(2)]
    with pytest.raises(InputError, match="token must be from 0 to 10, not 99"):
        read_together(models, [(PROMPT, [()]), ((1, 99), [()])])
    np.testing.assert_allclose(models[0].law(PROMPT), CachedModel(network).law(PROMPT), atol=1e-6)
