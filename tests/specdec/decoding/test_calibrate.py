"""Calibration: its parts by hand, and the whole on untrained networks; timings themselves are not judged here."""

import json

import numpy as np
import pytest
import torch

from rtnerf.base.errors import InputError
from specdec.cost.predict import read_step_times
from specdec.cost.ranks import table
from specdec.decoding import calibrate
from specdec.decoding.calibrate import Calibration, Check, acceptance_by_step, by_depth, traces
from specdec.decoding.decode import decode
from specdec.decoding.statistics import tokens_per_step
from specdec.laws.chance import Sampler
from specdec.laws.language_model import AtTemperature
from specdec.models.cached import CachedModel
from specdec.models.transformer import transformer
from specdec.proposers.static import StaticTree
from specdec.trees.shape import Shape, expected_tokens
from specdec.trees.tree import Source
from specdec.verifiers.greedy import Greedy

PROMPTS = [(3, 1, 4, 1, 5, 9, 2, 6), (5, 3, 5, 8, 9, 7, 9)]


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    target, draft = (transformer(32, 16, layers, 2, 16) for layers in (2, 1))
    # Logits that tell tokens apart, and a draft that knows some of what the target does.
    with torch.no_grad():
        target.embedding.weight *= 6
        draft.embedding.weight.copy_(target.embedding.weight)
    return target.eval(), draft.eval()


def test_traces_are_walked_by_steps():
    # A miss, then rank 0 three times, then rank 1; eight tokens at the end begin no step.
    trace = [calibrate.RANKS, 0, 0, 0, 1, 0, *[7] * 8]
    tau, rates = acceptance_by_step([trace], Shape.constant([1, 1]))
    # Steps begin at tokens 0, 1, 4 and 5: nothing, two, nothing and one accepted, and a bonus each; the last bonus is
    # beyond the end and does not count.
    assert tau == pytest.approx((1 + 3 + 1 + 1) / 4)
    assert rates.shape == (2, calibrate.RANKS)


def test_acceptance_counts_all_ranks_of_its_steps():
    trace = [0, 1, 0, 2, 0, 0, *[7] * 8]
    # Steps of a chain of 2: tokens 0-1 (accepted, then rank 1), 2-3 (accepted, then rank 2), 4-6 (6 is beyond).
    tau, rates = acceptance_by_step([trace], Shape.constant([1, 1]))
    assert tau == pytest.approx((2 + 2 + 2) / 3)
    np.testing.assert_allclose(rates[:, :3], [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]])


def test_the_last_depth_is_repeated():
    rates = by_depth([[0, 1, 0, 2, 0, 0, *[7] * 8]], Shape.constant([1, 1]))
    assert len(rates) == 8
    assert (rates[1:] == rates[1]).all()


def test_traces_tell_what_trees_accept(networks):
    target, draft = networks
    tokens = 40
    found = traces(target, draft, PROMPTS, tokens + 8)
    assert {rank for trace in found for rank in trace} & {0, 1, 2}
    for shape in (Shape.constant([1, 1]), Shape.constant([3, 2])):
        steps = []
        for prompt in PROMPTS:
            certain = AtTemperature(CachedModel(target), 0)
            proposer = StaticTree(CachedModel(draft), shape, Source.RANKED)
            steps += decode(certain, proposer, Greedy(), prompt, tokens, Sampler(0))[1]
        assert acceptance_by_step(found, shape)[0] == pytest.approx(tokens_per_step(steps))


def test_a_calibration_is_whole(networks, monkeypatch, tmp_path):
    monkeypatch.setattr(calibrate, "PASS_TOKENS", (1, 2, 4))
    monkeypatch.setattr(calibrate, "BATCHES", (2,))
    rounds = []
    found = calibrate.calibrate(*networks, PROMPTS, tokens=4, progress=rounds.append)
    assert rounds == ["acceptance", "round 0 of 2", "round 1 of 2", "round 2 of 2"]
    assert len({check.tree for check in found.checks}) >= 12
    assert {check.batch for check in found.checks} == {1, 2}
    assert all(check.step_ms > 0 for check in found.checks)
    assert 0 < sum(check.fitted for check in found.checks) < 8
    # What it writes, the predictor reads.
    assert json.loads(json.dumps(found.record()))["holds"] == found.holds
    (tmp_path / "times.csv").write_text(found.step_times())
    assert read_step_times(tmp_path / "times.csv").ms(1, 4) == pytest.approx(found.target[4], abs=1e-6)
    assert table(found.acceptance, [8] * 8).shape == (8, 8)
    assert expected_tokens(Shape.constant([1]), np.array(found.acceptance)) >= 1
    assert "median error of step times" in found.summary
    assert found.ratios["speedups"] == [1 + check.speedup_error for check in found.held_out if check.batch == 1]


def test_a_disturbed_pass_takes_no_longer_than_a_larger_one():
    assert calibrate._rising({1: 2.5, 2: 1.0, 4: 1.5, 8: 1.25}) == {1: 1.0, 2: 1.0, 4: 1.25, 8: 1.25}


def test_a_draft_that_is_never_right(networks, monkeypatch):
    monkeypatch.setattr(calibrate, "PASS_TOKENS", (1, 2))
    monkeypatch.setattr(calibrate, "traces", lambda target, draft, prompts, tokens: [[calibrate.RANKS] * tokens])
    found = calibrate.calibrate(*networks, PROMPTS[:1], tokens=2)
    assert all(check.predicted_tau == 1 for check in found.checks if check.batch == 1)


def test_the_claims():
    def calibration(step, speedups):
        checks = [Check("t", 2, 1, 1.0, step, 1.5, 1.5, 1.0, speedup) for speedup in speedups]
        return Calibration({}, {}, [], 1.0, (0, 0, 0), checks)

    assert calibration(1.09, [0.91] * 10).holds
    assert not calibration(1.2, [1.0] * 10).holds
    assert not calibration(1.0, [1.0] * 9 + [1.2]).holds


def test_bad_calibrations_are_refused(networks):
    with pytest.raises(InputError, match="prompts must be at least one, not none"):
        calibrate.calibrate(*networks, [])
    with pytest.raises(InputError, match="tokens must be at least 2, not 1"):
        calibrate.calibrate(*networks, PROMPTS, tokens=1)
