"""The cost of passes and steps."""

import numpy as np
import pytest

from rtnerf.base.errors import InputError
from specdec.cost.architecture import Architecture
from specdec.cost.blocks import tiled
from specdec.cost.hardware import HARDWARE, Hardware
from specdec.cost.models import MODELS
from specdec.cost.pass_time import Constant, Linear, Measured
from specdec.cost.ranks import continued, ranks_of_one, table
from specdec.cost.roofline import Roofline, named_pass
from specdec.cost.segments import saving, widths
from specdec.cost.step import Speculation
from specdec.trees.shape import Shape

TABLE = Measured([1, 10, 20], [5, 5, 15])


# ---- Passes ----


def test_measured_times_are_linear_between_points_and_beyond_the_last():
    assert TABLE.ms(1, 1) == 5
    assert TABLE.ms(5, 3) == pytest.approx(10)
    assert TABLE.ms(3, 10) == pytest.approx(25)
    assert TABLE.known(2, 10)
    assert not TABLE.known(3, 7)


def test_measured_times_do_not_fall_beyond_the_last_point_nor_vary_before_the_first():
    assert Measured([4, 8], [6, 5]).ms(1, 100) == 5
    assert Measured([4, 8], [6, 5]).ms(1, 1) == 6


@pytest.mark.parametrize(
    ("tokens", "ms", "message"),
    [
        ([], [], "step times must be at least two points, or there is nothing to go by, not 0"),
        ([4], [6], "step times must be at least two points, or there is nothing to go by, not 1"),
        ([2, 1], [1, 1], r"tokens of the step times must be rising, not \[2, 1\]"),
        ([1, 1], [1, 1], r"tokens of the step times must be rising, not \[1, 1\]"),
        ([0, 1], [1, 1], "tokens of the step times must be at least 1, not 0"),
        ([1, 2], [1, 0], r"ms of the step times must be above 0, not \[1, 0\]"),
        ([1, 2], [1, float("nan")], r"ms of the step times must be above 0, not \[1, nan\]"),
    ],
)
def test_bad_step_times_are_refused(tokens, ms, message):
    with pytest.raises(InputError, match=message):
        Measured(tokens, ms)


def test_linear_regression_recovers_its_coefficients():
    true = Linear([2.0, 0.3, 0.05, 0.001])
    passes = [(batch, tokens, context) for batch in (1, 4, 9) for tokens in (1, 8) for context in (0, 100, 900)]
    found = Linear.fit(passes, [Linear(true.coefficients, context).ms(b, t) for b, t, context in passes])
    np.testing.assert_allclose(found.coefficients, true.coefficients, rtol=1e-9)
    assert found.at(500).ms(2, 3) == pytest.approx(2 + 0.6 + 0.3 + 1.0)


# ---- Rooflines ----


def test_weights_of_named_models():
    for name, billions in {
        "llama-68m": 0.043, "llama-2-7b": 6.61, "llama-2-13b": 12.85, "llama-2-70b": 68.7, "llama-3.1-8b": 7.50,
        "mistral-7b": 7.11, "mamba2-2.7b": 2.7, "mamba2-130m": 0.129,
    }.items():  # fmt: skip
        model = MODELS[name]
        assert (model.body + model.head) / 1e9 == pytest.approx(billions, rel=0.03), name


def test_cache_of_a_token():
    # Keys and values of 32 heads of 128 features in 32 layers, two bytes each; grouped heads take their share.
    assert MODELS["llama-2-7b"].cache_bytes == 2 * 2 * 32 * 32 * 128
    assert MODELS["llama-3.1-8b"].cache_bytes == MODELS["llama-2-7b"].cache_bytes / 4
    assert MODELS["mamba2-2.7b"].cache_bytes == 0


def test_tiles():
    assert [tiled(tokens) for tokens in (1, 16, 17, 64, 65, 128, 129, 300)] == [16, 16, 32, 64, 128, 128, 256, 384]


def test_roofline_by_hand():
    # 1 GB of weights at 1000 GB/s, 128 tokens at 1 Tflop/s, nothing cached.
    machine = Hardware(1000, 1, bandwidth_reached=1, peak_reached=1)
    model = Architecture((), 1, 500_000_000)
    reading, computing = 1.0, 2 * 0.5e9 * 128 / 1e12 * 1e3
    passes = Roofline(model, machine)
    assert passes.head_ms(1, 100) == pytest.approx((reading**2 + computing**2) ** 0.5)
    assert Roofline(model, machine, vocabulary=250_000_000).head_ms(1, 100) == pytest.approx(passes.head_ms(1, 100) / 2)


def test_binding_resource_goes_from_weights_to_cache_or_compute():
    assert named_pass("llama-2-7b", "a100-80g").resource(1, 1) == "weights"
    assert named_pass("llama-2-7b", "a100-80g", context=4000).resource(32, 4) == "cache"
    assert named_pass("llama-2-7b", "a100-80g").resource(64, 64) == "compute"


def test_pass_times_grow_with_everything():
    plain = named_pass("llama-3.1-8b", "h100").ms(8, 8)
    assert named_pass("llama-3.1-8b", "h100", context=8000).ms(8, 8) > plain
    assert named_pass("llama-3.1-70b", "h100").ms(8, 8) > plain
    assert named_pass("llama-3.1-8b", "a100-80g").ms(8, 8) > plain
    assert named_pass("llama-3.1-8b", "h100", vocabulary=32000).ms(8, 8) < plain
    assert named_pass("llama-3.1-8b", "h100").ms(8, 64) > plain


def test_tree_scan_reads_one_state_a_request():
    model = MODELS["mamba2-2.7b"]
    assert model.state_bytes == 2 * 64 * 5120 * 128
    # All pairs of nodes, and the state once a node.
    ((scan, layers),) = model.blocks
    assert [layers * operations for operations in scan.mixing(0)] == [64 * 4 * 5120 * 128, 64 * 2 * (128 + 5120)]
    packed, unrolled = (named_pass("mamba2-2.7b", "rtx-3090").ms(*one) for one in ((1, 18), (9, 5)))
    assert packed < unrolled


def test_with_a_long_context_a_larger_batch_need_not_hurt():
    """With long contexts reading caches dominates, and verifying more tokens stays free (MagicDec, 2408.11049)."""

    def slowdown(context, batch):
        target = named_pass("llama-3.1-8b", "h100", context)
        return Speculation(Shape.constant([1] * 4), target).step(batch).slowdown

    assert slowdown(0, 256) > 1.8
    assert slowdown(32000, 256) < 1.1


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match=r"model must be one of llama-68m, .*, not gpt"):
        named_pass("gpt", "h100")
    with pytest.raises(InputError, match=r"hardware must be one of v100, .*, not tpu"):
        named_pass("llama-2-7b", "tpu")
    with pytest.raises(InputError, match=r"vocabulary must be in \[1, 32000\], not 32001"):
        named_pass("llama-2-7b", "h100", vocabulary=32001)
    assert set(HARDWARE) >= {"a100-80g", "h100", "a40", "rtx-3090"}


# ---- Steps ----


def test_a_step_is_the_sum_of_its_parts():
    step = Speculation(Shape.constant([2, 1]), TABLE, Constant(0.5), host_ms=0.25).step(4)
    assert (step.plain, step.verification) == (5, pytest.approx(10))
    assert (step.draft, step.draft_head, step.host) == (1, 0, 0.25)
    assert step.ms == pytest.approx(5 + 10 + 1 + 0.25)
    assert step.slowdown == pytest.approx(step.ms / 5)


def test_the_draft_passes_over_the_parents_of_each_level():
    shape = Shape([(0,), (1,), (2,), (0, 0), (1, 0), (1, 1), (1, 0, 0)])
    assert Speculation(shape, TABLE).draft_widths == [1, 2, 1]
    draft = Measured([1, 2, 3], [1, 10, 100])
    assert Speculation(shape, TABLE, draft).step(1).draft == 1 + 10 + 1
    assert Speculation(shape, TABLE, draft, draft_passes=2).step(1).draft == 2
    assert Speculation(Shape([]), TABLE, draft).step(1).draft == 0


def test_the_binding_part():
    chain = Shape.constant([1, 1, 1])
    assert Speculation(chain, TABLE).step(1).bound_by == "memory"
    assert Speculation(chain, TABLE).step(5).bound_by == "verification"
    assert Speculation(chain, TABLE, Constant(1)).step(1).bound_by == "draft"
    assert Speculation(chain, TABLE, host_ms=2).step(1).bound_by == "host"
    # One layer and 128256 rows: the output layer is what costs.
    eagle = Architecture.dense(1, 4096, 14336, 32, 8, 128256)
    target, drafts = (
        named_pass("llama-3.1-8b", "h100"),
        [Roofline(eagle, HARDWARE["h100"], 0, k) for k in (None, 32000)],
    )
    full, trimmed = (Speculation(chain, target, draft).step(1) for draft in drafts)
    assert full.bound_by == "draft head"
    assert trimmed.draft == pytest.approx(full.draft)
    assert trimmed.draft_head == pytest.approx(full.draft_head * 32000 / 128256, rel=1e-6)


def test_bad_steps_are_refused():
    with pytest.raises(InputError, match="host time must be at least 0 ms, not -1"):
        Speculation(Shape([]), TABLE, host_ms=-1)
    with pytest.raises(InputError, match="draft passes must be at least 0, not -1"):
        Speculation(Shape([]), TABLE, draft_passes=-1)
    with pytest.raises(InputError, match="batch must be at least 1, not 0"):
        Speculation(Shape([]), TABLE).step(0)
    with pytest.raises(InputError, match="pass time must be at least 0 ms, not -1"):
        Constant(-1)


# ---- Acceptance by rank ----


def test_published_tails_continue_geometrically():
    np.testing.assert_allclose(continued(np.array([0.4, 0.2, 0.1]), 5), [0.4, 0.2, 0.1, 0.05, 0.025])
    np.testing.assert_allclose(continued(np.array([0.4, 0.2]), 2), [0.4, 0.2])
    # Never beyond all there is, and not from a single number.
    np.testing.assert_allclose(continued(np.array([0.4, 0.4]), 4), [0.4, 0.4, 0.2, 0])
    np.testing.assert_allclose(continued(np.array([0.1, 0.2]), 4), [0.1, 0.2, 0.2, 0.2])
    np.testing.assert_allclose(continued(np.array([0.4]), 3), [0.4, 0, 0])
    np.testing.assert_allclose(continued(np.array([0.4, 0.0]), 3), [0.4, 0, 0])


def test_one_number_gives_all_ranks():
    # Sequoia's own first rank gives back Sequoia's vector.
    np.testing.assert_allclose(ranks_of_one(0.63418), [0.63418, 0.10795, 0.05697, 0.02249, 0.01949, 0.01499], atol=1e-5)
    assert ranks_of_one(0.5)[0] == 0.5
    assert ranks_of_one(0.5).sum() < 1
    assert ranks_of_one(1.0).tolist() == [1, 0, 0, 0, 0, 0]


def test_tables_are_padded():
    np.testing.assert_allclose(table([[0.5, 0.25], [0.5]], [3, 1]), [[0.5, 0.25, 0.125], [0.5, 0, 0]])


# ---- Segments ----


def test_shared_segments_by_hand():
    assert widths(8, 5, 2) == [1, 2, 4, 8, 8]
    assert widths(16, 4, 2, roots=2) == [2, 4, 8, 16]
    assert saving(8, 5, 2) == pytest.approx(1 - 23 / 40)
    assert saving(1, 7, 3) == 0
    with pytest.raises(InputError, match="depth must be at least 1, not 0"):
        widths(8, 0, 2)
