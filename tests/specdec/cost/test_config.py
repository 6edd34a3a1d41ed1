"""Architectures read from configurations, held to counts by others."""

import json
from dataclasses import replace

import numpy as np
import pytest

from rtnerf.base.errors import InputError
from specdec.cost.blocks import Attention, Experts, LatentAttention, Recurrence, popularity
from specdec.cost.config import architecture_of, read_config
from specdec.cost.deployment import Deployment
from specdec.cost.hardware import HARDWARE
from specdec.cost.models import MODELS, model_of
from specdec.cost.roofline import Roofline

LLAMA = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 14336,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
}  # fmt: skip

CONFIGS = {
    "gpt2": {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257},
    "gemma-2-9b": {
        "model_type": "gemma2", "hidden_size": 3584, "intermediate_size": 14336, "num_hidden_layers": 42,
        "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 256, "vocab_size": 256000,
        "sliding_window": 4096,
    },
    "deepseek-v2-lite": {
        "model_type": "deepseek_v2", "hidden_size": 2048, "intermediate_size": 10944, "moe_intermediate_size": 1408,
        "num_hidden_layers": 27, "num_attention_heads": 16, "n_shared_experts": 2, "n_routed_experts": 64,
        "kv_lora_rank": 512, "q_lora_rank": None, "qk_rope_head_dim": 64, "v_head_dim": 128, "qk_nope_head_dim": 128,
        "first_k_dense_replace": 1, "num_experts_per_tok": 6, "vocab_size": 102400,
    },
    "qwen1.5-moe": {
        "model_type": "qwen2_moe", "hidden_size": 2048, "num_hidden_layers": 24, "intermediate_size": 5632,
        "num_attention_heads": 16, "num_key_value_heads": 16, "num_experts": 60, "num_experts_per_tok": 4,
        "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632, "vocab_size": 151936,
    },
    "qwen3-next-80b": {
        "model_type": "qwen3_next", "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 16,
        "num_key_value_heads": 2, "head_dim": 256, "full_attention_interval": 4, "linear_num_value_heads": 32,
        "linear_value_head_dim": 128, "linear_num_key_heads": 16, "linear_key_head_dim": 128, "num_experts": 512,
        "num_experts_per_tok": 10, "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512,
        "vocab_size": 151936,
    },
    "nemotron-3-nano": {
        "model_type": "nemotron_h", "hidden_size": 2688, "intermediate_size": 1856, "mlp_hidden_act": "relu2",
        "hybrid_override_pattern": "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME", "head_dim": 128,
        "num_attention_heads": 32, "num_key_value_heads": 2, "mamba_num_heads": 64, "mamba_head_dim": 64,
        "n_groups": 8, "ssm_state_size": 128, "n_routed_experts": 128, "n_shared_experts": 1, "num_experts_per_tok": 6,
        "moe_intermediate_size": 1856, "moe_shared_expert_intermediate_size": 3712, "vocab_size": 131072,
    },
}  # fmt: skip

COUNTED = {
    "gpt2": 124439808, "gemma-2-9b": 9241705984, "deepseek-v2-lite": 15706484224, "qwen1.5-moe": 14315784192,
    "qwen3-next-80b": 79674391296, "nemotron-3-nano": 31577937344, "llama-3.1-8b": 8030261248, "qwen3-8b": 8190735360,
    "qwen3-30b-a3b": 30532122624, "mixtral-8x7b": 46702792704, "gpt-oss-20b": 20914757184,
    "gpt-oss-120b": 116829156672, "deepseek-v3": 671026404352, "mamba2-2.7b": 2702599680,
}  # fmt: skip
"""By transformers 5.18: the parameters of its model of the configuration, on the meta device."""


@pytest.mark.parametrize("name", COUNTED)
def test_parameters_are_those_of_the_models(name):
    model = architecture_of(CONFIGS[name]) if name in CONFIGS else MODELS[name]
    # Norms and biases are left out.
    assert model.parameters == pytest.approx(COUNTED[name], rel=0.002)
    assert model.parameters <= COUNTED[name]


def test_parameters_are_those_of_the_names():
    """In thousand millions, as the makers state them."""
    stated = {
        "llama-3.1-405b": 405, "qwen2.5-1.5b": 1.54, "qwen2.5-14b": 14.7, "qwen2.5-32b": 32.5, "qwen2.5-72b": 72.7,
        "qwen3-1.7b": 1.7, "qwen3-4b": 4.0, "qwen3-14b": 14.8, "qwen3-coder-480b-a35b": 480, "mixtral-8x22b": 141,
        "deepseek-r1": 671,
    }  # fmt: skip
    for name, size in stated.items():
        assert MODELS[name].parameters / 1e9 == pytest.approx(size, rel=0.02), name


def test_weights_of_known_layers_are_those_of_the_facts():
    """Rows of the output layers of Llama-3.2 (facts 3.7): 394.0 and 131.3 million."""
    assert MODELS["llama-3.2-3b"].head == 128256 * 3072
    assert round(MODELS["llama-3.2-3b"].head / 1e6, 1) == 394.0


def test_what_a_token_is_multiplied_by():
    """The A of the names is in thousand millions; the embedding is not multiplied by."""
    assert MODELS["qwen3-235b-a22b"].active == pytest.approx(22e9, rel=0.03)
    assert MODELS["deepseek-v3"].active == pytest.approx(37e9, rel=0.03)
    assert MODELS["llama-3.1-8b"].active == MODELS["llama-3.1-8b"].body + MODELS["llama-3.1-8b"].head


def test_layers_of_hybrids():
    model = architecture_of(CONFIGS["qwen3-next-80b"])
    mixers = {type(block): count for block, count in model.blocks if block.mixes}
    assert mixers == {Attention: 12, Recurrence: 36}
    assert model.layers == 48
    assert model.state_bytes == 2 * 36 * 32 * 128 * 128
    assert sum(count for block, count in architecture_of(CONFIGS["nemotron-3-nano"]).blocks) == 52
    jamba = {
        **LLAMA, "attn_layer_period": 8, "attn_layer_offset": 4, "mamba_d_state": 16, "mamba_expand": 2,
        "expert_layer_period": 2, "expert_layer_offset": 1, "num_experts": 16, "num_experts_per_tok": 2,
    }  # fmt: skip
    kinds = {type(block): count for block, count in architecture_of(jamba).blocks}
    assert kinds[Attention] == 4
    assert kinds[Experts] == 16


@pytest.mark.parametrize(
    ("changes", "full", "windows"),
    [
        ({}, 32, 0),
        ({"sliding_window": 4096}, 0, 32),
        ({"sliding_window": 4096, "use_sliding_window": False}, 32, 0),
        ({"sliding_window": 4096, "max_window_layers": 28}, 28, 4),
        ({"sliding_window": 4096, "sliding_window_pattern": 6}, 5, 27),
        ({"sliding_window": 4096, "model_type": "gemma2"}, 16, 16),
        ({"sliding_window": 4096, "layer_types": ["sliding_attention", "full_attention"] * 16}, 16, 16),
        ({"sliding_window": 128, "hybrid_layer_pattern": [0, 1, 1, 1] * 8}, 8, 24),
    ],
)
def test_windows(changes, full, windows):
    counts = {block.window: count for block, count in architecture_of({**LLAMA, **changes}).blocks if block.mixes}
    assert counts.get(None, 0) == full
    assert counts.get(changes.get("sliding_window", 0), 0) == windows


def test_experts_begin_where_the_configuration_says():
    assert sorted(count for _, count in MODELS["deepseek-v3"].blocks) == [3, 58, 61]
    step = {**LLAMA, "num_experts": 8, "num_experts_per_tok": 2, "decoder_sparse_step": 2, "mlp_only_layers": [1]}
    experts = [count for block, count in architecture_of(step).blocks if isinstance(block, Experts)]
    assert experts == [15]


def test_the_decoder_of_a_model_that_sees_is_read():
    seeing = {"model_type": "qwen3_vl", "text_config": LLAMA, "vision_config": {"hidden_size": 7}}
    assert architecture_of(seeing) == architecture_of(LLAMA)


@pytest.mark.parametrize(
    ("stored", "formats"),
    [
        ({"quant_method": "fp8"}, ("fp8", "fp8", "bf16")),
        ({"quant_method": "awq", "bits": 4}, ("int4", "int4", "bf16")),
        ({"quant_method": "gptq", "bits": 8}, ("int8", "int8", "bf16")),
        ({"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}, ("bf16", "fp4", "bf16")),
        ({"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"}, ("fp4", "fp4", "fp8")),
        ({"quant_method": "of-tomorrow"}, ("bf16", "bf16", "bf16")),
    ],
)
def test_formats_of_published_weights(stored, formats):
    found = architecture_of({**LLAMA, "quantization_config": stored}).stored
    assert (found.mixing, found.feed, found.cache) == formats


def test_formats_may_stand_in_a_file_beside(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    (tmp_path / "hf_quant_config.json").write_text('{"quantization": {"quant_algo": "FP8"}}')
    assert read_config(tmp_path).stored.feed == "fp8"
    assert read_config(tmp_path / "config.json") == read_config(tmp_path)


def test_caches_by_hand():
    assert MODELS["deepseek-v3"].cache_bytes == 2 * 61 * (512 + 64)
    assert isinstance(MODELS["deepseek-v3"].blocks[0][0], LatentAttention)
    window = Attention(8, 2, 1, 4, window=100)
    assert (window.cached, window.reach(50), window.reach(500)) == (8, 50, 100)


def test_experts_that_tokens_touch():
    experts = Experts(8, hidden=4, experts=128, chosen=8)
    assert experts.busy(1) == pytest.approx(8)
    # Equally likely ones would be 15.5 and 82.
    assert 14 < experts.busy(2) < 15.5
    assert 60 < experts.busy(16) < 66
    assert experts.busy(100_000) == pytest.approx(128)
    assert experts.touched(1) == pytest.approx(experts.active)
    assert experts.touched(100_000) == pytest.approx(experts.weights)


@pytest.mark.parametrize(("experts", "chosen"), [(8, 2), (8, 8), (8, 7), (1, 1), (384, 8), (4, 3)])
def test_popularity(experts, chosen):
    chances = popularity(experts, chosen)
    assert chances.shape == (experts,)
    assert chances.sum() == pytest.approx(chosen)
    assert 0 < chances[-1] <= chances[0] <= 1
    assert (np.diff(chances) <= 0).all()


def test_experts_that_are_unpacked_are_read_slower():
    model, hopper = MODELS["gpt-oss-120b"], HARDWARE["h200"]
    fast = replace(hopper, unpacked_reached=1.0)
    slow, unpacked = (Roofline(model, machine, deployment=Deployment(weights="int4")) for machine in (hopper, fast))
    assert slow.ms(8, 1) > 1.2 * unpacked.ms(8, 1)
    # A Blackwell multiplies FP4 itself.
    blackwell = HARDWARE["b200"]
    assert Roofline(model, blackwell).ms(8, 1) == Roofline(model, replace(blackwell, unpacked_reached=0.1)).ms(8, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": None}, "hidden_size of config.json must be given, not missing"),
        ({"hidden_size": float("nan")}, "hidden_size of config.json must be a whole number from 1 to .*, not nan"),
        ({"hidden_size": -4096}, "hidden_size of config.json must be a whole number from 1 to .*, not -4096"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers of config.json must be a whole number from 1 to 1000"),
        ({"vocab_size": "many"}, "vocab_size of config.json must be a whole number from 1 to .*, not many"),
        ({"num_attention_heads": True}, "num_attention_heads of config.json must be a whole number"),
        ({"num_key_value_heads": 7}, "num_key_value_heads must be a divisor of the 32 heads, not 7"),
        ({"layer_types": ["full_attention"] * 5}, "layer_types of config.json must be a list of 32, not list"),
        ({"num_experts": 8}, "num_experts_per_tok of config.json must be given, not missing"),
        ({"num_experts": 8, "num_experts_per_tok": 9}, "num_experts_per_tok of config.json must be a whole number"),
        ({"kv_lora_rank": 512}, "qk_nope_head_dim of config.json must be given, not missing"),
        ({"layer_types": ["warp_drive"] * 32}, "layer_types must be names with sliding, .*, not warp_drive"),
        ({"model_type": "bert"}, "config.json must be of a decoder, not bert"),
        ({"is_encoder_decoder": True}, "must be of an architecture that is known here, not llama with is_encoder"),
        ({"compress_ratios": [4]}, "config.json must be of an architecture that is known here, not llama with"),
        ({"hybrid_override_pattern": "MX"}, "hybrid_override_pattern must be at most 1000 of M"),
        ({"model_type": "mamba2", "state_size": None}, "ssm_state_size of config.json must be given, not missing"),
        ({"mlp_only_layers": 3, "num_experts": 8, "num_experts_per_tok": 2}, "mlp_only_layers must be a list, not int"),
    ],
)
def test_bad_configurations_are_refused(changes, message, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**LLAMA, **changes}))
    with pytest.raises(InputError, match=message):
        model_of(path)


@pytest.mark.parametrize("text", ["[" * 1_000_000 + "]" * 1_000_000, "[1]", "{", '{"hidden_size": ' + "9" * 5000 + "}"])
def test_what_is_no_configuration_is_refused(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"^model must be a"):
        model_of(tmp_path / "config.json")
