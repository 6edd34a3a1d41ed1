"""Candidates from text, their fusion with drafts, and trimmed vocabularies."""

from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtnerf.base.errors import InputError
from specdec.laws.chance import Sampler
from specdec.laws.distribution import exact
from specdec.laws.language_model import MarkovModel
from specdec.proposers.base import Proposal, Proposer
from specdec.proposers.medusa import Medusa
from specdec.proposers.rasd import Rasd, likeliest_first, prune
from specdec.proposers.retrieval import NEW, PromptLookup, Retrieval, SuffixArray, likeliest_trie
from specdec.proposers.static import StaticTree, rsd_constant
from specdec.proposers.vocab_trim import VocabTrim, frequent_tokens
from specdec.trees.shape import Shape
from specdec.trees.tree import Source, TreeBuilder
from tests.specdec.helpers import FixedTree, TableHeads

STEADY = settings(max_examples=100, deadline=None, derandomize=True)


@STEADY
@given(st.lists(st.integers(0, 3), max_size=40), st.lists(st.integers(0, 4), max_size=4))
def test_suffix_array_finds_every_occurrence(text, pattern):
    array = SuffixArray(text)
    suffixes = [text[start:] for start in array.order]
    assert suffixes == sorted(suffixes)
    expected = [start for start in range(len(text)) if text[start : start + len(pattern)] == pattern]
    assert sorted(array.find(pattern).tolist()) == expected


def test_suffix_array_of_repeated_tokens():
    assert SuffixArray([5] * 6).order.tolist() == [5, 4, 3, 2, 1, 0]


def test_retrieval_uses_the_longest_match_and_the_commonest_continuations():
    store = SuffixArray([1, 2, 3, 4, 9, 1, 2, 3, 5, 9, 1, 2, 3, 4, 9, 8, 2, 3, 7])
    proposal = Retrieval(store, nodes=4, depth=2).propose((0, 1, 2, 3), Sampler(0))
    assert proposal.tree.paths == [(), (4,), (4, 9), (5,)]
    assert proposal.draft_passes == 0
    assert np.exp(proposal.tree.log_q[1:]) == pytest.approx([6 / 11, 8 / 10, 3 / 11])
    # Without the first token of the match the shorter one is found, with one more continuation.
    short = Retrieval(store, nodes=10, depth=1).propose((8, 2, 3), Sampler(0))
    assert short.tree.paths == [(), (7,)]
    assert Retrieval(store).propose((6, 6), Sampler(0)).tree.paths == [()]
    assert Retrieval(store, shortest=3).propose((2, 3), Sampler(0)).tree.paths == [()]
    # A match at the very end of the text has no continuation; a shorter one is tried.
    assert Retrieval(store, shortest=1).propose((3, 7), Sampler(0)).tree.paths == [()]


def test_retrieval_looks_at_a_limited_number_of_occurrences():
    store = SuffixArray([1, 2] * 500)
    proposal = Retrieval(store, depth=3, shortest=1, occurrences=10).propose((1,), Sampler(0))
    assert proposal.tree.paths == [(), (2,), (2, 1), (2, 1, 2)]


def test_prompt_lookup_prefers_the_latest_of_equals():
    context = (1, 2, 3, 4, 1, 2, 5, 6, 1, 2)
    assert PromptLookup(depth=2).propose(context, Sampler(0)).tree.paths == [(), (5,), (3,), (5, 6), (3, 4)]
    assert PromptLookup(depth=2, nodes=2).propose(context, Sampler(0)).tree.paths == [(), (5,)]
    assert PromptLookup().propose((1, 2, 3), Sampler(0)).tree.paths == [()]
    assert PromptLookup(depth=3).propose((7, 7), Sampler(0)).tree.paths == [(), (7,)]


def test_prompt_lookup_grows_with_what_occurred_before():
    grown = PromptLookup(nodes=8, depth=8, longest=8, least=0.19)
    # One token occurred before: 1/3, then 2/4 of that, 1/6. Two: 2/4, then 3/5 and 4/6 of that, 1/5.
    assert grown.propose((9, 1, 2, 3, 4, 5, 8, 1), Sampler(0)).tree.paths == [(), (2,)]
    assert grown.propose((9, 7, 1, 2, 3, 4, 5, 8, 7, 1), Sampler(0)).tree.paths == [(), (2,), (2, 3), (2, 3, 4)]
    assert len(grown.propose((*range(20), *range(8)), Sampler(0)).tree) == 8
    assert grown.propose((1, 2, 3), Sampler(0)).tree.paths == [()]


@STEADY
@given(
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), max_size=12), st.integers(1, 12), st.integers(1, 9)
)
def test_likeliest_trie_keeps_the_likeliest_prefixes(paths, nodes, matched):
    counts, value = {(): len(paths)}, {(): 1.0}
    for path in paths:
        for length in range(1, len(path) + 1):
            counts[tuple(path[:length])] = counts.get(tuple(path[:length]), 0) + 1
    for path in sorted(counts, key=len)[1:]:
        followed = sum(counts[other] for other in counts if other and other[:-1] == path[:-1])
        agreeing = matched + len(path) - 1
        value[path] = value[path[:-1]] * counts[path] * agreeing / (followed * agreeing + NEW)
    tree = likeliest_trie(9, map(tuple, paths), nodes, matched)
    assert len(tree) == min(nodes, len(counts))
    kept = [value[path] for path in tree.paths]
    assert kept == pytest.approx(sorted(value.values(), reverse=True)[: len(kept)])
    told = np.exp(tree.log_q)
    assert kept[1:] == pytest.approx([value[path[:-1]] * told[node] for node, path in enumerate(tree.paths)][1:])
    worth = likeliest_trie(9, map(tuple, paths), 99, matched, least=0.3)
    assert set(worth.paths) == {path for path in counts if value[path] >= 0.3}


def test_a_sure_retriever_saves_the_draft():
    class Asked(Proposer):
        def __init__(self, proposer):
            self.proposer, self.times = proposer, 0

        def propose(self, context, chance):
            self.times += 1
            return self.proposer.propose(context, chance)

    draft = MarkovModel(np.array([np.roll([0.05, 0.5, 0.3, 0.1, 0.05], shift) for shift in range(5)]))
    drafter = Asked(StaticTree(draft, Shape.constant([3]), Source.RANKED))
    fused = Rasd(drafter, PromptLookup(), draft, plausible=None, nodes=8, sure=0.5, least=0.2)
    # Two tokens occurred before: 2/4 is sure, 1/3 is not.
    found = fused.propose((2, 1, 3, 0, 2, 1), Sampler(0))
    assert (found.draft_passes, drafter.times) == (0, 0)
    assert found.tree.paths[:3] == [(), (3,), (3, 0)]
    # After 3 the draft expects 4 (0.5) and 0 (0.3); what followed is 0 (1/3). The means are 0.25, 0.32; 1 is left out.
    found = fused.propose((3, 0, 2, 1, 3), Sampler(0))
    assert (found.draft_passes, drafter.times) == (1, 1)
    assert found.tree.paths[:3] == [(), (0,), (4,)]
    assert (1,) not in found.tree.paths


def test_rasd_fuses_along_shared_prefixes():
    draft = MarkovModel(np.array([np.roll([0.05, 0.5, 0.3, 0.1, 0.05], shift) for shift in range(5)]))
    drafter = rsd_constant(draft, [2, 1])
    drafted = drafter.propose((0,), Sampler(3)).tree
    first = drafted.paths[1]
    retriever = FixedTree([(*first, 4, 4), (0, 1)])
    fused = Rasd(drafter, retriever, draft, plausible=5, nodes=100).propose((0,), Sampler(3))
    assert set(fused.tree.paths) == set(drafted.paths) | {(*first, 4), (*first, 4, 4), (0,), (0, 1)}
    roles = dict(zip(fused.tree.paths, fused.tree.source, strict=True))
    assert roles[first] == Source.WITHOUT_REPLACEMENT
    assert roles[(*first, 4, 4)] == roles[(0, 1)] == Source.RETRIEVED
    assert (np.diff(fused.tree.depth) >= 0).all()
    for node, law in fused.laws.items():
        assert np.array_equal(law, draft.law((0, *fused.tree.paths[node])))
    assert len(Rasd(drafter, retriever, draft, plausible=5, nodes=4).propose((0,), Sampler(3)).tree) == 4
    # Pruned of every implausible first token, nothing but the draft remains.
    bare = Rasd(drafter, FixedTree([(0, 1)]), draft, plausible=3, nodes=100).propose((0,), Sampler(3))
    assert set(bare.tree.paths) == set(drafted.paths)


def test_chosen_candidates_are_cut_by_what_both_sources_say():
    drafted, retrieved = TreeBuilder(0), TreeBuilder(0)
    one = drafted.add(0, 1, log(0.6), Source.RANKED)
    drafted.add(0, 2, log(0.2), Source.RANKED)
    drafted.add(one, 3, log(0.5), Source.RANKED)
    two = retrieved.add(0, 2, log(0.8), Source.RETRIEVED)
    five = retrieved.add(two, 5, log(0.9), Source.RETRIEVED)
    retrieved.add(five, 6, log(0.5), Source.RETRIEVED)
    trees = drafted.build(), retrieved.build()
    union = trees[0].merge(trees[1])
    # At the root both are asked: 2 has (0.2 + 0.8) / 2, 1 has (0.6 + 0) / 2. Below, only the one that has children.
    assert [union.paths[node] for node in likeliest_first(union, *trees, trust=0.5)] == [
        (), (2,), (2, 5), (1,), (2, 5, 6), (1, 3),
    ]  # fmt: skip

    class Fixed(Proposer):
        def __init__(self, tree):
            self._tree = tree

        def propose(self, context, chance):
            return Proposal(self._tree, {}, draft_passes=0)

    draft = MarkovModel(np.eye(7)[[2] * 7])
    fused = Rasd(Fixed(trees[0]), Fixed(trees[1]), draft, plausible=1, nodes=4, trust=0.5).propose((0,), Sampler(0))
    assert fused.tree.paths == [(), (2,), (2, 5), (1,)]
    assert fused.tree.source[1:].tolist() == [Source.RANKED, Source.RETRIEVED, Source.RANKED]


def test_suffixes_are_ordered_as_far_as_asked():
    text = np.random.default_rng(6).integers(3, size=300).tolist()
    array, whole = SuffixArray(text, longest=4), SuffixArray(text)
    for length in range(1, 5):
        for start in range(0, 290, 7):
            pattern = text[start : start + length]
            assert sorted(array.find(pattern)) == sorted(whole.find(pattern))
    with pytest.raises(InputError, match="pattern must be at most 4 tokens, not 5"):
        array.find(text[:5])
    with pytest.raises(InputError, match="longest must be at least 1, not 0"):
        SuffixArray(text, longest=0)


def test_pruning_keeps_whole_branches():
    tree = TreeBuilder.of_paths(0, [(1, 2), (3,), (1, 4), (5, 1)], Source.RETRIEVED).build()
    assert prune(tree, [1, 5]).paths == [(), (1,), (1, 2), (1, 4), (5,), (5, 1)]
    assert prune(tree, []).paths == [()]


def test_medusa_combines_the_heads_best():
    heads = TableHeads([exact([1, 5, 3, 0]), exact([4, 1, 2, 3])])
    shape = Shape([(0,), (1,), (2,), (3,), (0, 0), (0, 1), (1, 0), (0, 0, 0)])
    proposal = Medusa(heads, shape).propose((9,), Sampler(0))
    # The fourth token of the first head is impossible, and there is no third head.
    assert proposal.tree.paths == [(), (1,), (2,), (0,), (1, 0), (1, 3), (2, 0)]
    assert proposal.draft_passes == 1


def test_vocab_trim_keeps_the_frequent_tokens():
    assert frequent_tokens([3, 1, 1, 2, 3, 3, 0], 2) == [3, 1]
    assert frequent_tokens([2, 1], 5) == [1, 2]
    draft = MarkovModel(np.array([exact([4, 3, 2, 1])] * 3 + [exact([1, 0, 0, 0])]))
    trimmed = VocabTrim(draft, [1, 2])
    assert trimmed.law((0,)).tolist() == exact([0, 3, 2, 0]).tolist()
    assert trimmed.law((3,)).tolist() == exact([0, 1, 1, 0]).tolist()
    assert [law.tolist() for law in trimmed.laws((0,), [(), (3,)])] == [
        trimmed.law((0,)).tolist(),
        trimmed.law((3,)).tolist(),
    ]
    tree = rsd_constant(trimmed, [4, 4]).propose((0,), Sampler(0)).tree
    assert set(tree.token[1:].tolist()) == {1, 2}
    with pytest.raises(InputError, match="kept must be at least one token, not none"):
        VocabTrim(draft, [])


def test_retrieval_settings_are_checked():
    with pytest.raises(InputError, match=r"shortest must be in \[1, 3\], not 4"):
        PromptLookup(longest=3, shortest=4)
    with pytest.raises(InputError, match=r"least must be in \[0, 1\), not 1"):
        PromptLookup(least=1)
    with pytest.raises(InputError, match=r"shortest must be in \[1, 16\], not 0"):
        Retrieval(SuffixArray([1]), shortest=0)
