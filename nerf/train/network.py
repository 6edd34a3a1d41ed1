"""Colours of samples for training on a CPU, a block of them at a time: factors, basis and network, gradients by hand.

A block's numbers stay in the processor's cache from the factors to the colour, and back. PyTorch's own gradients would
compute every sine and cosine again for each frequency level; here those of higher levels follow from the first by the
double angle. Basis and hidden layers are rounded to bfloat16 where the processor multiplies such numbers itself, twice
as fast; sums, weights and what leaves the network stay float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import torch
from torch.nn.functional import linear

from nerf.model import TensorfModel, encode_frequencies
from nerf.train.factors import add_product_gradients, app_products, products_at
from rtnerf.base.compiled import compiled

_BLOCK = 1024  # Samples.

_ROWS = 128
"""A block is rounded up to a multiple, with zeros: PyTorch compiles a product of bfloat16 anew for each new size."""

_TWO = np.float32(2)
_ONE = np.float32(1)


@cache
def hidden_type() -> torch.dtype:
    """What basis and hidden layers are multiplied in on this processor."""
    return torch.bfloat16 if torch.cpu.get_capabilities().get("avx512_bf16", False) else torch.float32


def shade(model: TensorfModel, normalised: torch.Tensor, direction: torch.Tensor, owner: torch.Tensor) -> torch.Tensor:
    """Colours (n, 3) of samples at ``normalised`` (n, 3), in [-1, 1]; differentiable in the model's tensors.

    Parameters: ``direction`` (R, 3), unit vectors; ``owner`` (n,), the ray of each sample, 0..R-1.
    """
    if model.colour != "network":
        return model.shade(linear(app_products(model, normalised), model.basis), direction[owner])
    encoded = torch.cat([direction, encode_frequencies(direction, model.view_bands)], dim=1)
    layers = [tensor for layer in model.mlp for tensor in layer]
    factors = *model.app_planes, *model.app_lines
    return _Colours.apply(normalised, owner, encoded, model.feature_bands, model.basis, *layers, *factors)


class _Colours(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        normalised: torch.Tensor,
        owner: torch.Tensor,
        encoded: torch.Tensor,
        bands: int,
        *tensors: torch.Tensor,
    ) -> torch.Tensor:
        basis, one, bias_one, two, bias_two, three, bias_three, *factors = tensors
        kind = hidden_type()
        rgb = normalised.new_empty(len(normalised), 3)
        narrow = [tensor.to(kind) for tensor in (basis, one, bias_one, two, bias_two)]
        ctx.bands, ctx.blocks = bands, []
        for part, rows in _blocks(len(normalised)):
            count = part.stop - part.start
            wide = normalised.new_zeros(rows, basis.shape[1])
            products_at(normalised[part], factors, wide[:count])
            products = wide.to(kind)
            feature = linear(products, narrow[0]).float()
            sine, cosine = feature.sin(), feature.cos()
            inputs = normalised.new_zeros(rows, one.shape[1])
            _encode(
                *(values.numpy() for values in (feature, sine, cosine, encoded)),
                owner[part].numpy(),
                bands,
                inputs.numpy(),
            )
            seen = inputs.to(kind)
            first = linear(seen, narrow[1], narrow[2]).relu_()
            second = linear(first, narrow[3], narrow[4]).relu_()
            rgb[part] = linear(second[:count].float(), three, bias_three).sigmoid_()
            ctx.blocks.append((products, sine, cosine, seen, first, second))
        ctx.save_for_backward(normalised, rgb, narrow[0], narrow[1], narrow[3], three, *factors)
        return rgb

    @staticmethod
    def backward(ctx: Any, by_rgb: torch.Tensor):
        normalised, rgb, basis, one, two, three, *factors = ctx.saved_tensors
        by_logit = by_rgb * rgb * (1 - rgb)
        by_basis, by_one, by_two, by_three = (torch.zeros(tensor.shape) for tensor in (basis, one, two, three))
        by_bias_one, by_bias_two = torch.zeros(len(one)), torch.zeros(len(two))
        by_factors = [torch.zeros_like(factor) for factor in factors]
        for (part, rows), block in zip(_blocks(len(normalised)), ctx.blocks, strict=True):
            products, sine, cosine, seen, first, second = block
            count = part.stop - part.start
            by_out = by_logit.new_zeros(rows, 3)
            by_out[:count] = by_logit[part]
            by_second = _before_relu((by_out @ three).to(basis.dtype), second)
            by_first = _before_relu(by_second @ two, first)
            by_inputs = (by_first @ one).float()
            wide = torch.empty_like(sine)
            _encode_backward(sine.numpy(), cosine.numpy(), by_inputs.numpy(), ctx.bands, wide.numpy())
            by_feature = wide.to(basis.dtype)
            add_product_gradients(normalised[part], (by_feature @ basis).float(), factors, by_factors)
            by_basis += by_feature.T @ products
            by_one += by_first.T @ seen
            by_two += by_second.T @ first
            by_three += by_out.T @ second.float()
            by_bias_one += by_first.sum(0, dtype=torch.float32)
            by_bias_two += by_second.sum(0, dtype=torch.float32)
        gradients = by_basis, by_one, by_bias_one, by_two, by_bias_two, by_three, by_logit.sum(0), *by_factors
        return None, None, None, None, *gradients


def _blocks(count: int) -> Iterator[tuple[slice, int]]:
    """The samples of each block, and the rows that it has with those that fill it up."""
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        yield slice(start, stop), -(-(stop - start) // _ROWS) * _ROWS


def _before_relu(gradient: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    return torch.ops.aten.threshold_backward(gradient, out, 0)


@compiled(nogil=True)
def _encode(feature, sine, cosine, encoded, owner, bands, out):
    """What the network sees: features, direction, sines and cosines of the features by level, encoded direction."""
    features = feature.shape[1]
    sines = features + 3
    cosines = sines + features * bands
    for n in range(len(owner)):
        row, view = out[n], encoded[owner[n]]
        for c in range(features):
            row[c] = feature[n, c]
            s, k = sine[n, c], cosine[n, c]
            for level in range(bands):
                row[sines + c * bands + level], row[cosines + c * bands + level] = s, k
                s, k = _TWO * s * k, _ONE - _TWO * s * s
        for c in range(3):
            row[features + c] = view[c]
        for c in range(3, len(view)):
            row[cosines + features * bands + c - 3] = view[c]


@compiled(nogil=True)
def _encode_backward(sine, cosine, gradient, bands, out):
    """Gradients by the features, from those by all that the network sees."""
    features = out.shape[1]
    sines = features + 3
    cosines = sines + features * bands
    for n in range(len(out)):
        given = gradient[n]
        for c in range(features):
            total, scale = given[c], _ONE
            s, k = sine[n, c], cosine[n, c]
            for at in range(c * bands, c * bands + bands):
                total += scale * (k * given[sines + at] - s * given[cosines + at])
                s, k = _TWO * s * k, _ONE - _TWO * s * s
                scale *= _TWO
            out[n, c] = total
