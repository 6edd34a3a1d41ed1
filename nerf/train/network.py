"""Basis and shading network for training on a CPU: gradients by hand, sines once, hidden layers in bfloat16.

PyTorch's own gradients would compute every sine and cosine again for each frequency level. Here those of higher levels
follow from the first by the double angle. Hidden layers are rounded to bfloat16 where the processor multiplies such
numbers itself, twice as fast; sums, weights and what leaves the network stay float32.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch.nn.functional import linear

from nerf.model import TensorfModel, encode_frequencies
from rtnerf.base.compiled import compiled

_ROWS = 512
"""Samples are rounded up to a multiple, with zeros: PyTorch compiles a product of bfloat16 anew for each new size."""

_TWO = np.float32(2)
_ONE = np.float32(1)


@cache
def hidden_type() -> torch.dtype:
    """What hidden layers are multiplied in on this processor."""
    return torch.bfloat16 if torch.cpu.get_capabilities().get("avx512_bf16", False) else torch.float32


def shade(model: TensorfModel, products: torch.Tensor, direction: torch.Tensor, owner: torch.Tensor) -> torch.Tensor:
    """Colours (n, 3) of n appearance products (n, C), as `model.shade` of the features; differentiable.

    Parameters: ``direction`` (R, 3), unit vectors; ``owner`` (n,), the ray of each sample, 0..R-1.
    """
    if model.colour != "network":
        return model.shade(linear(products, model.basis), direction[owner])
    encoded = torch.cat([direction, encode_frequencies(direction, model.view_bands)], dim=1)[owner]
    layers = [tensor for layer in model.mlp for tensor in layer]
    return _Network.apply(products, encoded, model.feature_bands, model.basis, *layers)


class _Network(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, products: torch.Tensor, encoded: torch.Tensor, bands: int, basis: torch.Tensor, *layers: torch.Tensor
    ) -> torch.Tensor:
        one, bias_one, two, bias_two, three, bias_three = layers
        kind, count = hidden_type(), len(products)
        feature = products @ basis.T
        inputs = products.new_zeros(-(-count // _ROWS) * _ROWS, one.shape[1])
        _encode(feature.numpy(), feature.sin().numpy(), feature.cos().numpy(), bands, encoded.numpy(), inputs.numpy())
        seen = inputs.to(kind)
        first = linear(seen, one.to(kind), bias_one.to(kind)).relu_()
        second = linear(first, two.to(kind), bias_two.to(kind)).relu_()
        rgb = linear(second[:count].float(), three, bias_three).sigmoid_()
        ctx.bands = bands
        ctx.save_for_backward(products, basis, one, two, three, inputs, seen, first, second, rgb)
        return rgb

    @staticmethod
    def backward(ctx: Any, by_rgb: torch.Tensor):
        products, basis, one, two, three, inputs, seen, first, second, rgb = ctx.saved_tensors
        kind, count = seen.dtype, len(products)

        def whole(values: torch.Tensor) -> torch.Tensor:
            rows = torch.zeros(len(seen), values.shape[1], dtype=kind)
            rows[:count] = values
            return rows

        def before_relu(gradient: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
            return torch.ops.aten.threshold_backward(gradient, out, 0)

        by_out = by_rgb * rgb * (1 - rgb)
        by_second = before_relu(whole(by_out @ three), second)
        by_first = before_relu(by_second @ two.to(kind), first)
        by_inputs = (by_first @ one.to(kind)).float()
        by_feature = products.new_empty(count, len(basis))
        _encode_backward(inputs.numpy(), by_inputs.numpy(), ctx.bands, by_feature.numpy())
        rounded = whole(by_feature)
        return (
            (rounded @ basis.to(kind))[:count].float(), None, None, (rounded.T @ whole(products)).float(),
            (by_first.T @ seen).float(), by_first.sum(0, dtype=torch.float32),
            (by_second.T @ first).float(), by_second.sum(0, dtype=torch.float32),
            by_out.T @ second[:count].float(), by_out.sum(0),
        )  # fmt: skip


@compiled(nogil=True)
def _encode(feature, sine, cosine, bands, encoded, out):
    """What the network sees: features, direction, sines and cosines of the features by level, encoded direction."""
    features = feature.shape[1]
    for n in range(len(feature)):
        row = out[n]
        sines = features + 3
        cosines = sines + features * bands
        for c in range(features):
            row[c] = feature[n, c]
            s, k = sine[n, c], cosine[n, c]
            for level in range(bands):
                row[sines + c * bands + level], row[cosines + c * bands + level] = s, k
                s, k = _TWO * s * k, _ONE - _TWO * s * s
        for c in range(3):
            row[features + c] = encoded[n, c]
        for c in range(3, encoded.shape[1]):
            row[cosines + features * bands + c - 3] = encoded[n, c]


@compiled(nogil=True)
def _encode_backward(inputs, gradient, bands, out):
    """Gradients by the features, from those by all that the network sees."""
    features = out.shape[1]
    sines = features + 3
    cosines = sines + features * bands
    for n in range(len(out)):
        row, given = inputs[n], gradient[n]
        for c in range(features):
            total, scale = given[c], _ONE
            for at in range(c * bands, c * bands + bands):
                total += scale * (row[cosines + at] * given[sines + at] - row[sines + at] * given[cosines + at])
                scale *= _TWO
            out[n, c] = total
