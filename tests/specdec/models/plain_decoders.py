"""Published decoders written down once more, token by token, in NumPy and double precision."""

import numpy as np


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def silu(x):
    return x / (1 + np.exp(-x))


def rms(x, weight, epsilon):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * weight


def centred(x, weight, bias, epsilon):
    return (x - x.mean()) / np.sqrt(x.var() + epsilon) * weight + bias


def turned(x, place, base):
    """Turn the pairs (i, i + D/2) of every head, as complex numbers."""
    half = x.shape[-1] // 2
    turn = np.exp(1j * place * base ** (-np.arange(half) / half))
    pairs = (x[..., :half] + 1j * x[..., half:]) * turn
    return np.concatenate([pairs.real, pairs.imag], -1)


def attended(queries, keys, values):
    """Attend from the last token's query heads to all tokens; keys and values are shared by groups."""
    group = len(queries) // len(keys[0])
    seen = []
    for head, query in enumerate(queries):
        scores = np.array([query @ key[head // group] for key in keys]) / np.sqrt(len(query))
        seen.append(softmax(scores) @ np.array([value[head // group] for value in values]))
    return np.concatenate(seen)


def llama(config, w, tokens):
    """Logits of every token; Qwen2's biases and Qwen3's norms where their tensors are."""
    eps, heads = config["rms_norm_eps"], config["num_attention_heads"]
    memory = [([], []) for _ in range(config["num_hidden_layers"])]
    rows = []
    for place, token in enumerate(tokens):
        x = w["model.embed_tokens.weight"][token]
        for layer, (keys, values) in enumerate(memory):
            name = f"model.layers.{layer}"
            y = rms(x, w[f"{name}.input_layernorm.weight"], eps)
            q, k, v = (
                w[f"{name}.self_attn.{part}_proj.weight"] @ y + w.get(f"{name}.self_attn.{part}_proj.bias", 0)
                for part in "qkv"
            )
            q, k, v = q.reshape(heads, -1), *(part.reshape(config["num_key_value_heads"], -1) for part in (k, v))
            if f"{name}.self_attn.q_norm.weight" in w:
                q, k = (rms(part, w[f"{name}.self_attn.{n}_norm.weight"], eps) for n, part in (("q", q), ("k", k)))
            keys.append(turned(k, place, config["rope_theta"]))
            values.append(v)
            seen = attended(turned(q, place, config["rope_theta"]), keys, values)
            x = x + w[f"{name}.self_attn.o_proj.weight"] @ seen
            y = rms(x, w[f"{name}.post_attention_layernorm.weight"], eps)
            gate, up = (w[f"{name}.mlp.{part}_proj.weight"] @ y for part in ("gate", "up"))
            x = x + w[f"{name}.mlp.down_proj.weight"] @ (silu(gate) * up)
        x = rms(x, w["model.norm.weight"], eps)
        rows.append(w.get("lm_head.weight", w["model.embed_tokens.weight"]) @ x)
    return np.array(rows)


def gpt2(config, w, tokens):
    """Logits of every token."""
    memory = [([], []) for _ in range(config["n_layer"])]
    rows = []
    for place, token in enumerate(tokens):
        x = w["wte.weight"][token] + w["wpe.weight"][place]
        for layer, (keys, values) in enumerate(memory):

            def product(name, row, layer=layer):
                return row @ w[f"h.{layer}.{name}.weight"] + w[f"h.{layer}.{name}.bias"]

            def norm(name, row, layer=layer):
                return centred(row, w[f"h.{layer}.{name}.weight"], w[f"h.{layer}.{name}.bias"], 1e-5)

            q, k, v = product("attn.c_attn", norm("ln_1", x)).reshape(3, config["n_head"], -1)
            keys.append(k)
            values.append(v)
            x = x + product("attn.c_proj", attended(q, keys, values))
            y = product("mlp.c_fc", norm("ln_2", x))
            y = 0.5 * y * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3)))
            x = x + product("mlp.c_proj", y)
        rows.append(w["wte.weight"] @ centred(x, w["ln_f.weight"], w["ln_f.bias"], 1e-5))
    return np.array(rows)


def mamba2(config, w, tokens):
    """Logits of every token."""
    heads, features, groups = config["num_heads"], config["head_dim"], config["n_groups"]
    size, taps, inner = config["state_size"], config["conv_kernel"], heads * features
    least, most = config["time_step_limit"]
    state = [np.zeros((heads, features, size)) for _ in range(config["num_hidden_layers"])]
    inputs = [[] for _ in state]
    rows = []
    for token in tokens:
        x = w["backbone.embeddings.weight"][token]
        for layer in range(len(state)):
            name = f"backbone.layers.{layer}.mixer"
            y = w[f"{name}.in_proj.weight"] @ rms(x, w[f"backbone.layers.{layer}.norm.weight"], 1e-5)
            gate, mixed, time = np.split(y, [inner, len(y) - heads])
            inputs[layer].append(mixed)
            recent = inputs[layer][-taps:]
            kernel = w[f"{name}.conv1d.weight"][:, 0]
            mixed = sum(kernel[:, taps - len(recent) + place] * row for place, row in enumerate(recent))
            value, write, read = np.split(silu(mixed + w[f"{name}.conv1d.bias"]), [inner, inner + groups * size])
            time = np.clip(np.log1p(np.exp(time + w[f"{name}.dt_bias"])), least, most)
            value, seen = value.reshape(heads, features), []
            for head in range(heads):
                group = head * groups // heads
                written, asked = (part.reshape(groups, size)[group] for part in (write, read))
                kept = np.exp(-np.exp(w[f"{name}.A_log"][head]) * time[head]) * state[layer][head]
                state[layer][head] = kept + time[head] * np.outer(value[head], written)
                seen.append(state[layer][head] @ asked + w[f"{name}.D"][head] * value[head])
            gated = (np.concatenate(seen) * silu(gate)).reshape(groups, -1)
            y = rms(gated, 1, 1e-5).ravel() * w[f"{name}.norm.weight"]
            x = x + w[f"{name}.out_proj.weight"] @ y
        rows.append(w["lm_head.weight"] @ rms(x, w["backbone.norm_f.weight"], 1e-5))
    return np.array(rows)


def mamba(config, w, tokens):
    """Logits of every token."""
    size, taps = config["state_size"], config["conv_kernel"]
    state = [0.0] * config["num_hidden_layers"]
    inputs = [[] for _ in state]
    rows = []
    for token in tokens:
        x = w["backbone.embeddings.weight"][token]
        for layer in range(len(state)):
            name = f"backbone.layers.{layer}.mixer"
            y = rms(x, w[f"backbone.layers.{layer}.norm.weight"], 1e-5)
            value, gate = np.split(w[f"{name}.in_proj.weight"] @ y, 2)
            inputs[layer].append(value)
            recent = inputs[layer][-taps:]
            kernel = w[f"{name}.conv1d.weight"][:, 0]
            value = sum(kernel[:, taps - len(recent) + place] * row for place, row in enumerate(recent))
            value = silu(value + w[f"{name}.conv1d.bias"])
            time, write, read = np.split(w[f"{name}.x_proj.weight"] @ value, np.cumsum([len(x) // 16 or 1, size]))
            time = np.log1p(np.exp(w[f"{name}.dt_proj.weight"] @ time + w[f"{name}.dt_proj.bias"]))
            decay = np.exp(-np.exp(w[f"{name}.A_log"]) * time[:, None])
            state[layer] = decay * state[layer] + np.outer(time * value, write)
            y = (state[layer] @ read + w[f"{name}.D"] * value) * silu(gate)
            x = x + w[f"{name}.out_proj.weight"] @ y
        rows.append(w["backbone.embeddings.weight"] @ rms(x, w["backbone.norm_f.weight"], 1e-5))
    return np.array(rows)
