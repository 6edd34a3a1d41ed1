"""Every lossless pair of proposer and verifier has exactly the target's output law, in rational arithmetic."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from rtnerf.base.errors import InputError
from specdec.decoding.decode import decode
from specdec.decoding.output_law import output_law, plain_law
from specdec.laws.chance import Sampler, outcomes
from specdec.laws.language_model import AtTemperature, MarkovModel, TableModel
from specdec.proposers.base import Proposal, Proposer
from specdec.proposers.confidence import ConfidenceFilter
from specdec.proposers.dyspec import DySpecGreedy, DySpecThreshold
from specdec.proposers.eagle2 import Eagle2
from specdec.proposers.medusa import Medusa
from specdec.proposers.opt_tree import OptTree
from specdec.proposers.rasd import Rasd
from specdec.proposers.retrieval import PromptLookup, Retrieval, SuffixArray
from specdec.proposers.static import StaticTree, chain, rsd_constant, specinfer
from specdec.proposers.stochastic_beam import StochasticBeam
from specdec.proposers.vocab_trim import VocabTrim
from specdec.trees.sequoia import SequoiaProgramme
from specdec.trees.shape import Shape
from specdec.trees.tree import Source, TreeBuilder
from specdec.verifiers.greedy import Greedy
from specdec.verifiers.multi_step import (
    DeterministicCandidates,
    MultiStepRejection,
    WithoutReplacement,
    WithReplacement,
)
from specdec.verifiers.naive import NaiveSampling
from specdec.verifiers.typical import TypicalAcceptance
from tests.specdec.helpers import CONTEXT, FixedTree, TableHeads, random_law, random_model, rationals

V = 3
SEQUOIA = SequoiaProgramme(np.array([0.6, 0.2, 0.1]), nodes=5, levels=3).shape(5, 3)
HEADS = [random_law(np.random.default_rng(seed), V) for seed in (21, 22)]
LEAF_AND_CHAIN = Shape([(0,), (1,), (0, 0), (0, 1)])

WITHOUT, WITH, CHOSEN = {Source.WITHOUT_REPLACEMENT}, {Source.WITH_REPLACEMENT}, {Source.RANKED, Source.RETRIEVED}

PROPOSERS = {
    "chain": (WITHOUT, lambda draft: chain(draft, 2)),
    "chain of the likeliest": (CHOSEN, lambda draft: chain(draft, 2, Source.RANKED)),
    "static": (WITHOUT, lambda draft: StaticTree(draft, LEAF_AND_CHAIN)),
    "static of the likeliest": (CHOSEN, lambda draft: StaticTree(draft, LEAF_AND_CHAIN, Source.RANKED)),
    "sequoia": (WITHOUT, lambda draft: StaticTree(draft, SEQUOIA)),
    "medusa": (CHOSEN, lambda draft: Medusa(TableHeads(HEADS), Shape.constant([2, 2]))),
    "dyspec greedy": (WITHOUT, lambda draft: DySpecGreedy(draft, 5)),
    "dyspec calibrated": (WITHOUT, lambda draft: DySpecGreedy(draft, 5, lambda rank, p: Fraction(1, 2 + rank) + p / 4)),
    "dyspec threshold": (WITHOUT, lambda draft: DySpecThreshold(draft, Fraction(1, 4), 5)),
    "rsd constant": (WITHOUT, lambda draft: rsd_constant(draft, [2, 1])),
    "stochastic beam": (WITHOUT, lambda draft: StochasticBeam(draft, width=2, depth=2)),
    "eagle-2": (CHOSEN, lambda draft: Eagle2(draft, width=2, depth=2, nodes=5)),
    "opt-tree": (CHOSEN, lambda draft: OptTree(draft, nodes=5, threshold=Fraction(1, 10), depth=2)),
    "specinfer": (WITH, lambda draft: specinfer(draft, [2, 1])),
    "specinfer wide": (WITH, lambda draft: specinfer(draft, [3])),
    "retrieval": (CHOSEN, lambda draft: Retrieval(SuffixArray([1, 0, 2, 1, 0, 1, 1, 0, 0, 2]), nodes=6, depth=2)),
    "prompt lookup": (CHOSEN, lambda draft: PromptLookup(depth=2)),
    "rasd": (
        WITHOUT | CHOSEN,
        lambda draft: Rasd(chain(draft, 2), FixedTree([[0, 1], [1, 2], [2, 0]]), draft, plausible=2, nodes=5),
    ),
    "rasd, wide draft": (
        WITHOUT | CHOSEN,
        lambda draft: Rasd(StaticTree(draft, LEAF_AND_CHAIN), FixedTree([[0, 1], [1]]), draft, plausible=3, nodes=6),
    ),
    "vocabtrim chain": (WITHOUT, lambda draft: chain(VocabTrim(draft, [0, 2]), 2)),
    "vocabtrim dyspec": (WITHOUT, lambda draft: DySpecGreedy(VocabTrim(draft, [0, 2]), 4)),
    "vocabtrim eagle-2": (CHOSEN, lambda draft: Eagle2(VocabTrim(draft, [1, 2]), width=2, depth=2, nodes=5)),
}
VERIFIERS = {
    "greedy": Greedy(),
    "naive": NaiveSampling(),
    "with replacement": WithReplacement(),
    "without replacement": WithoutReplacement(),
    "deterministic": DeterministicCandidates(),
    "multi-step": MultiStepRejection(),
}
PAIRS = [
    (proposer, verifier)
    for (proposer, (sources, _)), verifier in product(PROPOSERS.items(), VERIFIERS)
    if sources <= VERIFIERS[verifier].sources
]


def models(seed, vocabulary=V):
    return random_model(seed, vocabulary, depth=3), random_model(1000 + seed, vocabulary, depth=2)


@pytest.mark.parametrize(("proposer", "verifier"), PAIRS)
def test_pair_is_lossless(proposer, verifier):
    for seed in (1, 2):
        target, draft = models(seed)
        if verifier == "greedy":
            target = AtTemperature(target, 0)
        expected = plain_law(target, CONTEXT, 3)
        assert sum(expected.values()) == 1
        assert output_law(target, PROPOSERS[proposer][1](draft), VERIFIERS[verifier], CONTEXT, 3) == expected


def test_every_proposer_meets_every_verifier_or_is_refused():
    target, draft = models(3)
    for (name, (_, make)), (rule, verifier) in product(PROPOSERS.items(), VERIFIERS.items()):
        if (name, rule) not in PAIRS:
            with pytest.raises(InputError, match="candidates of"):
                output_law(target, make(draft), verifier, CONTEXT, 3)


@pytest.mark.parametrize(
    ("vocabulary", "branching", "source", "verifier"),
    [
        (5, [3], Source.WITHOUT_REPLACEMENT, WithoutReplacement()),
        (5, [3], Source.WITH_REPLACEMENT, WithReplacement()),
        (5, [1, 1], Source.WITHOUT_REPLACEMENT, WithoutReplacement()),
        (4, [2, 1], Source.RANKED, DeterministicCandidates()),
        (2, [2, 2], Source.WITHOUT_REPLACEMENT, WithoutReplacement()),
        (2, [2, 2], Source.WITH_REPLACEMENT, WithReplacement()),
        (5, [5, 5], Source.RANKED, DeterministicCandidates()),
    ],
)
def test_other_vocabularies_and_widths(vocabulary, branching, source, verifier):
    target, draft = models(4, vocabulary)
    proposer = StaticTree(draft, Shape.constant(branching), source)
    length = len(branching) + 1
    assert output_law(target, proposer, verifier, CONTEXT, length) == plain_law(target, CONTEXT, length)


def test_layout_does_not_change_the_law():
    target, draft = models(5)

    class DepthFirst(Proposer):
        def propose(self, context, chance) -> Proposal:
            return StaticTree(draft, LEAF_AND_CHAIN).propose(context, chance).reorder([0, 2, 1, 4, 3])

    assert output_law(target, DepthFirst(), WithoutReplacement(), CONTEXT, 3) == plain_law(target, CONTEXT, 3)


def test_biased_retention_reproduces_its_bias_and_is_refused():
    p, q = rationals("1/2 1/2"), rationals("9/10 1/10")
    target = TableModel({CONTEXT: p, (*CONTEXT, 0): p, (*CONTEXT, 1): p})
    proposer = ConfidenceFilter(chain(TableModel({CONTEXT: q}), 1), 0.5)
    law = output_law(target, proposer, WithoutReplacement(), CONTEXT, 1, lossless=False)
    assert law == {(0,): Fraction(55, 100), (1,): Fraction(45, 100)}
    with pytest.raises(InputError) as caught:
        output_law(target, proposer, WithoutReplacement(), CONTEXT, 1)
    assert str(caught.value) == "proposal to WithoutReplacement must be non-anticipating, not anticipating"
    # The walk of the target's own draws does not care where the tree comes from.
    assert output_law(target, proposer, NaiveSampling(), CONTEXT, 1) == plain_law(target, CONTEXT, 1)


def test_chosen_candidates_may_be_filtered():
    target, draft = models(6)
    proposer = ConfidenceFilter(Eagle2(draft, width=3, depth=2, nodes=8), 0.3)
    assert output_law(target, proposer, DeterministicCandidates(), CONTEXT, 3) == plain_law(target, CONTEXT, 3)


@pytest.mark.parametrize(
    ("source", "verifier"),
    [
        (Source.RANKED, WithoutReplacement()),
        (Source.WITH_REPLACEMENT, WithoutReplacement()),
        (Source.WITHOUT_REPLACEMENT, WithReplacement()),
    ],
)
def test_a_rule_refuses_what_it_is_not_meant_for(source, verifier):
    target, draft = models(7)
    proposer = StaticTree(draft, Shape.constant([2]), source)
    with pytest.raises(InputError, match=f"candidates of {type(verifier).__name__} must be .*, not {source.name}"):
        output_law(target, proposer, verifier, CONTEXT, 1)


def test_chosen_candidates_must_follow_the_drawn_ones():
    target, draft = models(8)

    class ChosenFirst(Proposer):
        """A chosen candidate, left out when the draw that is tried after it repeats it: it knows the future."""

        def propose(self, context, chance) -> Proposal:
            law = draft.law(context)
            drawn, builder = chance.draw(law), TreeBuilder(context[-1])
            chosen = int(np.argmax(law))
            if drawn != chosen:
                builder.add(0, chosen, 0.0, Source.RANKED)
            builder.add(0, drawn, 0.0, Source.WITHOUT_REPLACEMENT)
            return Proposal(builder.build(), {0: law}, draft_passes=1)

    with pytest.raises(InputError, match="elder than deterministic siblings, not younger"):
        output_law(target, ChosenFirst(), MultiStepRejection(), CONTEXT, 1)


def test_typical_acceptance_is_not_lossless():
    target, draft = models(9)
    proposer = StaticTree(draft, LEAF_AND_CHAIN, Source.RANKED)
    with pytest.raises(InputError, match="verifier must be lossless, not TypicalAcceptance"):
        output_law(target, proposer, TypicalAcceptance(), CONTEXT, 3)
    law = output_law(target, proposer, TypicalAcceptance(), CONTEXT, 3, lossless=False)
    assert sum(law.values()) == 1
    assert law != plain_law(target, CONTEXT, 3)


def test_typical_acceptance_by_hand():
    # exp(-entropy) is 0.4353 for (0.7, 0.2, 0.1) nats; times sqrt(0.09) the threshold is min(0.09, 0.135) = 0.09.
    sharp = rationals("7/10 2/10 1/10")
    flat = rationals("1/20 1/20 9/10")
    table = {CONTEXT: sharp, (*CONTEXT, 0): flat, (*CONTEXT, 1): sharp, (*CONTEXT, 2): sharp}
    target = TableModel(table | {(*CONTEXT, 1, 0): rationals("0 0 1"), (*CONTEXT, 0, 0): sharp})
    proposal = FixedTree([[0, 0], [2], [1, 0]]).propose(CONTEXT, Sampler(0))
    laws = target.laws(CONTEXT, proposal.tree.paths)
    verdict = TypicalAcceptance().verify(proposal, laws, Sampler(0))
    # The path (0, 0) is refused at its second token; (1, 0) is the longest that is accepted.
    assert verdict.tokens(proposal.tree) == (1, 0, 2)
    # Of equally long paths the likeliest is kept, wherever it stands.
    short = FixedTree([[2], [1]]).propose(CONTEXT, Sampler(0))
    verdict = TypicalAcceptance().verify(short, target.laws(CONTEXT, short.tree.paths), Sampler(0))
    assert [int(short.tree.token[node]) for node in verdict.nodes] == [1]
    # With a higher threshold only the likeliest first token remains.
    verdict = TypicalAcceptance(epsilon=0.6, delta=1.0).verify(proposal, laws, Sampler(0))
    assert [int(proposal.tree.token[node]) for node in verdict.nodes] == [0]


def test_decoding_greedily_gives_what_plain_decoding_gives():
    generator = np.random.default_rng(31)
    target = MarkovModel(generator.dirichlet(np.ones(12), 12))
    draft = MarkovModel(generator.dirichlet(np.ones(12), 12))
    plain = (0,)
    for _ in range(40):
        plain += (int(np.argmax(target.law(plain))),)
    heads = TableHeads([draft.law((0,)), draft.law((1,))])
    store = SuffixArray(plain)
    for proposer in (
        chain(draft, 4),
        specinfer(draft, [2, 2]),
        StochasticBeam(draft, 4, 3),
        DySpecGreedy(draft, 12),
        DySpecThreshold(draft, 0.05, 20),
        Eagle2(draft, 4, 3, 12),
        OptTree(draft, 12, 0.1, 5),
        Medusa(heads, Shape.constant([3, 2])),
        Retrieval(store),
        PromptLookup(),
        Rasd(DySpecGreedy(draft, 8), Retrieval(store), draft, plausible=8, nodes=20),
        StaticTree(VocabTrim(draft, range(6)), LEAF_AND_CHAIN),
    ):
        output, steps = decode(target, proposer, Greedy(), (0,), 40, Sampler(1))
        assert output == plain[1:]
        again, _ = decode(target, proposer, Greedy(), (0,), 40, Sampler(1))
        assert again == output
        if isinstance(proposer, Retrieval | Rasd):
            assert len(steps) < 40


def test_float_decoding_has_the_target_law():
    # The sampler's own randomness: joint law of two tokens, chi-square with 15 degrees of freedom, p > 0.001.
    generator = np.random.default_rng(41)
    target = MarkovModel(generator.dirichlet(np.ones(4), 4))
    draft = MarkovModel(generator.dirichlet(np.ones(4), 4))
    expected = np.array([target.law((0,))[a] * target.law((a,))[b] for a, b in product(range(4), repeat=2)])
    for proposer, verifier in (
        (StochasticBeam(draft, 3, 2), WithoutReplacement()),
        (specinfer(draft, [2, 2]), WithReplacement()),
        (DySpecGreedy(draft, 6), WithoutReplacement()),
    ):
        chance, trials = Sampler(7), 3000
        counts = np.zeros(16)
        for _ in range(trials):
            (first, second), _ = decode(target, proposer, verifier, (0,), 2, chance)
            counts[4 * first + second] += 1
        assert ((counts - trials * expected) ** 2 / (trials * expected)).sum() < 37.7


def test_enumeration_is_complete():
    _, draft = models(10)
    for name in ("stochastic beam", "dyspec greedy", "specinfer", "rasd"):
        proposer = PROPOSERS[name][1](draft)
        trees = list(outcomes(lambda chance, proposer=proposer: proposer.propose(CONTEXT, chance)))
        assert sum(probability for probability, _ in trees) == 1
        assert len(trees) > 1
