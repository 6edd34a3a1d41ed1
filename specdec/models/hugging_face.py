"""Causal models from a folder as Hugging Face has them: ``config.json``, safetensors, ``tokenizer.json``.

Everything is read, nothing is run: weights in other files, which could hold code, and models that bring code of their
own are refused, and nothing is fetched. Computed in single precision by the networks of this package.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rtnerf.base.errors import require
from rtnerf.base.files import read_json
from specdec.cost.config import Config
from specdec.models import pretrained
from specdec.models.grouped import Gelu, GroupedAttention
from specdec.models.network import Network, SwiGlu
from specdec.models.selective import SelectiveScan
from specdec.models.ssm import GroupedNorm, Ssm
from specdec.models.transformer import Rotation
from specdec.text.tokenizer import BpeTokenizer, Tokenizer

PREFIXES = ("model.", "transformer.", "backbone.")
"""Of the names of tensors, which a model without output layer lacks."""


@dataclass(frozen=True)
class Checkpoint:
    """A model of a folder.

    Members
    -------
    network : Network
        Ready for `specdec.models.cached.CachedModel`.
    tokenizer : Tokenizer
        Its tokenizer.
    ends : frozenset of int
        Tokens that end an output.
    places : int or None
        Tokens of the longest context; None without limit.
    """

    network: Network
    tokenizer: Tokenizer
    ends: frozenset[int] = frozenset()
    places: int | None = None


@dataclass
class _Tensors:
    """The tensors of a folder, each to be taken once."""

    held: dict[str, Tensor]
    taken: dict[str, Tensor] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        return name in self.held

    def take(self, to: str, *names: str, turned: bool = False) -> None:
        """Let a parameter of the network be these tensors one after the other; turned from (outputs, inputs)."""
        missing = next((name for name in names if name not in self.held), None)
        require(missing is None, "model", "a folder with every tensor", f"one without {missing}")
        parts = [self.held.pop(name) for name in names]
        require(all(part.is_floating_point() for part in parts), "model", "of floating-point tensors", names[0])
        self.taken[to] = torch.cat([(part.T if turned else part).float() for part in parts], -1).contiguous()

    def take_linear(self, to: str, *names: str, bias: bool = False) -> None:
        """Take a product stored as PyTorch's, and its bias."""
        self.take(f"{to}.weight", *(f"{name}.weight" for name in names), turned=True)
        if bias:
            self.take(f"{to}.bias", *(f"{name}.bias" for name in names))

    def take_taps(self, to: str, name: str, bias: str | None, given: bool = True) -> None:
        """Take a convolution by channels, and its bias, zeros where none is ``given``."""
        self.take(f"{to}.taps", f"{name}.weight")
        taps = self.taken[f"{to}.taps"] = self.taken[f"{to}.taps"].flatten(1).T.contiguous()
        if bias is not None and given:
            self.take(f"{to}.{bias}", f"{name}.bias")
        elif bias is not None:
            self.taken[f"{to}.{bias}"] = taps.new_zeros(taps.shape[1])


def is_checkpoint(folder: Path) -> bool:
    """Whether a path is a folder with a ``config.json``."""
    return (folder / "config.json").is_file()


def load(folder: Path) -> Checkpoint:
    """Load a model.

    Raises
    ------
    InputError
        If a file is missing or damaged, or the architecture is none of `FAMILIES` as it is computed here.
    """
    values = read_json("model", folder / "config.json")
    require(isinstance(values, dict), "model", "a config.json with keys and values", folder)
    kind = values.get("model_type")
    require(kind in FAMILIES, "model_type of config.json", f"one of {', '.join(FAMILIES)}", str(kind)[:40])
    for name in ("auto_map", "quantization_config"):
        require(not values.get(name), name, "absent: it would take code that is not here", "given")
    config, tensors = Config(values, "config.json"), _Tensors(_read(folder))
    network = FAMILIES[kind](config, tensors)
    tensors.take("embedding.weight", _EMBEDDING[kind])
    if network.head is not None:
        tensors.take("head", "lm_head.weight")
    pretrained.fill(network, tensors.taken, folder)
    description = pretrained.read(folder / "tokenizer.json").decode(errors="replace")
    ends = _ends(values, folder)
    return Checkpoint(network, BpeTokenizer(description), ends, _places(config))


def _read(folder: Path) -> dict[str, Tensor]:
    """Return all tensors of a folder, by their names without prefix."""
    index = folder / "model.safetensors.index.json"
    names = {"model.safetensors"}
    if index.is_file():
        held = read_json("model", index)
        parts = held.get("weight_map") if isinstance(held, dict) else None
        named = list(parts.values()) if isinstance(parts, dict) else [None]
        require(all(isinstance(name, str) for name in named), "model", "an index with a weight_map", index)
        names = set(named)
    found: dict[str, Tensor] = {}
    for name in sorted(names):
        require(Path(name).name == name, "model", "in files beside its index", name)
        for key, tensor in pretrained.read_weights(folder / name).items():
            prefix = next((prefix for prefix in PREFIXES if key.startswith(prefix)), "")
            found[key.removeprefix(prefix)] = tensor
    return found


def _ends(values: Mapping[str, Any], folder: Path) -> frozenset[int]:
    """Return the tokens that end an output, of the generation's configuration or the model's."""
    beside = folder / "generation_config.json"
    told = read_json("model", beside) if beside.is_file() else {}
    ends = (told if isinstance(told, dict) else {}).get("eos_token_id", values.get("eos_token_id"))
    ends = [] if ends is None else ends if isinstance(ends, list) else [ends]
    require(all(type(end) is int for end in ends), "eos_token_id", "a token or a list of tokens", str(ends)[:40])
    return frozenset(ends)


def _places(config: Config) -> int | None:
    """Return the longest context."""
    if config.get("max_position_embeddings") is None and config.get("n_positions") is None:
        return None
    return config.whole("n_positions", "max_position_embeddings")


def _epsilon(config: Config, name: str, default: float) -> float:
    value = default if config.get(name) is None else config.get(name)
    require(isinstance(value, int | float) and 0 <= value < 1, name, "a number from 0 to 1", str(value)[:40])
    return float(value)


def _only(config: Config, name: str, *allowed: Any) -> None:
    """Refuse what would be computed otherwise than here."""
    require(config.get(name) in allowed, name, f"one of {', '.join(map(str, allowed))}", str(config.get(name))[:40])


def _rotation(config: Config) -> Rotation:
    """Return how positions are told, of either form that configurations have."""
    found: dict[str, Any] = {}
    for name in ("rope_scaling", "rope_parameters"):
        value = config.get(name) or {}
        require(isinstance(value, dict), name, "a table", str(value)[:40])
        found |= value
    kind = found.get("rope_type", found.get("type", "default"))
    require(kind in ("default", "linear", "llama3"), "rope_type", "one of default, linear, llama3", str(kind)[:40])
    base = found.get("rope_theta", config.get("rope_theta") or 10000.0)
    numbers = {"base": base}
    if kind != "default":
        numbers["factor"] = found.get("factor")
    if kind == "llama3":
        numbers |= {
            "low": found.get("low_freq_factor"),
            "high": found.get("high_freq_factor"),
            "places": found.get("original_max_position_embeddings"),
        }
    for name, number in numbers.items():
        require(isinstance(number, int | float) and number > 0, f"rope's {name}", "above 0", str(number)[:40])
    return Rotation(**numbers)


def _llama(config: Config, tensors: _Tensors) -> Network:
    """Llama, Qwen2 and Qwen3, which differ in biases and norms of queries and keys."""
    _only(config, "hidden_act", "silu", None)
    _only(config, "use_sliding_window", False, None)
    _only(config, "mlp_bias", False, None)
    width, layers = config.whole("hidden_size"), config.whole("num_hidden_layers", most=1000)
    heads = config.whole("num_attention_heads")
    key_heads = config.whole("num_key_value_heads", default=heads)
    require(heads % key_heads == 0, "num_key_value_heads", f"a divisor of the {heads} heads", key_heads)
    features = config.whole("head_dim", default=128 if config.kind == "qwen3" else width // heads)
    epsilon, rotation = _epsilon(config, "rms_norm_eps", 1e-6), _rotation(config)
    out_bias = bool(config.get("attention_bias"))
    bias, normed = out_bias or config.kind == "qwen2", config.kind == "qwen3"
    hidden = config.whole("intermediate_size")
    parts: list[Any] = []
    for layer in range(layers):
        here, attention, feed = f"layers.{layer}", f"layers.{2 * layer}", f"layers.{2 * layer + 1}"
        parts.append(
            GroupedAttention(width, heads, key_heads, features, rotation, bias, out_bias, epsilon if normed else None)
        )
        tensors.take_linear(f"{attention}.into", *(f"{here}.self_attn.{part}_proj" for part in "qkv"), bias=bias)
        tensors.take_linear(f"{attention}.out", f"{here}.self_attn.o_proj", bias=out_bias)
        if normed:
            tensors.take(f"{attention}.query_norm.weight", f"{here}.self_attn.q_norm.weight")
            tensors.take(f"{attention}.key_norm.weight", f"{here}.self_attn.k_norm.weight")
        parts.append(SwiGlu(width, hidden))
        tensors.take_linear(f"{feed}.into", f"{here}.mlp.gate_proj", f"{here}.mlp.up_proj")
        tensors.take_linear(f"{feed}.out", f"{here}.mlp.down_proj")
        tensors.take(f"norms.{2 * layer}.weight", f"{here}.input_layernorm.weight")
        tensors.take(f"norms.{2 * layer + 1}.weight", f"{here}.post_attention_layernorm.weight")
    tensors.take("norm.weight", "norm.weight")
    tied = bool(config.get("tie_word_embeddings"))
    return Network(config.whole("vocab_size"), width, parts, partial(nn.RMSNorm, eps=epsilon), tied)


def _gpt2(config: Config, tensors: _Tensors) -> Network:
    _only(config, "activation_function", "gelu_new", None)
    for name in ("scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "add_cross_attention"):
        _only(config, name, False, None)
    width, layers = config.whole("n_embd"), config.whole("n_layer", most=1000)
    heads, hidden = config.whole("n_head"), config.whole("n_inner", default=4 * width)
    require(width % heads == 0, "n_embd", f"a multiple of the {heads} heads", width)
    parts: list[Any] = []
    for layer in range(layers):
        here, attention, feed = f"h.{layer}", f"layers.{2 * layer}", f"layers.{2 * layer + 1}"
        parts += [GroupedAttention(width, heads, heads, width // heads, None, True, True), Gelu(width, hidden)]
        # Products are stored as they are here.
        for to, name in (
            (f"{attention}.into", "attn.c_attn"), (f"{attention}.out", "attn.c_proj"), (f"{feed}.into", "mlp.c_fc"),
            (f"{feed}.out", "mlp.c_proj"), (f"norms.{2 * layer}", "ln_1"), (f"norms.{2 * layer + 1}", "ln_2"),
        ):  # fmt: skip
            for kind in ("weight", "bias"):
                tensors.take(f"{to}.{kind}", f"{here}.{name}.{kind}")
    for kind in ("weight", "bias"):
        tensors.take(f"norm.{kind}", f"ln_f.{kind}")
    tensors.take("places.weight", "wpe.weight")
    tied = config.get("tie_word_embeddings") is not False
    norm = partial(nn.LayerNorm, eps=_epsilon(config, "layer_norm_epsilon", 1e-5))
    return Network(config.whole("vocab_size"), width, parts, norm, tied, config.whole("n_positions"))


def _mamba(config: Config, tensors: _Tensors) -> Network:
    _only(config, "hidden_act", "silu", None)
    width, layers = config.whole("hidden_size"), config.whole("num_hidden_layers", most=1000)
    channels = config.whole("intermediate_size", default=config.whole("expand", default=2) * width)
    rank = -(-width // 16) if config.get("time_step_rank") in ("auto", None) else config.whole("time_step_rank")
    size, window = config.whole("state_size", default=16), config.whole("conv_kernel", default=4)
    bias, window_bias = bool(config.get("use_bias")), config.get("use_conv_bias") is not False
    parts: list[Any] = []
    for layer in range(layers):
        here, to = f"layers.{layer}.mixer", f"layers.{layer}"
        parts.append(SelectiveScan(width, channels, size, rank, window, bias, window_bias))
        tensors.take_linear(f"{to}.into", f"{here}.in_proj", bias=bias)
        tensors.take_linear(f"{to}.out", f"{here}.out_proj", bias=bias)
        tensors.take_linear(f"{to}.select", f"{here}.x_proj")
        tensors.take_linear(f"{to}.time", f"{here}.dt_proj", bias=True)
        tensors.take(f"{to}.log_rate", f"{here}.A_log")
        tensors.take(f"{to}.skip", f"{here}.D")
        tensors.take_taps(to, f"{here}.conv1d", "taps_bias" if window_bias else None)
        tensors.take(f"norms.{layer}.weight", f"layers.{layer}.norm.weight")
    tensors.take("norm.weight", "norm_f.weight")
    tied = config.get("tie_word_embeddings") is not False
    norm = partial(nn.RMSNorm, eps=_epsilon(config, "layer_norm_epsilon", 1e-5))
    return Network(config.whole("vocab_size"), width, parts, norm, tied)


def _mamba2(config: Config, tensors: _Tensors) -> Network:
    _only(config, "hidden_act", "silu", None)
    width, layers = config.whole("hidden_size"), config.whole("num_hidden_layers", most=1000)
    heads, features = config.whole("num_heads", default=128), config.whole("head_dim", default=64)
    inner = config.whole("expand", default=2) * width
    require(inner == heads * features, "num_heads and head_dim", f"of product {inner}", heads * features)
    groups, size = config.whole("n_groups", default=8), config.whole("state_size", default=128)
    window, bias = config.whole("conv_kernel", default=4), bool(config.get("use_bias"))
    epsilon = _epsilon(config, "layer_norm_epsilon", 1e-5)
    norm, gated = partial(nn.RMSNorm, eps=epsilon), partial(GroupedNorm, groups, epsilon)
    parts: list[Any] = []
    for layer in range(layers):
        here, to = f"layers.{layer}.mixer", f"layers.{layer}"
        parts.append(Ssm(width, heads, features, size, window, groups, gated, bias, *_time_steps(config)))
        tensors.take_linear(f"{to}.into", f"{here}.in_proj", bias=bias)
        tensors.take_linear(f"{to}.out", f"{here}.out_proj", bias=bias)
        tensors.take_taps(to, f"{here}.conv1d", "bias", config.get("use_conv_bias") is not False)
        for name, theirs in (("log_rate", "A_log"), ("skip", "D"), ("time_bias", "dt_bias")):
            tensors.take(f"{to}.{name}", f"{here}.{theirs}")
        tensors.take(f"{to}.norm.weight", f"{here}.norm.weight")
        tensors.take(f"norms.{layer}.weight", f"layers.{layer}.norm.weight")
    tensors.take("norm.weight", "norm_f.weight")
    tied = config.get("tie_word_embeddings") is True or not tensors.has("lm_head.weight")
    return Network(config.whole("vocab_size"), width, parts, norm, tied)


def _time_steps(config: Config) -> tuple[float, float]:
    """Return the bounds of Mamba-2's time steps."""
    bounds = config.get("time_step_limit") or [0.0, inf]
    rule = "two numbers, the first at least 0 and smaller"
    numbers = isinstance(bounds, list) and len(bounds) == 2 and all(isinstance(one, int | float) for one in bounds)
    require(numbers and 0 <= bounds[0] < bounds[1], "time_step_limit", rule, str(bounds)[:40])
    return float(bounds[0]), float(bounds[1])


FAMILIES = {"llama": _llama, "qwen2": _llama, "qwen3": _llama, "gpt2": _gpt2, "mamba": _mamba, "mamba2": _mamba2}
"""Which function makes the network of each model type, and says where its tensors go."""

_EMBEDDING = dict.fromkeys(("llama", "qwen2", "qwen3"), "embed_tokens.weight") | {
    "gpt2": "wte.weight",
    "mamba": "embeddings.weight",
    "mamba2": "embeddings.weight",
}
