"""Laws of acceptance from counts, traces, rates, lengths, logs and metrics, and the command that makes them."""

import json
import re

import pytest
from click.testing import CliRunner

from rtnerf.base.errors import InputError
from specdec.command_line.group import specdec
from specdec.laws.acceptance_length import AcceptanceLaw
from specdec.laws.acceptance_sources import read

VLLM_LOG = """
INFO 11-29 [metrics.py:96] SpecDecoding metrics: Mean acceptance length: 2.50, Accepted throughput: 10.00 tokens/s, Drafted throughput: 20.00 tokens/s, Accepted: 150 tokens, Drafted: 300 tokens, Per-position acceptance rate: 0.800, 0.500, 0.200, Avg Draft acceptance rate: 50.0%
INFO 11-29 [loggers.py:120] Engine 000: Avg prompt throughput: 1.0 tokens/s
INFO 11-29 [metrics.py:96] SpecDecoding metrics: Mean acceptance length: 3.00, Accepted throughput: 10.00 tokens/s, Drafted throughput: 20.00 tokens/s, Accepted: 600 tokens, Drafted: 900 tokens, Per-position acceptance rate: 0.900, 0.700, 0.400, Avg Draft acceptance rate: 66.7%
"""  # noqa: E501

VLLM_METRICS = """
# TYPE vllm:spec_decode_num_drafts counter
vllm:spec_decode_num_drafts_total{engine="0",model_name="m"} 60.0
vllm:spec_decode_num_drafts_total{engine="1",model_name="m"} 40.0
vllm:spec_decode_num_draft_tokens_total{engine="0",model_name="m"} 200.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",model_name="m",position="0"} 50.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="1",model_name="m",position="0"} 30.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",model_name="m",position="1"} 40.0
"""

SGLANG_LOG = "Decode batch. #running-req: 1, #token: 9, accept len: 2.80, accept rate: 0.70, gen throughput\n" * 2
SGLANG_METRICS = 'sglang:spec_accept_length{model_name="m"} 2.8\nsglang:spec_num_steps{model_name="m"} 4\n'
TENSORRT = [
    {"iter": 1, "specDecodingStats": {"numDraftTokens": 12, "numAcceptedTokens": 6, "numRequestsWithDraftTokens": 4}},
    {"iter": 2},
    {"iter": 3, "specDecodingStats": {"numDraftTokens": 6, "numAcceptedTokens": 4, "numRequestsWithDraftTokens": 2}},
]


def written(tmp_path, source):
    path = tmp_path / "source"
    path.write_text(source if isinstance(source, str) else json.dumps(source))
    return path


@pytest.mark.parametrize(
    ("source", "drafted", "lengths", "steps"),
    [
        ([3, 0, 1, 0], None, {1: 1.5, 2: 1.75, 3: 2.0}, 4),
        ([1, 0, 1, 0], 3, {1: 1.5, 2: 1.5, 3: 1.5}, 4),
        ([[1, 1, 0], [0, 1, 1], [1, 1, 1], [1, 0, 1]], None, {1: 1.75, 2: 2.25, 3: 2.5}, 4),
        ([0.8, 0.5, 0.2], None, {1: 1.8, 2: 2.3, 3: 2.5}, None),
        ([[0.8, 0.1], [0.5, 0.2]], None, {1: 1.8, 2: 2.2}, None),
        ({"1": 1.8, "3": 2.6}, None, {1: 1.8, 3: 2.6}, None),
        (VLLM_LOG, None, {1: 1.875, 2: 2.525, 3: 2.875}, 400),
        (VLLM_METRICS, None, {1: 1.8, 2: 2.2}, 100),
        (SGLANG_LOG, 4, {4: 2.8}, None),
        (SGLANG_METRICS, None, {4: 2.8}, None),
        (TENSORRT, None, {3: 1 + 10 / 6}, 6),
        ("\n".join(map(json.dumps, TENSORRT)), None, {3: 1 + 10 / 6}, 6),
    ],
)
def test_lengths(tmp_path, source, drafted, lengths, steps):
    found = read(written(tmp_path, source), drafted)
    assert found.lengths == pytest.approx(lengths)
    assert found.steps == steps
    assert max(lengths) != 3 or found.law.length(3) == pytest.approx(lengths[3], rel=0.05)


def test_rates_are_as_measured_and_go_on_by_the_law(tmp_path):
    found = read(written(tmp_path, [0.8, 0.4, 0.3]))
    assert found.rates(3) == pytest.approx([0.8, 0.5, 0.75])
    assert found.rates(5)[3:] == pytest.approx([found.law.first * found.law.decay**depth for depth in (3, 4)])
    # A single mean tells no rates: all are the law's.
    single = read(written(tmp_path, {"4": 3.2}))
    assert single.rates(2) == pytest.approx([single.law.first, single.law.first * single.law.decay])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "source must be counts, traces, rates or lengths in JSON, or a log or metrics"),
        ("[" * 200_000, "source must be counts, traces"),
        ([], "source must be counts"),
        ([3, -1], "counts must be from 0 to 64, not -1"),
        ([0.5, 10**400], "source must be counts"),
        ({"1": 10**400}, "acceptance lengths must be numbers"),
        ([{"specDecodingStats": {"numDraftTokens": 10**400}}], "source must be counts"),
        ([10**4000], "counts must be from 0 to 64"),
        ([[0, 2]], "traces must be lists of 0 and 1"),
        ([0.2, 0.8], "rates by position must be from 0 to 1 and not rising: of all steps, not"),
        ([[0.8, 0.7]], "acceptance by depth and rank must be from 0 to 1, together at most 1 a depth, not more"),
        ({"1": 2.8}, "acceptance length at 1 must be from 1 to 2, not 2.8"),
        (SGLANG_LOG, "drafted must be given: SGLang's accept len (bonus included) does not tell it, not missing"),
        ("Drafted: 9 tokens, Per-position acceptance rate: 0.2, 0.9", "rates by position must be from 0 to 1"),
    ],
)
def test_other_sources_are_refused_in_a_line(tmp_path, source, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read(written(tmp_path, source))
    assert len(str(caught.value).splitlines()) == 1


def test_the_command_and_what_predict_makes_of_it(tmp_path):
    path, rates, out = written(tmp_path, VLLM_LOG), tmp_path / "rates.json", tmp_path / "law.json"
    arguments = ["acceptance", str(path), "--nodes=8", "--depth=4", f"--rates={rates}", f"--json={out}"]
    arguments.append(f"--plot={tmp_path}/law.png")
    result = CliRunner().invoke(specdec, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "assumed: ranks after the first share what it leaves" in result.output
    found = json.loads(out.read_text())
    assert found["acceptance_length"]["3"] == pytest.approx(2.875)
    assert found["tree"]["nodes"] == 8
    assert (tmp_path / "law.png").read_bytes().startswith(b"\x89PNG")
    law = AcceptanceLaw(found["first"], found["decay"])
    assert law.length(3) == pytest.approx(2.875, rel=0.03)
    (tmp_path / "tree.json").write_text("[[0], [0, 0], [0, 0, 0]]")
    (tmp_path / "times.csv").write_text("tokens,ms\n1,10\n64,12\n")
    predicted = CliRunner().invoke(
        specdec,
        ["predict", f"--tree={tmp_path}/tree.json", f"--acceptance={rates}", f"--step-times={tmp_path}/times.csv"],
        catch_exceptions=False,
    )
    assert "tau 2.875 tokens a step" in predicted.output
