"""Machines from files, several machines, formats."""

from dataclasses import replace

import pytest

from rtnerf.base.errors import InputError
from specdec.cost.architecture import Architecture
from specdec.cost.blocks import Attention, Experts
from specdec.cost.deployment import Deployment
from specdec.cost.hardware import HARDWARE, Hardware, hardware_of
from specdec.cost.models import MODELS
from specdec.cost.roofline import Roofline, named_pass

FULL = Hardware(1000, 1000, 80, 0, 0, 0, 100, 8, 25, 1, 1, 1, 1, 0, 0)
"""A machine that reaches its data sheet."""


def test_every_machine_names_its_source_and_is_plausible():
    for name, one in HARDWARE.items():
        assert one.source, name
        assert 16 <= one.capacity <= 300, name
        assert 50 <= one.peak / one.bandwidth * 1000 <= 500, name
        assert one.fp8 == 0 or one.fp8 / one.peak == pytest.approx(2, rel=0.03), name


def test_a_machine_from_a_file(tmp_path):
    path = tmp_path / "card.toml"
    path.write_text('bandwidth = 1000\npeak = 200.5\ncapacity = 24\nfp8 = 401\nsource = "our own"\n')
    card = hardware_of(path)
    assert card == Hardware(1000, 200.5, 24, fp8=401, source="our own")
    assert card.computes("fp8")
    assert not card.computes("int4")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bandwidth = 1000", "peak of the hardware must be given, not missing"),
        ("bandwidth = 1000\npeak = 1\nspeed = 3", "keys of the hardware must be among .*, not speed"),
        ("bandwidth = -1\npeak = 1", "bandwidth of the hardware must be a number from 1e-06 to 1e\\+12, not -1"),
        ("bandwidth = nan\npeak = 1", "bandwidth of the hardware must be a number from 1e-06 .*, not nan"),
        ("bandwidth = 1\npeak = 1e300", "peak of the hardware must be a number from 1e-06 .*, not 1e\\+300"),
        ("bandwidth = 1e-300\npeak = 1", "bandwidth of the hardware must be a number from 1e-06 .*, not 1e-300"),
        (f"bandwidth = 0x{'f' * 5000}\npeak = 1", "bandwidth of the hardware must be .*, not a number of many digits"),
        ("bandwidth = 1\npeak = 1\nnode = 0", "node of the hardware must be a whole number of at least 1, not 0"),
        (
            "bandwidth = 1\npeak = 1\npeak_reached = 2",
            "peak_reached of the hardware must be a number from 1e-06 to 1, not 2",
        ),
        ("bandwidth = [1]\npeak = 1", "bandwidth of the hardware must be a number"),
        ("bandwidth", "hardware must be a TOML file, not"),
        ("a=" + "[" * 100_000, "hardware must be a TOML file, not"),
    ],
)
def test_bad_machines_are_refused(text, message, tmp_path):
    (tmp_path / "card.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        hardware_of(tmp_path / "card.toml")


def test_several_machines_share_weights_and_add_up():
    model = Architecture.dense(1, 1000, 4000, 10, 10, 1000)
    alone, four = (Roofline(model, FULL, deployment=Deployment(count)) for count in (1, 4))
    row = 2 * 3 / 4 * 2 * 1000 * 1e-6 / 100  # A row of 1000 bf16 round a ring of four at 100 GB/s, ms.
    assert four.ms(1, 1) == pytest.approx(alone.ms(1, 1) / 4 + 2 * row, rel=1e-6)
    slow = replace(FULL, network=1, node=2)
    assert Roofline(model, slow, deployment=Deployment(4)).ms(1, 1) == pytest.approx(four.ms(1, 1) + 2 * 99 * row)


def test_key_heads_are_repeated_beyond_their_number():
    model = Architecture(((Attention(1024, 8, 2, 128), 1),), 1024, 16)
    times = [Roofline(model, FULL, 10**6, deployment=Deployment(count))._request_ms for count in (1, 2, 8)]
    assert times[0] == pytest.approx(2 * times[1])
    assert times[1] == times[2]


def test_latent_caches_are_on_every_machine():
    one, eight = (
        Roofline(MODELS["deepseek-v3"], FULL, 4000, deployment=Deployment(count))._request_ms for count in (1, 8)
    )
    assert one == eight


def test_experts_on_machines_of_their_own():
    """Two replicas of the attention take half of the requests each; the experts see all of them."""
    model = Architecture(((Experts(64, 64, 8, 8), 1),), 64, 16)
    machines = replace(FULL, link=1e9)
    spread = Roofline(model, machines, deployment=Deployment(1, 2))
    assert spread.body_ms(2, 1) == pytest.approx(Roofline(model, machines).body_ms(2, 1) / 2, rel=1e-3)
    assert Deployment(2, 8).replicas == 4


def test_a_mixture_of_experts_pays_for_verified_tokens():
    """N tokens touch up to N times the experts: verification is dear at small batches, not at large ones."""
    sparse, dense = (named_pass(name, "h200", deployment=Deployment(8)) for name in ("qwen3-235b-a22b", "qwen3-32b"))
    assert sparse.ms(1, 8) / sparse.ms(1, 1) > 1.5 > 1.1 > dense.ms(1, 8) / dense.ms(1, 1)
    assert sparse.ms(64, 8) / sparse.ms(64, 1) < 1.5


def test_formats_save_what_is_read_and_computed():
    def ms(hardware, batch, **formats):
        return named_pass("llama-3.1-70b", hardware, 8000, deployment=Deployment(4, **formats)).ms(batch, 1)

    assert ms("h100", 1, weights="fp8") < 0.65 * ms("h100", 1)
    assert ms("h100", 256, kv="fp8") < 0.75 * ms("h100", 256)
    # An A100 multiplies no fp8: the weights come faster, products are made in bf16.
    assert ms("a100", 4096, weights="fp8") > 0.8 * ms("a100", 4096)
    assert ms("h100", 1, weights="int4") < ms("h100", 1, weights="fp8") < ms("h100", 1)


def test_a_window_bounds_the_cache():
    def ms(context):
        return named_pass("gpt-oss-120b", "h100", context)._request_ms

    assert ms(128) == pytest.approx(2 * ms(64))
    assert ms(12800) < 60 * ms(128)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tensor": 0}, "tensor-parallel must be from 1 to 4096, not 0"),
        ({"tensor": 4, "experts": 6}, "expert-parallel must be 1 or a multiple of the 4 of tensor-parallel, not 6"),
        ({"weights": "fp3"}, "weights must be one of bf16, fp8, int8, fp4, int4, not fp3"),
        ({"experts": 16}, "expert-parallel must be at most the 8 experts, not 16"),
        ({"tensor": 4096, "experts": 1}, None),
        ({"activations": "fp8"}, "activations must be one that the hardware multiplies \\(bf16, int8\\), not fp8"),
    ],
)
def test_bad_deployments_are_refused(arguments, message):
    if message is None:
        named_pass("mixtral-8x7b", "a100", deployment=Deployment(**arguments))
        return
    with pytest.raises(InputError, match=message):
        named_pass("mixtral-8x7b", "a100", deployment=Deployment(**arguments))
