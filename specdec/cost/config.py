"""An architecture from a model's ``config.json`` as Hugging Face has it.

Dense decoders, grouped keys, sliding windows, latent attention, mixtures of experts, state-space and linear-attention
layers. Of a model that also sees or hears, the decoder of text is read. What would be misread is refused.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rtnerf.base.errors import InputError, require
from rtnerf.base.files import read_json
from specdec.cost.architecture import Architecture
from specdec.cost.blocks import Attention, Block, Experts, FeedForward, LatentAttention, Recurrence
from specdec.cost.formats import Formats

MOST_LAYERS = 1000

LARGEST = 1 << 28
"""Of a size in a configuration."""

TEXT = ("text_config", "llm_config", "language_config")
"""Where the decoder of text is described."""

TIED = ("gpt2", "gemma", "gemma2", "gemma3", "gemma3_text", "opt", "bloom", "cohere", "cohere2", "mamba", "mamba2")
"""Kinds whose output layer is the embedding unless they say otherwise."""

UNGATED = ("gpt2", "gpt_neox", "gpt_neo", "gptj", "opt", "bloom", "falcon", "phi", "starcoder2", "nemotron", "mpt")
"""Kinds whose feed-forward layers have two matrices."""

WINDOWED_EVERY = {"gemma2": 2, "cohere2": 4}
"""Kinds of which each so-many-th layer sees everything and the others a window."""

WINDOW, FULL, LINEAR, NONE = "window", "full", "linear", "none"

KINDS = {
    WINDOW: ("sliding", "chunked", "local"),
    LINEAR: ("linear", "mamba", "recurrent", "ssm"),
    FULL: ("full", "global", "attention"),
}
"""Words in the names of layers, of which the first that is found counts."""

ENCODERS = ("bert", "roberta", "electra", "deberta", "t5", "bart", "clip", "vit", "whisper")
"""Words in kinds that are no decoders, or not alone."""

UNKNOWN = (
    "is_encoder_decoder",
    "num_decoder_layers",
    "compress_ratios",
    "block_configs",
    "kv_shared_layer_index",
    "encoder_layers",
    "cross_attention_layers",
)
"""Keys of architectures that this reader does not know."""

SPECIAL_FLOATS = ("Infinity", "-Infinity", "NaN")
"""What JSON has no word for."""

EXPERTS = ("n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts")


class Config:
    """A configuration whose sizes are checked as they are read."""

    def __init__(self, values: Mapping[str, Any], name: str):
        inner: Mapping[str, Any] = next((values[key] for key in TEXT if isinstance(values.get(key), Mapping)), {})
        self.values = {key: _plain(value) for key, value in {**values, **inner}.items()}
        self.kind = str(inner.get("model_type", values.get("model_type", "")))
        self._name = name
        decodes = not any(word in self.kind for word in ENCODERS)
        require(decodes, name, "of a decoder", self.kind[:40])
        found = next((key for key in UNKNOWN if self.values.get(key)), None)
        require(found is None, name, "of an architecture that is known here", f"{self.kind or 'one'} with {found}")

    def get(self, key: str) -> Any:
        """Return a value, None where there is none."""
        return self.values.get(key)

    def whole(self, *keys: str, default: int | None = None, least: int = 1, most: int = LARGEST) -> int:
        """Return the first of some keys that has a value; without a default one must."""
        key = next((key for key in keys if self.values.get(key) is not None), None)
        value = default if key is None else self.values[key]
        name = f"{key or keys[0]} of {self._name}"
        if value is None:
            raise InputError(f"{name} must be given, not missing")
        fits = type(value) is int and least <= value <= most
        require(fits, name, f"a whole number from {least} to {most}", str(value)[:40])
        return int(value)

    def list(self, key: str, length: int) -> list[Any]:
        """Return a list of a length, or refuse what is none."""
        value = self.values[key]
        fits = isinstance(value, list) and len(value) == length
        require(fits, f"{key} of {self._name}", f"a list of {length}", type(value).__name__)
        return list(value)


def _plain(value: Any) -> Any:
    """Return a value with the floats that JSON lacks, which transformers 5 writes as ``{"__float__": "Infinity"}``."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    special = isinstance(value, Mapping) and list(value) == ["__float__"] and value["__float__"] in SPECIAL_FLOATS
    return float(value["__float__"]) if special else value


def read_config(path: Path) -> Architecture:
    """Read a ``config.json``, or that of a folder.

    Raises
    ------
    InputError
        If there is none, a size is missing or out of range, or the architecture is not known here.
    """
    file = path / "config.json" if path.is_dir() else path
    values = read_json("model", file)
    require(isinstance(values, dict), "model", "a config.json with keys and values", path)
    beside = file.with_name("hf_quant_config.json")
    if "quantization_config" not in values and beside.is_file():
        stored = read_json("hf_quant_config.json", beside)
        values["quantization_config"] = stored.get("quantization") if isinstance(stored, dict) else None
    return architecture_of(values, file.name)


def architecture_of(values: Mapping[str, Any], name: str = "config") -> Architecture:
    """Return the architecture that a configuration describes; ``name`` is what messages call it. Raises as above."""
    config = Config(values, name)
    width = config.whole("hidden_size", "n_embd", "d_model")
    blocks: Counter[Block] = Counter()
    kinds = _mixers(config)
    for kind, routed in zip(kinds, _routed(config, kinds), strict=True):
        blocks.update([_mixer(config, kind, width)] if kind != NONE else [])
        blocks.update([] if routed is None else [_feed(config, routed, width)])
    return Architecture(
        tuple(blocks.items()),
        width,
        config.whole("vocab_size"),
        tied=bool(config.values.get("tie_word_embeddings", config.kind in TIED)),
        positions=config.whole("n_positions", default=1024) if config.kind == "gpt2" else 0,
        stored=_formats(config),
    )


# ---- Layers ----


def _mixers(config: Config) -> list[str]:
    """Return what mixes tokens in each layer."""
    if _single(config):
        return [{"M": LINEAR, "*": FULL}.get(letter, NONE) for letter in _single(config)]
    layers = config.whole("num_hidden_layers", "n_layer", "n_layers", "num_layers", most=MOST_LAYERS)
    window = config.get("sliding_window") is not None and config.get("use_sliding_window") is not False
    linear = config.get("linear_attn_config")
    if isinstance(config.get("layer_types"), list):
        return [_named(str(kind)) for kind in config.list("layer_types", layers)]
    if isinstance(linear, Mapping) and isinstance(linear.get("full_attn_layers"), list):  # Kimi Linear, from 1 on.
        return [FULL if layer in linear["full_attn_layers"] else LINEAR for layer in range(1, layers + 1)]
    if isinstance(config.get("hybrid_layer_pattern"), list):  # MiMo: 1 is a window.
        return [WINDOW if kind else FULL for kind in config.list("hybrid_layer_pattern", layers)]
    if isinstance(config.get("attn_type_list"), list):  # MiniMax: 0 is linear.
        return [FULL if kind else LINEAR for kind in config.list("attn_type_list", layers)]
    if config.get("attn_layer_period"):  # Jamba.
        period, offset = config.whole("attn_layer_period"), config.whole("attn_layer_offset", default=0, least=0)
        return [FULL if layer % period == offset else LINEAR for layer in range(layers)]
    if config.get("full_attention_interval"):  # Qwen3-Next.
        return _every(layers, config.whole("full_attention_interval"), LINEAR)
    if config.kind.startswith("mamba"):
        return [LINEAR] * layers
    if config.kind.startswith("llama4"):
        return _every(layers, 4, WINDOW)
    if window and (config.get("sliding_window_pattern") or config.kind in WINDOWED_EVERY):
        every = config.whole("sliding_window_pattern", default=WINDOWED_EVERY.get(config.kind))
        return _every(layers, every, WINDOW)
    if window and config.get("max_window_layers") is not None:  # Qwen2: the first layers see everything.
        full = min(config.whole("max_window_layers", least=0), layers)
        return [FULL] * full + [WINDOW] * (layers - full)
    return [WINDOW if window else FULL] * layers


def _single(config: Config) -> str:
    """Return Nemotron-H's pattern of layers of one block each: M, *, - and E; empty for other models."""
    names = config.get("layers_block_type")
    if isinstance(names, list):
        letters = {"mamba": "M", "attention": "*", "mlp": "-", "moe": "E"}
        pattern = "".join(letters.get(str(name), "?") for name in names)
    else:
        pattern = str(config.get("hybrid_override_pattern") or "")
    fits = len(pattern) <= MOST_LAYERS and set(pattern) <= set("M*-E")
    require(fits, "hybrid_override_pattern", f"at most {MOST_LAYERS} of M, *, - and E", pattern[:40])
    return pattern


def _named(kind: str) -> str:
    found = next((one for one, words in KINDS.items() if any(word in kind for word in words)), None)
    words = ", ".join(word for words in KINDS.values() for word in words)
    if found is None:
        raise InputError(f"layer_types must be names with {words}, not {kind[:40]}")
    return found


def _every(layers: int, period: int, others: str) -> list[str]:
    return [FULL if (layer + 1) % period == 0 else others for layer in range(layers)]


def _routed(config: Config, mixers: list[str]) -> list[bool | None]:
    """Tell of each layer whether its feed-forward is a mixture of experts; None where it has none."""
    layers = len(mixers)
    if _single(config):
        return [{"-": False, "E": True}.get(letter) for letter in _single(config)]
    if config.kind.startswith("mamba"):
        return [None] * layers
    if config.whole(*EXPERTS, default=0, least=0) <= 1 or config.get("enable_moe_block") is False:
        return [False] * layers
    if isinstance(config.get("mlp_layer_types"), list):
        return [kind == "sparse" for kind in config.list("mlp_layer_types", layers)]
    if isinstance(config.get("moe_layer_freq"), list):
        return [bool(kind) for kind in config.list("moe_layer_freq", layers)]
    keys = ("moe_layer_freq", "decoder_sparse_step", "interleave_moe_layer_step", "expert_layer_period")
    period = config.whole(*keys, default=1)
    last = period - 1 if config.get("decoder_sparse_step") or config.get("interleave_moe_layer_step") else 0
    offset = config.whole("expert_layer_offset", default=last, least=0)
    first = config.whole("first_k_dense_replace", default=0, least=0)
    dense = config.get("mlp_only_layers") or []
    require(isinstance(dense, list), "mlp_only_layers", "a list", type(dense).__name__)
    return [layer >= first and layer % period == offset and layer not in dense for layer in range(layers)]


# ---- Blocks ----


def _mixer(config: Config, kind: str, width: int) -> Block:
    if kind == LINEAR:
        return _recurrence(config, width)
    if config.get("kv_lora_rank") is not None:
        return LatentAttention(
            width,
            heads=config.whole("num_attention_heads"),
            latent=config.whole("kv_lora_rank"),
            rotary=config.whole("qk_rope_head_dim", default=0, least=0),
            plain=config.whole("qk_nope_head_dim"),
            value=config.whole("v_head_dim"),
            query_latent=config.whole("q_lora_rank", default=0, least=0),
            selected=None if config.get("index_topk") is None else config.whole("index_topk"),
        )
    heads = config.whole("num_attention_heads", "n_head", "num_heads")
    shared = bool(config.get("multi_query")) and config.get("num_kv_heads") is None
    key_heads = config.whole("num_key_value_heads", "num_kv_heads", default=1 if shared else heads)
    head = config.whole("head_dim", "attention_head_dim", default=max(width // heads, 1))
    if kind == FULL:  # Gemma 4's full layers, MiMo's windows.
        key_heads = config.whole("num_global_key_value_heads", default=key_heads)
        head = config.whole("global_head_dim", default=head)
    else:
        key_heads = config.whole("swa_num_key_value_heads", default=key_heads)
    require(heads % key_heads == 0, "num_key_value_heads", f"a divisor of the {heads} heads", key_heads)
    return Attention(
        width,
        heads,
        key_heads,
        head,
        window=None if kind == FULL else config.whole("sliding_window", "attention_chunk_size", default=8192),
        gated=bool(config.get("attn_output_gate") or config.get("attention_output_gate"))
        or config.kind == "qwen3_next",
        keys_as_values=kind == FULL and bool(config.get("attention_k_eq_v")),
    )


def _recurrence(config: Config, width: int) -> Recurrence:
    """Return a layer of Qwen3-Next's or Kimi's linear attention, or of Mamba's state space."""
    linear = config.get("linear_attn_config")
    if isinstance(linear, Mapping):
        inner = Config(linear, "linear_attn_config")
        rows, features = inner.whole("num_heads") * inner.whole("head_dim"), inner.whole("head_dim")
        return Recurrence(width, 5 * width * rows, rows, features)
    if config.get("linear_num_value_heads") is not None:
        rows = config.whole("linear_num_value_heads") * config.whole("linear_value_head_dim")
        features = config.whole("linear_key_head_dim")
        keys = config.whole("linear_num_key_heads") * features
        # Queries, keys, values, gate, two numbers a head; output.
        made = 2 * keys + 2 * rows + 2 * config.whole("linear_num_value_heads")
        return Recurrence(width, width * (made + rows), rows, features)
    heads = config.whole("mamba_num_heads", "mamba_n_heads", default=0, least=0)
    size = config.whole("mamba_head_dim", "mamba_d_head", default=64)
    expanded = config.whole("expand", "mamba_expand", default=2) * width
    rows = heads * size if heads else expanded
    features = config.whole("ssm_state_size", "state_size", "mamba_d_state")
    groups = config.whole("n_groups", "mamba_n_groups", default=1)
    made = 2 * rows + 2 * groups * features + max(rows // size, 1)
    return Recurrence(width, width * (made + rows), rows, features)


def _feed(config: Config, routed: bool, width: int) -> Block:
    activation = str(config.get("mlp_hidden_act") or config.get("hidden_act") or "")
    matrices = 2 if config.kind in UNGATED or activation == "relu2" else 3
    own = ("dense_intermediate_size", "intermediate_size_mlp")
    names = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")
    if not routed:
        return FeedForward(width, config.whole(*own, *names, default=4 * width), matrices)
    hidden = config.whole("moe_intermediate_size", *names)
    shared = hidden * config.whole("n_shared_experts", "num_shared_experts", default=0, least=0)
    if config.kind.startswith("llama4"):
        shared = hidden
    if config.get("enable_moe_block"):  # Gemma 4: a dense layer beside the experts.
        shared = config.whole("intermediate_size")
    keys = "shared_expert_intermediate_size", "moe_shared_expert_intermediate_size"
    experts = config.whole(*EXPERTS)
    inner = config.whole("routed_expert_hidden_size", "moe_latent_size", default=0, least=0)
    keys_chosen = "num_experts_per_tok", "num_experts_per_token", "experts_per_token", "top_k_experts", "moe_topk"
    return Experts(
        width,
        hidden,
        experts,
        config.whole(*keys_chosen, most=experts),
        config.whole(*keys, default=shared, least=0),
        matrices,
        inner,
    )


# ---- Formats ----


def _formats(config: Config) -> Formats:
    """Return the formats of the published weights."""
    found = config.get("quantization_config")
    if not isinstance(found, Mapping):
        return Formats()
    text = str(found).lower()
    bits = next((found[key] for key in ("bits", "num_bits", "w_bit") if type(found.get(key)) is int), None)
    if "fp4" in text:
        kind = "fp4"
    elif bits == 4 or "'num_bits': 4" in text or "4bit': true" in text:
        kind = "int4"
    elif "fp8" in text or "'type': 'float'" in text:
        kind = "fp8"
    elif bits == 8 or "'num_bits': 8" in text or "8bit': true" in text:
        kind = "int8"
    else:
        return Formats()
    left = next((found[key] for key in ("modules_to_not_convert", "ignore", "exclude_modules") if key in found), "")
    small = found.get("kv_cache_scheme") or str(found.get("kv_cache_quant_algo")).lower() == "fp8"
    return Formats("bf16" if "self_attn" in str(left) else kind, kind, "fp8" if small else "bf16")
